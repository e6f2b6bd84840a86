"""The field in one tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import ModelError
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.statistics import TileStatistics, tile_statistics
from rhoscale.prediction.tiles import Tile

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class PointPrediction:
    """Values at points [n], electrons per Bohr^3; deviations are None where they were not asked for."""

    density: Float32Array
    aleatoric: Float32Array | None = None
    epistemic: Float32Array | None = None


PredictPoints = Callable[[NDArray[np.float64]], PointPrediction]


@dataclass(frozen=True)
class TilePrediction:
    """Values in a tile, each array of the tile's shape, electrons per Bohr^3."""

    tile: Tile
    density: Float32Array
    aleatoric: Float32Array | None
    epistemic: Float32Array | None
    statistics: TileStatistics


def predict_tile(tile: Tile, plan: PredictionPlan, predict_points: PredictPoints) -> TilePrediction:
    """Evaluate the model block by block in one tile, and round the density to the plan's step.

    Args:
        tile: One of the plan's tiles.
        plan: Says where the points are and what is asked.
        predict_points: Cartesian points [n, 3] in Bohr -> values at them.

    Raises:
        ModelError: The model gives a value that is not a finite number.
    """
    names = ("density", "aleatoric", "epistemic") if plan.uncertainty else ("density",)
    fields = {name: np.empty(tile.shape, dtype=np.float32) for name in names}
    grid = plan.grid
    for block in tile.blocks(plan.block_shape):
        values = predict_points(grid.points(block.start, block.stop))
        i, j, k = (slice(a - o, b - o) for a, b, o in zip(block.start, block.stop, tile.start, strict=True))
        for name, field in fields.items():
            field[i, j, k] = _finite(getattr(values, name), name, block).reshape(block.shape)
    if plan.density_step:
        round_to_step(fields["density"], plan.density_step)
    return TilePrediction(
        tile,
        fields["density"],
        fields.get("aleatoric"),
        fields.get("epistemic"),
        tile_statistics(tile, fields, plan.sigma_limit),
    )


def round_to_step(values: Float32Array, step: float) -> None:
    """Round to multiples of a power of two, in place: the bits of a float32 below it become zero and cost no disk."""
    values *= np.float32(1.0 / step)
    np.rint(values, out=values)
    values *= np.float32(step)


def _finite(values: Float32Array, name: str, block: Tile) -> Float32Array:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ModelError(
            f"the model's {name} is not a finite number at {bad} of {block.size} points of the block at {block.start}; "
            f"expected finite values; the structure is far from the training data, or the model is damaged"
        )
    return values
