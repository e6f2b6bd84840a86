"""What sampling on a coarse grid costs, and refinement with the sharp part apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rhoscale.density import Density
from rhoscale.grid import Grid, Shape
from rhoscale.refinement import FourierDensity, refine
from rhoscale.sharp.part import SharpPart
from rhoscale.sharp.points import SharpSum
from rhoscale.system import System


def refine_sharp(density: Density, system: System, part: SharpPart | None, shape: Shape) -> Density:
    """Refine a density on a grid: the sharp part exactly at the new points, the rest by its Fourier series.

    Args:
        density: On a coarse grid.
        system: Its structure.
        part: Sharp part; without one the density is refined as it is.
        shape: Of the new grid, not coarser.
    """
    if part is None or shape == density.grid.shape:
        return refine(density, shape)
    sharp = SharpSum(system, part)
    rest = refine(density - sharp.on_grid(density.grid), shape)
    return rest + sharp.on_grid(rest.grid)


@dataclass(frozen=True)
class SamplingLoss:
    """What a grid loses of a density.

    Attributes:
        spacing: Largest distance of neighbouring points, Bohr.
        loss: L1 per electron after refinement with the sharp part apart.
        plain: The same by the Fourier series of the density itself.
    """

    spacing: float
    loss: float
    plain: float


def sampling_loss(density: FourierDensity, sharp: FourierDensity, spacing: float) -> SamplingLoss:
    """Sample a density on a coarse grid, refine it to one that holds all its waves, and compare.

    Args:
        density: Of one cell.
        sharp: Its sharp part (``sharp_fourier``).
        spacing: Of the coarse grid, Bohr.
    """
    grid = Grid.from_spacing(density.cell, spacing, fast_fourier=False)
    shape = np.maximum(density.smallest_shape, np.maximum(sharp.smallest_shape, grid.shape))
    fine: Shape = (int(shape[0]), int(shape[1]), int(shape[2]))

    def lost(coarse: Density, exact: Density) -> float:
        difference = refine(coarse, fine) - exact
        return float(np.abs(difference.values).sum()) * difference.grid.volume_element / density.electrons

    coarse, exact = density.on_grid(grid.shape), density.on_grid(fine)
    apart = lost(coarse - sharp.on_grid(grid.shape), exact - sharp.on_grid(fine))
    return SamplingLoss(max(grid.spacings), apart, lost(coarse, exact))
