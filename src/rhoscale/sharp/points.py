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
from rhoscale.sharp.radial import write_radial
from rhoscale.system import System

FloatArray = NDArray[np.float64]

TOGETHER = 32  # points at a time: rows of 32 stay in the first cache


class SharpSum:
    """The sharp part of one structure, prepared for evaluation at any points."""

    def __init__(self, system: System, part: SharpPart) -> None:
        """Sort the atoms into bins and find their coefficients.

        Raises:
            StructureError: An element is not known.
        """
        self._lattice = atom_lattice(system, REACH)
        coefficients = part.coefficients(system)[self._lattice.order]
        self._given = np.full(len(system.elements), REACH), np.ascontiguousarray(coefficients.transpose(0, 2, 1))

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


_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


@njit(**_options)
def _sum_atoms(lattice: Any, given: Any, groups: Any, limits: Any, points: Any, values: Any) -> None:
    """values[p] = the sum at points[p] for the points limits[g] <= p < limits[g + 1] of each bin groups[g].

    Atom by atom, some of the points in its reach at a time; the last one fills what is left of these.
    """
    cutoffs, coefficients = given
    near, numbers = np.empty((256, 3)), np.empty(256, dtype=np.int64)
    steps, scaled, sums = np.empty((3, TOGETHER)), np.empty(TOGETHER), np.empty(TOGETHER)
    angular, radial, cosine = np.empty((HARMONICS, TOGETHER)), np.empty((FUNCTIONS, TOGETHER)), np.empty(TOGETHER)
    for g in range(len(groups)):
        count, near, numbers = atoms_near_bin(lattice, cutoffs, groups[g], near, numbers)
        places, own = points[limits[g] : limits[g + 1]].T.copy(), values[limits[g] : limits[g + 1]]
        squares, inside = np.empty(len(own)), np.empty(len(own) + 1, dtype=np.int64)
        for a in range(count):
            x, y, z = near[a, 0], near[a, 1], near[a, 2]
            weights = coefficients[numbers[a]]
            found = _within_reach(places, x, y, z, squares, inside)
            for first in range(0, found, TOGETHER):
                n = min(TOGETHER, (found - first + 7) // 8 * 8)  # whole vectors
                for j in range(n):
                    p = inside[min(first + j, found - 1)]
                    steps[0, j] = (places[0, p] - x) / REACH
                    steps[1, j] = (places[1, p] - y) / REACH
                    steps[2, j] = (places[2, p] - z) / REACH
                    scaled[j] = squares[p] / REACH**2
                write_harmonics(steps, scaled[:n], angular)
                write_radial(scaled[:n], cosine, radial)
                _contract(weights, angular, radial, sums[:n])
                for j in range(min(TOGETHER, found - first)):
                    own[inside[first + j]] += sums[j]


@njit(**_options)
def _within_reach(places: Any, x: float, y: float, z: float, squares: Any, inside: Any) -> int:
    """Squares of the distances of places [3, n] from an atom, and the numbers of those in its reach: how many."""
    for p in range(len(squares)):
        squares[p] = (places[0, p] - x) ** 2 + (places[1, p] - y) ** 2 + (places[2, p] - z) ** 2
    found = 0
    for p in range(len(squares)):  # written always, counted when near: no branch to guess
        inside[found] = p
        found += squares[p] < REACH * REACH
    return found


@njit(**_options)
def _contract(weights: Any, angular: Any, radial: Any, sums: Any) -> None:
    """sum_klm c_klm phi_k S_lm of an atom at some points; the loop over k is unrolled, that over points vectorised."""
    for j in range(len(sums)):
        sums[j] = 0.0
    for m in range(HARMONICS):
        for j in range(len(sums)):
            t = 0.0
            for k in range(FUNCTIONS):
                t += weights[m, k] * radial[k, j]
            sums[j] += t * angular[m, j]
