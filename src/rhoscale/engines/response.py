"""How electrons answer a potential: the uniform gas at the mean density of a cell, with the gap that its levels show.

The response chi_0 is that of Z. H. Levine and S. G. Louie, Phys. Rev. B 25, 6310 (1982): excitations of Lindhard's gas
at energy w are moved to sqrt(w^2 + gap^2). Its static value is Lindhard's at the imaginary frequency of the gap,

    chi_0(q; gap) = 2 / pi int_0^inf dw w Im chi_L(q, w) / (w^2 + gap^2) = chi_L(q, i gap),

which is Lindhard's static response without a gap, and long waves of a semiconductor have the dielectric constant
1 + (plasma frequency / gap)^2 (D. R. Penn, Phys. Rev. 128, 2093 (1962)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from rhoscale.engines.pbe import pbe_energy_density

FloatArray = NDArray[np.float64]
DIFFERENCE = 1e-3  # of the density, in the second derivative of its exchange-correlation energy
SHARE = 0.1  # of the electrons, whose levels on either side of the Fermi level tell the gap
LEVELS = 2000  # of the gas, on either side


def bare_interaction(waves: FloatArray, density: float) -> FloatArray:
    """K = 4 pi / G^2 + f_xc, Hartree Bohr^3, at wave numbers [n], 1/Bohr, of a gas of so many electrons per Bohr^3."""
    return np.asarray(4 * np.pi / waves**2 + exchange_correlation_kernel(density))


def screened_interaction(waves: FloatArray, density: float, gap: float = 0.0) -> FloatArray:
    """K / (1 - chi_0 K), Hartree Bohr^3, at wave numbers [n], 1/Bohr.

    Args:
        waves: Positive wave numbers.
        density: Of the gas, electrons per Bohr^3.
        gap: Hartree.
    """
    return np.asarray(bare_interaction(waves, density) / dielectric_function(waves, density, gap))


def dielectric_function(waves: FloatArray, density: float, gap: float = 0.0) -> FloatArray:
    """1 - chi_0 K at wave numbers [n], 1/Bohr; arguments as for :func:`screened_interaction`."""
    return np.asarray(1 - density_response(waves, density, gap) * bare_interaction(waves, density))


def density_response(waves: FloatArray, density: float, gap: float = 0.0) -> FloatArray:
    """Static response chi_0 of independent electrons, 1 / (Hartree Bohr^3), at wave numbers [n], 1/Bohr.

    (J. Lindhard, Kgl. Danske Videnskab. Selskab Mat.-fys. Medd. 28, no. 8 (1954), at an imaginary frequency.)

    Args:
        waves: Positive wave numbers.
        density: Of the gas, electrons per Bohr^3.
        gap: Hartree; 0 for a metal.
    """
    fermi = (3 * np.pi**2 * density) ** (1 / 3)
    x = waves / (2 * fermi)
    x = np.where(np.abs(x - 1) < 1e-9, 1 + 1e-9, x)  # the logarithm's pole has no weight
    u = gap / (waves * fermi)
    above, below = np.arctan2(1 + x, u), np.arctan2(1 - x, u)
    logarithm = np.log(((1 + x) ** 2 + u**2) / ((1 - x) ** 2 + u**2))
    return np.asarray(-fermi / np.pi**2 * (0.5 * (1 - u * (above + below)) + (1 - x**2 + u**2) / (8 * x) * logarithm))


def exchange_correlation_kernel(density: float) -> float:
    """Second derivative of the exchange-correlation energy density of the uniform gas, Hartree Bohr^3."""
    n = density * np.array([1 - DIFFERENCE, 1.0, 1 + DIFFERENCE])
    below, here, above = pbe_energy_density(n, np.zeros(3))
    return float((below - 2 * here + above) / (DIFFERENCE * density) ** 2)


def mean_gap(eigenvalues: FloatArray, weights: FloatArray, electrons: float, volume: float) -> float:
    """The gap that parts a gas's levels as those of a cell are parted.

    A gap opens a gas's levels at a distance e from its Fermi level to sqrt(e^2 + (gap / 2)^2) (Penn, above). The mean
    of the levels of the tenth of the electrons below the Fermi level is compared with that of as many above, so that
    neither the band edges nor the place of the Fermi level between them matter.

    Args:
        eigenvalues: [k-points, bands], Hartree; each level holds two electrons.
        weights: Of the k-points [k-points], sum 1.
        electrons: In the cell.
        volume: Of the cell, Bohr^3.

    Returns:
        Hartree; 0 where the levels are no farther apart than the gas's, and where empty bands were not computed.
    """
    held = 2 * np.repeat(weights, eigenvalues.shape[1])
    count = min(SHARE * electrons, float(held.sum()) - electrons)
    if count <= 1e-6 * electrons:
        return 0.0
    order = np.argsort(eigenvalues.ravel(), kind="stable")
    levels, filled = eigenvalues.ravel()[order], np.cumsum(held[order])

    def mean_of(first: float, last: float) -> float:
        inside = np.minimum(filled, last) - np.maximum(filled - held[order], first)
        return float(np.average(levels, weights=np.maximum(inside, 0.0)))

    parted = mean_of(electrons, electrons + count) - mean_of(electrons - count, electrons)
    fermi = 0.5 * (3 * np.pi**2 * electrons / volume) ** (2 / 3)
    share = count / electrons * (np.arange(LEVELS) + 0.5) / LEVELS
    distances = fermi * np.stack([(1 + share) ** (2 / 3) - 1, 1 - (1 - share) ** (2 / 3)])

    def lacking(gap: float) -> float:
        return 2 * float(np.mean(np.hypot(distances, gap / 2))) - parted

    return 0.0 if lacking(0.0) >= 0 else float(brentq(lacking, 0.0, 2 * parted))
