"""Distances of all near pairs of atoms: the pair distribution function, the closest pairs; any number of atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.system import System

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PairDistribution:
    """How often a distance occurs, against atoms strewn at random.

        g(r) = pairs in the shell / (N rho 4 pi r^2 dr)

    Attributes:
        edges: Of the shells [bins + 1], Bohr.
        values: g(r) of each shell [bins].
        shortest: Smallest distance of each pair of elements, Bohr; infinite where none is within the last edge.
    """

    edges: FloatArray
    values: FloatArray
    shortest: dict[tuple[str, str], float]

    @property
    def smallest(self) -> float:
        """Smallest distance of all, Bohr."""
        return min(self.shortest.values())

    def difference(self, other: PairDistribution) -> float:
        """Share of the neighbours within the last edge whose shell differs: int |g - g'| r^2 dr / int g' r^2 dr."""
        volume = np.diff(self.edges**3)
        return float((np.abs(self.values - other.values) * volume).sum() / (other.values * volume).sum())


@dataclass(frozen=True)
class ClosePairs:
    """Pairs of atoms nearer than a limit.

    Attributes:
        first, second: Atom numbers [pairs].
        vectors: From the first to the second [pairs, 3], Bohr.
        limits: The limit of each pair [pairs], Bohr.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    vectors: FloatArray
    limits: FloatArray


def pair_distribution(system: System, farthest: float, bins: int = 300) -> PairDistribution:
    """Count all pairs up to ``farthest`` Bohr, periodic images included."""
    counts, shortest, _ = _near(system, farthest, bins, None)
    edges = np.linspace(0.0, farthest, bins + 1)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    density = len(system) / system.volume
    names = system.elements
    pairs = [(a, b) for a in range(len(names)) for b in range(a, len(names))]
    return PairDistribution(
        edges,
        2.0 * counts / (len(system) * density * shells),
        {(names[a], names[b]): float(shortest[a, b]) for a, b in pairs},
    )


def mean_distribution(parts: list[PairDistribution]) -> PairDistribution:
    """The mean of distributions with the same shells; of the smallest distances the smallest."""
    names = {pair for part in parts for pair in part.shortest}
    shortest = {pair: min(part.shortest.get(pair, np.inf) for part in parts) for pair in sorted(names)}
    return PairDistribution(parts[0].edges, np.mean([part.values for part in parts], axis=0), shortest)


def close_pairs(system: System, limits: dict[tuple[str, str], float]) -> ClosePairs:
    """Find the pairs nearer than the limit of their elements (Bohr, each pair in alphabetical order)."""
    names = list(system.elements)
    table = np.zeros((len(names), len(names)))
    for (a, b), limit in limits.items():
        if a in names and b in names and np.isfinite(limit):
            table[names.index(a), names.index(b)] = table[names.index(b), names.index(a)] = limit
    _, _, pairs = _near(system, float(table.max()), 1, table)
    return pairs


def _near(
    system: System, farthest: float, bins: int, limits: FloatArray | None
) -> tuple[NDArray[np.int64], FloatArray, ClosePairs]:
    """Sort the atoms into cells that a pair spans at most one of, then go through the pairs of cells."""
    heights = system.volume / np.linalg.norm(np.cross(np.roll(system.cell, -1, 0), np.roll(system.cell, -2, 0)), axis=1)
    cells = np.clip((heights / farthest).astype(np.int64), 1, 1 + round(len(system) ** (1 / 3)))
    reach = np.ceil(farthest * cells / heights).astype(np.int64)
    scaled = system.scaled_positions
    number = np.ravel_multi_index(tuple(np.minimum((scaled * cells).astype(np.int64), cells - 1).T), tuple(cells))
    order = np.argsort(number, kind="stable")
    begins = np.searchsorted(number[order], np.arange(int(cells.prod()) + 1))
    species = np.searchsorted(np.array(system.elements), system.species)[order]
    kinds = len(system.elements)
    table = np.zeros((kinds, kinds)) if limits is None else limits
    room = 1024 + (0 if limits is None else len(system))  # pages that are not written cost nothing
    while True:
        counts, shortest = np.zeros(bins, dtype=np.int64), np.full((kinds, kinds), np.inf)
        atoms, vectors = np.empty((room, 2), dtype=np.int64), np.empty((room, 3))
        found = _pairs(
            scaled[order] @ system.cell, species, system.cell, cells, reach, begins, farthest**2,
            bins / farthest, table**2, counts, shortest, atoms, vectors,
        )  # fmt: skip
        if found <= room:
            break
        room = found
    first, second = atoms[:found].T
    close = ClosePairs(order[first], order[second], vectors[:found], table[species[first], species[second]])
    return counts, np.sqrt(shortest), close


@njit(cache=True, nogil=True)
def _pairs(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    positions, species, cell, cells, reach, begins, farthest2, bins_per_bohr, limits2, counts, shortest, atoms, vectors
):
    """Each pair once: the half of the neighbouring cells that comes later; images of a cell count as cells."""
    found = 0
    for x in range(cells[0]):
        for y in range(cells[1]):
            for z in range(cells[2]):
                here = (x * cells[1] + y) * cells[2] + z
                for dx in range(reach[0] + 1):
                    for dy in range(-reach[1], reach[1] + 1):
                        for dz in range(-reach[2], reach[2] + 1):
                            if dx == 0 and (dy < 0 or (dy == 0 and dz < 0)):
                                continue
                            a, b, c = (x + dx) // cells[0], (y + dy) // cells[1], (z + dz) // cells[2]
                            there = ((x + dx - a * cells[0]) * cells[1] + y + dy - b * cells[1]) * cells[2]
                            there += z + dz - c * cells[2]
                            sx = a * cell[0, 0] + b * cell[1, 0] + c * cell[2, 0]
                            sy = a * cell[0, 1] + b * cell[1, 1] + c * cell[2, 1]
                            sz = a * cell[0, 2] + b * cell[1, 2] + c * cell[2, 2]
                            same = dx == 0 and dy == 0 and dz == 0
                            for i in range(begins[here], begins[here + 1]):
                                for j in range(i + 1 if same else begins[there], begins[there + 1]):
                                    vx = positions[j, 0] + sx - positions[i, 0]
                                    vy = positions[j, 1] + sy - positions[i, 1]
                                    vz = positions[j, 2] + sz - positions[i, 2]
                                    square = vx * vx + vy * vy + vz * vz
                                    if square >= farthest2:
                                        continue
                                    counts[int(np.sqrt(square) * bins_per_bohr)] += 1
                                    s, t = min(species[i], species[j]), max(species[i], species[j])
                                    shortest[s, t] = min(shortest[s, t], square)
                                    if square < limits2[s, t]:
                                        if found < len(atoms):
                                            atoms[found, 0], atoms[found, 1] = i, j
                                            vectors[found, 0], vectors[found, 1], vectors[found, 2] = vx, vy, vz
                                        found += 1
    return found
