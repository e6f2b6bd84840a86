"""Radial sums, neighbour densities and power spectra of as many points at once as a register holds.

Tables are flat; one row of a table is WIDTH float32, one for each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import larger, load_register, square_root, store
from rhoscale.descriptors.smooth.harmonics import harmonics, write_harmonics
from rhoscale.processor import AVX512, REGISTERS

CHUNK = 16  # atoms whose functions are held in the first-level cache together

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_f = np.float32
# handing tables to a function costs atomic operations
_whole: dict[str, Any] = {**_options, "forceinline": REGISTERS != AVX512}


@njit(forceinline=True, **_options)
def _load8(table, row):  # type: ignore[no-untyped-def]
    return (
        load_register(table, row),
        load_register(table, row + 1),
        load_register(table, row + 2),
        load_register(table, row + 3),
        load_register(table, row + 4),
        load_register(table, row + 5),
        load_register(table, row + 6),
        load_register(table, row + 7),
    )


@njit(forceinline=True, **_options)
def _store8(table, row, v):  # type: ignore[no-untyped-def]
    store(table, row, v[0])
    store(table, row + 1, v[1])
    store(table, row + 2, v[2])
    store(table, row + 3, v[3])
    store(table, row + 4, v[4])
    store(table, row + 5, v[5])
    store(table, row + 6, v[6])
    store(table, row + 7, v[7])


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
def _load4(table, row):  # type: ignore[no-untyped-def]
    return (
        load_register(table, row),
        load_register(table, row + 1),
        load_register(table, row + 2),
        load_register(table, row + 3),
    )


@njit(forceinline=True, **_options)
def _store4(table, row, v):  # type: ignore[no-untyped-def]
    store(table, row, v[0])
    store(table, row + 1, v[1])
    store(table, row + 2, v[2])
    store(table, row + 3, v[3])


@njit(forceinline=True, **_options)
def _add4(sums, r, y):  # type: ignore[no-untyped-def]
    return (sums[0] + r * y[0], sums[1] + r * y[1], sums[2] + r * y[2], sums[3] + r * y[3])


@njit(forceinline=True, **_options)
def _vectors(block, atoms, a):  # type: ignore[no-untyped-def]
    x = atoms[0, a] - load_register(block, 0)
    y = atoms[1, a] - load_register(block, 1)
    z = atoms[2, a] - load_register(block, 2)
    return x, y, z, x * x + y * y + z * z


@njit(forceinline=True, **_options)
def _cutoff(r2, radial):  # type: ignore[no-untyped-def]
    t = larger(_f(1.0) - r2 * radial[0], _f(0.0))
    return t * t * t


@njit(**_whole)
def radial_sums(block, atoms, last, radial, count, state, sums, at):  # type: ignore[no-untyped-def]
    """Add sum_I phi_n(|r - R_I|), with n < count rounded up to eight, to the rows of ``sums`` from ``at``."""
    for begin in range(0, last, CHUNK):
        size = min(begin + CHUNK, last) - begin
        for a in range(size):
            _, _, _, r2 = _vectors(block, atoms, begin + a)
            xi = square_root(r2 + radial[3]) * radial[1] + radial[2]
            f = _cutoff(r2, radial)
            store(state, 3 * a, xi + xi)
            store(state, 3 * a + 1, f)
            store(state, 3 * a + 2, f * xi)
        for n in range(0, count, 8):
            v = _load8(sums, at + n)
            for a in range(size):
                t = load_register(state, 3 * a)
                g = load_register(state, 3 * a + 1)
                h = load_register(state, 3 * a + 2)
                i = t * h - g
                j = t * i - h
                k = t * j - i
                m = t * k - j
                o = t * m - k
                p = t * o - m
                v = (v[0] + g, v[1] + h, v[2] + i, v[3] + j, v[4] + k, v[5] + m, v[6] + o, v[7] + p)
                g = t * p - o
                store(state, 3 * a + 1, g)
                store(state, 3 * a + 2, t * g - p)
            _store8(sums, at + n, v)


@njit(**_options)
def angular_rows(degree):  # type: ignore[no-untyped-def]
    """Rows that hold the harmonics l = 1 ... degree, rounded up to eight."""
    return (degree * (degree + 2) + 7) // 8 * 8


@njit(forceinline=True, **_options)
def _each_atom_avx512(block, atoms, begin, size, radial, even, degree, functions, angles):  # type: ignore[no-untyped-def]
    """Write the radial functions and the harmonics of ``size`` atoms."""
    stride = angular_rows(degree)
    for a in range(size):
        x, y, z, r2 = _vectors(block, atoms, begin + a)
        soft = r2 + radial[3]
        rho = square_root(soft)
        inverse = rho / soft
        if degree > 0:
            harmonics(x * inverse, y * inverse, z * inverse, r2 * inverse * inverse, degree, angles, a * stride)
        xi = rho * radial[1] + radial[2]
        g = _cutoff(r2, radial)
        h = g * xi
        xi = xi + xi
        for n in range(0, even, 2):
            store(functions, a * even + n, g)
            store(functions, a * even + n + 1, h)
            g = xi * h - g
            h = xi * g - h


@njit(forceinline=True, **_options)
def _each_atom_avx2(block, atoms, begin, size, radial, even, degree, functions, angles):  # type: ignore[no-untyped-def]
    """The same in three passes, the rows of the next written by the last: short loops overlap where long ones wait."""
    stride = angular_rows(degree)
    for a in range(size):
        x, y, z, r2 = _vectors(block, atoms, begin + a)
        soft = r2 + radial[3]
        rho = square_root(soft)
        inverse = rho / soft
        if degree > 0:
            store(angles, a * stride, x * inverse)
            store(angles, a * stride + 1, y * inverse)
            store(angles, a * stride + 2, z * inverse)
            store(angles, a * stride + 3, r2 * inverse * inverse)
        store(functions, a * even, _cutoff(r2, radial))
        store(functions, a * even + 1, rho * radial[1] + radial[2])
    if degree > 0:
        for a in range(size):
            x, y, z, s = _load4(angles, a * stride)
            write_harmonics(x, y, z, s, degree, angles, a * stride)
    for a in range(size):
        g = load_register(functions, a * even)
        xi = load_register(functions, a * even + 1)
        h = g * xi
        xi = xi + xi
        for n in range(0, even, 2):
            store(functions, a * even + n, g)
            store(functions, a * even + n + 1, h)
            g = xi * h - g
            h = xi * g - h


_each_atom = _each_atom_avx512 if REGISTERS == AVX512 else _each_atom_avx2


@njit(forceinline=True, **_options)
def _add_angular_avx512(size, even, stride, counts, functions, angles, sums):  # type: ignore[no-untyped-def]
    """Add the products of functions and harmonics of ``size`` atoms, eight harmonics and two functions at once."""
    for m in range(0, stride, 8):
        # row m holds a harmonic of degree int(sqrt(m + 1))
        highest = counts[int(np.sqrt(m + 1.0)) : int(np.sqrt(m + 8.0)) + 1].max()
        for n in range(0, highest, 2):
            row = n * stride + m
            v = _load8(sums, row)
            w = _load8(sums, row + stride)
            for a in range(size):
                r = load_register(functions, a * even + n)
                s = load_register(functions, a * even + n + 1)
                y8 = _load8(angles, a * stride + m)
                v = _add_products(v, r, y8)
                w = _add_products(w, s, y8)
            _store8(sums, row, v)
            _store8(sums, row + stride, w)


@njit(forceinline=True, **_options)
def _add_angular_avx2(size, even, stride, counts, functions, angles, sums):  # type: ignore[no-untyped-def]
    """The same sums, four harmonics and two functions at once."""
    degree = len(counts) - 1
    for m in range(0, degree * (degree + 2), 4):
        # row m holds a harmonic of degree int(sqrt(m + 1))
        highest = counts[int(np.sqrt(m + 1.0)) : int(np.sqrt(m + 4.0)) + 1].max()
        for n in range(0, highest, 2):
            row = n * stride + m
            v = _load4(sums, row)
            w = _load4(sums, row + stride)
            for a in range(size):
                r = load_register(functions, a * even + n)
                s = load_register(functions, a * even + n + 1)
                y4 = _load4(angles, a * stride + m)
                v = _add4(v, r, y4)
                w = _add4(w, s, y4)
            _store4(sums, row, v)
            _store4(sums, row + stride, w)


_add_angular = _add_angular_avx512 if REGISTERS == AVX512 else _add_angular_avx2


@njit(**_whole)
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


@njit(**_whole)
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
def _own_power_spectrum_avx512(c, counts, features, at):  # type: ignore[no-untyped-def]
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


@njit(**_whole)
def _own_power_spectrum_avx2(c, counts, features, at):  # type: ignore[no-untyped-def]
    """The same sums, four n' at once; up to three rows after those of an n are written and written again."""
    stride = angular_rows(len(counts) - 1)
    zeroth = (counts.max() + 1) // 2 * 2 * stride
    for l in range(len(counts)):
        first, terms, step = (l * l - 1, 2 * l + 1, stride) if l > 0 else (zeroth, 1, 1)
        last = first + (counts[l] - 1) * step
        for n in range(counts[l]):
            i = first + n * step
            for k in range(n, counts[l], 4):
                j = first + k * step
                j1, j2, j3 = min(j + step, last), min(j + 2 * step, last), min(j + 3 * step, last)
                x = load_register(c, i)
                p, q = x * load_register(c, j), x * load_register(c, j1)
                r, s = x * load_register(c, j2), x * load_register(c, j3)
                for m in range(1, terms):
                    x = load_register(c, i + m)
                    p, q = p + x * load_register(c, j + m), q + x * load_register(c, j1 + m)
                    r, s = r + x * load_register(c, j2 + m), s + x * load_register(c, j3 + m)
                _store4(features, at + k - n, (p, q, r, s))
            at += counts[l] - n
    return at


own_power_spectrum = _own_power_spectrum_avx512 if REGISTERS == AVX512 else _own_power_spectrum_avx2
