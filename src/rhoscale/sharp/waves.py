"""The sharp part by its Fourier coefficients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from rhoscale.promolecule.fourier import half_sphere
from rhoscale.promolecule.radial_basis import radial_functions
from rhoscale.promolecule.table import STEP
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.sharp.harmonics import DEGREE_OF, DEGREES, harmonics_of
from rhoscale.sharp.part import FUNCTIONS, REACH, SharpPart
from rhoscale.system import System

FloatArray = NDArray[np.float64]

WAVE_STEP = 0.02  # 1/Bohr
WAVES_AT_ONCE = 1 << 14


def hankel_transforms(longest: float) -> list[Callable[[FloatArray], FloatArray]]:
    """4 pi int phi_k(r) (r / R)^l j_l(q r) r^2 dr for l = 0 ... 4: wave numbers [n] up to ``longest`` -> [n, k]."""
    functions = radial_functions(REACH, FUNCTIONS)
    r = STEP * np.arange(functions.shape[1])
    mesh = np.arange(0.0, longest + 4 * WAVE_STEP, WAVE_STEP)
    shells = 4 * np.pi * STEP * r**2 * functions
    return [CubicSpline(mesh, spherical_jn(l, np.outer(mesh, r)) * (r / REACH) ** l @ shells.T) for l in range(DEGREES)]


def angular_factors(cell: FloatArray, millers: NDArray[np.integer]) -> tuple[FloatArray, NDArray[np.complex128]]:
    """Wave numbers [n], 1/Bohr, and (-i)^l S_lm(G / |G|) [n, lm]."""
    waves = millers @ (2 * np.pi * np.linalg.inv(cell).T)
    lengths = np.linalg.norm(waves, axis=1)
    directions = waves / np.maximum(lengths, 1e-12)[:, None]
    return lengths, harmonics_of(directions) * (-1j) ** DEGREE_OF


def sharp_fourier(system: System, part: SharpPart, cutoff: float) -> FourierDensity:
    """Sum the sharp part in reciprocal space, waves of |G|^2 / 2 <= cutoff (Hartree),

        c_G = 1 / Omega sum_a sum_klm c_aklm (-i)^l S_lm(G / |G|) phi_kl(|G|) exp(-i G.r_a).

    Raises:
        StructureError: An element is not known.
    """
    millers = half_sphere(system.cell, cutoff)[1]
    longest = float(np.sqrt(2 * kinetic_energies(system.cell, millers).max()))
    transforms, coefficients = hankel_transforms(longest), part.coefficients(system)
    flat = coefficients.reshape(len(system), -1)
    scaled = system.scaled_positions
    found = np.empty(len(millers), dtype=np.complex128)
    for start in range(0, len(millers), WAVES_AT_ONCE):
        some = millers[start : start + WAVES_AT_ONCE]
        lengths, angular = angular_factors(system.cell, some)
        summed = (np.exp(-2j * np.pi * (some @ scaled.T)) @ flat).reshape(len(some), FUNCTIONS, -1)
        radial = np.stack([transform(lengths) for transform in transforms], axis=-1)[:, :, DEGREE_OF]
        found[start : start + WAVES_AT_ONCE] = np.einsum("gkm,gkm,gm->g", summed, radial, angular, optimize=True)
    return FourierDensity.from_coefficients(system.cell, millers, found / system.volume, cutoff)
