"""Cheap forces for thermalising magnesium: Morse's pair potential, its three numbers fitted to three of the crystal.

    V(r) = D {exp[-2 alpha (r - r0)] - 2 exp[-alpha (r - r0)]} s(r)

with s going smoothly from 1 to 0 between 5 and 7 Angstrom. D, alpha and r0 are such that the hcp crystal of the file
``POSCAR`` beside this one is at rest at its volume, with the cohesive energy and the bulk modulus of C. Kittel,
Introduction to Solid State Physics, chapter 3 (1.51 eV an atom; 35.4 GPa), in the manner of L. A. Girifalco and V. G.
Weizer, Phys. Rev. 114, 687 (1959). A pair potential is no model of a metal's defects or melting; here it only has to
shake the atoms by about as much as they are shaken.

For another close-packed element: change what stands below ``crystal's numbers``, then

    python examples/mg/morse.py examples/mg/POSCAR

prints the three numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.io import read
from numpy.typing import NDArray
from scipy.optimize import fsolve

from rhoscale.sampling.compiled import CompiledCalculator
from rhoscale.sampling.verlet_list import NearPairs, VerletList

# crystal's numbers
ELEMENT, COHESIVE_EV, BULK_MODULUS_GPA = "Mg", 1.51, 35.4
# the potential's: eV, 1/Angstrom, Angstrom
DEPTH, ALPHA, LENGTH = 0.171013, 0.982987, 3.705551

INNER, OUTER, SKIN = 5.0, 7.0, 0.8  # Angstrom


class Magnesium(CompiledCalculator):
    """The potential as an ASE calculator that needs no arguments, as recipes want it."""

    def __init__(self, depth: float = DEPTH, alpha: float = ALPHA, length: float = LENGTH) -> None:
        super().__init__((ELEMENT,), VerletList(OUTER, SKIN, twice=False))
        self.numbers = depth, alpha, length

    def evaluate(
        self,
        positions: NDArray[np.float64],
        codes: NDArray[np.int64],  # noqa: ARG002 - one element
        near: NearPairs,
    ) -> tuple[float, NDArray[np.float64]]:
        """Energy (eV) and forces (eV per Angstrom) from the pairs, each listed once."""
        depth, alpha, length = self.numbers
        first = np.repeat(np.arange(len(positions)), np.diff(near.begins))
        vectors = positions[near.second] + near.shifts - positions[first]
        r = np.sqrt((vectors**2).sum(axis=1))
        decay = np.exp(-alpha * (r - length))
        bare, bare_slope = depth * decay * (decay - 2), 2 * depth * alpha * decay * (1 - decay)
        t = np.clip((r - INNER) / (OUTER - INNER), 0, 1)
        switch, switch_slope = 1 - t**3 * (10 - 15 * t + 6 * t**2), -30 * t**2 * (1 - t) ** 2 / (OUTER - INNER)
        along = vectors * ((bare_slope * switch + bare * switch_slope) / r)[:, None]
        forces = [
            np.bincount(first, along[:, x], len(positions)) - np.bincount(near.second, along[:, x], len(positions))
            for x in range(3)
        ]
        return float((bare * switch).sum()), np.transpose(forces)


def crystal_numbers(atoms: Atoms, numbers: Sequence[float], step: float = 0.01) -> NDArray[np.float64]:
    """Energy of an atom (eV), pressure and bulk modulus (GPa) of a crystal with a potential's numbers."""
    strains = step * np.arange(-2, 3)
    energies = []
    for strain in strains:
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
        energies.append(Magnesium(*numbers).get_potential_energy(strained) / len(atoms))
    energy, slope, curvature = np.polyfit(strains, energies, 4)[:-4:-1]
    volume = atoms.get_volume() / len(atoms)
    # V = V0 (1 + e)^3: P = -(dE/de) / 3 V0, and at rest B = (d2E/de2) / 9 V0
    return np.array([energy, -slope / (3 * volume) / units.GPa, 2 * curvature / (9 * volume) / units.GPa])


def fitted(atoms: Atoms) -> NDArray[np.float64]:
    """Depth, alpha and length with which a crystal has the wanted energy and stiffness, and no pressure."""
    wanted = np.array([-COHESIVE_EV, 0.0, BULK_MODULUS_GPA])
    start = np.array([0.1 * COHESIVE_EV, 1.2, 1.05 * float(np.cbrt(np.sqrt(2) * atoms.get_volume() / len(atoms)))])
    return np.asarray(fsolve(lambda numbers: crystal_numbers(atoms, numbers) - wanted, start, xtol=1e-12))


if __name__ == "__main__":
    print("DEPTH, ALPHA, LENGTH = {:.6f}, {:.6f}, {:.6f}".format(*fitted(read(sys.argv[1]))))
