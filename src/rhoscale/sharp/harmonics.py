"""Real solid harmonics of single vectors, to degree 4."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DEGREES = 5  # l = 0 ... 4; beyond it a tenth is gained (Al, Si-Ge)
HARMONICS = DEGREES**2
DEGREE_OF = np.repeat(np.arange(DEGREES), 2 * np.arange(DEGREES) + 1)  # of each harmonic


@njit(cache=True, nogil=True)
def write_harmonics(x: float, y: float, z: float, out: Any) -> None:
    """Racah-normalised solid harmonics: ``out[l^2 + l + m]`` = S_lm(x, y, z), sum_m S_lm^2 = |r|^2l."""
    s, zz, xy, c = x * x + y * y + z * z, z * z, x * y, x * x - y * y
    a = (5 * zz - s) * np.sqrt(3 / 8)
    p, q = (c + 2 * x * x) * y, (c - 2 * y * y) * x
    b = 7 * zz - s
    d = (b - 2 * s) * z * np.sqrt(5 / 8)
    out[0] = 1.0
    out[1], out[2], out[3] = y, z, x
    out[4], out[5] = xy * np.sqrt(3), y * z * np.sqrt(3)
    out[6] = 1.5 * zz - 0.5 * s
    out[7], out[8] = x * z * np.sqrt(3), c * np.sqrt(3 / 4)
    out[9], out[10], out[11] = p * np.sqrt(5 / 8), xy * z * np.sqrt(15), y * a
    out[12] = (2.5 * zz - 1.5 * s) * z
    out[13], out[14], out[15] = x * a, c * z * np.sqrt(15 / 4), q * np.sqrt(5 / 8)
    out[16], out[17], out[18] = xy * c * np.sqrt(35 / 4), p * z * np.sqrt(35 / 8), xy * b * np.sqrt(5 / 4)
    out[19] = y * d
    out[20] = (4.375 * zz - 3.75 * s) * zz + 0.375 * s * s
    out[21], out[22], out[23] = x * d, c * b * np.sqrt(5 / 16), q * z * np.sqrt(35 / 8)
    out[24] = (c * c - 4 * xy * xy) * np.sqrt(35 / 64)


@njit(cache=True, nogil=True)
def harmonics_of(vectors: FloatArray) -> FloatArray:
    """Solid harmonics [n, 25] of vectors [n, 3]."""
    found = np.empty((len(vectors), 25))
    for i in range(len(vectors)):
        write_harmonics(vectors[i, 0], vectors[i, 1], vectors[i, 2], found[i])
    return found
