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


class Scratch(NamedTuple):
    """Working memory for at most ``capacity`` candidates.

    Attributes:
        squares: Squared distances of the candidates from the block's centre [capacity], Bohr^2.
        chosen: Which candidates, the near ones first [capacity].
        x, y, z: Their positions relative to the block's centre [capacity], Bohr.
        centre_distances: Their distances from it [capacity], Bohr.
        keys: Distance and number in one word, a row of sixteen for each [capacity * 16].
        neighbours: Vectors to their neighbours, [pairs * k * 3] runs of ``capacity``, Bohr.
        radius: What their neighbours ask for [capacity], Bohr.
        points: The points relative to the block's centre, rows x, y, z [3 * 16], Bohr.
        features: One row of sixteen for each feature.
        reach: For each point, what its features ask for [16], Bohr.
    """

    squares: FloatArray
    chosen: IntArray
    x: Lanes32
    y: Lanes32
    z: Lanes32
    centre_distances: FloatArray
    keys: Keys
    neighbours: Lanes32
    radius: Lanes32
    points: Lanes32
    features: Lanes32
    reach: Lanes32


@njit(nogil=True, cache=True)
def make_scratch(capacity: int, n_vectors: int, n_features: int) -> Scratch:
    """Reserve working memory."""
    return Scratch(
        np.empty(capacity),
        np.empty(capacity, np.int64),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.float32),
        np.empty(capacity),
        np.empty(capacity * LANES, np.uint32),
        np.empty(capacity * n_vectors, np.float32),
        np.empty(capacity, np.float32),
        np.empty(3 * LANES, np.float32),
        np.empty(n_features * LANES, np.float32),
        np.empty(LANES, np.float32),
    )


@njit(nogil=True, cache=True)
def choose_candidates(
    vectors: FloatArray, n: int, centre: FloatArray, spread: float, needed: tuple[int, int], scratch: Scratch
) -> tuple[int, int, float]:
    """Choose the atoms that can be among the nearest of any of the points, those of the cosines first.

    With D the distance from the centre within which there are enough atoms, no point (all are within ``spread``) has
    its nearest beyond D + spread, and none of those is further than D + 2 spread from the centre.

    Args:
        vectors: Atoms relative to the brick's centre [3, >= n], Bohr, complete to that radius.
        n: How many.
        centre: Of the block, relative to the brick's, Bohr.
        spread: Largest distance of a point from it, Bohr.
        needed: Atoms that each point needs in order, for cosines and in all.
        scratch: Receives ``squares``, ``chosen``, positions and centre distances.

    Returns:
        Near candidates, all candidates, and the largest distance that these can have from a point, Bohr.
    """
    squares = scratch.squares
    largest = 0.0
    for i in range(n):
        dx = vectors[0, i] - centre[0]
        dy = vectors[1, i] - centre[1]
        dz = vectors[2, i] - centre[2]
        squares[i] = dx * dx + dy * dy + dz * dz
    for i in range(n):
        largest = max(largest, squares[i])
    counts = np.zeros(LEVELS + 1, np.int64)
    scale = LEVELS / max(largest, 1e-30)
    for i in range(n):
        counts[int(squares[i] * scale)] += 1
    near_limit, limit = -1.0, -1.0
    total = 0
    for level in range(LEVELS + 1):
        total += counts[level]
        edge = (np.sqrt((level + 1) / scale) + 2.0 * spread) ** 2 * (1.0 + 1e-12) + 1e-9
        if near_limit < 0.0 and total >= needed[0]:
            near_limit = edge
        if limit < 0.0 and total >= needed[1]:
            limit = edge
            break
    n_near = 0
    if needed[0] > 0:
        n_near = _append(n, -1.0, near_limit, 0, scratch)
    else:
        near_limit = -1.0
    n_chosen = _append(n, near_limit, limit, n_near, scratch)
    return n_near, n_chosen, np.sqrt(min(limit, largest)) + spread


@njit(nogil=True, cache=True)
def _append(n: int, above: float, limit: float, used: int, scratch: Scratch) -> int:
    for i in range(n):
        if above < scratch.squares[i] <= limit:
            scratch.chosen[used] = i
            used += 1
    return used


@njit(nogil=True, cache=True)
def place_candidates(vectors: FloatArray, n: int, centre: FloatArray, scratch: Scratch) -> None:
    """Write the chosen candidates relative to the block's centre: double precision ends here."""
    for m in range(n):
        i = scratch.chosen[m]
        scratch.x[m] = vectors[0, i] - centre[0]
        scratch.y[m] = vectors[1, i] - centre[1]
        scratch.z[m] = vectors[2, i] - centre[2]
        scratch.centre_distances[m] = np.sqrt(scratch.squares[i])


