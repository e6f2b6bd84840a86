"""Core, bond and interstitial points, told apart by the atoms alone: never by the density that is judged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rhoscale.system import System

REGIONS = ("core", "bond", "interstitial")
CORE_RADIUS = 1.5  # Bohr


def regions(distance: NDArray[np.floating], promolecule: NDArray[np.floating], mean: float) -> NDArray[np.intp]:
    """Number of the region in ``REGIONS`` of each point [n].

    Core: the nearest atom is closer than 1.5 Bohr. Bond: farther, and the sum of atomic densities is above its mean
    over the cell. Interstitial: the rest.

    Args:
        distance: To the nearest atom [n], Bohr.
        promolecule: Sum of atomic densities [n], electrons per Bohr^3.
        mean: Its mean over the cell.
    """
    return np.where(distance < CORE_RADIUS, 0, np.where(promolecule > mean, 1, 2))


def nearest_atom(system: System, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance [n] of points [n, 3] of the cell to the nearest atom or its images in neighbouring cells, Bohr."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ system.cell
    images = (system.scaled_positions @ system.cell)[:, None, :] + shifts
    return np.asarray(cKDTree(images.reshape(-1, 3)).query(points)[0])
