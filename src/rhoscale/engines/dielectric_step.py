"""From a density and what one diagonalisation makes of it to the self-consistent one, as linear response sees it.

The density R + rho of the orbitals in the potential of rho differs from rho by R = -(1 - chi_0 K) delta to first order
in the error delta of rho (``engines/second_order.py``). With chi_0 and K of the uniform gas at the mean density of the
cell, and the gap that its levels show (``engines/response.py``),

    rho' = rho + (1 - chi_0 K)^-1 R

is what mixing schemes approach by trial, with a metal's screening at best (G. P. Kerker, Phys. Rev. B 23, 3082 (1981)).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rhoscale.engines.response import dielectric_function
from rhoscale.refinement import FourierDensity, kinetic_energies


def dielectric_step(
    density: FourierDensity, change: FourierDensity, electrons: float, gap: float = 0.0
) -> FourierDensity:
    """Estimate the self-consistent density.

    Args:
        density: rho.
        change: R: density of the orbitals less the density whose potential they move in.
        electrons: In the cell.
        gap: Of its levels (``mean_gap``), Hartree.

    Returns:
        rho', at the waves of ``change``.
    """
    waves = np.sqrt(2 * kinetic_energies(change.cell, change.millers))
    moving = waves > 0
    step = np.zeros_like(change.coefficients)
    mean = electrons / float(abs(np.linalg.det(change.cell)))
    step[moving] = change.coefficients[moving] / dielectric_function(waves[moving], mean, gap)
    return replace(change, coefficients=density.coefficients_of(change.millers) + step)
