"""Sorting networks: which rows to compare and exchange, for tables of any length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

STEP = 4


class Networks(NamedTuple):
    """Networks for STEP, 2 STEP, ... rows, of which the first few shall come out sorted.

    Attributes:
        starts: First comparator of each network in ``pairs`` [networks + 1].
        pairs: Rows of each comparator, the one for the smaller value first [comparators, 2].
    """

    starts: IntArray
    pairs: NDArray[np.uint16]


@njit(nogil=True, cache=True)
def make_networks(largest: int, wanted: int) -> Networks:
    """Build networks for up to ``largest`` rows that sort the smallest ``wanted`` to the front.

    K. E. Batcher's odd-even merge sort (AFIPS Conf. Proc. 32, 307, 1968) without the comparators that cannot reach
    the first rows.
    """
    count = largest // STEP
    starts = np.zeros(count + 1, np.int64)
    for network in range(count):
        starts[network + 1] = starts[network] + _odd_even((network + 1) * STEP, np.empty((0, 2), np.uint16))
    pairs = np.empty((starts[count], 2), np.uint16)
    used = 0
    for network in range(count):
        n = (network + 1) * STEP
        whole = np.empty((starts[network + 1] - starts[network], 2), np.uint16)
        _odd_even(n, whole)
        starts[network] = used
        used += _without_useless(whole, n, wanted, pairs[used:])
    starts[count] = used
    return Networks(starts, pairs[:used].copy())


@njit(nogil=True, cache=True)
def _odd_even(n: int, pairs: NDArray[np.uint16]) -> int:
    """Write the comparators for n rows, in order, as far as there is room; returns how many there are."""
    found = 0
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                if j // (2 * p) == (j + k) // (2 * p):
                    for i in range(j, j + min(k, n - j - k)):
                        if found < len(pairs):
                            pairs[found, 0] = i
                            pairs[found, 1] = i + k
                        found += 1
            k //= 2
        p *= 2
    return found


@njit(nogil=True, cache=True)
def _without_useless(whole: NDArray[np.uint16], n: int, wanted: int, kept: NDArray[np.uint16]) -> int:
    """Copy the comparators that the first rows depend on; returns how many there are."""
    needed = np.arange(n) < wanted
    useful = np.zeros(len(whole), np.bool_)
    for c in range(len(whole) - 1, -1, -1):
        a, b = whole[c, 0], whole[c, 1]
        useful[c] = needed[a] or needed[b]
        needed[a] |= useful[c]
        needed[b] |= useful[c]
    found = 0
    for c in range(len(whole)):
        if useful[c]:
            kept[found, 0] = whole[c, 0]
            kept[found, 1] = whole[c, 1]
            found += 1
    return found
