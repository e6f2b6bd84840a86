"""What the surroundings of atoms are like, seen from as many points at once as a register holds.

F_nn'l = sum_I phi_n(r_I) sum_m c_n'lm(R_I) S_lm(u_I): the densities c around each atom I are a table made once, with
the kernel of neighbour densities, each number of which serves all points; the sum over m is made in registers, and the
products with phi_n add up as those of neighbour densities do. Tables are flat; one row of a table is WIDTH float32,
one for each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import load_register, store
from rhoscale.descriptors.smooth.atoms import S, X, Y, Z
from rhoscale.descriptors.smooth.kernel import NORMS
from rhoscale.descriptors.smooth.products import LONGEST, add_pairs, add_rows
from rhoscale.descriptors.smooth.spec import HIGHEST_DEGREE_ABOUT_ATOMS

HARMONICS = (HIGHEST_DEGREE_ABOUT_ATOMS + 1) ** 2
NORMS_ABOUT_ATOMS = NORMS[:HARMONICS]  # of S_lm; the kernel's polynomials are without, the table of c has them twice

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "forceinline": True}
_f = np.float32
_u = np.uintp  # an index that cannot be negative is not looked at before each use


@njit(**_options)
def seen_rows(kinds, neighbours, degree):  # type: ignore[no-untyped-def]
    """Rows of an atom: sum_m c_n'lm S_lm of each n' and l, by kinds and, if there are several, in all."""
    return (kinds + (kinds > 1)) * neighbours * (degree + 1)


@njit(**_options)
def _see(x, y, z, s, known, c, rows, degree, seen, at):  # type: ignore[no-untyped-def]
    """Write sum_m c_lm S_lm, l = 0 ... degree, of each density c of one atom, which stand one after the other.

    Degree by degree (recurrences: :mod:`rhoscale.descriptors.smooth.kernel`), so that the harmonics of one stay in
    registers for all densities.
    """
    each = degree + 1
    for i in range(rows):
        store(seen, at + i * each, z - z + known[c + _u(i * HARMONICS)])
    if degree > 0:
        for i in range(rows):
            k = c + _u(i * HARMONICS)
            store(seen, at + i * each + 1, y * known[k + _u(1)] + z * known[k + _u(2)] + x * known[k + _u(3)])
    c2, d2 = x * x - y * y, _f(2.0) * x * y
    p20 = z * z - s * _f(1.0 / 3.0)
    if degree > 1:
        h0, h1, h3 = d2, y * z, x * z
        for i in range(rows):
            k = c + _u(i * HARMONICS)
            even = h0 * known[k + _u(4)] + p20 * known[k + _u(6)] + c2 * known[k + _u(8)]
            store(seen, at + i * each + 2, even + (h1 * known[k + _u(5)] + h3 * known[k + _u(7)]))
    c3, d3 = c2 * x - d2 * y, c2 * y + d2 * x
    p30 = z * (z * z - s * _f(3.0 / 5.0))
    if degree > 2:
        p31 = z * z - s * _f(1.0 / 5.0)
        h1, h2, h4, h5 = d2 * z, y * p31, x * p31, c2 * z
        for i in range(rows):
            k = c + _u(i * HARMONICS)
            even = d3 * known[k + _u(9)] + h2 * known[k + _u(11)] + h4 * known[k + _u(13)] + c3 * known[k + _u(15)]
            odd = h1 * known[k + _u(10)] + p30 * known[k + _u(12)] + h5 * known[k + _u(14)]
            store(seen, at + i * each + 3, even + odd)
    if degree > 3:
        p40 = z * p30 - s * _f(9.0 / 35.0) * p20
        p41 = z * (z * z - s * _f(3.0 / 7.0))
        p42 = z * z - s * _f(1.0 / 7.0)
        h0, h1, h2, h3 = c3 * y + d3 * x, d3 * z, d2 * p42, y * p41
        h5, h6, h7, h8 = x * p41, c2 * p42, c3 * z, c3 * x - d3 * y
        for i in range(rows):
            k = c + _u(i * HARMONICS)
            even = h0 * known[k + _u(16)] + h2 * known[k + _u(18)] + p40 * known[k + _u(20)] + h6 * known[k + _u(22)]
            odd = h1 * known[k + _u(17)] + h3 * known[k + _u(19)] + h5 * known[k + _u(21)] + h7 * known[k + _u(23)]
            store(seen, at + i * each + 4, even + odd + h8 * known[k + _u(24)])


@njit(**_options)
def _see_all(size, kept, known, kinds, neighbours, degree, angles, step, seen, stride):  # type: ignore[no-untyped-def]
    """Write what is around each atom, by kinds and, after them, in all."""
    each, rows = neighbours * (degree + 1), kinds * neighbours
    for a in range(size):
        at, row = a * stride, a * step
        x, y = load_register(angles, row + X), load_register(angles, row + Y)
        z, s = load_register(angles, row + Z), load_register(angles, row + S)
        _see(x, y, z, s, known, _u(kept[a] * rows * HARMONICS), rows, degree, seen, at)
        if kinds > 1:
            for j in range(each):
                total = load_register(seen, at + j)
                for kind in range(1, kinds):
                    total = total + load_register(seen, at + kind * each + j)
                store(seen, at + kinds * each + j, total)


@njit(**_options)
def _add_products(size, count, even, each, functions, seen, first, stride, sums, at):  # type: ignore[no-untyped-def]
    """Add phi_n of ``size`` atoms times ``each`` rows of what is seen, to rows n each + j of sums."""
    pieces = (count + LONGEST - 1) // LONGEST
    n = 0
    for left in range(pieces, 0, -1):
        some = (count - n + left - 1) // left
        row = at + n * each
        for j in range(0, each - 1, 2):
            add_pairs(some, size, functions, n, even, seen, first + j, stride, sums, row + j, row + j + 1, each)
        if each % 2:
            j = row + each - 1
            add_rows(some, size, functions, n, even, seen, first + each - 1, stride, sums, j, j, each)
        n += some


@njit(**_options)
def add_surroundings(size, even, shape, kept, known, kind, functions, angles, step, seen, sums, at):  # type: ignore[no-untyped-def]
    """Add the F_nn'l of ``size`` atoms of one kind to the rows of ``sums`` from ``at`` on, list after list."""
    count, neighbours, degree, kinds = shape
    each = neighbours * (degree + 1)
    stride = seen_rows(kinds, neighbours, degree)
    _see_all(size, kept, known, kinds, neighbours, degree, angles, step, seen, stride)
    if kinds == 1:
        _add_products(size, count, even, each, functions, seen, 0, stride, sums, at)
        return
    _add_products(size, count, even, each, functions, seen, kinds * each, stride, sums, at + kind * count * each)
    for other in range(kinds):
        row = at + (kinds + other) * count * each
        _add_products(size, count, even, each, functions, seen, other * each, stride, sums, row)
