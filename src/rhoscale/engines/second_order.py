"""The Harris-Foulkes energy around a density, from what comes out of one diagonalisation.

Write delta for the error of the given density and R = rho_out - rho_in for the change in one diagonalisation. To first
order R = -(1 - chi_0 K) delta, and the Harris-Foulkes energy is off by 1/2 <delta| K |R>, so that

    E_SCF - E_HF = 1/2 <R| K (1 - chi_0 K)^-1 |R>,    K = 4 pi / G^2 + f_xc,

which holds for any functional and any material as long as the response chi_0 of the independent electrons is known
(the expansion of E. Zaremba, J. Phys. Condens. Matter 2, 2479 (1990), and M. W. Finnis, J. Phys. Condens. Matter 2, 331
(1990)). The energy of another density near by follows from the same: K R is the gradient of the Harris-Foulkes energy,
-K (1 - chi_0 K) its curvature. Here chi_0 and f_xc are those of the uniform electron gas at the mean density of the
cell: nothing is fitted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rhoscale.engines.pbe import pbe_energy_density
from rhoscale.refinement import FourierDensity, kinetic_energies

FloatArray = NDArray[np.float64]
DEVIATION = 0.1  # of the estimate of what an energy lacks, in units of itself; 33 thermal cells: 0.075 rms
DIFFERENCE = 1e-3  # of the density, in the second derivative of its exchange-correlation energy


def second_order_energy(residual: FourierDensity, electrons: float) -> float:
    """Estimate the self-consistent energy less the Harris-Foulkes one,

        1/2 Omega sum_{G != 0} |R_G|^2 K_G / (1 - chi_0(G) K_G).

    Args:
        residual: R: density of the orbitals less the density whose potential they move in.
        electrons: In the cell.

    Returns:
        Hartree for the cell.
    """
    volume, waves, moving = _moving(residual)
    interaction = screened_interaction(waves, electrons / volume)
    return volume * float(np.sum(np.abs(residual.coefficients[moving]) ** 2 * interaction))  # half of two halves


def energy_difference(residual: FourierDensity, displacement: FourierDensity, electrons: float) -> float:
    """Estimate the Harris-Foulkes energy of rho + d less that of rho,

        Omega sum_{G != 0} K_G [Re(R_G^* d_G) - 1/2 (1 - chi_0(G) K_G) |d_G|^2].

    Args:
        residual: R of rho: density of the orbitals less the density whose potential they move in.
        displacement: d, of no charge.
        electrons: In the cell.

    Returns:
        Hartree for the cell.
    """
    volume, waves, moving = _moving(displacement)
    bare = bare_interaction(waves, electrons / volume)
    d = displacement.coefficients[moving]
    gradient = np.real(np.conj(residual.coefficients_of(displacement.millers[moving])) * d)
    curvature = (1 - lindhard_response(waves, electrons / volume) * bare) * np.abs(d) ** 2
    return volume * float(np.sum(bare * (2 * gradient - curvature)))  # both halves


def energy_of_error(error: FourierDensity, electrons: float) -> float:
    """Estimate the Harris-Foulkes energy of a density less the self-consistent one, from the density's error alone,

        -1/2 Omega sum_{G != 0} K_G (1 - chi_0(G) K_G) |delta_G|^2.

    Args:
        error: delta: the density, of the right charge, less the self-consistent one.
        electrons: In the cell.

    Returns:
        Hartree for the cell.
    """
    return energy_difference(replace(error, coefficients=np.zeros_like(error.coefficients)), error, electrons)


def _moving(density: FourierDensity) -> tuple[float, FloatArray, NDArray[np.bool_]]:
    """Volume, wave numbers other than zero, and which they are."""
    waves = np.sqrt(2 * kinetic_energies(density.cell, density.millers))
    return float(abs(np.linalg.det(density.cell))), waves[waves > 0], waves > 0


def bare_interaction(waves: FloatArray, density: float) -> FloatArray:
    """K = 4 pi / G^2 + f_xc, Hartree Bohr^3, at wave numbers [n], 1/Bohr, of a gas of so many electrons per Bohr^3."""
    return np.asarray(4 * np.pi / waves**2 + exchange_correlation_kernel(density))


def screened_interaction(waves: FloatArray, density: float) -> FloatArray:
    """K / (1 - chi_0 K) of the uniform electron gas, Hartree Bohr^3, at wave numbers [n], 1/Bohr.

    Args:
        waves: Positive wave numbers.
        density: Of the gas, electrons per Bohr^3.
    """
    bare = bare_interaction(waves, density)
    return np.asarray(bare / (1 - lindhard_response(waves, density) * bare))


def lindhard_response(waves: FloatArray, density: float) -> FloatArray:
    """Static response chi_0 of the uniform electron gas, 1 / (Hartree Bohr^3), at wave numbers [n], 1/Bohr.

    (J. Lindhard, Kgl. Danske Videnskab. Selskab Mat.-fys. Medd. 28, no. 8 (1954).)
    """
    fermi = (3 * np.pi**2 * density) ** (1 / 3)
    x = waves / (2 * fermi)
    x = np.where(np.abs(x - 1) < 1e-9, 1 + 1e-9, x)  # the logarithm's pole has no weight
    return np.asarray(-fermi / np.pi**2 * (0.5 + (1 - x**2) / (4 * x) * np.log(np.abs((1 + x) / (1 - x)))))


def exchange_correlation_kernel(density: float) -> float:
    """Second derivative of the exchange-correlation energy density of the uniform gas, Hartree Bohr^3."""
    n = density * np.array([1 - DIFFERENCE, 1.0, 1 + DIFFERENCE])
    below, here, above = pbe_energy_density(n, np.zeros(3))
    return float((below - 2 * here + above) / (DIFFERENCE * density) ** 2)
