"""Neighbour densities and power spectra of as many points at once as a register holds.

The harmonics S_lm = N_lm P_lm(z, s) (C_m, D_m), with C_m + i D_m = (x + i y)^m and s = x^2 + y^2 + z^2, are made order
by order: of each m only a few rows an atom are held at a time, P_lm serves m and -m, and N_lm enters once a point. The
polynomials are those with leading term z^(l-m):

    P_lm = z P_(l-1)m - ((l-1)^2 - m^2) / ((2l-1) (2l-3)) s P_(l-2)m,    P_mm = 1, P_(m+1)m = z

(Helgaker, Jorgensen, Olsen, Molecular Electronic-Structure Theory, 2000, section 6.4.8, other normalisation).
Tables are flat; one row of a table is WIDTH float32, one for each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import load_register, store
from rhoscale.descriptors.smooth.atoms import ORDER, S, X, Y, Z
from rhoscale.descriptors.smooth.products import (
    LONGEST,
    TILE,
    add_pairs,
    add_rows,
    write_products,
    write_symmetric_products,
)
from rhoscale.descriptors.smooth.spec import HIGHEST_DEGREE

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "forceinline": True}
_f = np.float32


def _recurrence() -> tuple[Any, Any]:
    """Factors of s P_(l-2)m [l, m], and N_lm for Racah's normalisation in the order of (lm)."""
    factors = np.zeros((HIGHEST_DEGREE + 1, HIGHEST_DEGREE + 1), dtype=np.float32)
    norms = np.ones((HIGHEST_DEGREE + 1, HIGHEST_DEGREE + 1))
    for m in range(HIGHEST_DEGREE + 1):
        if m > 1:
            norms[m, m] = norms[m - 1, m - 1] * np.sqrt((2 * m - 1) / (2 * m))
        for l in range(m + 1, HIGHEST_DEGREE + 1):
            norms[l, m] = norms[l - 1, m] * (2 * l - 1) / np.sqrt(l * l - m * m)
            factors[l, m] = ((l - 1) ** 2 - m * m) / ((2 * l - 1) * (2 * l - 3))
    each = [norms[l, abs(m)] for l in range(HIGHEST_DEGREE + 1) for m in range(-l, l + 1)]
    return factors, np.array(each, dtype=np.float32)


_FACTORS, NORMS = _recurrence()


@njit(**_options)
def density_rows(counts):  # type: ignore[no-untyped-def]
    """Rows of a neighbour density: c_nlm stands in row n (2l + 1) + l + m after those of the degrees below l."""
    rows = 0
    for l in range(len(counts)):
        rows += counts[l] * (2 * l + 1)
    return rows


@njit(**_options)
def _write_zeroth_order(degree, size, angles, stride):  # type: ignore[no-untyped-def]
    """Write P_l0 of each atom, l = 0 ... degree; two atoms at a time, as each waits for the P before."""
    for a in range(0, size, 2):
        i, j = a * stride, (a + 1) * stride
        z, s = load_register(angles, i + Z), load_register(angles, i + S)
        w, t = load_register(angles, j + Z), load_register(angles, j + S)
        before = z - z + _f(1.0)
        store(angles, i + ORDER, before)
        store(angles, j + ORDER, before)
        if degree > 0:
            store(angles, i + ORDER + 1, z)
            store(angles, j + ORDER + 1, w)
        p, q, other = z, w, before
        for l in range(2, degree + 1):
            factor = _FACTORS[np.uintp(l), 0]
            before, p = p, z * p - s * factor * before
            other, q = q, w * q - t * factor * other
            store(angles, i + ORDER + l, p)
            store(angles, j + ORDER + l, q)


