"""What the sixteen points of a block share: their box, the atoms around it, and the way back to the points' rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import LANES
from rhoscale.descriptors.smooth.columns import store_columns


@njit(nogil=True, cache=True)
def box(points, members):  # type: ignore[no-untyped-def]
    """Middle of the box around some points [3], and half its edges [3]."""
    low = np.full(3, np.inf)
    high = np.full(3, -np.inf)
    for i in members:
        for axis in range(3):
            low[axis] = min(low[axis], points[i, axis])
            high[axis] = max(high[axis], points[i, axis])
    return 0.5 * (low + high), 0.5 * (high - low)


@njit(nogil=True, cache=True)
def place_points(points, members, middle, block):  # type: ignore[no-untyped-def]
    """Write points relative to the middle of their block; lanes left over repeat the last point."""
    for lane in range(LANES):
        i = members[min(lane, len(members) - 1)]
        for axis in range(3):
            block[axis * LANES + lane] = points[i, axis] - middle[axis]


@njit(nogil=True, cache=True)
def nearest_first(vectors, found, middle, half, cutoffs, lists, near, ends):  # type: ignore[no-untyped-def]
    """Sort atoms by the first cutoff around a box that holds them; ends[c] counts those within cutoff c."""
    counts = np.zeros(len(cutoffs) + 1, dtype=np.int64)
    for a in range(found):
        r2 = 0.0
        for axis in range(3):
            outside = max(0.0, abs(vectors[axis, a] - middle[axis]) - half[axis])
            r2 += outside * outside
        c = 0
        for cutoff in cutoffs:
            c += r2 > cutoff * cutoff
        lists[c, counts[c]] = a
        counts[c] += 1
    n = 0
    for c in range(len(cutoffs)):
        for i in range(counts[c]):
            a = lists[c, i]
            for axis in range(3):
                near[axis, n] = vectors[axis, a] - middle[axis]
            n += 1
        ends[c] = n


@njit(nogil=True, cache=True)
def write_rows(table, members, size, rows):  # type: ignore[no-untyped-def]
    """Copy the columns of a table to the rows of their points."""
    starts = np.empty(LANES, dtype=np.int64)
    for lane in range(len(members)):
        starts[lane] = members[lane] * size
    if len(members) == LANES and size >= LANES:
        for f in range(0, size - LANES + 1, LANES):
            store_columns(table, f, rows, starts, f)
        store_columns(table, size - LANES, rows, starts, size - LANES)
    else:
        for f in range(size):
            for lane in range(len(members)):
                rows[starts[lane] + f] = table[f * LANES + lane]
