"""The promolecule at any points: atoms in bins, one list of atoms for the points of a bin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.cluster import Cluster
from rhoscale.density import Density
from rhoscale.errors import HaloError
from rhoscale.grid import Grid
from rhoscale.promolecule.lattice import at_points, atom_lattice, atoms_near_bin, on_grid
from rhoscale.promolecule.table import AtomicDensityTable, require_tables
from rhoscale.system import System

FloatArray = NDArray[np.float64]


class _Splines(NamedTuple):
    """Cubic pieces of all elements, one after another: those of kind s start at ``first[s]``."""

    cutoffs: FloatArray
    steps: FloatArray
    first: NDArray[np.int64]
    coefficients: FloatArray


class Promolecule:
    """The sum of atomic densities of one system, prepared for evaluation at any points.

    The value at a point depends on nothing but the point: not on the other points, their order or the workers.

    Attributes:
        system: Cell and atoms.
        tables: Atomic density for each element.
    """

    def __init__(self, system: System, tables: Mapping[str, AtomicDensityTable]) -> None:
        """Sort the atoms into bins.

        Raises:
            StructureError: An element has no table.
        """
        require_tables(system, tables)
        self.system = system
        self.tables = {e: tables[e] for e in system.elements}
        self._splines = _splines([self.tables[e] for e in system.elements])
        self._lattice = atom_lattice(system, float(self._splines.cutoffs.max()))

    def at(self, points: FloatArray, *, workers: int = 1) -> FloatArray:
        """Density at points [n, 3] (Bohr, in any image of the cell), electrons per Bohr^3, shape [n].

        Args:
            points: Cartesian coordinates.
            workers: Threads.
        """
        return at_points(self._lattice, points, _sum_atoms, self._splines, workers)

    def on_grid(self, grid: Grid, *, workers: int = 1) -> Density:
        """The density at every point of a grid of the same cell.

        Raises:
            InputError: The grid belongs to another cell.
        """
        return on_grid(self._lattice, self.at, grid, workers)


def promolecule(
    system: System, tables: Mapping[str, AtomicDensityTable], points: FloatArray, *, workers: int = 1
) -> FloatArray:
    """Sum atomic densities at points [n, 3] (Bohr), electrons per Bohr^3, shape [n].

    Raises:
        StructureError: An element has no table.
    """
    return Promolecule(system, tables).at(points, workers=workers)


def promolecule_on_grid(
    system: System, tables: Mapping[str, AtomicDensityTable], grid: Grid, *, workers: int = 1
) -> Density:
    """Sum atomic densities at every point of a grid.

    Raises:
        StructureError: An element has no table.
        InputError: The grid belongs to another cell.
    """
    return Promolecule(system, tables).on_grid(grid, workers=workers)


def promolecule_of_cluster(
    cluster: Cluster, tables: Mapping[str, AtomicDensityTable]
) -> Callable[[FloatArray], FloatArray]:
    """The sum of atomic densities at points of a cluster's box: points [n, 3], Bohr -> electrons per Bohr^3 [n].

    The atoms repeat in a box so large that no image acts on the points, so the crystal's own code serves.

    Raises:
        HaloError: Atoms beyond the halo act on the points.
    """
    reach = max(table.cutoff for table in tables.values())
    if cluster.halo < reach:
        raise HaloError(
            f"atomic densities reach {reach:.1f} Bohr, beyond the {cluster.halo:g} Bohr halo; "
            f"use halo={reach:.1f} or more"
        )
    if not len(cluster):
        return lambda points: np.zeros(len(points))
    return Promolecule(System(np.diag(cluster.period), cluster.positions, cluster.species), tables).at


def _splines(tables: Sequence[AtomicDensityTable]) -> _Splines:
    pieces = [table.spline.c.T for table in tables]
    return _Splines(
        cutoffs=np.array([table.cutoff for table in tables]),
        steps=np.array([table.step for table in tables]),
        first=np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64),
        coefficients=np.ascontiguousarray(np.concatenate(pieces)),
    )


@njit(cache=True, nogil=True)
def _sum_atoms(lattice: Any, splines: Any, groups: Any, limits: Any, points: Any, values: Any) -> None:
    """values[p] = sum of densities at points[p] for the points limits[g] <= p < limits[g + 1] of each bin groups[g]."""
    near = np.empty((256, 3))
    found = np.empty(256, dtype=np.int64)
    for g in range(len(groups)):
        count, near, found = atoms_near_bin(lattice, splines.cutoffs, groups[g], near, found)
        for p in range(limits[g], limits[g + 1]):
            x, y, z = points[p]
            total = 0.0
            for a in range(count):
                kind = lattice.kinds[found[a]]
                r2 = (x - near[a, 0]) ** 2 + (y - near[a, 1]) ** 2 + (z - near[a, 2]) ** 2
                if r2 < splines.cutoffs[kind] ** 2:
                    r = np.sqrt(r2)
                    m = min(int(r / splines.steps[kind]), splines.first[kind + 1] - splines.first[kind] - 1)
                    d = r - m * splines.steps[kind]
                    c = splines.coefficients[splines.first[kind] + m]
                    total += ((c[0] * d + c[1]) * d + c[2]) * d + c[3]
            values[p] = total
