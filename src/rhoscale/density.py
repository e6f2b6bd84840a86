"""A density on a grid: values, integral, arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError
from rhoscale.grid import Grid


@dataclass(frozen=True)
class Density:
    """Electrons per Bohr^3 at every point of a grid.

    Attributes:
        grid: Where the values are.
        values: Density [nx, ny, nz], electrons per Bohr^3.
    """

    grid: Grid
    values: NDArray[np.floating]

    def __post_init__(self) -> None:
        if tuple(self.values.shape) != self.grid.shape:
            raise InputError(f"values of shape {self.values.shape} do not fit a grid of shape {self.grid.shape}")

    def integral(self) -> float:
        """Electrons in the cell."""
        return float(np.sum(self.values, dtype=np.float64)) * self.grid.volume_element

    def __add__(self, other: Density) -> Density:
        if other.grid.shape != self.grid.shape or not np.allclose(other.grid.cell, self.grid.cell, atol=1e-8):
            raise InputError(
                f"densities on different grids cannot be added: {self.grid.shape} and {other.grid.shape}; "
                f"bring both to one grid first"
            )
        return Density(self.grid, self.values + other.values)

    def __mul__(self, factor: float) -> Density:
        return Density(self.grid, self.values * factor)

    __rmul__ = __mul__

    def __sub__(self, other: Density) -> Density:
        return self + other * -1.0
