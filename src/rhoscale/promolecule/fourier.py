"""The promolecule by its Fourier coefficients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rhoscale.promolecule.table import AtomicDensityTable, require_tables
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.system import System

WAVE_STEP = 0.01  # 1/Bohr


def promolecule_fourier(system: System, tables: Mapping[str, AtomicDensityTable], cutoff: float) -> FourierDensity:
    """Sum atomic densities in reciprocal space, waves of |G|^2 / 2 <= cutoff (Hartree),

        c_G = 1/Omega sum_a f_a(|G|) exp(-i G.r_a).

    Raises:
        StructureError: An element has no table.
    """
    require_tables(system, tables)
    axes, waves, inside = half_sphere(system.cell, cutoff)
    wave_numbers = np.sqrt(2 * kinetic_energies(system.cell, waves))
    coefficients = np.zeros(len(waves), dtype=np.complex128)
    for element in system.elements:
        scaled = system.scaled_positions[system.species == element]
        phases = [np.exp(-2j * np.pi * np.outer(axis, x)) for axis, x in zip(axes, scaled.T, strict=True)]
        structure = np.stack([(phase * phases[1]) @ phases[2].T for phase in phases[0]])
        coefficients += _form_factors(tables[element], wave_numbers) * structure.reshape(-1)[inside]
    return FourierDensity.from_coefficients(system.cell, waves, coefficients / system.volume, cutoff)


def half_sphere(
    cell: NDArray[np.float64], cutoff: float
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64], NDArray[np.bool_]]:
    """Waves of |G|^2 / 2 <= cutoff (Hartree) in one half of the sphere and on the plane between the halves.

    Returns:
        Indices along each axis of the box around them, those of the waves [n, 3], and which of the box are waves.
    """
    limits = np.floor(np.sqrt(2 * cutoff) * np.linalg.norm(cell, axis=1) / (2 * np.pi) + 1e-9).astype(int)
    axes = [np.arange(-limits[0], limits[0] + 1), np.arange(-limits[1], limits[1] + 1), np.arange(limits[2] + 1)]
    millers = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = kinetic_energies(cell, millers) <= cutoff * (1 + 1e-12)
    return axes, millers[inside], inside


def _form_factors(table: AtomicDensityTable, wave_numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolated: a form factor is flat on the scale of 1 / cutoff, and there may be millions of waves."""
    mesh = WAVE_STEP * np.arange(int(np.ceil(wave_numbers.max() / WAVE_STEP)) + 4, dtype=np.float64)
    spline = CubicSpline(mesh, table.form_factor(mesh), bc_type=((1, 0.0), "not-a-knot"))
    return np.asarray(spline(wave_numbers))
