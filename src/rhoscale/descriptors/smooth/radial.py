"""Radial sums of as many points at once as a register holds.

Tables are flat; one row of a table is WIDTH float32, one for each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import larger, load_register, square_root, store

CHUNK = 16  # atoms whose states are held in the first-level cache together

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_f = np.float32
_whole: dict[str, Any] = {**_options, "forceinline": True}  # handing tables to a function costs atomic operations


@njit(forceinline=True, **_options)
def load8(table, row):  # type: ignore[no-untyped-def]
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
def store8(table, row, v):  # type: ignore[no-untyped-def]
    store(table, row, v[0])
    store(table, row + 1, v[1])
    store(table, row + 2, v[2])
    store(table, row + 3, v[3])
    store(table, row + 4, v[4])
    store(table, row + 5, v[5])
    store(table, row + 6, v[6])
    store(table, row + 7, v[7])


@njit(forceinline=True, **_options)
def vectors(block, atoms, a):  # type: ignore[no-untyped-def]
    x = atoms[0, a] - load_register(block, 0)
    y = atoms[1, a] - load_register(block, 1)
    z = atoms[2, a] - load_register(block, 2)
    return x, y, z, x * x + y * y + z * z


@njit(forceinline=True, **_options)
def cutoff(r2, radial):  # type: ignore[no-untyped-def]
    t = larger(_f(1.0) - r2 * radial[0], _f(0.0))
    return t * t * t


@njit(**_whole)
def radial_sums(block, atoms, last, radial, count, state, sums, at):  # type: ignore[no-untyped-def]
    """Add sum_I phi_n(|r - R_I|), with n < count rounded up to eight, to the rows of ``sums`` from ``at``."""
    for begin in range(0, last, CHUNK):
        size = min(begin + CHUNK, last) - begin
        for a in range(size):
            _, _, _, r2 = vectors(block, atoms, begin + a)
            xi = square_root(r2 + radial[3]) * radial[1] + radial[2]
            f = cutoff(r2, radial)
            store(state, 3 * a, xi + xi)
            store(state, 3 * a + 1, f)
            store(state, 3 * a + 2, f * xi)
        for n in range(0, count, 8):
            v = load8(sums, at + n)
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
            store8(sums, at + n, v)
