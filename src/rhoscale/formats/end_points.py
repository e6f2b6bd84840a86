"""Grids that repeat their first points at the end of each axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

WRITTEN_PRECISION = 2e-5  # of the largest value in a plane; five decimals, as most volumes are written


def end_points_repeated(values: FloatArray) -> bool:
    """Whether the last plane along every axis is the first one again, as written numbers can tell."""
    return min(values.shape) > 1 and all(_same_planes(values, axis, 0, -1) for axis in range(3))


def looks_like_a_box_with_both_ends(values: FloatArray, voxel_volume: float) -> bool:
    """Whether a grid that should be periodic seems to contain both ends of each axis.

    That is: the end planes coincide along every axis, the planes next to them differ, and the electrons counted
    without the repeated planes are nearer to a whole number than those counted with them. A mirror plane half a step
    before the first point makes the end planes coincide, too; counting the electrons tells the two apart.
    """
    if not end_points_repeated(values) or all(_same_planes(values, axis, 0, 1) for axis in range(3)):
        return False
    with_ends = float(values.sum()) * voxel_volume
    without = float(values[:-1, :-1, :-1].sum()) * voxel_volume
    return abs(without - round(without)) < abs(with_ends - round(with_ends))


def _same_planes(values: FloatArray, axis: int, one: int, other: int) -> bool:
    first, second = np.take(values, one, axis), np.take(values, other, axis)
    return bool(np.abs(first - second).max() <= WRITTEN_PRECISION * np.abs(first).max())
