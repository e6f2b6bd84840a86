"""Cell list: atoms sorted into bins of a periodic cell or of a finite cluster, and every atom within a radius.

Images are found by counting bins past the cell's faces, so a primitive cell of two atoms and a cell of a million
go the same way, and nothing grows with the number of images that a radius covers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.system import System

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ATOMS_PER_BIN = 3.0


class CellList(NamedTuple):
    """Atoms sorted by kind, then by bin.

    Attributes:
        cell: Vectors of the periodic cell, or of the box around a cluster, as rows [3, 3], Bohr.
        inverse: Its inverse: scaled = (r - origin) @ inverse.
        origin: Corner of the cell, Bohr.
        heights: Distances between opposite faces [3], Bohr.
        volume: Of the cell, Bohr^3.
        counts: Bins along each vector [3].
        starts: First atom of each bin, for each kind [kinds, bins + 1].
        positions: Wrapped and sorted [n, 3], Bohr.
        order: Where each sorted atom stood [n].
        periodic: Whether the cell repeats.
    """

    cell: FloatArray
    inverse: FloatArray
    origin: FloatArray
    heights: FloatArray
    volume: float
    counts: IntArray
    starts: IntArray
    positions: FloatArray
    order: IntArray
    periodic: bool


def periodic_cell_list(system: System, elements: tuple[str, ...]) -> CellList:
    """Sort the atoms of a crystal; kind i is ``elements[i]``, and every atom must be of one of them."""
    kinds = np.searchsorted(np.asarray(elements), system.species)
    return _sort(system.cell, np.zeros(3), system.scaled_positions, kinds, len(elements), periodic=True)


def cluster_cell_list(positions: FloatArray, kinds: IntArray, n_kinds: int) -> CellList:
    """Sort atoms that stand alone, such as those of a tile and its halo; in a void there are none."""
    low = positions.min(axis=0) if len(positions) else np.zeros(3)
    box = np.maximum(positions.max(axis=0) - low, 1.0) if len(positions) else np.ones(3)
    return _sort(np.diag(box), low, (positions - low) / box, kinds, n_kinds, periodic=False)


def _sort(
    cell: FloatArray, origin: FloatArray, scaled: FloatArray, kinds: Any, n_kinds: int, *, periodic: bool
) -> CellList:
    inverse = np.linalg.inv(cell)
    heights = 1.0 / np.linalg.norm(inverse, axis=0)
    volume = float(abs(np.linalg.det(cell)))
    edge = (volume * ATOMS_PER_BIN / max(1, len(scaled))) ** (1 / 3)
    counts = np.maximum(1, np.floor(heights / edge)).astype(np.int64)
    bins = np.minimum(np.floor(scaled * counts).astype(np.int64), counts - 1)
    n_bins = int(np.prod(counts))
    keys = kinds * n_bins + (bins[:, 0] * counts[1] + bins[:, 1]) * counts[2] + bins[:, 2]
    order = np.argsort(keys, kind="stable")
    edges = np.searchsorted(keys[order], np.arange(n_kinds * n_bins + 1))
    rows = np.arange(n_kinds)[:, None] * n_bins + np.arange(n_bins + 1)[None, :]
    return CellList(
        cell=np.ascontiguousarray(cell),
        inverse=np.ascontiguousarray(inverse),
        origin=origin,
        heights=heights,
        volume=volume,
        counts=counts,
        starts=np.ascontiguousarray(edges[rows]),
        positions=np.ascontiguousarray((scaled @ cell + origin)[order]),
        order=order,
        periodic=periodic,
    )


@njit(nogil=True, cache=True)
def collect(
    atoms: CellList, kind: int, centre: FloatArray, radius: float, vectors: FloatArray, indices: IntArray
) -> int:
    """Collect every atom of one kind within ``radius`` of ``centre``, images included.

    Writes the vectors from the centre [3, capacity] and the sorted atoms' numbers [capacity] and returns how many
    there are; where that exceeds the capacity only the first ones were written.
    """
    cell = atoms.cell
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for i in range(3):
        scaled = 0.0
        for c in range(3):
            scaled += (centre[c] - atoms.origin[c]) * atoms.inverse[c, i]
        half = radius / atoms.heights[i] + 1e-9
        low[i] = np.int64(np.floor((scaled - half) * atoms.counts[i]))
        high[i] = np.int64(np.floor((scaled + half) * atoms.counts[i]))
        if not atoms.periodic:
            low[i] = max(low[i], 0)
            high[i] = min(high[i], atoms.counts[i] - 1)
    n0, n1, n2 = atoms.counts
    starts = atoms.starts[kind]
    found = 0
    for i in range(low[0], high[0] + 1):
        image0 = i // n0
        for j in range(low[1], high[1] + 1):
            image1 = j // n1
            row = ((i - image0 * n0) * n1 + (j - image1 * n1)) * n2
            k = low[2]
            while k <= high[2]:
                # bins along the third vector lie side by side in memory up to the cell's face
                image2 = k // n2
                first = k - image2 * n2
                last = min(n2 - 1, first + high[2] - k)
                sx = image0 * cell[0, 0] + image1 * cell[1, 0] + image2 * cell[2, 0] - centre[0]
                sy = image0 * cell[0, 1] + image1 * cell[1, 1] + image2 * cell[2, 1] - centre[1]
                sz = image0 * cell[0, 2] + image1 * cell[1, 2] + image2 * cell[2, 2] - centre[2]
                for a in range(starts[row + first], starts[row + last + 1]):
                    x = atoms.positions[a, 0] + sx
                    y = atoms.positions[a, 1] + sy
                    z = atoms.positions[a, 2] + sz
                    if x * x + y * y + z * z <= radius * radius:
                        if found < len(indices):
                            vectors[0, found] = x
                            vectors[1, found] = y
                            vectors[2, found] = z
                            indices[found] = a
                        found += 1
                k += last - first + 1
    return found


@njit(nogil=True, cache=True)
def within(atoms: CellList, kind: int, centre: FloatArray, radius: float) -> Any:
    """Vectors [3, n] from ``centre`` to every atom of one kind within ``radius``, and the sorted atoms' numbers [n]."""
    expected = atoms.starts[kind, -1] - atoms.starts[kind, 0]
    capacity = 32 + int(1.5 * expected * 4.19 * radius**3 / atoms.volume)
    while True:
        vectors = np.empty((3, capacity))
        indices = np.empty(capacity, np.int64)
        found = collect(atoms, kind, centre, radius, vectors, indices)
        if found <= capacity:
            return vectors[:, :found], indices[:found]
        capacity = found


@njit(nogil=True, cache=True)
def radius_of(atoms: CellList, kind: int, count: int) -> float:
    """Radius of the sphere that holds ``count`` atoms of a kind at their mean density, Bohr."""
    present = max(1, atoms.starts[kind, -1] - atoms.starts[kind, 0])
    return (3.0 * count * atoms.volume / (4.0 * np.pi * present)) ** (1.0 / 3.0)


@njit(nogil=True, cache=True)
def holds_all(atoms: CellList, kind: int, found: int) -> bool:
    """Whether ``found`` atoms are all that there will ever be: a cluster's last, never a crystal's."""
    return not atoms.periodic and found >= atoms.starts[kind, -1] - atoms.starts[kind, 0]


@njit(nogil=True, cache=True)
def by_distance(distances: FloatArray) -> IntArray:
    """Numbers of the atoms from the nearest to the farthest; equally far ones stay in order.

    Every rank is counted: for a hundred atoms that is quicker than any sorting with branches.
    """
    n = len(distances)
    order = np.empty(n, np.int64)
    for i in range(n):
        rank = 0
        for j in range(i):
            rank += distances[j] <= distances[i]
        for j in range(i + 1, n):
            rank += distances[j] < distances[i]
        order[rank] = i
    return order
