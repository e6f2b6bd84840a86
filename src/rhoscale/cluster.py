"""Atoms that stand alone: those of a tile and of its halo, cut out of a crystal."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """Every atom, images included, within ``halo`` of any point of a box; points outside the box must not be asked for.

    Attributes:
        positions: Cartesian positions [n, 3], Bohr; n may be zero, in a void.
        species: Chemical symbols [n].
        low: Lower corner of the box [3], Bohr.
        high: Upper corner of the box [3], Bohr.
        halo: Bohr.
    """

    positions: FloatArray
    species: NDArray[np.str_] = field(repr=False)
    low: FloatArray
    high: FloatArray
    halo: float

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def period(self) -> FloatArray:
        """Edges [3], Bohr, of the smallest periodic box whose other images stay a halo away from the points."""
        return np.asarray(self.high - self.low + 2.0 * self.halo)
