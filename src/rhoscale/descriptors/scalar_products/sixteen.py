"""Sixteen neighbouring points at once: they share their candidates, and every step runs across the points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.lanes import (
    LANES,
    any_below,
    as_floats,
    compare_exchange,
    gather,
    larger,
    load,
    rounded,
    square_root,
    store,
)
from rhoscale.descriptors.scalar_products.network import STEP, Networks
from rhoscale.descriptors.scalar_products.spec import NUCLEUS, SHELL_GAP
from rhoscale.descriptors.scalar_products.tables import NeighbourTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Lanes32 = NDArray[np.float32]
Keys = NDArray[np.uint32]

CLOSE = 2.0 * SHELL_GAP
"""Ranks nearer to each other than this, Bohr, are judged in double precision: more than twice the error here."""
COARSEST_STEP = 1e-6
"""Where so many or so distant atoms share a word that distances come in larger steps, Bohr, points go one by one."""
SLACK = 16
"""Steps of the distance grid kept below zero, for the rounding of distances of nothing."""
LEVELS = 128
FIELDS = 4
"""What stands before an atom's neighbours in a near candidate's record: x, y, z and the radius that they ask for."""


class Scratch(NamedTuple):
    """Working memory for at most ``capacity`` candidates.

    Attributes:
        squares: Squared distances of the candidates from the block's centre [capacity], Bohr^2.
        levels: Histogram of them [LEVELS + 1].
        chosen: Which candidates, the near ones first [capacity].
        places: Their positions relative to the block's centre [capacity, 3], Bohr.
        centre_distances: Their distances from it [capacity], Bohr.
        keys: Distance and number in one word, a row of sixteen for each [capacity * 16].
        records: Position, asked radius and vectors to the neighbours of each near candidate, side by side, Bohr.
        points: The points relative to the block's centre, rows x, y, z [3 * 16], Bohr.
        features: One row of sixteen for each feature.
        reach: For each point, what its features ask for [16], Bohr.
    """

    squares: FloatArray
    levels: IntArray
    chosen: IntArray
    places: NDArray[np.float32]
    centre_distances: FloatArray
    keys: Keys
    records: Lanes32
    points: Lanes32
    features: Lanes32
    reach: Lanes32


@njit(nogil=True, cache=True)
def make_scratch(capacity: int, record: int, n_features: int) -> Scratch:
    """Reserve working memory; ``record`` is the length of a near candidate's."""
    return Scratch(
        np.empty(capacity),
        np.empty(LEVELS + 1, np.int64),
        np.empty(capacity, np.int64),
        np.empty((capacity, 3), np.float32),
        np.empty(capacity),
        np.empty((capacity + STEP) * LANES, np.uint32),
        np.empty(capacity * record, np.float32),
        np.empty(3 * LANES, np.float32),
        np.empty(n_features * LANES, np.float32),
        np.empty(LANES, np.float32),
    )


@njit(nogil=True, cache=True)
def choose_candidates(
    vectors: FloatArray, n: int, centre: FloatArray, spread: float, n_near: int, n_all: int, scratch: Scratch
) -> tuple[int, int, float]:
    """Choose the atoms that can be among the nearest of any of the points, those of the cosines first.

    With D the distance from the centre within which there are enough atoms, no point (all are within ``spread``) has
    its nearest beyond D + spread, and none of those is further than D + 2 spread from the centre.

    Args:
        vectors: Atoms relative to the brick's centre [3, >= n], Bohr, complete to that radius.
        n: How many.
        centre: Of the block, relative to the brick's, Bohr.
        spread: Largest distance of a point from it, Bohr.
        n_near: Atoms that each point needs in order for its cosines.
        n_all: Atoms that each point needs in order, at most n.
        scratch: Receives ``squares`` and ``chosen``.

    Returns:
        Near candidates, all candidates, and the largest distance that these can have from a point, Bohr.
    """
    squares, levels = scratch.squares, scratch.levels
    cx, cy, cz = centre
    largest = 1e-30
    for i in range(n):
        dx, dy, dz = vectors[0, i] - cx, vectors[1, i] - cy, vectors[2, i] - cz
        squares[i] = dx * dx + dy * dy + dz * dz
    for i in range(n):
        largest = max(largest, squares[i])
    for level in range(LEVELS + 1):
        levels[level] = 0
    scale = LEVELS / largest
    for i in range(n):
        levels[int(squares[i] * scale)] += 1
    near_limit = _limit(levels, n_near, scale, spread)
    limit = _limit(levels, n_all, scale, spread)
    used_near = _append(n, -1.0, near_limit, 0, scratch)
    used = _append(n, near_limit, limit, used_near, scratch)
    return used_near, used, np.sqrt(min(limit, largest)) + spread