@njit(**_options)
def _write_order(m, degree, size, angles, stride):  # type: ignore[no-untyped-def]
    """Write P_lm C_m and P_lm D_m of each atom, l = m ... degree, in place of the order below; two atoms at a time."""
    for a in range(size):
        i = a * stride
        x, y = load_register(angles, i + X), load_register(angles, i + Y)
        c, d = x, y
        if m > 1:
            c, d = load_register(angles, i + ORDER), load_register(angles, i + ORDER + 1)
            c, d = x * c - y * d, x * d + y * c
        store(angles, i + ORDER, c)
        store(angles, i + ORDER + 1, d)
    if m == degree:
        return
    for a in range(0, size, 2):
        i, j = a * stride, (a + 1) * stride
        z, s = load_register(angles, i + Z), load_register(angles, i + S)
        w, t = load_register(angles, j + Z), load_register(angles, j + S)
        i, j = i + ORDER, j + ORDER
        c, d = load_register(angles, i), load_register(angles, i + 1)
        e, f = load_register(angles, j), load_register(angles, j + 1)
        i, j = i + 2, j + 2
        store(angles, i, c * z)
        store(angles, i + 1, d * z)
        store(angles, j, e * w)
        store(angles, j + 1, f * w)
        before = z - z + _f(1.0)
        p, q, other = z, w, before
        for l in range(m + 2, degree + 1):
            factor = _FACTORS[np.uintp(l), np.uintp(m)]
            before, p = p, z * p - s * factor * before
            other, q = q, w * q - t * factor * other
            i, j = i + 2, j + 2
            store(angles, i, c * p)
            store(angles, i + 1, d * p)
            store(angles, j, e * q)
            store(angles, j + 1, f * q)


@njit(**_options)
def _add_order(m, size, even, counts, functions, angles, stride, sums):  # type: ignore[no-untyped-def]
    """Add the products of functions and harmonics of order m and -m of ``size`` atoms."""
    first = 0
    for l in range(len(counts)):
        rows = 2 * l + 1
        if l >= m:
            longest = LONGEST if m > 0 else 2 * LONGEST
            pieces = (counts[l] + longest - 1) // longest
            n = 0
            for left in range(pieces, 0, -1):
                count = (counts[l] - n + left - 1) // left
                middle = first + n * rows + l
                if m == 0:
                    add_rows(count, size, functions, n, even, angles, ORDER + l, stride, sums, middle, middle, rows)
                else:
                    y = ORDER + 2 * (l - m)
                    add_pairs(count, size, functions, n, even, angles, y, stride, sums, middle + m, middle - m, rows)
                n += count
        first += counts[l] * rows


@njit(**_options)
def add_densities(size, even, counts, functions, angles, stride, sums):  # type: ignore[no-untyped-def]
    """Add c_nlm = sum_I phi_n(r_I) S_lm(u_I) / N_lm of ``size`` atoms to ``sums``; first rows of ``angles`` stay."""
    degree = len(counts) - 1
    _write_zeroth_order(degree, size, angles, stride)
    _add_order(0, size, even, counts, functions, angles, stride, sums)
    for m in range(1, degree + 1):
        _write_order(m, degree, size, angles, stride)
        _add_order(m, size, even, counts, functions, angles, stride, sums)


@njit(**_options)
def normalise(counts, sums):  # type: ignore[no-untyped-def]
    """Multiply each row of a neighbour density by its N_lm."""
    row = 0
    for l in range(len(counts)):
        for _ in range(counts[l]):
            for m in range(2 * l + 1):
                store(sums, row + m, load_register(sums, row + m) * NORMS[np.uintp(l * l + m)])
            row += 2 * l + 1


@njit(**_options)
def power_spectrum(a, b, alike, counts, features, at):  # type: ignore[no-untyped-def]
    """Write p_nn'l = 1/2 sum_m (a_nlm b_n'lm + b_nlm a_n'lm) for n <= n' below counts[l]; return the next row.

    ``alike`` says that a and b are the same, so that sum_m a_nlm a_n'lm does.
    """
    first = 0
    for l in range(len(counts)):
        rows = 2 * l + 1
        for n in range(0, counts[l], TILE):
            for k in range(n, counts[l], TILE):
                size = min(TILE, counts[l] - k)
                i, j = first + n * rows, first + k * rows
                if alike:
                    write_products(size, n == k, rows, a, b, i, j, features, at + k - n, counts[l] - n - 1)
                else:
                    write_symmetric_products(size, n == k, rows, a, b, i, j, features, at + k - n, counts[l] - n - 1)
            done = min(TILE, counts[l] - n)
            at += done * (counts[l] - n) - done * (done - 1) // 2
        first += counts[l] * rows
    return at
