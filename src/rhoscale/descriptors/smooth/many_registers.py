"""Neighbour densities and power spectra where there are thirty-two registers (AVX-512).

Tables are flat; one row of a table is WIDTH float32, one for each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import load_register, square_root, store
from rhoscale.descriptors.smooth.harmonics import harmonics
from rhoscale.descriptors.smooth.radial import cutoff, load8, store8, vectors

CHUNK = 16  # atoms whose functions are held in the first-level cache together

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_f = np.float32


@njit(**_options)
def angular_rows(degree):  # type: ignore[no-untyped-def]
    """Rows that hold the harmonics l = 1 ... degree, rounded up to eight."""
    return (degree * (degree + 2) + 7) // 8 * 8


@njit(**_options)
def density_rows(counts):  # type: ignore[no-untyped-def]
    """Rows of a neighbour density."""
    return (counts.max() + 1) * (angular_rows(len(counts) - 1) + 1)


@njit(forceinline=True, **_options)
def _add_products(sums, r, y):  # type: ignore[no-untyped-def]
    return (
        sums[0] + r * y[0],
        sums[1] + r * y[1],
        sums[2] + r * y[2],
        sums[3] + r * y[3],
        sums[4] + r * y[4],
        sums[5] + r * y[5],
        sums[6] + r * y[6],
        sums[7] + r * y[7],
    )


@njit(forceinline=True, **_options)
def _each_atom(block, atoms, begin, size, radial, even, degree, functions, angles):  # type: ignore[no-untyped-def]
    """Write the radial functions and the harmonics of ``size`` atoms."""
    stride = angular_rows(degree)
    for a in range(size):
        x, y, z, r2 = vectors(block, atoms, begin + a)
        soft = r2 + radial[3]
        rho = square_root(soft)
        inverse = rho / soft
        if degree > 0:
            harmonics(x * inverse, y * inverse, z * inverse, r2 * inverse * inverse, degree, angles, a * stride)
        xi = rho * radial[1] + radial[2]
        g = cutoff(r2, radial)
        h = g * xi
        xi = xi + xi
        for n in range(0, even, 2):
            store(functions, a * even + n, g)
            store(functions, a * even + n + 1, h)
            g = xi * h - g
            h = xi * g - h


@njit(forceinline=True, **_options)
def _add_angular(size, even, stride, counts, functions, angles, sums):  # type: ignore[no-untyped-def]
    """Add the products of functions and harmonics of ``size`` atoms, eight harmonics and two functions at once."""
    for m in range(0, stride, 8):
        # row m holds a harmonic of degree int(sqrt(m + 1))
        highest = counts[int(np.sqrt(m + 1.0)) : int(np.sqrt(m + 8.0)) + 1].max()
        for n in range(0, highest, 2):
            row = n * stride + m
            v = load8(sums, row)
            w = load8(sums, row + stride)
            for a in range(size):
                r = load_register(functions, a * even + n)
                s = load_register(functions, a * even + n + 1)
                y8 = load8(angles, a * stride + m)
                v = _add_products(v, r, y8)
                w = _add_products(w, s, y8)
            store8(sums, row, v)
            store8(sums, row + stride, w)


@njit(**_options)
def neighbour_density(block, atoms, last, radial, counts, functions, angles, sums):  # type: ignore[no-untyped-def]
    """Add c_nlm = sum_I phi_n(r_I) S_lm(u_I) to ``sums``: l > 0 in rows n * stride + (lm), l = 0 after these."""
    degree = len(counts) - 1
    stride = angular_rows(degree)
    even = (counts.max() + 1) // 2 * 2
    for begin in range(0, last, CHUNK):
        size = min(begin + CHUNK, last) - begin
        _each_atom(block, atoms, begin, size, radial, even, degree, functions, angles)
        for n in range(counts[0]):
            row = even * stride + n
            v = load_register(sums, row)
            for a in range(size):
                v = v + load_register(functions, a * even + n)
            store(sums, row, v)
        _add_angular(size, even, stride, counts, functions, angles, sums)


@njit(**_options)
def power_spectrum(a, b, counts, features, at):  # type: ignore[no-untyped-def]
    """Write p_nn'l = 1/2 sum_m (a_nlm b_n'lm + b_nlm a_n'lm) for n <= n' below counts[l]; return the next row."""
    stride = angular_rows(len(counts) - 1)
    zeroth = (counts.max() + 1) // 2 * 2 * stride
    for l in range(len(counts)):
        first, terms, step = (l * l - 1, 2 * l + 1, stride) if l > 0 else (zeroth, 1, 1)
        for n in range(counts[l]):
            i = first + n * step
            for k in range(n, counts[l]):
                j = first + k * step
                p = load_register(a, i) * load_register(b, j) + load_register(b, i) * load_register(a, j)
                for m in range(1, terms):
                    p = (
                        p
                        + load_register(a, i + m) * load_register(b, j + m)
                        + load_register(b, i + m) * load_register(a, j + m)
                    )
                store(features, at, p * _f(0.5))
                at += 1
    return at


@njit(**_options)
def own_power_spectrum(c, counts, features, at):  # type: ignore[no-untyped-def]
    """Write p_nn'l = sum_m c_nlm c_n'lm, :func:`power_spectrum` where there is one element; return the next row."""
    stride = angular_rows(len(counts) - 1)
    zeroth = (counts.max() + 1) // 2 * 2 * stride
    for l in range(len(counts)):
        first, terms, step = (l * l - 1, 2 * l + 1, stride) if l > 0 else (zeroth, 1, 1)
        for n in range(counts[l]):
            i = first + n * step
            for k in range(n, counts[l]):
                j = first + k * step
                p = load_register(c, i) * load_register(c, j)
                for m in range(1, terms):
                    p = p + load_register(c, i + m) * load_register(c, j + m)
                store(features, at, p)
                at += 1
    return at
