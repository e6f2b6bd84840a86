"""Points put in a spatially compact order and cut into blocks of sixteen neighbours, and those into bricks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.lanes import LANES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BITS = 10
BLOCK_WIDTH = 3.5
"""A block is cut short rather than wider than this, Bohr: scattered points would share too few atoms."""
BRICK_WIDTH = 8.0
"""The same for a brick, Bohr."""
BLOCKS_PER_BRICK = 16


class Bricks(NamedTuple):
    """Points in the order of a Hilbert curve.

    Attributes:
        order: Points along the curve [n].
        blocks: Where each block of at most sixteen points starts in ``order`` [blocks + 1].
        bricks: Where each brick of neighbouring blocks starts in ``blocks`` [bricks + 1].
    """

    order: IntArray
    blocks: IntArray
    bricks: IntArray


def cut_into_bricks(points: FloatArray) -> Bricks:
    """Group points [n, 3], Bohr, with their neighbours."""
    low = points.min(axis=0)
    width = max(float((points.max(axis=0) - low).max()), 1e-9)
    codes = np.empty(len(points), np.uint64)
    _hilbert(points, low, (2**BITS - 1) / width, codes)
    codes.sort()
    order = (codes & np.uint64(0xFFFFFFFF)).astype(np.int64)
    blocks = _cut(points, order, np.arange(len(points) + 1), BLOCK_WIDTH, LANES)
    return Bricks(order, blocks, _cut(points, order, blocks, BRICK_WIDTH, BLOCKS_PER_BRICK))


@njit(nogil=True, cache=True)
def _hilbert(points: FloatArray, low: FloatArray, scale: float, codes: NDArray[np.uint64]) -> None:
    """Index along the Hilbert curve (J. Skilling, AIP Conf. Proc. 707, 381, 2004) above the point's own number."""
    x = np.empty(3, np.uint32)
    for n in range(len(points)):
        for c in range(3):
            x[c] = np.uint32((points[n, c] - low[c]) * scale + 0.5)
        for level in range(BITS - 1, 0, -1):
            bit = np.uint32(1 << level)
            rest = np.uint32(bit - 1)
            for c in range(3):
                if x[c] & bit:
                    x[0] ^= rest
                else:
                    swap = (x[0] ^ x[c]) & rest
                    x[0] ^= swap
                    x[c] ^= swap
        x[1] ^= x[0]
        x[2] ^= x[1]
        flip = np.uint32(0)
        for level in range(BITS - 1, 0, -1):
            if x[2] & np.uint32(1 << level):
                flip ^= np.uint32((1 << level) - 1)
        code = np.uint64(0)
        for level in range(BITS - 1, -1, -1):
            for c in range(3):
                code = (code << np.uint64(1)) | np.uint64(((x[c] ^ flip) >> np.uint32(level)) & np.uint32(1))
        codes[n] = (code << np.uint64(32)) | np.uint64(n)


@njit(nogil=True, cache=True)
def _cut(points: FloatArray, order: IntArray, pieces: IntArray, width: float, most: int) -> IntArray:
    """Join successive pieces of the curve, at most ``most`` together and no wider than ``width`` along any axis."""
    starts = np.empty(len(pieces), np.int64)
    n = 0
    together = most
    low = np.empty(3)
    high = np.empty(3)
    for piece in range(len(pieces) - 1):
        new = together == most
        for _ in range(2):
            if new:
                low[:] = np.inf
                high[:] = -np.inf
            for i in range(pieces[piece], pieces[piece + 1]):
                for c in range(3):
                    low[c] = min(low[c], points[order[i], c])
                    high[c] = max(high[c], points[order[i], c])
            if new or max(high[0] - low[0], high[1] - low[1], high[2] - low[2]) <= width:
                break
            new = True
        if new:
            starts[n] = piece
            n += 1
            together = 0
        together += 1
    starts[n] = len(pieces) - 1
    return starts[: n + 1].copy()
