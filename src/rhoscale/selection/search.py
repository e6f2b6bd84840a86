"""Growing a descriptor until growth no longer pays: the rule that all searches share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from rhoscale.descriptors import DescriptorSpec
from rhoscale.errors import InputError

S = TypeVar("S", bound=DescriptorSpec)
Score = Callable[[S], float]

LOOKAHEAD = 2
"""Increments beyond a candidate that must fail before it is chosen (paper, Algorithms 2 and 3: M - 2m)."""


@dataclass(frozen=True)
class Trial:
    """A specification and its error.

    Attributes:
        series: What was growing.
        spec: The specification.
        error: On validation data; never on test data.
    """

    series: str
    spec: DescriptorSpec
    error: float

    def __post_init__(self) -> None:
        if not isfinite(self.error) or self.error < 0:
            raise InputError(
                f"the error of {self.series} with {self.spec.size} features is {self.error}; expected a finite number; "
                f"mend the fit (a lower learning rate) before searching"
            )


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        chosen: The specification to use.
        trials: All that was tried, in order; a series begins at the choice before it.
        limits: Series that ran out of larger candidates before two of them had failed.
    """

    chosen: Trial
    trials: tuple[Trial, ...]
    limits: tuple[str, ...]


def grow(score: Score[Any], series: str, candidates: Iterable[DescriptorSpec], *, tolerance: float) -> Search:
    """Try ever larger candidates; choose the first that neither of the next two improves on.

        chosen i:   e_j >= (1 - eta) e_i    for j = i + 1, i + 2

    For errors that fall this is Algorithm 2 of the paper, delta_1, delta_2 < eta and M - 2m, with eta as a share of the
    error. The listing ends as soon as *one* difference is small, which on a flat error steps back to no
    atoms at all; here both must be. A rise counts as no improvement.

    Args:
        score: Specification -> error.
        series: What grows, for the record.
        candidates: Specifications in rising order; at least one.
        tolerance: eta, share of the error by which a larger candidate must be better to count.
    """
    if not 0 <= tolerance < 1:
        raise InputError(f"tolerance is {tolerance}; expected a share of the error, 0 to 1; try 0.02")
    trials: list[Trial] = []
    for spec in candidates:
        trials.append(Trial(series, spec, score(spec)))
        if len(trials) > LOOKAHEAD and _holds(trials[-1 - LOOKAHEAD :], tolerance):
            return Search(trials[-1 - LOOKAHEAD], tuple(trials), ())
    if not trials:
        raise InputError(f"there is no candidate to grow {series} from; expected at least one; widen the limits")
    chosen = next(i for i in range(len(trials)) if _holds(trials[i : i + 1 + LOOKAHEAD], tolerance))
    return Search(trials[chosen], tuple(trials), (series,))


def _holds(trials: Sequence[Trial], tolerance: float) -> bool:
    """Whether none of the later trials is better than the first by the tolerance."""
    return all(not improves(later.error, trials[0].error, tolerance) for later in trials[1:])


def improves(error: float, before: float, tolerance: float) -> bool:
    """Whether an error is lower than another by more than a share of it."""
    return error < (1.0 - tolerance) * before


def grow_each(
    score: Score[Any],
    axes: Mapping[str, Sequence[Any]],
    build: Callable[[Mapping[str, Any]], DescriptorSpec],
    *,
    tolerance: float,
) -> Search:
    """Grow one coordinate after the other, by :func:`grow`, in rounds until a whole round changes none.

    A growth that met only specifications already tried leaves no trials.

    Args:
        score: Specification -> error.
        axes: Name of each coordinate -> its values in rising order; the search starts from all first values.
        build: A value for each coordinate -> specification.
        tolerance: Share of the error by which a larger value must be better to count.
    """
    place = dict.fromkeys(axes, 0)
    trials: list[Trial] = []
    while True:
        before, limits = dict(place), []
        for name, values in axes.items():
            if place[name] == len(values) - 1 and trials:
                limits += [name] if len(values) > 1 else []
                continue
            steps = [{**place, name: i} for i in range(place[name], len(values))]
            candidates = (build({k: axes[k][i] for k, i in step.items()}) for step in steps)
            found = grow(score, name, candidates, tolerance=tolerance)
            known = [t.spec for t in trials]
            if any(t.spec not in known for t in found.trials):
                trials += found.trials
            limits += found.limits if len(values) > 1 else []
            place = steps[found.trials.index(found.chosen)]
        if place == before:
            break
    spec = build({name: axes[name][i] for name, i in place.items()})
    chosen = next(t for t in trials if t.spec == spec)
    return Search(chosen, tuple(trials), tuple(limits))
