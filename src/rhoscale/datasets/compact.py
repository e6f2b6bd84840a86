"""How few waves keep a density."""

from __future__ import annotations

import numpy as np

from rhoscale.density import Density
from rhoscale.refinement import FourierDensity, kinetic_energies

STEPS = 14  # of the bisection: the cutoff is found to a ten-thousandth of the largest


def largest_sphere(density: Density) -> float:
    """Kinetic energy of the largest sphere of waves that a grid holds whole, Hartree.

    A grid of n points along a holds the waves |G.a| <= 2 pi (n - 1) // 2, a slab of half thickness
    2 pi ((n - 1) // 2) / |a|.
    """
    lengths = np.linalg.norm(density.grid.cell, axis=1)
    radii = [2 * np.pi * ((n - 1) // 2) / a for n, a in zip(density.grid.shape, lengths, strict=True)]
    return float(0.5 * min(radii) ** 2)


def loss(density: FourierDensity, cutoff: float) -> float:
    """L1 per electron of what leaving out the waves above a cutoff (Hartree) takes away."""
    left_out = kinetic_energies(density.cell, density.millers) > cutoff * (1 + 1e-12)
    if not left_out.any():
        return 0.0
    rest = FourierDensity(density.cell, density.cutoff, density.millers, np.where(left_out, density.coefficients, 0.0))
    field = rest.on_grid(density.smallest_shape)
    return float(np.abs(field.values).sum()) * field.grid.volume_element / density.electrons


def smallest_cutoff(density: FourierDensity, allowed: float) -> float:
    """The smallest cutoff, Hartree, whose sphere loses at most ``allowed`` of the density (L1 per electron)."""
    lower, upper = 0.0, float(kinetic_energies(density.cell, density.millers).max())
    for _ in range(STEPS):
        middle = 0.5 * (lower + upper)
        lower, upper = (lower, middle) if loss(density, middle) <= allowed else (middle, upper)
    return upper