@njit(nogil=True, cache=True)
def _limit(levels: IntArray, wanted: int, scale: float, spread: float) -> float:
    """Square of D + 2 spread, with D the upper end of the level where ``wanted`` atoms are reached."""
    if wanted == 0:
        return -1.0
    total, level = 0, 0
    while total < wanted:
        total += levels[level]
        level += 1
    return (np.sqrt(level / scale) + 2.0 * spread + 1e-9) ** 2


@njit(nogil=True, cache=True)
def _append(n: int, above: float, limit: float, used: int, scratch: Scratch) -> int:
    chosen, squares = scratch.chosen, scratch.squares
    for i in range(n):
        chosen[used] = i
        used += (squares[i] > above) & (squares[i] <= limit)
    return used


@njit(nogil=True, cache=True)
def place_candidates(vectors: FloatArray, n: int, centre: FloatArray, scratch: Scratch) -> None:
    """Write the chosen candidates relative to the block's centre: double precision ends here."""
    places, chosen, squares, distances = scratch.places, scratch.chosen, scratch.squares, scratch.centre_distances
    cx, cy, cz = centre
    for m in range(n):
        i = chosen[m]
        places[m, 0] = vectors[0, i] - cx
        places[m, 1] = vectors[1, i] - cy
        places[m, 2] = vectors[2, i] - cz
        distances[m] = np.sqrt(squares[i])


@njit(nogil=True, cache=True)
def place_neighbours(
    table: NeighbourTable, pairs: IntArray, indices: IntArray, n: int, record: int, scratch: Scratch
) -> bool:
    """Write the records of the near candidates; returns whether any of them has tied neighbours."""
    places, chosen, records = scratch.places, scratch.chosen, scratch.records
    width = table.nearest.shape[1]
    tied = False
    for m in range(n):
        start = m * record
        radius = 0.0
        for c in range(3):
            records[start + c] = places[m, c]
        for p in range(len(pairs)):
            row = table.first_row[pairs[p]] + indices[chosen[m]]
            tied |= table.tied[row]
            radius = max(radius, table.radius[row])
            for c in range(width):
                records[start + FIELDS + p * width + c] = table.nearest[row, c]
        records[start + 3] = radius
    return tied


@njit(nogil=True, cache=True)
def write_keys(n: int, bits: int, scale: float, scratch: Scratch) -> None:
    """Pack the distance of each candidate from each point, in steps of 1 / scale, above ``bits`` of its number.

        d = d_c + t,    t = p.(p - 2 a) / (d + d_c),    |t| <= |p|

    with p and a the point and the atom relative to the block's centre and d_c = |a|: only the small t is rounded to
    single precision, so far atoms are as exact as near ones. Rows up to the next network's length are filled up.
    """
    keys, places, distances = scratch.keys, scratch.places, scratch.centre_distances
    px, py, pz = load(scratch.points, 0), load(scratch.points, 1), load(scratch.points, 2)
    factor = np.float32(scale)
    tiny = np.float32(1e-30)
    shift = np.uint32(bits)
    last = (1 << bits) - 1
    for m in range(n):
        ax, ay, az = places[m, 0], places[m, 1], places[m, 2]
        dx, dy, dz = px - ax, py - ay, pz - az
        d = square_root(dx * dx + dy * dy + dz * dz)
        change = px * (dx - ax) + py * (dy - ay) + pz * (dz - az)
        t = change / larger(d + np.float32(distances[m]), tiny)
        base = np.uint32(np.int64(distances[m] * scale + 0.5) + SLACK)
        store(keys, m, ((rounded(t * factor) + base) << shift) | np.uint32(min(m, last)))
    for i in range(n * LANES, (n + STEP) * LANES):
        keys[i] = np.uint32(0xFFFFFFFF)


