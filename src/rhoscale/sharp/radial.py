"""Radial functions of many points, from squares of distances alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

TERMS = 16  # of the series in pi^2 s, s <= 1: the first that is left out is 1e-19
_COSINE = tuple((-1) ** n * np.pi ** (2 * n) / math.factorial(2 * n) for n in range(TERMS))
_SINC = tuple((-1) ** n * np.pi ** (2 * n) / math.factorial(2 * n + 1) for n in range(TERMS))


@njit(cache=True, nogil=True, fastmath={"contract"})
def write_radial(squares: Any, cosine: Any, out: Any) -> None:
    """Functions of points at s = (r / R)^2 <= 1,

        out[k - 1] = sin(k t) / (k t) (1 - s)^3,    t = pi sqrt(s),

    neither root nor quotient nor branch: cos t and sin(t) / t are power series in s, the others follow by recurrence.

    Args:
        squares: s [n].
        cosine: Room for cos t [n].
        out: [functions, n], two of them at least.
    """
    n = len(squares)
    for j in range(n):
        cosine[j], out[0, j] = _COSINE[TERMS - 1], _SINC[TERMS - 1]
    for i in range(TERMS - 2, -1, -1):
        c, d = _COSINE[i], _SINC[i]
        for j in range(n):
            cosine[j] = cosine[j] * squares[j] + c
            out[0, j] = out[0, j] * squares[j] + d
    for j in range(n):
        w = 1.0 - squares[j]
        out[0, j] *= w * w * w
        out[1, j] = cosine[j] * out[0, j]
    for k in range(2, len(out)):
        c, d = 2.0 * k / (k + 1), (k - 1.0) / (k + 1)
        for j in range(n):
            out[k, j] = c * cosine[j] * out[k - 1, j] - d * out[k - 2, j]
