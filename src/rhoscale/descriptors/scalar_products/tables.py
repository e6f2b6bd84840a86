"""The k nearest neighbours of every atom, found once and used by all points."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.neighbours import CellList, by_distance, holds_all, radius_of, within
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
    columns = list(zip(*parts, strict=True))
    counts = [len(tied) for tied in columns[1]]
    first_atoms = [int(atoms.starts[a, 0]) for a, _ in spec.pairs]
    return NeighbourTable(
        first_row=np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64) - np.array(first_atoms),
        nearest=np.concatenate(columns[0]),
        tied=np.concatenate(columns[1]),
        radius=np.concatenate(columns[2]),
        starts=np.concatenate([[0], np.cumsum(np.concatenate(columns[3]))]).astype(np.int64),
        vectors=np.concatenate(columns[4]),
        shells=np.concatenate(columns[5]),
    )


@njit(nogil=True, cache=True)
def _neighbours(atoms: CellList, a: int, b: int, k: int) -> Any:
    """Columns of the table for one pair, with lengths of the rows in place of their starts."""
    first = atoms.starts[a, 0]
    n = atoms.starts[a, -1] - first
    nearest = np.zeros((n, k * 3), np.float32)
    tied = np.zeros(n, np.bool_)
    radius = np.full(n, np.inf)
    lengths = np.zeros(n, np.int64)
    vectors = np.empty((max(1, n * k), 3))
    shells = np.empty(len(vectors), np.int64)
    used = 0
    for i in range(n):
        near, distances, last = _shells_of(atoms, first + i, b, k)
        if last < 0:
            continue
        radius[i] = distances[last] + SHELL_GAP
        lengths[i] = last + 1
        if used + last + 1 > len(vectors):
            vectors, shells = _longer(vectors, shells, used, 2 * (used + last + 1))
        shell = 0
        for m in range(last + 1):
            if m > 0 and distances[m] - distances[m - 1] > SHELL_GAP:
                shell += 1
            shells[used] = shell
            for c in range(3):
                vectors[used, c] = near[m, c]
                if m < k:
                    nearest[i, m * 3 + c] = near[m, c]
            used += 1
        tied[i] = shell < last
    vectors, shells = _longer(vectors, shells, used, used)
    return nearest, tied, radius, lengths, vectors, shells


@njit(nogil=True, cache=True)
def _shells_of(atoms: CellList, atom: int, kind: int, k: int) -> Any:
    """Vectors to an atom's nearest neighbours by distance, and the last that is tied with the k-th.

    That is -1 where a cluster has fewer than k.
    """
    reach = 1.2 * radius_of(atoms, kind, k + 1)
    while True:
        near, indices = within(atoms, kind, atoms.positions[atom], reach)
        found = len(indices)
        distances = np.empty(found)
        for m in range(found):
            distances[m] = np.sqrt(near[0, m] ** 2 + near[1, m] ** 2 + near[2, m] ** 2)
            if indices[m] == atom and distances[m] < 1e-9:
                distances[m] = np.inf  # itself; an image of itself is a neighbour like any other
        order = by_distance(distances)
        last = k - 1
        while last + 1 < found and distances[order[last + 1]] - distances[order[last]] <= SHELL_GAP:
            last += 1
        known = last < found and distances[order[last]] < np.inf
        if (known and distances[order[last]] + SHELL_GAP < reach) or holds_all(atoms, kind, found):
            vectors = np.empty((found, 3))
            lengths = np.empty(found)
            for m in range(found):
                lengths[m] = distances[order[m]]
                for c in range(3):
                    vectors[m, c] = near[c, order[m]]
            return vectors, lengths, last if known else -1
        reach *= 1.3


@njit(nogil=True, cache=True)
def _longer(vectors: FloatArray, shells: IntArray, used: int, length: int) -> Any:
    more_vectors = np.empty((length, 3))
    more_shells = np.empty(length, np.int64)
    for m in range(used):
        more_shells[m] = shells[m]
        for c in range(3):
            more_vectors[m, c] = vectors[m, c]
    return more_vectors, more_shells
