"""Tersoff's potential for C, Si, Ge and their alloys as a compiled kernel: ASE's is a loop over atoms in Python.

    E = 1/2 sum_ij f_C(r_ij) [A exp(-lambda r_ij) - b_ij B exp(-mu r_ij)]
    b_ij = (1 + beta^n zeta_ij^n)^(-1 / 2n),    zeta_ij = sum_k f_C(r_ik) g(theta_ijk)
    g(theta) = 1 + c^2 / d^2 - c^2 / [d^2 + (h - cos theta)^2]

(J. Tersoff, Phys. Rev. B 39, 5566 (1989), eqs. 1-3; beta, n, c, d, h are those of atom i.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from numba import njit
from numpy.typing import NDArray

from rhoscale.errors import InputError
from rhoscale.sampling.forces import tersoff_1989

FloatArray = NDArray[np.float64]

SKIN = 0.4  # Angstrom that neighbours are listed beyond the cutoff, so that a list serves many steps


class Tersoff1989(Calculator):
    """Energies and forces of C, Si, Ge with the parameters of 1989, those of :func:`tersoff_1989`."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 - as ASE's base class has it

    def __init__(self) -> None:
        super().__init__()
        table = tersoff_1989().parameters
        self.elements = sorted({elements[0] for elements in table})
        pairs = [[table[a, b, b] for b in self.elements] for a in self.elements]
        self._pair = np.array([[(p.A, p.B, p.lambda1, p.lambda2, p.R, p.D) for p in row] for row in pairs])
        self._own = np.array([(p.beta, p.n, p.c, p.d, p.h) for p in (pairs[i][i] for i in range(len(pairs)))])
        self._reach = float((self._pair[..., 4] + self._pair[..., 5]).max())
        self._kind_of_number = np.full(len(atomic_numbers), -1)
        self._kind_of_number[[atomic_numbers[e] for e in self.elements]] = np.arange(len(self.elements))
        self._listed: tuple[Atoms, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate energy and forces.

        Raises:
            InputError: An element has no parameters.
        """
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        begins, neighbours, images = self._neighbours(atoms)
        kinds = self._kind_of_number[atoms.numbers]
        shifts = images @ atoms.cell.array
        energy, forces = _energy_and_forces(atoms.positions, kinds, begins, neighbours, shifts, self._pair, self._own)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def _neighbours(self, atoms: Atoms) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        if (self._kind_of_number[atoms.numbers] < 0).any():
            strange = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
            raise InputError(
                f"Tersoff's potential has no parameters for {', '.join(strange)}; expected {', '.join(self.elements)}; "
                f"choose another potential"
            )
        if self._listed is not None:
            then, *lists = self._listed
            same = len(then) == len(atoms) and np.array_equal(then.cell.array, atoms.cell.array)
            if same and (((atoms.positions - then.positions) ** 2).sum(axis=1) < (0.5 * SKIN) ** 2).all():
                return lists[0], lists[1], lists[2]
        first, second, images = neighbor_list("ijS", atoms, self._reach + SKIN)
        begins = np.searchsorted(first, np.arange(len(atoms) + 1))
        self._listed = (atoms.copy(), begins, second, images)
        return begins, second, images


@njit(cache=True, nogil=True)
def _cutoff(r, middle, half):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """f_C and its derivative: one up to R - D, zero beyond R + D, half a cosine between."""
    if r <= middle - half:
        return 1.0, 0.0
    if r >= middle + half:
        return 0.0, 0.0
    phase = 0.5 * np.pi * (r - middle) / half
    return 0.5 - 0.5 * np.sin(phase), -0.25 * np.pi / half * np.cos(phase)


@njit(cache=True, nogil=True)
def _energy_and_forces(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    positions, kinds, begins, neighbours, shifts, pair, own
):
    forces, energy = np.zeros_like(positions), 0.0
    most = 0
    for i in range(len(positions)):
        most = max(most, begins[i + 1] - begins[i])
    unit, length = np.empty((most, 3)), np.empty(most)
    cut, slope, who = np.empty(most), np.empty(most), np.empty(most, dtype=np.int64)
    for i in range(len(positions)):
        beta, n, c, d, h = own[kinds[i]]
        count = 0
        for p in range(begins[i], begins[i + 1]):
            j = neighbours[p]
            middle, half = pair[kinds[i], kinds[j], 4], pair[kinds[i], kinds[j], 5]
            x = positions[j, 0] + shifts[p, 0] - positions[i, 0]
            y = positions[j, 1] + shifts[p, 1] - positions[i, 1]
            z = positions[j, 2] + shifts[p, 2] - positions[i, 2]
            r = np.sqrt(x * x + y * y + z * z)
            if r < middle + half:
                unit[count, 0], unit[count, 1], unit[count, 2] = x / r, y / r, z / r
                cut[count], slope[count] = _cutoff(r, middle, half)
                length[count], who[count] = r, j
                count += 1
        for a in range(count):
            j = who[a]
            A, B, lam, mu = pair[kinds[i], kinds[j], :4]
            zeta = 0.0
            for b in range(count):
                if b != a:
                    cosine = unit[a, 0] * unit[b, 0] + unit[a, 1] * unit[b, 1] + unit[a, 2] * unit[b, 2]
                    zeta += cut[b] * (1.0 + c * c / (d * d) - c * c / (d * d + (h - cosine) ** 2))
            repulsion, attraction = A * np.exp(-lam * length[a]), -B * np.exp(-mu * length[a])
            power = (beta * zeta) ** n
            order = (1.0 + power) ** (-0.5 / n)
            energy += 0.5 * cut[a] * (repulsion + order * attraction)
            radial = 0.5 * slope[a] * (repulsion + order * attraction)
            radial -= 0.5 * cut[a] * (lam * repulsion + mu * order * attraction)
            by_zeta = 0.0
            if zeta > 0.0:
                by_zeta = -0.25 * cut[a] * attraction * order / (1.0 + power) * power / zeta
            for x in range(3):
                forces[i, x] += radial * unit[a, x]
                forces[j, x] -= radial * unit[a, x]
            for b in range(count):
                if b == a:
                    continue
                k = who[b]
                cosine = unit[a, 0] * unit[b, 0] + unit[a, 1] * unit[b, 1] + unit[a, 2] * unit[b, 2]
                bottom = d * d + (h - cosine) ** 2
                angular = 1.0 + c * c / (d * d) - c * c / bottom
                by_cosine = by_zeta * cut[b] * (-2.0 * c * c * (h - cosine) / (bottom * bottom))
                by_length = by_zeta * slope[b] * angular
                for x in range(3):
                    on_j = by_cosine * (unit[b, x] - cosine * unit[a, x]) / length[a]
                    on_k = by_cosine * (unit[a, x] - cosine * unit[b, x]) / length[b] + by_length * unit[b, x]
                    forces[j, x] -= on_j
                    forces[k, x] -= on_k
                    forces[i, x] += on_j + on_k
    return energy, forces
