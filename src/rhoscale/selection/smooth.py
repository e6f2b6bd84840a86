"""Which radial functions, cutoffs and degrees the smooth descriptors need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rhoscale.descriptors import Smooth
from rhoscale.descriptors.smooth import AngularSet, RadialSet
from rhoscale.descriptors.smooth.spec import HIGHEST_DEGREE
from rhoscale.errors import InputError
from rhoscale.selection.search import Score, Search, grow_each


@dataclass(frozen=True)
class SmoothAxes:
    """Values that each coordinate of the smooth family may take, in rising order; the search starts from the first.

    Attributes:
        radial_counts: Functions of the long radial set, at least 1.
        radial_cutoffs: Its cutoff, Bohr.
        short_counts: Functions of the short radial set; 0 leaves it out.
        short_cutoffs: Its cutoff, Bohr.
        degree_counts: Radial functions that go with the harmonics of one degree; each degree grows by itself.
        highest_degree: Largest degree, 0 to 9; -1 leaves out the power spectrum.
        angular_cutoffs: Cutoff of the power spectrum, Bohr.
    """

    radial_counts: tuple[int, ...] = (4, 8, 12, 16, 20, 24)
    radial_cutoffs: tuple[float, ...] = (8.0, 10.0, 12.0, 14.0, 16.0)
    short_counts: tuple[int, ...] = (0, 4, 8, 12)
    short_cutoffs: tuple[float, ...] = (3.5, 4.5, 5.5)
    degree_counts: tuple[int, ...] = (0, 2, 4, 6, 8, 10)
    highest_degree: int = 4
    angular_cutoffs: tuple[float, ...] = (5.0, 7.0, 9.0, 11.0)

    def __post_init__(self) -> None:
        for name, smallest in (("radial_counts", 1), ("short_counts", 0), ("degree_counts", 0)):
            _rising(name, getattr(self, name), smallest)
        for name in ("radial_cutoffs", "short_cutoffs", "angular_cutoffs"):
            _rising(name, getattr(self, name), 0.1)
        if not -1 <= self.highest_degree <= HIGHEST_DEGREE:
            raise InputError(f"highest_degree is {self.highest_degree}; expected -1 to {HIGHEST_DEGREE}; change it")

    @property
    def coordinates(self) -> dict[str, tuple[Any, ...]]:
        """Name of each coordinate -> its values, in the order in which they grow."""
        degrees = {f"degree {l}": self.degree_counts for l in range(self.highest_degree + 1)}
        return {
            "radial count": self.radial_counts,
            "radial cutoff": self.radial_cutoffs,
            "short count": self.short_counts,
            "short cutoff": self.short_cutoffs,
            **degrees,
            "angular cutoff": self.angular_cutoffs,
        }

    def spec(self, elements: tuple[str, ...], values: Mapping[str, Any]) -> Smooth:
        """The specification of one value for each coordinate."""
        radial = [RadialSet(values["radial count"], values["radial cutoff"])]
        if values["short count"]:
            radial.append(RadialSet(values["short count"], values["short cutoff"]))
        counts = [values[f"degree {l}"] for l in range(self.highest_degree + 1)]
        while counts and counts[-1] == 0:
            counts.pop()
        angular = (AngularSet(tuple(counts), values["angular cutoff"]),) if counts else ()
        return Smooth(elements, tuple(radial), angular)

    def largest(self, elements: tuple[str, ...]) -> Smooth:
        """A specification whose features hold those of every candidate: all cutoffs, each with the largest counts."""
        sets = {c: self.short_counts[-1] for c in self.short_cutoffs if self.short_counts[-1]}
        for c in self.radial_cutoffs:
            sets[c] = max(self.radial_counts[-1], sets.get(c, 0))
        counts = (self.degree_counts[-1],) * (self.highest_degree + 1)
        cutoffs = self.angular_cutoffs if any(counts) else ()
        return Smooth(
            elements, tuple(RadialSet(n, c) for c, n in sets.items()), tuple(AngularSet(counts, c) for c in cutoffs)
        )


def select_smooth(score: Score[Smooth], elements: tuple[str, ...], axes: SmoothAxes, *, tolerance: float) -> Search:
    """Choose counts, cutoffs and degrees, one coordinate after the other until none pays.

    Args:
        score: Specification -> error on validation data.
        elements: Chemical symbols that the features tell apart, in alphabetical order.
        axes: Values of each coordinate.
        tolerance: Share of the error by which a larger value must be better to count.
    """
    return grow_each(score, axes.coordinates, lambda values: axes.spec(elements, values), tolerance=tolerance)


def _rising(name: str, values: tuple[float, ...], smallest: float) -> None:
    if not values or values[0] < smallest or any(b <= a for a, b in pairwise(values)):
        raise InputError(f"{name} is {list(values)}; expected numbers from {smallest} up, each larger than the last")
