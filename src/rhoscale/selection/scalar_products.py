"""How many distances and cosines the paper's descriptors need: its Algorithms 2 and 3."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rhoscale.descriptors import ScalarProducts
from rhoscale.errors import InputError
from rhoscale.selection.search import Score, Search, grow, improves

DISTANCES = "distances"


@dataclass(frozen=True)
class ScalarProductLimits:
    """Increments of the search and where it ends.

    Attributes:
        distance_step: m, by which the number of distances M grows (paper: 10).
        largest_distances: Largest M.
        angle_step: m_a, by which the number of angle atoms M_a grows (paper: 5).
        largest_angle_atoms: Largest M_a; never more than M.
        largest_neighbours: Largest k.
    """

    distance_step: int = 10
    largest_distances: int = 100
    angle_step: int = 5
    largest_angle_atoms: int = 30
    largest_neighbours: int = 5

    def __post_init__(self) -> None:
        if (
            not 1 <= self.distance_step <= self.largest_distances
            or not 1 <= self.angle_step <= self.largest_angle_atoms <= self.largest_distances
            or self.largest_neighbours < 0
        ):
            raise InputError(
                f"{self}: expected 1 <= distance_step <= largest_distances, 1 <= angle_step <= largest_angle_atoms <= "
                f"largest_distances and largest_neighbours >= 0; change the limits"
            )

    def largest(self, elements: tuple[str, ...]) -> ScalarProducts:
        """The specification whose features hold those of every candidate."""
        return ScalarProducts(
            elements, self.largest_distances, self.largest_angle_atoms, max(1, self.largest_neighbours)
        )


def select_distances(
    score: Score[ScalarProducts], elements: tuple[str, ...], *, step: int, largest: int, tolerance: float
) -> Search:
    """Choose M, with distances alone (paper, Algorithm 2; the rule: :func:`rhoscale.selection.search.grow`).

    Args:
        score: Specification -> error on validation data.
        elements: Chemical symbols that the features tell apart.
        step: m, by which M grows.
        largest: Largest M.
        tolerance: Share of the error by which a larger M must be better to count.
    """
    counts = range(step, largest + 1, step)
    candidates = (ScalarProducts(elements, distances=m, angle_atoms=0, neighbours=1) for m in counts)
    return grow(score, DISTANCES, candidates, tolerance=tolerance)


def select_angles(
    score: Score[ScalarProducts],
    distances: Search,
    *,
    step: int,
    largest_atoms: int,
    largest_neighbours: int,
    tolerance: float,
) -> Search:
    """Choose M_a and k for the distances that were found (paper, Algorithm 3).

    For k = 1, 2, ... M_a grows from ``step`` until the error holds still; k is as large as it lowers that error by the
    tolerance. The listing keeps the differences of one k for the next, whose loop then ends before it begins; here
    every k has a growth of its own. e'_0, which the listing leaves open, is the error of the distances alone, so set
    II may turn out not to be needed.

    Args:
        score: Specification -> error on validation data.
        distances: What :func:`select_distances` found.
        step: m_a, by which M_a grows.
        largest_atoms: Largest M_a; never more than M.
        largest_neighbours: Largest k.
        tolerance: Share of the error by which a larger M_a or k must be better to count.
    """
    best, trials, limits = distances.chosen, list(distances.trials), list(distances.limits)
    spec = best.spec
    assert isinstance(spec, ScalarProducts)
    counts = range(step, min(largest_atoms, spec.distances) + 1, step)
    if not counts or largest_neighbours == 0:
        return distances
    for k in range(1, largest_neighbours + 1):
        candidates = (replace(spec, angle_atoms=m, neighbours=k) for m in counts)
        found = grow(score, f"k = {k}", candidates, tolerance=tolerance)
        trials += found.trials
        if not improves(found.chosen.error, best.error, tolerance):
            break
        best, limits = found.chosen, [*distances.limits, *found.limits]
    else:
        limits.append("k")
    return Search(best, tuple(trials), tuple(limits))


def select_scalar_products(
    score: Score[ScalarProducts], elements: tuple[str, ...], limits: ScalarProductLimits, *, tolerance: float
) -> Search:
    """Choose M, then M_a and k (paper, section IV.D).

    Args:
        score: Specification -> error on validation data.
        elements: Chemical symbols that the features tell apart.
        limits: Increments and ends.
        tolerance: Share of the error by which a larger descriptor must be better to count.
    """
    distances = select_distances(
        score, elements, step=limits.distance_step, largest=limits.largest_distances, tolerance=tolerance
    )
    return select_angles(
        score,
        distances,
        step=limits.angle_step,
        largest_atoms=limits.largest_angle_atoms,
        largest_neighbours=limits.largest_neighbours,
        tolerance=tolerance,
    )
