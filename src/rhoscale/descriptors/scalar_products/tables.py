"""The k nearest neighbours of every atom, found once and used by all points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.neighbours import CellList, holds_all, radius_of, within
from rhoscale.descriptors.scalar_products.spec import SHELL_GAP, ScalarProducts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class NeighbourTable(NamedTuple):
    """Neighbours of kind b of all atoms of kind a, for each pair (a, b); one row for each atom and pair.

    Attributes:
        first_row: Row of sorted atom 0, for each pair [pairs]; atom i stands in row first_row + i.
        nearest: Vectors to the k nearest [rows, k * 3], Bohr; what the sixteen-point kernel reads.
        tied: Whether these k are not the only choice [rows].
        radius: Distance within which all atoms must be known for the row to be right [rows], Bohr.
        starts: First entry of each row in the two arrays below [rows + 1].
        vectors: To all neighbours down to the last that is tied with the k-th [entries, 3], Bohr.
        shells: Number of the shell that each of them belongs to [entries].
    """

    first_row: IntArray
    nearest: NDArray[np.float32]
    tied: NDArray[np.bool_]
    radius: FloatArray
    starts: IntArray
    vectors: FloatArray
    shells: IntArray


def neighbour_table(atoms: CellList, spec: ScalarProducts) -> NeighbourTable:
    """Find the neighbours of every atom, for each pair of kinds of the specification."""
    parts = [_neighbours(atoms, a, b, spec.neighbours) for a, b in spec.pairs]
    counts = [len(part[1]) for part in parts]
    first_atoms = [int(atoms.starts[a, 0]) for a, _ in spec.pairs]
    return NeighbourTable(
        first_row=np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64) - np.array(first_atoms),
        nearest=np.concatenate([part[0] for part in parts]),
        tied=np.concatenate([part[1] for part in parts]),
        radius=np.concatenate([part[2] for part in parts]),
        starts=np.concatenate([[0], np.cumsum(np.concatenate([part[3] for part in parts]))]).astype(np.int64),
        vectors=np.concatenate([part[4] for part in parts]),
        shells=np.concatenate([part[5] for part in parts]),
    )


@njit(nogil=True, cache=True)
def _neighbours(atoms: CellList, a: int, b: int, k: int) -> tuple:
    first, end = atoms.starts[a, 0], atoms.starts[a, -1]
    n = end - first
    nearest = np.zeros((n, k * 3), np.float32)
    tied = np.zeros(n, np.bool_)
    radius = np.full(n, np.inf)
    lengths = np.zeros(n, np.int64)
    vectors = np.empty((max(1, n * k), 3))
    shells = np.empty(len(vectors), np.int64)
    used = 0
    near = np.empty((3, 64))
    indices = np.empty(64, np.int64)
    start_reach = 1.2 * radius_of(atoms, b, k + 1)
    for i in range(n):
        centre = atoms.positions[first + i]
        reach = start_reach
        while True:
            found = within(atoms, b, centre, reach, near, indices)
            if found > len(indices):
                near = np.empty((3, 2 * found))
                indices = np.empty(2 * found, np.int64)
                continue
            distances = np.empty(found)
            for m in range(found):
                distances[m] = np.sqrt(near[0, m] ** 2 + near[1, m] ** 2 + near[2, m] ** 2)
                if indices[m] == first + i and distances[m] < 1e-9:
                    distances[m] = np.inf  # itself; an image of itself is a neighbour like any other
            order = np.argsort(distances)
            known = found - 1 if a == b else found
            last = k - 1
            while last + 1 < known and distances[order[last + 1]] - distances[order[last]] <= SHELL_GAP:
                last += 1
            if last < known and distances[order[last]] + SHELL_GAP < reach:
                break
            if holds_all(atoms, b, found):
                last = -1
                break
            reach *= 1.3
        if last < 0:
            continue
        radius[i] = distances[order[last]] + SHELL_GAP
        lengths[i] = last + 1
        if used + last + 1 > len(vectors):
            vectors = _longer(vectors, used + last + 1)
            longer_shells = np.empty(len(vectors), np.int64)
            longer_shells[:used] = shells[:used]
            shells = longer_shells
        shell = 0
        for m in range(last + 1):
            if m > 0 and distances[order[m]] - distances[order[m - 1]] > SHELL_GAP:
                shell += 1
            shells[used] = shell
            for c in range(3):
                vectors[used, c] = near[c, order[m]]
                if m < k:
                    nearest[i, m * 3 + c] = near[c, order[m]]
            used += 1
        tied[i] = shell < last
    return nearest, tied, radius, lengths, vectors[:used].copy(), shells[:used].copy()


@njit(nogil=True, cache=True)
def _longer(vectors: FloatArray, needed: int) -> FloatArray:
    longer = np.empty((2 * needed, 3))
    longer[: len(vectors)] = vectors
    return longer
