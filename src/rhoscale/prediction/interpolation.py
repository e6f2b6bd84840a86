"""Any block of a finer or coarser grid from a field on its compute grid, axis by axis and slab by slab.

The value at a point is a product of three sums, one along each axis, so a block needs three small matrices and one
pass over the field, never the whole of either grid in memory. The density gets the periodic band-limited
weights (the zero-padded Fourier series, exactly); deviations get local cubic ones on the logarithm of their variance,
because a standard deviation is positive and not band-limited.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rhoscale.grid import Shape

FloatArray = NDArray[np.float64]
Box = tuple[slice, slice, slice]
Weights = Callable[[int, int, int, int], FloatArray]
SLAB_BYTES = 64 * 2**20
SMALLEST_SIGMA = 1e-12


def fourier_weights(old: int, new: int, start: int, stop: int) -> FloatArray:
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
    return np.where(numerator == 0, 1.0, top / (old * bottom))


def cubic_weights(old: int, new: int, start: int, stop: int) -> FloatArray:
    """Weights [stop - start, old] of the periodic cubic convolution through the four nearest points.

    Catmull-Rom weights: Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1153 (1981), a = -1/2.
    """
    base, remainder = np.divmod(np.arange(start, stop) * old, new)
    t = remainder / new
    taps = (
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (-(t**2) + t**3),
    )
    weights = np.zeros((stop - start, old))
    rows = np.arange(stop - start)
    for offset, tap in enumerate(taps):
        np.add.at(weights, (rows, (base + offset - 1) % old), tap)
    return weights


def interpolate(
    read: Callable[[Box], NDArray[np.floating]],
    old: Shape,
    new: Shape,
    start: Shape,
    stop: Shape,
    weights: Weights,
    slab: int = 16,
) -> FloatArray:
    """Values in the block start <= (i, j, k) < stop of a grid of ``new`` points, from a field on ``old`` points.

    Args:
        read: Hands out a box of the field on the old grid.
        old: Shape of the old grid.
        new: Shape of the new grid, same cell.
        start: First point of the block.
        stop: One past its last point.
        weights: ``fourier_weights`` or ``cubic_weights``.
        slab: Planes to read at once; best a multiple of the planes that are stored together.
    """
    first, second, third = (weights(o, n, a, b) for o, n, a, b in zip(old, new, start, stop, strict=True))
    ys, zs = _span(second), _span(third)
    second, third = second[:, ys], third[:, zs]
    result = np.zeros((len(first), len(second), len(third)))
    thickness = max(1, min(slab, SLAB_BYTES // (8 * second.shape[1] * third.shape[1])))
    for a in range(0, old[0], thickness):
        planes = slice(a, min(a + thickness, old[0]))
        if not first[:, planes].any():
            continue
        values = read((planes, ys, zs)).astype(np.float64) @ third.T
        values = np.einsum("yj,xjz->xyz", second, values, optimize=True)
        result += np.tensordot(first[:, planes], values, axes=(1, 0))
    return result


def _span(weights: FloatArray) -> slice:
    """The columns from the first to the last that any row uses."""
    used = np.flatnonzero(weights.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1)
