"""Coverage of groups of points with intervals from a bootstrap over snapshots, and what sigma is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from rhoscale.intervals import half_width
from rhoscale.metrics.calibration import LEVELS

FloatArray = NDArray[np.floating]

RESAMPLES = 1000
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class Reliability:
    """One group of points of several snapshots.

    Attributes:
        points: Their number.
        coverage: For each nominal level the share of errors inside the interval.
        interval: For each level 95 % of the resampled coverages lie in it; None for fewer than three snapshots.
        rms_error: Root mean square of the errors, electrons per Bohr^3.
        rms_sigma: Root mean square of the predicted deviations.
    """

    points: int
    coverage: dict[float, float]
    interval: dict[float, tuple[float, float]] | None
    rms_error: float
    rms_sigma: float

    def to_dict(self) -> dict[str, object]:
        """Plain values; levels in percent as keys."""
        found: dict[str, object] = {
            "points": self.points,
            "coverage": {f"{100 * level:g}": share for level, share in self.coverage.items()},
            "rms_error": self.rms_error,
            "rms_sigma": self.rms_sigma,
        }
        if self.interval is not None:
            found["interval"] = {f"{100 * level:g}": list(ends) for level, ends in self.interval.items()}
        return found


def reliability(
    errors: Sequence[FloatArray], sigma: Sequence[FloatArray], *, freedom: float = math.inf, seed: int = 0
) -> Reliability | None:
    """Summarise one group of points, given snapshot by snapshot; None if it is empty.

    Points of a snapshot are relatives, snapshots of different trajectories are not: the interval comes from drawing as
    many snapshots with replacement (B. Efron, Ann. Stat. 7, 1, 1979).

    Args:
        errors: For each snapshot [n], electrons per Bohr^3; a snapshot may have none.
        sigma: Predicted deviations at the same points.
        freedom: Degrees of freedom of the intervals; infinite for Gaussian ones.
        seed: Of the resampling.
    """
    limits = [half_width(level, freedom) for level in LEVELS]
    ratios = [np.abs(np.asarray(e, dtype=np.float64)) / s for e, s in zip(errors, sigma, strict=True)]
    hits = np.array([[np.count_nonzero(r <= limit) for limit in limits] for r in ratios], dtype=np.float64)
    counts = np.array([len(r) for r in ratios], dtype=np.float64)
    if counts.sum() == 0:
        return None
    low_high = bootstrap_interval(hits, counts, seed=seed)
    return Reliability(
        points=int(counts.sum()),
        coverage=dict(zip(LEVELS, (hits.sum(axis=0) / counts.sum()).tolist(), strict=True)),
        interval=None if low_high is None else {v: (a, b) for v, a, b in zip(LEVELS, *low_high.tolist(), strict=True)},
        rms_error=_rms(np.concatenate(list(errors))),
        rms_sigma=_rms(np.concatenate(list(sigma))),
    )


def bootstrap_interval(sums: FloatArray, counts: FloatArray, *, seed: int = 0) -> NDArray[np.float64] | None:
    """95 % interval [2, k] of sums / counts over resampled snapshots; None if fewer than three have points.

    Args:
        sums: For each snapshot [s, k].
        counts: For each snapshot [s].
        seed: Of the resampling.
    """
    present = counts > 0
    number = int(present.sum())
    if number < 3:
        return None
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1.0 / number), size=RESAMPLES)
    means = (drawn @ sums[present]) / (drawn @ counts[present])[:, None]
    return np.asarray(np.quantile(means, INTERVAL, axis=0))


def deciles(sigma: FloatArray) -> NDArray[np.intp]:
    """Number of the tenth [n], 0 for the smallest, that each deviation [n] is in."""
    edges = np.quantile(sigma, np.arange(1, 10) / 10)
    return np.searchsorted(edges, sigma, side="right")


def rank_correlation(errors: FloatArray, sigma: FloatArray) -> float:
    """Spearman correlation of deviation and absolute error."""
    return float(spearmanr(sigma, np.abs(errors)).statistic)


def rank_correlation_ceiling(sigma: FloatArray, *, seed: int = 0) -> float:
    """Spearman correlation that perfect deviations would have: with errors drawn from N(0, sigma^2)."""
    drawn = np.random.default_rng(seed).standard_normal(len(sigma)) * sigma
    return rank_correlation(drawn, sigma)


def constant_by_group(errors: FloatArray, groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """One deviation for each group of points [n]: its root mean square error, the constant of best likelihood."""
    squares = np.bincount(groups, weights=np.square(errors, dtype=np.float64))
    return np.asarray(np.sqrt(squares / np.maximum(np.bincount(groups), 1))[groups])


def block_rms(values: FloatArray, blocks: NDArray[np.integer]) -> NDArray[np.float64]:
    """Root mean square of values [n] in each block that holds one; blocks are numbered from 0, [n]."""
    counts = np.bincount(blocks)
    squares = np.bincount(blocks, weights=np.square(values, dtype=np.float64))
    return np.asarray(np.sqrt(squares[counts > 0] / counts[counts > 0]))


def block_numbers(points: NDArray[np.integer], shape: Sequence[int], lengths: Sequence[float], edge: float) -> NDArray:
    """Number of the block [n] of a grid, cut into parts of about ``edge`` along each cell vector.

    Args:
        points: Flat indices of points of the grid [n].
        shape: Points of the grid along each cell vector.
        lengths: Of the cell vectors, Bohr.
        edge: Of a block, Bohr.
    """
    parts = [max(1, round(length / edge)) for length in lengths]
    indices = np.unravel_index(points, tuple(shape))
    along = [i * part // n for i, part, n in zip(indices, parts, shape, strict=True)]
    return np.ravel_multi_index(tuple(along), tuple(parts))


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
