"""Effective medium theory as a compiled kernel; ASE's goes through the atoms in Python.

    E = sum_i [E_c(s_i) - E_0i] - sum_i sum_j V_0i / (2 gamma_2i) chi_ij w(r_ij) exp[-kappa_j (r_ij / beta - s_0j)]
    E_c(s) = E_0 (1 + lambda s) exp(-lambda s) + 6 V_0 exp(-kappa s),    s_i = -ln(sigma_i / 12 gamma_1) / (beta eta_2)
    sigma_i = sum_j chi_ij w(r_ij) exp[-eta_2j (r_ij - beta s_0j)],    w(r) = 1 / [1 + exp(a (r - r_c))]

with chi_ij = n_0j / n_0i (K. W. Jacobsen, P. Stoltze, J. K. Norskov, Surf. Sci. 366, 394 (1996)). As ASE has it, s
counts from s_0, energies from the atoms in their crystals, and pairs beyond r_c + 0.5 Angstrom are left out.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators import emt as of_ase
from ase.data import atomic_numbers
from numba import njit
from numpy.typing import NDArray

from rhoscale.sampling.compiled import CompiledCalculator
from rhoscale.sampling.exponential import exponentials
from rhoscale.sampling.verlet_list import NearPairs, VerletList

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

METALS = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")  # ASE's parameters of H, C, N, O are "just for fun"
SKIN = 0.8  # Angstrom
BETA = of_ase.beta
_u = np.uint64  # an index that cannot be negative needs no check
KEPT = 9  # numbers of a pair that the kernel keeps between its two passes


class EMT(CompiledCalculator):
    """Energies and forces of ``ase.calculators.emt.EMT``, its parameters and cutoffs taken from there."""

    def __init__(self) -> None:
        elements = sorted(of_ase.parameters, key=atomic_numbers.__getitem__)
        reference = of_ase.EMT()
        reference.initialize(Atoms(elements))
        super().__init__(elements, VerletList(reference.rc_list, SKIN, twice=False))
        p = reference.par
        self._own = np.array(
            [p[name] for name in ("E0", "lambda", "V0", "kappa", "eta2", "inv12gamma1")]
            + [p["eta2"] * BETA * p["s0"], p["kappa"] * p["s0"], p["neghalfv0overgamma2"]]
        )
        self._chi = np.ascontiguousarray(reference.chi)
        self._cutoff = reference.rc, reference.rc_list, reference.acut
        self._room = np.empty((KEPT, 0)), np.empty((2, 0), np.int64)

    def evaluate(self, positions: FloatArray, codes: IntArray, near: NearPairs) -> tuple[float, FloatArray]:
        """Energy and forces of atoms; see the module."""
        if self._room[0].shape[1] < len(near):  # pages that are used again cost nothing
            self._room = np.empty((KEPT, len(near))), np.empty((2, len(near)), np.int64)
        kept, ends = self._room
        found = _within(positions, near.begins, near.second, near.shifts, self._cutoff[1] ** 2, kept, ends)
        energy = _of_pairs(found, kept, ends, codes, self._own, self._chi, self._cutoff)
        forces = np.zeros_like(positions)
        return energy + _of_atoms(found, kept, ends, codes, self._own, forces), forces


@njit(cache=True, nogil=True)
def _within(positions, begins, second, shifts, reach2, kept, ends):  # type: ignore[no-untyped-def] # pragma: no cover
    """Vectors and squared lengths of the pairs within reach, in rows 0 to 3."""
    found = _u(0)
    for i in range(_u(len(positions))):
        for p in range(_u(begins[i]), _u(begins[i + _u(1)])):
            j = _u(second[p])
            x = positions[j, 0] + shifts[p, 0] - positions[i, 0]
            y = positions[j, 1] + shifts[p, 1] - positions[i, 1]
            z = positions[j, 2] + shifts[p, 2] - positions[i, 2]
            square = x * x + y * y + z * z
            kept[0, found], kept[1, found], kept[2, found], kept[3, found] = x, y, z, square
            ends[0, found], ends[1, found] = i, j
            found += _u(square < reach2)  # without a branch, which would be guessed wrong half of the time
    return np.int64(found)


@njit(cache=True, nogil=True, error_model="numpy")
def _of_pairs(found, kept, ends, codes, own, chi, cutoff):  # type: ignore[no-untyped-def] # pragma: no cover
    """Energy of the pairs; row 4: their force over the length; 5, 6: terms of sigma; 7, 8: slopes of these likewise."""
    middle, _, steepness = cutoff
    kappa, eta, eta_at, kappa_at, strength = own[3], own[4], own[6], own[7], own[8]
    for p in range(_u(found)):
        a, b = _u(codes[_u(ends[0, p])]), _u(codes[_u(ends[1, p])])
        r = np.sqrt(kept[3, p])
        kept[3, p], kept[4, p] = r, steepness * (r - middle)
        kept[5, p], kept[6, p] = eta_at[b] - eta[b] * r, eta_at[a] - eta[a] * r
        kept[7, p], kept[8, p] = kappa_at[b] - kappa[b] / BETA * r, kappa_at[a] - kappa[a] / BETA * r
    for row in range(4, 9):
        exponentials(kept[row, :found])
    energy = 0.0
    for p in range(_u(found)):
        a, b = _u(codes[_u(ends[0, p])]), _u(codes[_u(ends[1, p])])
        w, per_r = 1.0 / (1.0 + kept[4, p]), 1.0 / kept[3, p]
        slope = steepness * (w - 1.0)
        to_a, to_b = chi[a, b] * w, chi[b, a] * w
        sigma_a, sigma_b = to_a * kept[5, p], to_b * kept[6, p]
        pair_a, pair_b = strength[a] * to_a * kept[7, p], strength[b] * to_b * kept[8, p]
        energy += pair_a + pair_b
        kept[4, p] = (pair_a * (slope - kappa[b] / BETA) + pair_b * (slope - kappa[a] / BETA)) * per_r
        kept[5, p], kept[6, p] = sigma_a, sigma_b
        kept[7, p], kept[8, p] = sigma_a * (slope - eta[b]) * per_r, sigma_b * (slope - eta[a]) * per_r
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def _of_atoms(found, kept, ends, codes, own, forces):  # type: ignore[no-untyped-def] # pragma: no cover
    """Energy of the atoms in the medium of the others, and the forces of both parts."""
    n = len(codes)
    sigma, by_sigma, energy = np.zeros(n), np.zeros(n), 0.0
    for p in range(_u(found)):
        sigma[_u(ends[0, p])] += kept[5, p]
        sigma[_u(ends[1, p])] += kept[6, p]
    for i in range(n):
        e0, lam, v0, kappa, eta, per_gamma, _, _, _ = own[:, codes[i]]
        energy -= e0
        if sigma[i] > 0.0:  # as ASE has it, an atom alone has no energy of its own
            s = -np.log(sigma[i] * per_gamma) / (BETA * eta)
            cohesive, repulsive = e0 * np.exp(-lam * s), 6.0 * v0 * np.exp(-kappa * s)
            energy += (1.0 + lam * s) * cohesive + repulsive
            by_sigma[i] = (lam * lam * s * cohesive + kappa * repulsive) / (BETA * eta * sigma[i])
    for p in range(_u(found)):
        i, j = _u(ends[0, p]), _u(ends[1, p])
        along = kept[4, p] + by_sigma[i] * kept[7, p] + by_sigma[j] * kept[8, p]
        for x in range(3):
            forces[i, x] += along * kept[x, p]
            forces[j, x] -= along * kept[x, p]
    return energy
