"""One point, in double precision, shell by shell: where points or atoms are tied, and the judge of close ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.neighbours import CellList, by_distance, holds_all, radius_of, within
from rhoscale.descriptors.scalar_products.spec import NUCLEUS, SHELL_GAP
from rhoscale.descriptors.scalar_products.tables import NeighbourTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@njit(nogil=True, cache=True)
def describe_one(
    atoms: CellList,
    table: NeighbourTable,
    kind: int,
    pairs: IntArray,
    columns: IntArray,
    counts: tuple[int, int, int],
    point: FloatArray,
    features: NDArray[np.float32],
) -> float:
    """Write the features of one point that start from atoms of one kind.

    Args:
        atoms: All atoms.
        table: Their neighbours.
        kind: Whose distances, and first atoms of cosines.
        pairs: Numbers of the pairs whose first kind this is.
        columns: First column of the distances, then of each of these pairs' cosines.
        counts: M, M_a and k.
        point: [3], Bohr.
        features: The point's row.

    Returns:
        Radius around the point, Bohr, within which all atoms must be known for this to be right.
    """
    n_distances, n_atoms, k = counts
    near, indices, distances, last = _shells_around(atoms, kind, point, n_distances, n_atoms)
    if len(distances) < n_distances:
        return np.inf
    for m in range(n_distances):
        features[columns[0] + m] = distances[m]
    reach = distances[n_distances - 1]
    if n_atoms == 0:
        return reach
    reach = max(reach, distances[last] + SHELL_GAP)
    for p in range(len(pairs)):
        values = np.zeros((last + 1, k))
        for m in range(last + 1):
            row = table.first_row[pairs[p]] + indices[m]
            reach = max(reach, distances[m] + table.radius[row])
            if table.radius[row] < np.inf:
                entries = slice(table.starts[row], table.starts[row + 1])
                cosines = _cosines(near[m], table.vectors[entries])
                _largest_first(cosines, table.shells[entries])
                for j in range(k):
                    values[m, j] = cosines[j]
        shells = np.zeros(last + 1, np.int64)
        for m in range(1, last + 1):
            shells[m] = shells[m - 1] + (distances[m] - distances[m - 1] > SHELL_GAP)
        for j in range(k):
            column = values[:, j].copy()
            _largest_first(column, shells)
            for m in range(n_atoms):
                features[columns[1 + p] + m * k + j] = column[m]
    return reach


@njit(nogil=True, cache=True)
def _shells_around(atoms: CellList, kind: int, point: FloatArray, n_distances: int, n_atoms: int) -> Any:
    """Sorted atoms around a point, all that a cluster has if those are too few, and the last tied with the M_a-th."""
    radius = 1.12 * radius_of(atoms, kind, n_distances)
    while True:
        near, indices = within(atoms, kind, point, radius)
        found = len(indices)
        distances = np.empty(found)
        for m in range(found):
            distances[m] = np.sqrt(near[0, m] ** 2 + near[1, m] ** 2 + near[2, m] ** 2)
        order = by_distance(distances)
        last = n_atoms - 1
        while 0 <= last < found - 1 and distances[order[last + 1]] - distances[order[last]] <= SHELL_GAP:
            last += 1
        farthest = max(last, n_distances - 1)
        enough = farthest < found and distances[order[farthest]] + SHELL_GAP < radius
        if enough or holds_all(atoms, kind, found):
            vectors = np.empty((found, 3))
            for m in range(found):
                for c in range(3):
                    vectors[m, c] = near[c, order[m]]
            return vectors, indices[order], distances[order], last
        radius *= 1.3


@njit(nogil=True, cache=True)
def _cosines(v: FloatArray, others: FloatArray) -> FloatArray:
    cosines = np.empty(len(others))
    length = max(np.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2), NUCLEUS)
    for m in range(len(others)):
        x, y, z = v[0] + others[m, 0], v[1] + others[m, 1], v[2] + others[m, 2]
        product = v[0] * x + v[1] * y + v[2] * z
        cosines[m] = product / (length * max(np.sqrt(x * x + y * y + z * z), NUCLEUS))
    return cosines


@njit(nogil=True, cache=True)
def _largest_first(values: FloatArray, shells: IntArray) -> None:
    """Sort the values of each shell in place, largest first; few and nearly sorted, so by insertion."""
    for m in range(1, len(values)):
        value = values[m]
        place = m
        while place > 0 and shells[place - 1] == shells[m] and values[place - 1] < value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value
