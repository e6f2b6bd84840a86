"""Points put in a spatially compact order and cut into blocks of sixteen neighbours, and those into bricks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from rhoscale.descriptors.lanes import LANES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Codes = NDArray[np.uint64]

LEVELS = 10
"""Bits of each coordinate of scattered points along the curve."""
BLOCK_WIDTH = 3.5
"""A block is cut short rather than wider than this, Bohr: scattered points would share too few atoms."""
BRICK_WIDTH = 8.0
"""The same for a brick, Bohr."""
BLOCKS_PER_BRICK = 16
BRICKS_PER_TASK = 32


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


def cut_into_bricks(points: FloatArray, block_width: float = BLOCK_WIDTH) -> Bricks:
    """Group points [n, 3], Bohr, with their neighbours; blocks are no wider than ``block_width``, Bohr.

    The curve of a block of a grid runs through its indices, so that sixteen successive points are 2 x 2 x 4.
    """
    i, j, k = block_shape(points).tolist()
    order = _order_of_block(i, j, k) if i > 0 else _order_of_scattered(points)
    blocks = _cut(points, order, np.arange(len(points) + 1), block_width, LANES)
    brick_width = BRICK_WIDTH / BLOCK_WIDTH * block_width
    return Bricks(order, blocks, _cut(points, order, blocks, brick_width, BLOCKS_PER_BRICK))


@lru_cache(maxsize=16)
def _order_of_block(i: int, j: int, k: int) -> IntArray:
    """Points of a block of a grid along the curve, kept for the next block of that shape; not to be changed."""
    codes = np.empty(i * j * k, np.uint64)
    _code_block(np.array((i, j, k)), max(int(max(i, j, k) - 1).bit_length(), 1), codes)
    return _sorted(codes)


def _order_of_scattered(points: FloatArray) -> IntArray:
    codes = np.empty(len(points), np.uint64)
    _code_scattered(points, codes)
    return _sorted(codes)


def _sorted(codes: Codes) -> IntArray:
    """Numbers of points, the low half of each code, in the order of the high half."""
    codes.sort()
    return (codes & np.uint64(0xFFFFFFFF)).astype(np.int64)


def share_bricks(bricks: Bricks, work: Callable[[int, int], None], threads: int | None) -> None:
    """Call ``work(first, last + 1)`` for some bricks at a time, on at most ``threads`` (by default Numba's number)."""
    n = len(bricks.bricks) - 1
    starts = range(0, n, BRICKS_PER_TASK)
    stops = [min(start + BRICKS_PER_TASK, n) for start in starts]
    workers = min(threads or config.NUMBA_NUM_THREADS, len(starts))  # type: ignore[attr-defined]
    if workers == 1:
        for start, stop in zip(starts, stops, strict=True):
            work(start, stop)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, starts, stops))


@njit(nogil=True, cache=True)
def block_shape(points: FloatArray) -> IntArray:
    """Points along each axis if these are a block of a grid in C order, else zeros."""
    n = len(points)
    counts = np.ones(3, np.int64)
    steps = np.zeros((3, 3))
    stride = 1
    for axis in range(2, -1, -1):
        if stride >= n:
            break
        for c in range(3):
            steps[axis, c] = points[stride, c] - points[0, c]
        while counts[axis] * stride < n and _stands_at(points, counts[axis] * stride, counts[axis], steps[axis]):
            counts[axis] += 1
        stride *= counts[axis]
    if stride != n:
        return np.zeros(3, np.int64)
    offset = np.zeros(3)
    for i in range(counts[0]):
        for j in range(counts[1]):
            first = (i * counts[1] + j) * counts[2]
            for k in range(counts[2]):
                for c in range(3):
                    offset[c] = i * steps[0, c] + j * steps[1, c] + k * steps[2, c]
                if not _stands_at(points, first + k, 1, offset):
                    return np.zeros(3, np.int64)
    return counts


@njit(nogil=True, cache=True)
def _stands_at(points: FloatArray, i: int, multiple: int, step: FloatArray) -> bool:
    error = 0.0
    for c in range(3):
        error = max(error, abs(points[i, c] - points[0, c] - multiple * step[c]))
    return error < 1e-6


@njit(nogil=True, cache=True)
def _code_block(shape: IntArray, levels: int, codes: Codes) -> None:
    n = 0
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                codes[n] = (_hilbert(np.uint32(i), np.uint32(j), np.uint32(k), levels) << np.uint64(32)) | np.uint64(n)
                n += 1


@njit(nogil=True, cache=True)
def _code_scattered(points: FloatArray, codes: Codes) -> None:
    low = points[0].copy()
    width = 1e-9
    for i in range(len(points)):
        for c in range(3):
            low[c] = min(low[c], points[i, c])
    for i in range(len(points)):
        for c in range(3):
            width = max(width, points[i, c] - low[c])
    scale = ((1 << LEVELS) - 1) / width
    x = np.empty(3, np.uint32)
    for i in range(len(points)):
        for c in range(3):
            x[c] = np.uint32((points[i, c] - low[c]) * scale + 0.5)
        codes[i] = (_hilbert(x[0], x[1], x[2], LEVELS) << np.uint64(32)) | np.uint64(i)


@njit(nogil=True, cache=True)
def _hilbert(x0: np.uint32, x1: np.uint32, x2: np.uint32, levels: int) -> np.uint64:
    """Index along the Hilbert curve of integer coordinates (J. Skilling, AIP Conf. Proc. 707, 381, 2004)."""
    for level in range(levels - 1, 0, -1):
        bit = np.uint32(1 << level)
        rest = np.uint32(bit - 1)
        if x0 & bit:
            x0 ^= rest
        if x1 & bit:
            x0 ^= rest
        else:
            swap = (x0 ^ x1) & rest
            x0 ^= swap
            x1 ^= swap
        if x2 & bit:
            x0 ^= rest
        else:
            swap = (x0 ^ x2) & rest
            x0 ^= swap
            x2 ^= swap
    x1 ^= x0
    x2 ^= x1
    flip = np.uint32(0)
    for level in range(levels - 1, 0, -1):
        if x2 & np.uint32(1 << level):
            flip ^= np.uint32((1 << level) - 1)
    x0, x1, x2 = x0 ^ flip, x1 ^ flip, x2 ^ flip
    code = np.uint64(0)
    for level in range(levels - 1, -1, -1):
        bits = (x0 >> level & 1) << 2 | (x1 >> level & 1) << 1 | x2 >> level & 1
        code = (code << np.uint64(3)) | np.uint64(bits)
    return code


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
                for c in range(3):
                    low[c] = np.inf
                    high[c] = -np.inf
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
