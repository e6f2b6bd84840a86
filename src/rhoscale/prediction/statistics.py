"""Statistics that are gathered while tiles are written; sums and counts, so that no order of tiles changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.grid import Grid
from rhoscale.prediction.tiles import Tile

Float32Array = NDArray[np.float32]
Counts = NDArray[np.int64]

STATISTICS = (
    "points",
    "density_sum",
    "density_min",
    "density_max",
    "total_sum",
    "total_max",
    "beyond",
    "aleatoric_sum",
    "epistemic_sum",
    "worst_i",
    "worst_j",
    "worst_k",
)
QUANTITIES = ("density", "aleatoric", "epistemic", "total")
LOWEST_OCTAVE, HIGHEST_OCTAVE = -26, 6  # 1.5e-8 to 64 e/Bohr^3; what lies outside is counted in the outermost bins
BINS_PER_OCTAVE = 32
BINS = (HIGHEST_OCTAVE - LOWEST_OCTAVE) * BINS_PER_OCTAVE
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
WORST_TILES = 10
_SHIFT = 23 - BINS_PER_OCTAVE.bit_length() + 1  # bits of a float32 below those that number its bin
_FIRST = (LOWEST_OCTAVE + 127) * BINS_PER_OCTAVE


@dataclass(frozen=True)
class TileStatistics:
    """What one tile adds to the statistics of the whole.

    Attributes:
        row: The columns ``STATISTICS``.
        histograms: Counts of each of ``QUANTITIES`` in the bins of :func:`bin_edges` [4, BINS].
    """

    row: NDArray[np.float64]
    histograms: NDArray[np.uint32]


def tile_statistics(tile: Tile, fields: Mapping[str, Float32Array], sigma_limit: float | None) -> TileStatistics:
    """Sum up the fields of one tile: ``density`` and, where predicted, ``aleatoric`` and ``epistemic``."""
    density = fields["density"]
    values: dict[str, Any] = dict.fromkeys(STATISTICS, 0.0)
    values |= {"points": density.size, "density_sum": density.sum(dtype=np.float64)}
    values |= {"density_min": density.min(), "density_max": density.max()}
    histograms = np.zeros((len(QUANTITIES), BINS), dtype=np.uint32)
    histograms[0] = histogram(density)
    if "aleatoric" in fields:
        total = np.hypot(fields["aleatoric"], fields["epistemic"])
        worst = np.unravel_index(int(np.argmax(total)), total.shape)
        values |= {f"worst_{axis}": o + i for axis, o, i in zip("ijk", tile.start, worst, strict=True)}
        values |= {"total_sum": total.sum(dtype=np.float64), "total_max": total[worst]}
        values["beyond"] = 0 if sigma_limit is None else np.count_nonzero(total > sigma_limit)
        for row, name in enumerate(QUANTITIES[1:3], start=1):
            values[f"{name}_sum"] = fields[name].sum(dtype=np.float64)
            histograms[row] = histogram(fields[name])
        histograms[3] = histogram(total)
    return TileStatistics(np.array([float(values[name]) for name in STATISTICS]), histograms)


def histogram(values: Float32Array) -> Counts:
    """Count values in bins that cut each octave in 32 equal parts; their numbers are the leading bits of a float32.

    So a bin holds a value or not without any rounding. Negative values are counted in the first bin.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.int32) >> _SHIFT
    bits -= _FIRST
    return np.bincount(np.clip(bits, 0, BINS - 1, out=bits), minlength=BINS)


def bin_edges() -> NDArray[np.float64]:
    """Edges of the histograms' bins [BINS + 1], electrons per Bohr^3."""
    octave, part = np.divmod(np.arange(BINS + 1), BINS_PER_OCTAVE)
    return np.asarray(np.exp2(octave + LOWEST_OCTAVE) * (1.0 + part / BINS_PER_OCTAVE))


def quantile(counts: Counts, share: float) -> float:
    """The value below which a share of the counted values lies, to the width of a bin (at most 3 %)."""
    below = np.concatenate([[0.0], np.cumsum(counts)])
    return float(np.interp(share * below[-1], below, bin_edges()))


def kolmogorov_smirnov(first: Counts, second: Counts) -> float:
    """Largest difference of the cumulative distributions of two histograms."""
    return float(np.abs(np.cumsum(first) / first.sum() - np.cumsum(second) / second.sum()).max())


def describe_field(
    rows: NDArray[np.float64], histograms: Iterable[NDArray[np.uint32]], grid: Grid, factor: float, *, sigmas: bool
) -> dict[str, Any]:
    """Merge the statistics of all tiles into plain values of the rescaled field.

    Args:
        rows: One a tile, columns ``STATISTICS``.
        histograms: Those of tiles or of parts of them, any grouping [..., 4, BINS].
        grid: Compute grid.
        factor: From raw to rescaled values.
        sigmas: Whether standard deviations were predicted.
    """
    counts = np.zeros((len(QUANTITIES), BINS), dtype=np.int64)
    for part in histograms:
        counts += part.reshape(-1, *counts.shape).sum(axis=0, dtype=np.int64)
    column = dict(zip(STATISTICS, rows.T, strict=True))
    points = int(column["points"].sum())
    found: dict[str, Any] = {"points": points}
    for name, count in zip(QUANTITIES, counts if sigmas else counts[:1], strict=False):
        found[name] = {
            "mean": factor * fsum(column[f"{name}_sum"]) / points,
            "quantiles": {str(share): factor * quantile(count, share) for share in QUANTILES},
        }
    found["density"] |= {
        "min": factor * float(column["density_min"].min()),
        "max": factor * float(column["density_max"].max()),
        "histogram": _coarse_histogram(counts[0], factor),
    }
    if sigmas:
        found["total"]["max"] = factor * float(column["total_max"].max())
        found["worst_tiles"] = _worst_tiles(column, grid, factor)
    return found


def _coarse_histogram(counts: Counts, factor: float, joined: int = 4) -> dict[str, list[float]]:
    """Counts of four bins together, from the first to the last that is not empty, and their edges."""
    sums = counts.reshape(-1, joined).sum(axis=1)
    used = np.flatnonzero(sums)
    first, last = int(used[0]), int(used[-1]) + 1
    edges = factor * bin_edges()[::joined][first : last + 1]
    return {"edges": edges.tolist(), "counts": sums[first:last].tolist()}


def _worst_tiles(column: Mapping[str, NDArray[np.float64]], grid: Grid, factor: float) -> list[dict[str, Any]]:
    """Tiles with the largest total standard deviations, and where in them it is; equal ones by their index."""
    worst = np.argsort(-column["total_max"], kind="stable")[:WORST_TILES]
    points = np.stack([column[f"worst_{axis}"][worst] for axis in "ijk"], axis=1)
    positions = points / np.array(grid.shape) @ grid.cell
    return [
        {
            "tile": int(tile),
            "point": [int(n) for n in point],
            "position": [float(x) for x in position],
            "total": factor * float(column["total_max"][tile]),
        }
        for tile, point, position in zip(worst, points, positions, strict=True)
    ]
