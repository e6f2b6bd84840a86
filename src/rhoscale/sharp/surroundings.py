"""The surroundings of atoms: what their neighbours are in radial functions and harmonics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.promolecule.lattice import AtomLattice, atom_lattice, atoms_near_bin
from rhoscale.sharp.harmonics import HARMONICS, write_harmonics
from rhoscale.sharp.radial import write_radial
from rhoscale.system import System

FloatArray = NDArray[np.float64]

REACH = 8.0  # Bohr, of neighbours; 10 serve alike (Al)
FUNCTIONS = 3  # radial functions of neighbours; 5 gain a twentieth (Al, Si-Ge)


def surroundings(system: System, elements: tuple[str, ...]) -> FloatArray:
    """Expand the neighbours of each atom,

        g_aenlm = sum_{b in e, b != a} psi_n(r_ab) S_lm(r_ab / |r_ab|),
        psi_n(r) = sin(n pi r / R) / (n pi r / R) (1 - (r / R)^2)^3,    R = 8 Bohr.

    Args:
        system: Cell and atoms, images included.
        elements: Those that are told apart; all of the system's are among them.

    Returns:
        [atoms, elements x n, lm].
    """
    lattice = atom_lattice(system, REACH)
    kinds = np.array([elements.index(e) for e in system.elements], dtype=np.int64)[lattice.kinds]
    found = np.zeros((len(system), len(elements) * FUNCTIONS, HARMONICS))
    _expand(lattice, np.full(len(system.elements), REACH), kinds, found)
    return found


@njit(cache=True, nogil=True)
def _expand(lattice: AtomLattice, cutoffs: Any, kinds: Any, found: Any) -> None:
    """found[a] of each atom a of the lattice, all of its neighbours at a time."""
    near, numbers = np.empty((256, 3)), np.empty(256, dtype=np.int64)
    for group in range(len(lattice.first) - 1):
        if lattice.first[group] == lattice.first[group + 1]:
            continue
        count, near, numbers = atoms_near_bin(lattice, cutoffs, group, near, numbers)
        units, ones, squares = np.empty((3, count)), np.ones(count), np.empty(count)
        cosine, first_row = np.empty(count), np.empty(count, dtype=np.int64)
        angular, radial = np.empty((HARMONICS, count)), np.empty((FUNCTIONS, count))
        for a in range(lattice.first[group], lattice.first[group + 1]):
            n = 0
            for b in range(count):
                x = near[b, 0] - lattice.atoms[a, 0]
                y = near[b, 1] - lattice.atoms[a, 1]
                z = near[b, 2] - lattice.atoms[a, 2]
                r = np.sqrt(x * x + y * y + z * z)
                if r >= REACH or r < 1e-6:  # itself
                    continue
                units[0, n], units[1, n], units[2, n] = x / r, y / r, z / r
                squares[n], first_row[n] = (r / REACH) ** 2, kinds[numbers[b]] * FUNCTIONS
                n += 1
            write_harmonics(units, ones[:n], angular)
            write_radial(squares[:n], cosine, radial)
            for b in range(n):
                for k in range(FUNCTIONS):
                    for m in range(HARMONICS):
                        found[lattice.order[a], first_row[b] + k, m] += radial[k, b] * angular[m, b]
