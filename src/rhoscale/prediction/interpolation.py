"""Any block of a finer or coarser grid from a field on its compute grid, axis by axis and slab by slab.

The value at a point is a product of three sums, one along each axis, so a block needs three small matrices and one
pass over the part of the field that they reach, never the whole of either grid in memory. The density gets
band-limited weights: the Fourier series of the period, exactly, or along long axes a window of it. Deviations get local
cubic ones on the logarithm of their variance, because a standard deviation is positive and not band-limited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rhoscale.grid import Shape

FloatArray = NDArray[np.float64]
ReadBox = Callable[[Shape, Shape], NDArray[np.floating]]
SLAB_BYTES = 64 * 2**20
SLAB = 64  # planes read at once, at most: as many as a store compresses together
SMALLEST_SIGMA = 1e-12
LONGEST_PERIOD = 128  # points of an axis up to which the whole period counts
HALF_WINDOW = 16  # points on each side that count along longer axes
KAISER = 10.0  # shape of the window: exact to 1e-5 up to 0.8 of the Nyquist wave


@dataclass(frozen=True)
class AxisWeights:
    """Weights along one axis: value i is the sum over j of ``weights[i, j]`` times the field at point ``first + j``.

    Points beyond the period are those of its images.
    """

    first: int
    weights: FloatArray


Kernel = Callable[[int, int, int, int], AxisWeights]


def band_limited(old: int, new: int, start: int, stop: int) -> AxisWeights:
    """:func:`fourier_weights` along axes of up to 128 points, :func:`windowed_weights` along longer ones."""
    kernel = fourier_weights if old <= LONGEST_PERIOD else windowed_weights
    return kernel(old, new, start, stop)


def fourier_weights(old: int, new: int, start: int, stop: int) -> AxisWeights:
    """Weights [stop - start, old] of the Fourier series through ``old`` points of a period, at points i / new.

        D(x) = sin(pi n x) / (n sin(pi x)) for odd n,    sin(pi n x) / (n tan(pi x)) for even n

    For even n the wave at the Nyquist index counts half for each sign, as in ``refinement.refine``.
    """
    numerator = (np.arange(start, stop)[:, None] * old - np.arange(old)[None, :] * new) % (old * new)
    x = np.where(numerator == 0, 0.5, numerator / (old * new))
    top = np.sin(
        np.pi * (numerator % (2 * new)) / new
    )  # the argument is reduced in integers, so large grids stay exact
    bottom = np.tan(np.pi * x) if old % 2 == 0 else np.sin(np.pi * x)
    return AxisWeights(0, np.where(numerator == 0, 1.0, top / (old * bottom)))


def windowed_weights(old: int, new: int, start: int, stop: int) -> AxisWeights:
    """Weights of the 32 nearest points: the series of an endless axis under a Kaiser window, rows that sum to one,

        w(x) ~ sinc(x) I_0(10 sqrt(1 - (x / 16)^2)),    x in units of the old spacing.

    Waves up to 0.8 of the grid's Nyquist wave are exact to 1e-5 of their amplitude; those above lose up to half of it.
    J. F. Kaiser and R. W. Schafer, IEEE Trans. Acoust. Speech Signal Process. 28, 105 (1980).
    """

    def window(x: FloatArray) -> FloatArray:
        inside = np.clip(1.0 - (x / HALF_WINDOW) ** 2, 0.0, None)
        return np.asarray(np.sinc(x) * np.i0(KAISER * np.sqrt(inside)))

    found = _local(old, new, start, stop, 1 - HALF_WINDOW, HALF_WINDOW, window)
    return AxisWeights(found.first, found.weights / found.weights.sum(axis=1, keepdims=True))


def cubic_weights(old: int, new: int, start: int, stop: int) -> AxisWeights:
    """Weights of the cubic convolution through the four nearest points.

    Catmull-Rom weights: Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1153 (1981), a = -1/2.
    """

    def cubic(x: FloatArray) -> FloatArray:
        d = np.abs(x)
        near = 1.0 - 2.5 * d**2 + 1.5 * d**3
        far = 2.0 - 4.0 * d + 2.5 * d**2 - 0.5 * d**3
        return np.where(d <= 1.0, near, np.where(d < 2.0, far, 0.0))

    return _local(old, new, start, stop, -1, 2, cubic)


def _local(
    old: int, new: int, start: int, stop: int, low: int, high: int, shape: Callable[[FloatArray], FloatArray]
) -> AxisWeights:
    """Weights ``shape(distance)`` of the points from ``low`` to ``high`` around the one before each value."""
    base, remainder = np.divmod(np.arange(start, stop) * old, new)
    first = int(base[0]) + low
    weights = np.zeros((stop - start, int(base[-1]) + high + 1 - first))
    rows = np.arange(stop - start)
    for tap in range(low, high + 1):
        weights[rows, base + tap - first] = shape(remainder / new - tap)
    return AxisWeights(first, weights)


def interpolate(
    read: ReadBox,
    old: Shape,
    new: Shape,
    start: Shape,
    stop: Shape,
    kernel: Kernel,
    slab: int = SLAB,
) -> FloatArray:
    """Values in the block start <= (i, j, k) < stop of a grid of ``new`` points, from a field on ``old`` points.

    Args:
        read: Hands out the box from one point up to another of the field on the old grid, its images included; see
            :func:`periodic`.
        old: Shape of the old grid.
        new: Shape of the new grid, same cell.
        start: First point of the block.
        stop: One past its last point.
        kernel: ``band_limited``, ``fourier_weights``, ``windowed_weights`` or ``cubic_weights``.
        slab: Planes to read at once, at most.
    """
    first, second, third = (kernel(o, n, a, b) for o, n, a, b in zip(old, new, start, stop, strict=True))
    low = (first.first, second.first, third.first)
    planes, rows, columns = (axis.weights.shape[1] for axis in (first, second, third))
    result = np.zeros((len(first.weights), len(second.weights), len(third.weights)))
    thickness = max(1, min(slab, SLAB_BYTES // (8 * rows * columns)))
    for a in range(0, planes, thickness):
        part = first.weights[:, a : a + thickness]
        corner = (low[0] + a, low[1], low[2])
        end = (corner[0] + part.shape[1], low[1] + rows, low[2] + columns)
        values = read(corner, end).astype(np.float64) @ third.weights.T
        values = np.einsum("yj,xjz->xyz", second.weights, values, optimize=True)
        result += np.tensordot(part, values, axes=(1, 0))
    return result


def periodic(
    read_inside: Callable[[tuple[slice, ...]], NDArray[np.floating]], shape: Shape, dtype: DTypeLike
) -> ReadBox:
    """Read boxes of a periodic field, which may leave the cell, with what reads those inside it."""

    def read(low: Shape, high: Shape) -> NDArray[np.floating]:
        axes = [list(_pieces(a, b, n)) for a, b, n in zip(low, high, shape, strict=True)]
        if all(len(pieces) == 1 for pieces in axes):
            return read_inside(tuple(pieces[0][0] for pieces in axes))
        box = np.empty([b - a for a, b in zip(low, high, strict=True)], dtype=dtype)
        for pieces in product(*axes):
            box[tuple(place for _, place in pieces)] = read_inside(tuple(inside for inside, _ in pieces))
        return box

    return read


def periodic_values(values: NDArray[np.floating]) -> ReadBox:
    """:func:`periodic` for an array in memory."""
    i, j, k = values.shape
    return periodic(lambda box: values[box], (i, j, k), values.dtype)


def _pieces(low: int, high: int, period: int) -> Iterator[tuple[slice, slice]]:
    """Slices of one period that make up low <= i < high, and where they belong in that range."""
    at = low
    while at < high:
        inside = at % period
        count = min(high - at, period - inside)
        yield slice(inside, inside + count), slice(at - low, at - low + count)
        at += count
