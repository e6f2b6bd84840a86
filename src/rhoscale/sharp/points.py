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

LANES = 8  # points at a time


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

    Atom by atom, eight of the points in its reach at a time; the last one fills what is left of eight.
    """
    cutoffs, coefficients = given
    near, numbers = np.empty((256, 3)), np.empty(256, dtype=np.int64)
    steps, angular, radial = np.empty((LANES, 3)), np.empty((LANES, HARMONICS)), np.empty((FUNCTIONS, LANES))
    for g in range(len(groups)):
        count, near, numbers = atoms_near_bin(lattice, cutoffs, groups[g], near, numbers)
        inside = np.empty(limits[g + 1] - limits[g], dtype=np.int64)
        for a in range(count):
            x, y, z = near[a, 0], near[a, 1], near[a, 2]
            found = 0
            for p in range(limits[g], limits[g + 1]):
                if (points[p, 0] - x) ** 2 + (points[p, 1] - y) ** 2 + (points[p, 2] - z) ** 2 < REACH * REACH:
                    inside[found] = p
                    found += 1
            for first in range(0, found, LANES):
                for j in range(LANES):
                    p = inside[min(first + j, found - 1)]
                    steps[j, 0] = (points[p, 0] - x) / REACH
                    steps[j, 1] = (points[p, 1] - y) / REACH
                    steps[j, 2] = (points[p, 2] - z) / REACH
                    write_harmonics(steps[j, 0], steps[j, 1], steps[j, 2], angular[j])
                _write_radial(steps, radial)
                sums = _contracted(coefficients, numbers[a], angular, radial)
                for j in range(min(LANES, found - first)):
                    values[inside[first + j]] += sums[j]


@njit(**_options)
def _write_radial(steps: Any, radial: Any) -> None:
    """radial[k, j] = phi_k at eight steps [8, 3] in units of the reach; sin(k t) by their recurrence."""
    t, window, before = np.empty(LANES), np.empty(LANES), np.zeros(LANES)
    sine, twice = np.empty(LANES), np.empty(LANES)
    for j in range(LANES):
        s = steps[j, 0] ** 2 + steps[j, 1] ** 2 + steps[j, 2] ** 2
        t[j], window[j] = np.pi * max(np.sqrt(s), 1e-9), (1 - s) ** 3
        sine[j], twice[j] = np.sin(t[j]), 2 * np.cos(t[j])
    for k in range(FUNCTIONS):
        for j in range(LANES):
            now = sine[j]
            radial[k, j] = window[j] * now / (t[j] * (k + 1))
            sine[j] = twice[j] * now - before[j]
            before[j] = now


@njit(**_options)
def _contracted(coefficients: Any, atom: int, angular: Any, radial: Any) -> Any:
    """sum_klm c_klm phi_k S_lm of an atom at eight points; eight sums by name stay in registers."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for m in range(HARMONICS):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = 0.0
        for k in range(FUNCTIONS):
            c = coefficients[atom, m, k]
            a0 += c * radial[k, 0]
            a1 += c * radial[k, 1]
            a2 += c * radial[k, 2]
            a3 += c * radial[k, 3]
            a4 += c * radial[k, 4]
            a5 += c * radial[k, 5]
            a6 += c * radial[k, 6]
            a7 += c * radial[k, 7]
        s0 += a0 * angular[0, m]
        s1 += a1 * angular[1, m]
        s2 += a2 * angular[2, m]
        s3 += a3 * angular[3, m]
        s4 += a4 * angular[4, m]
        s5 += a5 * angular[5, m]
        s6 += a6 * angular[6, m]
        s7 += a7 * angular[7, m]
    return s0, s1, s2, s3, s4, s5, s6, s7