@njit(nogil=True, cache=True)
def sort_columns(n: int, networks: Networks, keys: Keys) -> None:
    """Bring the smallest keys of each of the sixteen columns to the front, in order."""
    network = (n - 1) // STEP
    pairs = networks.pairs
    for c in range(networks.starts[network], networks.starts[network + 1]):
        compare_exchange(keys, pairs[c, 0], pairs[c, 1])


@njit(nogil=True, cache=True)
def write_distances(n: int, bits: int, scale: float, scratch: Scratch) -> None:
    """Unpack the n smallest distances into the first features; what they ask for is the last."""
    keys, features = scratch.keys, scratch.features
    step = np.float32(1.0 / scale)
    distance = load(scratch.points, 0)
    for m in range(n):
        distance = as_floats((load(keys, m) >> np.uint32(bits)) - np.uint32(SLACK)) * step
        distance = larger(distance, np.float32(0.0))
        store(features, m, distance)
    store(scratch.reach, 0, distance)


@njit(nogil=True, cache=True)
def close_ranks(n: int, bits: int, scale: float, keys: Keys) -> np.uint32:
    """Mark (by bits) the points whose first n atoms include two that are too close in distance to rank here."""
    marks = np.uint32(0)
    close = np.uint32(CLOSE * scale + 1.0)
    distance = load(keys, 0) >> np.uint32(bits)
    for m in range(1, n + 1):
        following = load(keys, m) >> np.uint32(bits)
        marks |= any_below(following - distance, close)
        distance = following
    return marks


@njit(nogil=True, cache=True)
def write_cosines(n_atoms: int, k: int, n_pairs: int, record: int, bits: int, first: int, scratch: Scratch) -> None:
    """Write the cosines of each point's nearest atoms with their neighbours, pair by pair.

    Cosine (pair q, atom i, neighbour j) becomes feature ``first + (q * n_atoms + i) * k + j``.
    """
    keys, records, features = scratch.keys, scratch.records, scratch.features
    mask = np.uint32((1 << bits) - 1)
    length_of_record = np.uint32(record)
    smallest = np.float32(NUCLEUS)
    px, py, pz = load(scratch.points, 0), load(scratch.points, 1), load(scratch.points, 2)
    reach = load(scratch.reach, 0)
    for m in range(n_atoms):
        start = (load(keys, m) & mask) * length_of_record
        x, y, z = gather(records, 0, start) - px, gather(records, 1, start) - py, gather(records, 2, start) - pz
        length = square_root(x * x + y * y + z * z)
        reach = larger(reach, length + gather(records, 3, start))
        unit = np.float32(1.0) / larger(length, smallest)
        for q in range(n_pairs):
            for j in range(k):
                c = FIELDS + (q * k + j) * 3
                bx, by = x + gather(records, c, start), y + gather(records, c + 1, start)
                bz = z + gather(records, c + 2, start)
                product = (x * bx + y * by + z * bz) * unit
                cosine = product / larger(square_root(bx * bx + by * by + bz * bz), smallest)
                store(features, first + (q * n_atoms + m) * k + j, cosine)
    store(scratch.reach, 0, reach)
