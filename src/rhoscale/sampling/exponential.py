"""The exponential function in a form that the compiler turns into vectors: a library's takes one value at a time.

    exp(x) = 2^n exp(x - n ln 2),    n the nearest integer to x / ln 2

with Taylor's polynomial of degree 12 for the remainder, whose error is 2e-16 there. ln 2 is taken off in two parts, the
first with so few digits that n times it is exact (W. J. Cody, W. Waite, Software Manual for the Elementary Functions,
1980).
"""

from __future__ import annotations

from math import factorial

import numpy as np
from numba import njit

LIMIT = 300.0

_PER_LN2 = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_POWERS = 2.0 ** np.arange(-440, 441)
_C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12 = (1.0 / factorial(n) for n in range(3, 13))


@njit(cache=True, nogil=True, error_model="numpy")
def exponentials(values):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """Replace each value x of a contiguous array by exp(x), to 4e-16 of it; |x| is cut at 300."""
    for i in range(len(values)):
        x = min(max(values[i], -LIMIT), LIMIT)
        n = np.floor(x * _PER_LN2 + 0.5)
        y = (x - n * _LN2_HIGH) - n * _LN2_LOW
        tail = _C8 + y * (_C9 + y * (_C10 + y * (_C11 + y * _C12)))
        series = 0.5 + y * (_C3 + y * (_C4 + y * (_C5 + y * (_C6 + y * (_C7 + y * tail)))))
        values[i] = (1.0 + (y + y * y * series)) * _POWERS[np.int64(n) + 440]