@njit(nogil=True, cache=True)
def write_keys(n: int, bits: int, scale: float, scratch: Scratch) -> None:
    """Pack the distance of each candidate from each point, in steps of 1 / scale, above ``bits`` of its number.

        d = d_c + t,    t = p.(p - 2 a) / (d + d_c),    |t| <= |p|

    with p and a the point and the atom relative to the block's centre and d_c = |a|: only the small t is rounded to
    single precision, so far atoms are as exact as near ones.
    """
    px, py, pz = load(scratch.points, 0), load(scratch.points, 1), load(scratch.points, 2)
    factor = np.float32(scale)
    tiny = np.float32(1e-30)
    last = (1 << bits) - 1
    for m in range(n):
        ax, ay, az = scratch.x[m], scratch.y[m], scratch.z[m]
        dx, dy, dz = px - ax, py - ay, pz - az
        d = square_root(dx * dx + dy * dy + dz * dz)
        change = px * (dx - ax) + py * (dy - ay) + pz * (dz - az)
        t = change / larger(d + np.float32(scratch.centre_distances[m]), tiny)
        base = np.uint32(np.int64(scratch.centre_distances[m] * scale + 0.5) + SLACK)
        store(scratch.keys, m, ((rounded(t * factor) + base) << np.uint32(bits)) | np.uint32(min(m, last)))


@njit(nogil=True, cache=True)
def sort_columns(keys: Keys, n: int) -> None:
    """Sort each of the sixteen columns (K. E. Batcher's odd-even merge sort, AFIPS 32, 307, 1968)."""
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                if j // (2 * p) == (j + k) // (2 * p):
                    for i in range(j, j + min(k, n - j - k)):
                        compare_exchange(keys, i, i + k)
            k //= 2
        p *= 2


@njit(nogil=True, cache=True)
def write_distances(n: int, bits: int, scale: float, scratch: Scratch) -> None:
    """Unpack the n smallest distances into the first features."""
    step = np.float32(1.0 / scale)
    for m in range(n):
        steps = as_floats((load(scratch.keys, m) >> np.uint32(bits)) - np.uint32(SLACK))
        store(scratch.features, m, larger(steps * step, np.float32(0.0)))


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
def write_cosines(
    n_atoms: int, n_vectors: int, stride: int, capacity: int, bits: int, first: int, scratch: Scratch
) -> None:
    """Write the cosines of each point's nearest atoms with their ``n_vectors`` neighbours, all pairs together.

    Cosine (pair q, atom i, neighbour j) becomes feature ``first + (q * n_atoms + i) * stride + j``.
    """
    mask = np.uint32((1 << bits) - 1)
    smallest = np.float32(NUCLEUS)
    px, py, pz = load(scratch.points, 0), load(scratch.points, 1), load(scratch.points, 2)
    for m in range(n_atoms):
        number = load(scratch.keys, m) & mask
        x, y, z = gather(scratch.x, number) - px, gather(scratch.y, number) - py, gather(scratch.z, number) - pz
        length = square_root(x * x + y * y + z * z)
        store(scratch.reach, 0, larger(length + gather(scratch.radius, number), load(scratch.reach, 0)))
        unit = np.float32(1.0) / larger(length, smallest)
        for v in range(n_vectors):
            run = scratch.neighbours[3 * v * capacity :]
            bx = x + gather(run, number)
            by = y + gather(run[capacity:], number)
            bz = z + gather(run[2 * capacity :], number)
            product = (x * bx + y * by + z * bz) * unit
            cosine = product / larger(square_root(bx * bx + by * by + bz * bz), smallest)
            store(scratch.features, first + ((v // stride) * n_atoms + m) * stride + v % stride, cosine)


@njit(nogil=True, cache=True)
def place_neighbours(
    table: NeighbourTable,
    pairs: IntArray,
    indices: IntArray,
    n_near: int,
    capacity: int,
    scratch: Scratch,
) -> bool:
    """Copy the near candidates' neighbours side by side; returns whether any of them is tied."""
    tied = False
    scratch.radius[:n_near] = 0.0
    for p in range(len(pairs)):
        width = table.nearest.shape[1]
        for m in range(n_near):
            row = table.first_row[pairs[p]] + indices[scratch.chosen[m]]
            tied |= table.tied[row]
            scratch.radius[m] = max(scratch.radius[m], np.float32(table.radius[row]))
            for c in range(width):
                scratch.neighbours[(p * width + c) * capacity + m] = table.nearest[row, c]
    return tied
