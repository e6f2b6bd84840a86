"""What the sixteen points of a block share: their box, the atoms around it, and the way back to the points' rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import WIDTH
from rhoscale.descriptors.smooth.columns import store_columns


@njit(nogil=True, cache=True, forceinline=True)
def box(points, members, middle, half):  # type: ignore[no-untyped-def]
    """Write the middle of the box around some points [3], and half its edges [3]."""
    for axis in range(3):
        low = high = points[members[0], axis]
        for i in members:
            low = min(low, points[i, axis])
            high = max(high, points[i, axis])
        middle[axis] = 0.5 * (low + high)
        half[axis] = 0.5 * (high - low)


@njit(nogil=True, cache=True, forceinline=True)
def place_points(points, members, middle, block):  # type: ignore[no-untyped-def]
    """Write at most WIDTH points relative to the middle of their block; lanes left over repeat the last point."""
    for lane in range(WIDTH):
        i = members[min(lane, len(members) - 1)]
        for axis in range(3):
            block[axis * WIDTH + lane] = points[i, axis] - middle[axis]


@njit(nogil=True, cache=True, forceinline=True)
def nearest_first(  # type: ignore[no-untyped-def]
    vectors, indices, found, middle, half, cutoffs, squares, chosen, near, numbers, ends
):
    """Sort atoms and their numbers by the first cutoff around a box that holds them; ends[c] counts those within it.

    Pass by pass without branches: where an atom goes cannot be foretold.
    """
    x, y, z = middle
    a, b, c = half
    for i in range(found):
        u = max(0.0, abs(vectors[0, i] - x) - a)
        v = max(0.0, abs(vectors[1, i] - y) - b)
        w = max(0.0, abs(vectors[2, i] - z) - c)
        squares[i] = u * u + v * v + w * w
    n = 0
    above = -1.0
    for k in range(len(cutoffs)):
        limit = cutoffs[k] * cutoffs[k]
        for i in range(found):
            chosen[n] = i
            n += (squares[i] > above) & (squares[i] <= limit)
        ends[k] = n
        above = limit
    for m in range(n):
        i = chosen[m]
        numbers[m] = indices[i]
        near[0, m] = vectors[0, i] - x
        near[1, m] = vectors[1, i] - y
        near[2, m] = vectors[2, i] - z


@njit(nogil=True, cache=True, forceinline=True)
def write_rows(table, members, size, rows):  # type: ignore[no-untyped-def]
    """Copy the columns of a table to the rows of their points."""
    starts = np.empty(WIDTH, dtype=np.int64)
    for lane in range(len(members)):
        starts[lane] = members[lane] * size
    if len(members) == WIDTH and size >= WIDTH:
        for f in range(0, size - WIDTH + 1, WIDTH):
            store_columns(table, f, rows, starts, f)
        store_columns(table, size - WIDTH, rows, starts, size - WIDTH)
    else:
        for f in range(size):
            for lane in range(len(members)):
                rows[starts[lane] + f] = table[f * WIDTH + lane]
