"""The sharp part at any points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.cluster import Cluster
from rhoscale.density import Density
from rhoscale.errors import HaloError
from rhoscale.grid import Grid
from rhoscale.promolecule.lattice import at_points, atom_lattice, atoms_near_bin, on_grid
from rhoscale.sharp.harmonics import HARMONICS, write_harmonics
from rhoscale.sharp.part import FUNCTIONS, REACH, SharpPart
from rhoscale.system import System

FloatArray = NDArray[np.float64]


class SharpSum:
    """The sharp part of one structure, prepared for evaluation at any points."""

    def __init__(self, system: System, part: SharpPart) -> None:
        """Sort the atoms into bins and find their coefficients.

        Raises:
            StructureError: An element is not known.
        """
        self._lattice = atom_lattice(system, REACH)
        self._given = np.full(len(system.elements), REACH), part.coefficients(system)[self._lattice.order]

    @classmethod
    def of_cluster(cls, cluster: Cluster, part: SharpPart) -> SharpSum:
        """That of a cluster, at points of its box: atoms repeat in a box so large that no image matters there.

        Raises:
            HaloError: Atoms beyond the halo act on the points.
        """
        if cluster.halo < part.halo:
            raise HaloError(
                f"sharp parts reach {part.halo:.1f} Bohr, beyond the {cluster.halo:g} Bohr halo; use "
                f"halo={part.halo:.1f} or more"
            )
        return cls(System(np.diag(cluster.period), cluster.positions, cluster.species), part)

    def at(self, points: FloatArray, *, workers: int = 1) -> FloatArray:
        """Values at points [n, 3] (Bohr, in any image of the cell), electrons per Bohr^3, shape [n]."""
        return at_points(self._lattice, points, _sum_atoms, self._given, workers)

    def on_grid(self, grid: Grid, *, workers: int = 1) -> Density:
        """Values at every point of a grid of the same cell.

        Raises:
            InputError: The grid belongs to another cell.
        """
        return on_grid(self._lattice, self.at, grid, workers)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _sum_atoms(lattice: Any, given: Any, groups: Any, limits: Any, points: Any, values: Any) -> None:
    """values[p] = the sum at points[p] for the points limits[g] <= p < limits[g + 1] of each bin groups[g]."""
    cutoffs, coefficients = given
    near, numbers = np.empty((256, 3)), np.empty(256, dtype=np.int64)
    angular, summed = np.empty(HARMONICS), np.empty(HARMONICS)
    for g in range(len(groups)):
        count, near, numbers = atoms_near_bin(lattice, cutoffs, groups[g], near, numbers)
        for p in range(limits[g], limits[g + 1]):
            x, y, z = points[p, 0], points[p, 1], points[p, 2]
            total = 0.0
            for a in range(count):
                dx, dy, dz = (x - near[a, 0]) / REACH, (y - near[a, 1]) / REACH, (z - near[a, 2]) / REACH
                s = dx * dx + dy * dy + dz * dz
                if s >= 1.0:
                    continue
                t = np.pi * max(np.sqrt(s), 1e-9)
                twice, before, sine = 2 * np.cos(t), 0.0, np.sin(t)  # sin(k t) by their recurrence
                atom = numbers[a]
                summed[:] = 0.0
                for k in range(FUNCTIONS):
                    value = sine / (t * (k + 1))
                    for m in range(HARMONICS):
                        summed[m] += value * coefficients[atom, k, m]
                    before, sine = sine, twice * sine - before
                write_harmonics(dx, dy, dz, angular)
                part = 0.0
                for m in range(HARMONICS):
                    part += summed[m] * angular[m]
                total += (1 - s) ** 3 * part
            values[p] = total
