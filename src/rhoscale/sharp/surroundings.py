"""The surroundings of atoms: what their neighbours are in radial functions and harmonics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.promolecule.lattice import AtomLattice, atom_lattice, atoms_near_bin
from rhoscale.sharp.harmonics import HARMONICS, write_harmonics
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
    near, numbers = np.empty((256, 3)), np.empty(256, dtype=np.int64)
    angular = np.empty(HARMONICS)
    for group in range(len(lattice.first) - 1):
        if lattice.first[group] == lattice.first[group + 1]:
            continue
        count, near, numbers = atoms_near_bin(lattice, cutoffs, group, near, numbers)
        for a in range(lattice.first[group], lattice.first[group + 1]):
            rows = found[lattice.order[a]]
            for b in range(count):
                x, y, z = (
                    near[b, 0] - lattice.atoms[a, 0],
                    near[b, 1] - lattice.atoms[a, 1],
                    near[b, 2] - lattice.atoms[a, 2],
                )
                r = np.sqrt(x * x + y * y + z * z)
                if r >= REACH or r < 1e-6:  # itself
                    continue
                write_harmonics(x / r, y / r, z / r, angular)
                window = (1 - (r / REACH) ** 2) ** 3
                for n in range(FUNCTIONS):
                    t = (n + 1) * np.pi * r / REACH
                    weight = np.sin(t) / t * window
                    row = rows[kinds[numbers[b]] * FUNCTIONS + n]
                    for m in range(HARMONICS):
                        row[m] += weight * angular[m]
