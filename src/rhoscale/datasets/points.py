"""Points with their features and densities, taken from snapshots; the unit of splitting is always the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError
from rhoscale.grid import Grid
from rhoscale.snapshot import Snapshot
from rhoscale.system import System

FloatArray = NDArray[np.float64]
Describe = Callable[[System, FloatArray], NDArray[np.float32]]
OfPoints = Callable[[System, FloatArray], NDArray[np.floating]]


@dataclass(frozen=True)
class PointSet:
    """Points of one or more snapshots.

    Attributes:
        features: Descriptors [n, d].
        density: Labels [n], electrons per Bohr^3.
        prior: Prior mean [n], electrons per Bohr^3, or None.
        weights: Inverse of how often a point was drawn relative to a uniform draw [n]; mean 1 in each snapshot.
        snapshot: Number of the snapshot, in the order given [n].
    """

    features: NDArray[np.float32]
    density: FloatArray
    prior: FloatArray | None
    weights: NDArray[np.float32]
    snapshot: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.density)

    @property
    def residual(self) -> FloatArray:
        """Density minus prior mean [n], electrons per Bohr^3: what a network has to learn."""
        return self.density if self.prior is None else self.density - self.prior


@dataclass(frozen=True)
class Draw:
    """Which points of the grid of a snapshot are taken.

    Attributes:
        spacing: Of the grid, Bohr.
        fraction: Share of its points.
        importance: System and points [n, 3] -> how much more often than elsewhere a point should be drawn [n];
            never a function of the label. None draws uniformly.
        largest_weight: Where weights are clipped.
        seed: Of the draw.
    """

    spacing: float
    fraction: float = 1.0
    importance: OfPoints | None = None
    largest_weight: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1 or not self.largest_weight >= 1:
            raise InputError(
                f"fraction is {self.fraction} and largest_weight {self.largest_weight}; expected 0 < fraction <= 1 and "
                f"largest_weight >= 1; change the recipe"
            )


def points_of(
    snapshots: Sequence[Snapshot], describe: Describe, draw: Draw, *, prior: OfPoints | None = None
) -> PointSet:
    """Describe drawn grid points of snapshots.

    Args:
        snapshots: In the order that ``PointSet.snapshot`` counts.
        describe: System and points [n, 3], Bohr -> features [n, d].
        draw: Which points.
        prior: System and points [n, 3] -> prior mean [n], electrons per Bohr^3.

    Raises:
        InputError: There is no snapshot.
    """
    if not snapshots:
        raise InputError("a point set needs at least one snapshot; got none; check the selection of the data")
    return joined([_of_one(s, i, describe, draw, prior) for i, s in enumerate(snapshots)])


def joined(sets: Sequence[PointSet]) -> PointSet:
    """Put point sets of one descriptor and one prior mean together, in their order."""
    priors = [s.prior for s in sets if s.prior is not None]
    return PointSet(
        features=np.concatenate([s.features for s in sets]),
        density=np.concatenate([s.density for s in sets]),
        prior=np.concatenate(priors) if priors else None,
        weights=np.concatenate([s.weights for s in sets]),
        snapshot=np.concatenate([s.snapshot for s in sets]),
    )


def _of_one(snapshot: Snapshot, index: int, describe: Describe, draw: Draw, prior: OfPoints | None) -> PointSet:
    grid = Grid.from_spacing(snapshot.system.cell, draw.spacing)
    points = grid.points()
    chosen, weights = drawn_points(snapshot.system, points, draw, np.random.default_rng([draw.seed, index]))
    kept = points[chosen]
    return PointSet(
        features=describe(snapshot.system, kept),
        density=snapshot.density.on_grid(grid.shape).values.reshape(-1)[chosen].astype(np.float64),
        prior=None if prior is None else np.asarray(prior(snapshot.system, kept), dtype=np.float64),
        weights=weights,
        snapshot=np.full(len(chosen), index, dtype=np.int32),
    )


def drawn_points(
    system: System, points: FloatArray, draw: Draw, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draw points without replacement; returns their indices in rising order and their weights.

    With importance, each point is kept by itself with probability p_i = min(1, c q_i), where q is the importance and
    c gives the wanted number on average; its weight is 1 / p_i, scaled to mean 1, clipped, and scaled again.
    """
    count = max(1, round(draw.fraction * len(points)))
    if count == len(points):
        return np.arange(len(points)), np.ones(len(points), dtype=np.float32)
    if draw.importance is None:
        return np.sort(rng.choice(len(points), count, replace=False)), np.ones(count, dtype=np.float32)
    probability = _inclusion(np.asarray(draw.importance(system, points), dtype=np.float64), count)
    chosen = np.flatnonzero(rng.random(len(points)) < probability)
    weights = 1.0 / probability[chosen]
    weights = np.minimum(weights / weights.mean(), draw.largest_weight)
    return chosen, (weights / weights.mean()).astype(np.float32)


def _inclusion(importance: FloatArray, count: int) -> FloatArray:
    """Probabilities min(1, c q_i) that add up to ``count``."""
    if not (np.isfinite(importance).all() and (importance > 0).all()):
        raise InputError(
            f"the importance of points lies between {importance.min():.3g} and {importance.max():.3g}; expected "
            f"positive finite numbers; add a constant to it"
        )
    probability = importance * (count / importance.sum())
    while probability.max() > 1.0 + 1e-12:
        full = probability >= 1.0
        probability[full] = 1.0
        probability[~full] *= (count - full.sum()) / probability[~full].sum()
    return probability
