"""Real solid harmonics of vectors, to degree 4."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DEGREES = 5  # l = 0 ... 4; beyond it a tenth is gained (Al, Si-Ge)
HARMONICS = DEGREES**2
DEGREE_OF = np.repeat(np.arange(DEGREES), 2 * np.arange(DEGREES) + 1)  # of each harmonic


@njit(cache=True, nogil=True, fastmath={"contract"})
def write_harmonics(vectors: Any, squares: Any, out: Any) -> None:
    """Racah-normalised solid harmonics: ``out[l^2 + l + m]`` = S_lm(x, y, z), sum_m S_lm^2 = |r|^2l.

    Args:
        vectors: [3, n].
        squares: |r|^2 [n].
        out: [25, n].
    """
    for j in range(len(squares)):
        x, y, z, s = vectors[0, j], vectors[1, j], vectors[2, j], squares[j]
        zz, xy, c = z * z, x * y, x * x - y * y
        a = (5 * zz - s) * np.sqrt(3 / 8)
        p, q = (c + 2 * x * x) * y, (c - 2 * y * y) * x
        b = 7 * zz - s
        d = (b - 2 * s) * z * np.sqrt(5 / 8)
        out[0, j] = 1.0
        out[1, j], out[2, j], out[3, j] = y, z, x
        out[4, j], out[5, j] = xy * np.sqrt(3), y * z * np.sqrt(3)
        out[6, j] = 1.5 * zz - 0.5 * s
        out[7, j], out[8, j] = x * z * np.sqrt(3), c * np.sqrt(3 / 4)
        out[9, j], out[10, j], out[11, j] = p * np.sqrt(5 / 8), xy * z * np.sqrt(15), y * a
        out[12, j] = (2.5 * zz - 1.5 * s) * z
        out[13, j], out[14, j], out[15, j] = x * a, c * z * np.sqrt(15 / 4), q * np.sqrt(5 / 8)
        out[16, j], out[17, j], out[18, j] = xy * c * np.sqrt(35 / 4), p * z * np.sqrt(35 / 8), xy * b * np.sqrt(5 / 4)
        out[19, j] = y * d
        out[20, j] = (4.375 * zz - 3.75 * s) * zz + 0.375 * s * s
        out[21, j], out[22, j], out[23, j] = x * d, c * b * np.sqrt(5 / 16), q * z * np.sqrt(35 / 8)
        out[24, j] = (c * c - 4 * xy * xy) * np.sqrt(35 / 64)


def harmonics_of(vectors: FloatArray) -> FloatArray:
    """Solid harmonics [n, 25] of vectors [n, 3]."""
    found = np.empty((HARMONICS, len(vectors)))
    write_harmonics(np.ascontiguousarray(vectors.T), np.sum(vectors**2, axis=1), found)
    return found.T
