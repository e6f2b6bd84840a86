"""Momenta of atoms at a temperature."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def draw_momenta(masses: FloatArray, temperature: float, rng: np.random.Generator) -> FloatArray:
    """Maxwell-Boltzmann momenta [n, 3] without drift, in ASE's units, for masses [n] in atomic mass units."""
    column = masses[:, None]
    momenta = rng.standard_normal((len(masses), 3)) * np.sqrt(column * units.kB * temperature)
    return np.asarray(momenta - column * (momenta.sum(axis=0) / masses.sum()))


def kinetic_temperature(atoms: Atoms) -> float:
    """2 E_kin / (3 (n - 1) k_B): Kelvin, of atoms without drift."""
    return float(2.0 * atoms.get_kinetic_energy() / (3.0 * max(1, len(atoms) - 1) * units.kB))
