"""The sharp part of a field in any box of any grid of its cell, from the atoms around the box alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.descriptors.neighbours import CellList
from rhoscale.grid import Grid, Shape
from rhoscale.prediction.atoms_around import atoms_around
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile
from rhoscale.sharp import SharpPart, SharpSum

FloatArray = NDArray[np.float64]

POINTS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class SharpBoxes:
    """The sharp part of a stored structure.

    Attributes:
        atoms: The sorted atoms.
        part: Weights.
        elements: What kinds of atoms are counted by.
    """

    atoms: CellList
    part: SharpPart
    elements: tuple[str, ...]

    @classmethod
    def of(cls, store: PredictionStore) -> SharpBoxes | None:
        """That of a stored prediction, or None if it has none."""
        part = store.sharp
        return None if part is None else cls(store.cell_list(), part, store.elements)

    def in_box(self, grid: Grid, low: Shape, high: Shape) -> FloatArray:
        """Values at the points low <= (i, j, k) < high of a grid, images included, electrons per Bohr^3."""
        near = atoms_around(self.atoms, self.elements, grid, Tile(0, low, high), self.part.halo)
        sharp = SharpSum.of_cluster(near, self.part)
        values = np.empty([b - a for a, b in zip(low, high, strict=True)])
        thickness = max(1, POINTS_AT_ONCE // max(1, values[0].size))
        for a in range(low[0], high[0], thickness):
            b = min(a + thickness, high[0])
            points = grid.points((a, *low[1:]), (b, *high[1:]))
            values[a - low[0] : b - low[0]] = sharp.at(points).reshape(b - a, *values.shape[1:])
        return values
