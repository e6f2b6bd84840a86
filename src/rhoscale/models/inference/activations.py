"""Activation functions and their slopes as polynomials and fractions that the compiler turns into vectors.

Library functions are called one value at a time and cost more than the products of a narrow network. Here

    gelu(z)  = z (1/2 + c p(x)),  gelu'(z) = 1/2 + c q(x),   c = z within +-4.5,  x = 2 (c / 4.5)^2 - 1

with p and q of least largest error under the condition that both ends are met (error of gelu 2e-5, of its slope
3e-4), and tanh is the seventh convergent of Lambert's continued fraction (1761), cut where it reaches 1 (error 1e-4; of
gelu-tanh 2e-4, of silu 5e-4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

_f = np.float32
_u = np.uint64  # an index that cannot be negative: the compiler sees neighbours as neighbours

END = 4.5
_GELU = (
    0.15690423548221588, -0.07717622816562653, 0.05472078546881676, -0.0404287613928318, 0.02829398773610592,
    -0.017517894506454468, 0.010822882875800133, -0.0077902767807245255, 0.004228036385029554, -0.0009456521365791559,
)  # fmt: skip
_SLOPE = (
    0.1594017893075943, -0.08933588117361069, 0.08794555813074112, -0.10412710905075073, 0.09448446333408356,
    -0.05284852534532547, 0.0674189105629921, -0.09655791521072388, 0.0447298139333725,
)  # fmt: skip
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9 = (_f(v) for v in _GELU)
_Q0, _Q1, _Q2, _Q3, _Q4, _Q5, _Q6, _Q7, _Q8 = (_f(v) for v in _SLOPE)
_TANH_END = _f(4.9717867)
_ROOT = _f(np.sqrt(2 / np.pi))
_CUBIC = _f(0.044715)

CODES: Mapping[str, int] = {"gelu": 0, "gelu-tanh": 1, "silu": 2, "relu": 3, "tanh": 4}

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


@njit(forceinline=True, **_options)
def _within(z, end):  # type: ignore[no-untyped-def]
    return min(max(z, -end), end)


@njit(forceinline=True, **_options)
def _gelu_factor(c, x):  # type: ignore[no-untyped-def]
    p = _P6 + x * (_P7 + x * (_P8 + x * _P9))
    return _f(0.5) + c * (_P0 + x * (_P1 + x * (_P2 + x * (_P3 + x * (_P4 + x * (_P5 + x * p))))))


@njit(forceinline=True, **_options)
def _gelu_slope(c, x):  # type: ignore[no-untyped-def]
    q = _Q6 + x * (_Q7 + x * _Q8)
    return _f(0.5) + c * (_Q0 + x * (_Q1 + x * (_Q2 + x * (_Q3 + x * (_Q4 + x * (_Q5 + x * q))))))


@njit(forceinline=True, **_options)
def _tanh(z):  # type: ignore[no-untyped-def]
    c = _within(z, _TANH_END)
    s = c * c
    above = _f(135135) + s * (_f(17325) + s * (_f(378) + s))
    below = _f(135135) + s * (_f(62370) + s * (_f(3150) + s * _f(28)))
    return c * above / below


@njit(**_options)
def activate(code, z, size, h, at):  # type: ignore[no-untyped-def]
    """Write h[at + i] = act(z[i]) for i < size, flat float32 tables; ``code`` from CODES."""
    if code == 0:
        for i in range(_u(size)):
            c = _within(z[i], _f(END))
            h[_u(at) + i] = z[i] * _gelu_factor(c, c * c * _f(2 / END**2) - _f(1))
    elif code == 1:
        for i in range(_u(size)):
            y = _ROOT * z[i] * (_f(1) + _CUBIC * z[i] * z[i])
            h[_u(at) + i] = z[i] * (_f(0.5) + _f(0.5) * _tanh(y))
    elif code == 2:
        for i in range(_u(size)):
            h[_u(at) + i] = z[i] * (_f(0.5) + _f(0.5) * _tanh(_f(0.5) * z[i]))
    elif code == 3:
        for i in range(_u(size)):
            h[_u(at) + i] = max(z[i], _f(0))
    else:
        for i in range(_u(size)):
            h[_u(at) + i] = _tanh(z[i])


@njit(**_options)
def activate_with_slope(code, z, size, h, slope, at):  # type: ignore[no-untyped-def]
    """Write h[at + i] = act(z[i]), the same bits as :func:`activate`, and act'(z[i]) to slope[at + i]."""
    if code == 0:
        for i in range(_u(size)):
            c = _within(z[i], _f(END))
            x = c * c * _f(2 / END**2) - _f(1)
            h[_u(at) + i] = z[i] * _gelu_factor(c, x)
            slope[_u(at) + i] = _gelu_slope(c, x)
    elif code == 1:
        for i in range(_u(size)):
            y = _ROOT * z[i] * (_f(1) + _CUBIC * z[i] * z[i])
            s = _f(0.5) + _f(0.5) * _tanh(y)
            h[_u(at) + i] = z[i] * s
            slope[_u(at) + i] = s + _f(2) * z[i] * s * (_f(1) - s) * _ROOT * (_f(1) + _f(3) * _CUBIC * z[i] * z[i])
    elif code == 2:
        for i in range(_u(size)):
            s = _f(0.5) + _f(0.5) * _tanh(_f(0.5) * z[i])
            h[_u(at) + i] = z[i] * s
            slope[_u(at) + i] = s + z[i] * s * (_f(1) - s)
    elif code == 3:
        for i in range(_u(size)):
            h[_u(at) + i] = max(z[i], _f(0))
            slope[_u(at) + i] = _f(1) if z[i] > _f(0) else _f(0)
    else:
        for i in range(_u(size)):
            t = _tanh(z[i])
            h[_u(at) + i] = t
            slope[_u(at) + i] = _f(1) - t * t
