"""The cell cut into nx * ny * nz points; block coordinates and volume element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from rhoscale.errors import InputError

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]
SMALLEST_SPACING = 0.02  # Bohr; waves up to 12,000 Ha, beyond every density of pseudopotentials


@dataclass(frozen=True)
class Grid:
    """Points r_ijk = (i/nx) a1 + (j/ny) a2 + (k/nz) a3 of a periodic cell, C order: k runs fastest.

    Attributes:
        cell: Cell vectors as rows [3, 3], Bohr.
        shape: Points along each cell vector.
    """

    cell: FloatArray
    shape: Shape

    def __post_init__(self) -> None:
        cell = np.array(self.cell, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape)
        if cell.shape != (3, 3):
            raise InputError(f"a cell of shape {cell.shape} makes no grid; expected [3, 3]; give three vectors as rows")
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(
                f"{_by(self.shape)} points make no grid; expected three positive numbers; give at least one point "
                f"along each cell vector"
            )
        cell.setflags(write=False)
        object.__setattr__(self, "cell", cell)
        object.__setattr__(self, "shape", shape)

    @classmethod
    def from_spacing(cls, cell: FloatArray, spacing: float, *, fast_fourier: bool = True) -> Grid:
        """The coarsest grid whose points along each cell vector are at most ``spacing`` Bohr apart.

        With ``fast_fourier`` each count is raised to the next product of small primes.

        Raises:
            InputError: The spacing is not a positive number of Bohr, or finer than any density needs.
        """
        if not (np.isfinite(spacing) and spacing >= SMALLEST_SPACING):
            raise InputError(
                f"a grid spacing of {spacing:g} Bohr; expected a positive number of Bohr, at least {SMALLEST_SPACING} "
                f"(a valence density has no finer waves); 0.1 to 0.5 is usual"
            )
        counts = [max(1, int(np.ceil(length / spacing - 1e-9))) for length in np.linalg.norm(cell, axis=1)]
        if fast_fourier:
            counts = [int(next_fast_len(n, real=True)) for n in counts]
        return cls(cell, (counts[0], counts[1], counts[2]))

    @property
    def size(self) -> int:
        """Number of points."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def volume(self) -> float:
        """Cell volume, Bohr^3."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def volume_element(self) -> float:
        """Volume that one point stands for, Bohr^3."""
        return self.volume / self.size

    @property
    def spacings(self) -> tuple[float, float, float]:
        """Distance of neighbouring points along each cell vector, Bohr."""
        lengths = np.linalg.norm(self.cell, axis=1) / np.asarray(self.shape)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    def points(self, start: Shape = (0, 0, 0), stop: Shape | None = None) -> FloatArray:
        """Cartesian coordinates of the block start <= (i, j, k) < stop, shape [n, 3], Bohr, C order."""
        end = self.shape if stop is None else stop
        along = zip(start, end, self.shape, self.cell, strict=True)
        first, second, third = (np.arange(a, b)[:, None] / n * vector for a, b, n, vector in along)
        return ((first[:, None] + second)[:, :, None] + third).reshape(-1, 3)


def _by(shape: Iterable[object]) -> str:
    return " x ".join(str(n) for n in shape)
