"""Tersoff's potential for C, Si, Ge and their alloys as a compiled kernel: ASE's is a loop over atoms in Python.

    E = 1/2 sum_ij f_C(r_ij) [A exp(-lambda r_ij) - b_ij B exp(-mu r_ij)]
    b_ij = (1 + beta^n zeta_ij^n)^(-1 / 2n),    zeta_ij = sum_k f_C(r_ik) g(theta_ijk)
    g(theta) = 1 + c^2 / d^2 - c^2 / [d^2 + (h - cos theta)^2]

(J. Tersoff, Phys. Rev. B 39, 5566 (1989), eqs. 1-3; beta, n, c, d, h are those of atom i.)
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.sampling.compiled import CompiledCalculator
from rhoscale.sampling.verlet_list import NearPairs, VerletList

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SKIN = 0.4  # Angstrom

# Tables I and III: A, B (eV), lambda, mu (1/Angstrom), beta, n, c, d, h, R, S (Angstrom).
PARAMETERS = {
    "C": (1393.6, 346.74, 3.4879, 2.2119, 1.5724e-7, 0.72751, 3.8049e4, 4.3484, -0.57058, 1.8, 2.1),
    "Si": (1830.8, 471.18, 2.4799, 1.7322, 1.1000e-6, 0.78734, 1.0039e5, 16.217, -0.59825, 2.7, 3.0),
    "Ge": (1769.0, 419.23, 2.4451, 1.7047, 9.0166e-7, 0.75627, 1.0643e5, 15.652, -0.43884, 2.8, 3.1),
}
CHI = {frozenset(("C", "Si")): 0.9776, frozenset(("Si", "Ge")): 1.00061}


def pair_parameters(i: str, j: str) -> tuple[float, float, float, float, float, float]:
    """A, chi B (eV), lambda, mu (1/Angstrom), R, S (Angstrom) of a pair: geometric means, of exponents arithmetic."""
    a, b = PARAMETERS[i], PARAMETERS[j]
    A, B, R, S = ((a[m] * b[m]) ** 0.5 for m in (0, 1, 9, 10))
    return A, B * CHI.get(frozenset((i, j)), 1.0), 0.5 * (a[2] + b[2]), 0.5 * (a[3] + b[3]), R, S


class Tersoff1989(CompiledCalculator):
    """Energies and forces of C, Si, Ge and their alloys with the parameters of 1989."""

    def __init__(self) -> None:
        elements = tuple(PARAMETERS)
        self._own = np.array([PARAMETERS[e][4:9] for e in elements])
        pairs = np.array([[pair_parameters(a, b) for b in elements] for a in elements])
        inner, outer = pairs[..., 4].copy(), pairs[..., 5].copy()
        pairs[..., 4], pairs[..., 5] = 0.5 * (inner + outer), 0.5 * (outer - inner)
        self._pair = pairs
        super().__init__(elements, VerletList(float(outer.max()), SKIN, twice=True))

    def evaluate(self, positions: FloatArray, codes: IntArray, near: NearPairs) -> tuple[float, FloatArray]:
        """Energy and forces of atoms; see the module."""
        return _energy_and_forces(positions, codes, near.begins, near.second, near.shifts, self._pair, self._own)


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
