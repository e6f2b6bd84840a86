"""Bricks of points: atoms are gathered once for a brick, blocks of sixteen points choose among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.bricks import Bricks
from rhoscale.descriptors.interface import Features
from rhoscale.descriptors.lanes import LANES
from rhoscale.descriptors.neighbours import CellList, holds_all, radius_of, within
from rhoscale.descriptors.scalar_products.network import STEP, Networks
from rhoscale.descriptors.scalar_products.one_point import describe_one
from rhoscale.descriptors.scalar_products.sixteen import (
    COARSEST_STEP,
    FIELDS,
    SLACK,
    Scratch,
    choose_candidates,
    close_ranks,
    make_scratch,
    place_candidates,
    place_neighbours,
    sort_columns,
    write_cosines,
    write_distances,
    write_keys,
)
from rhoscale.descriptors.scalar_products.tables import NeighbourTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ALL = np.uint32((1 << LANES) - 1)


@njit(nogil=True, cache=True)
def describe_bricks(
    atoms: CellList,
    table: NeighbourTable,
    networks: Networks,
    kind: int,
    pairs: IntArray,
    columns: IntArray,
    counts: tuple[int, int, int],
    points: FloatArray,
    bricks: Bricks,
    start: int,
    stop: int,
    features: Features,
    reach: Features,
) -> None:
    """Write the features of the points of bricks start <= i < stop that start from atoms of one kind.

    Args:
        atoms: All atoms.
        table: Their neighbours.
        networks: To sort candidates.
        kind: Whose distances, and first atoms of cosines.
        pairs: Numbers of the pairs whose first kind this is.
        columns: First column of the distances, then of each of these pairs' cosines.
        counts: M, M_a and k.
        points: [n, 3], Bohr.
        bricks: Their order.
        start: First brick.
        stop: One past the last.
        features: Receives one row a point [n, size].
        reach: Raised to the radius around each point within which all atoms must be known [n], Bohr.
    """
    n_all = max(counts[0], counts[1] + 1)
    record = FIELDS + len(pairs) * counts[2] * 3
    n_features = counts[0] + len(pairs) * counts[1] * counts[2]
    scratch = make_scratch(256, record, n_features)
    centre = np.empty(3)
    for brick in range(start, stop):
        first, last = bricks.bricks[brick], bricks.bricks[brick + 1]
        spread = _middle(points, bricks.order, bricks.blocks[first], bricks.blocks[last], centre)
        vectors, indices = _candidates(atoms, kind, centre, spread, n_all)
        n = len(indices)
        if n > len(scratch.squares):
            scratch = make_scratch(n + n // 4, record, n_features)
        for block in range(first, last):
            begin, end = bricks.blocks[block], bricks.blocks[block + 1]
            marks = ALL
            if n >= n_all:
                marks = _describe_block(
                    table, networks, pairs, counts, points, bricks.order, begin, end, centre, vectors, indices, scratch
                )
            for lane in range(end - begin):
                i = bricks.order[begin + lane]
                if marks >> np.uint32(lane) & np.uint32(1):
                    asked = describe_one(atoms, table, kind, pairs, columns, counts, points[i], features[i])
                    reach[i] = max(reach[i], np.float32(asked))
                else:
                    reach[i] = max(reach[i], scratch.reach[lane])
                    _copy_features(scratch.features, lane, columns, counts, features, i)


@njit(nogil=True, cache=True)
def _candidates(atoms: CellList, kind: int, centre: FloatArray, spread: float, count: int) -> Any:
    """Every atom of a kind that can be among the ``count`` nearest of any point within ``spread`` of the centre.

    Fewer than ``count`` where a cluster has no more.
    """
    radius = 1.1 * radius_of(atoms, kind, count) + 2.0 * spread
    while True:
        vectors, indices = within(atoms, kind, centre, radius)
        if holds_all(atoms, kind, len(indices)):
            return vectors, indices
        wanted = 1.3 * radius
        if len(indices) >= count:
            wanted = _holding(vectors, count, radius) + 2.0 * spread + 1e-6
            if wanted <= radius:
                return vectors, indices
        radius = wanted


@njit(nogil=True, cache=True)
def _holding(vectors: FloatArray, count: int, radius: float) -> float:
    """A radius, at most 1 % too large, that holds ``count`` of the atoms within ``radius``."""
    low, high = 0.0, radius
    while high - low > 0.01 * radius:
        middle = 0.5 * (low + high)
        held = 0
        for i in range(vectors.shape[1]):
            held += vectors[0, i] ** 2 + vectors[1, i] ** 2 + vectors[2, i] ** 2 <= middle * middle
        if held >= count:
            high = middle
        else:
            low = middle
    return high


@njit(nogil=True, cache=True)
def _describe_block(
    table: NeighbourTable,
    networks: Networks,
    pairs: IntArray,
    counts: tuple[int, int, int],
    points: FloatArray,
    order: IntArray,
    begin: int,
    end: int,
    brick_centre: FloatArray,
    vectors: FloatArray,
    indices: IntArray,
    scratch: Scratch,
) -> np.uint32:
    """Describe up to sixteen points; returns, by bits, those that must be described one by one instead."""
    n_distances, n_atoms, k = counts
    middle = np.empty(3)
    spread = _middle(points, order, begin, end, middle)
    for lane in range(LANES):
        i = order[min(begin + lane, end - 1)]
        for c in range(3):
            scratch.points[c * LANES + lane] = points[i, c] - middle[c]
    for c in range(3):
        middle[c] -= brick_centre[c]
    wanted = n_atoms + 1 if n_atoms > 0 else 0
    n_near, n, farthest = choose_candidates(
        vectors, len(indices), middle, spread, wanted, max(n_distances, wanted), scratch
    )
    bits = 0
    while (1 << bits) < n_near:
        bits += 1
    # a power of two, so that unpacking rounds once
    scale = 2.0 ** np.floor(np.log2((2.0 ** min(32 - bits, 31) - 4 * SLACK) / farthest))
    if COARSEST_STEP * scale < 1.0 or n > (len(networks.starts) - 1) * STEP:
        return ALL
    place_candidates(vectors, n, middle, scratch)
    record = FIELDS + len(pairs) * k * 3
    if n_atoms > 0 and place_neighbours(table, pairs, indices, n_near, record, scratch):
        return ALL
    write_keys(n, bits, scale, scratch)
    sort_columns(n, networks, scratch.keys)
    write_distances(n_distances, bits, scale, scratch)
    if n_atoms == 0:
        return np.uint32(0)
    write_cosines(n_atoms, k, len(pairs), record, bits, n_distances, scratch)
    return close_ranks(n_atoms, bits, scale, scratch.keys)


@njit(nogil=True, cache=True)
def _copy_features(
    source: Features, lane: int, columns: IntArray, counts: tuple[int, int, int], features: Features, i: int
) -> None:
    n_distances = counts[0]
    cosines = counts[1] * counts[2]
    for m in range(n_distances):
        features[i, columns[0] + m] = source[m * LANES + lane]
    for p in range(1, len(columns)):
        first = n_distances + (p - 1) * cosines
        for m in range(cosines):
            features[i, columns[p] + m] = source[(first + m) * LANES + lane]


@njit(nogil=True, cache=True)
def _middle(points: FloatArray, order: IntArray, begin: int, end: int, middle: FloatArray) -> float:
    """Write the middle of the box around some points; returns their largest distance from it."""
    for c in range(3):
        low = high = points[order[begin], c]
        for m in range(begin + 1, end):
            low = min(low, points[order[m], c])
            high = max(high, points[order[m], c])
        middle[c] = 0.5 * (low + high)
    largest = 0.0
    for m in range(begin, end):
        square = 0.0
        for c in range(3):
            square += (points[order[m], c] - middle[c]) ** 2
        largest = max(largest, square)
    return np.sqrt(largest)
