"""Where the atoms around a block of points are, and their radial functions, some atoms at a time.

Tables are flat; one row of a table is WIDTH float32, one for each point (:mod:`rhoscale.descriptors.lanes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rhoscale.descriptors.lanes import WIDTH, any_above, load_register, square_root, store
from rhoscale.descriptors.smooth.radial import cutoff, vectors

CHUNK = 256 // WIDTH  # atoms whose functions are held in the first-level cache together; even
X, Y, Z, S, ORDER = range(5)  # rows of an atom: vector, its square; then harmonics of one order, C_m and D_m first

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "forceinline": True}
_f = np.float32


@njit(**_options)
def angular_rows(degree):  # type: ignore[no-untyped-def]
    """Rows of an atom: where it is, and the harmonics of one order."""
    return ORDER + 2 * max(degree, 1)


@njit(**_options)
def _place_atom(block, atoms, a, radial, functions, first, angles, row):  # type: ignore[no-untyped-def]
    """Write where an atom is, to four rows from ``row``, and envelope and xi, to two from ``first``; its envelope."""
    x, y, z, r2 = vectors(block, atoms, a)
    soft = r2 + radial[3]
    rho = square_root(soft)
    inverse = rho / soft
    envelope = cutoff(r2, radial)
    store(angles, row + X, x * inverse)
    store(angles, row + Y, y * inverse)
    store(angles, row + Z, z * inverse)
    store(angles, row + S, r2 * inverse * inverse)
    store(functions, first, envelope)
    store(functions, first + 1, rho * radial[1] + radial[2])
    return envelope


@njit(**_options)
def place_atoms(  # type: ignore[no-untyped-def]
    block, atoms, numbers, begin, last, most, radial, even, functions, angles, stride, kept
):
    """Write where at most ``most`` atoms are, from ``begin`` on and within the cutoff of a point, and their functions.

    Returns how many, and the next atom; their numbers go to ``kept``.
    """
    size = 0
    while begin < last and size < most:
        envelope = _place_atom(block, atoms, begin, radial, functions, size * even, angles, size * stride)
        kept[size] = numbers[begin]
        begin += 1
        size += any_above(envelope, _f(0.0))  # the next atom takes the place of one beyond the cutoff
    _write_functions(size, even, functions)
    return size, begin


@njit(**_options)
def _write_functions(size, even, functions):  # type: ignore[no-untyped-def]
    """Write the radial functions of atoms whose first two rows hold envelope and xi.

    A loop of its own: short loops overlap where long ones wait.
    """
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
