"""Distances between atoms of a periodic cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import StructureError
from rhoscale.system import System

CLOSEST_SITES = 1.3  # Bohr; no bond of a solid is shorter than that of H2, 1.4


def distances_from(system: System, atom: int) -> NDArray[np.float64]:
    """Distance from one atom to the nearest image of each atom [n], Bohr; to its own nearest image for itself.

    The 27 cells around are searched, enough for cells that are not sheared beyond recognition.
    """
    steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    scaled = system.scaled_positions
    separations = ((scaled - scaled[atom]) @ system.cell)[:, None, :] + steps @ system.cell
    lengths = np.linalg.norm(separations, axis=2)
    lengths[atom, (steps == 0).all(axis=1)] = np.inf
    return np.asarray(lengths.min(axis=1))


def shortest_distance(system: System) -> float:
    """Distance of the two closest atoms, periodic images included, Bohr."""
    return min(float(distances_from(system, atom).min()) for atom in range(len(system)))


def refuse_close_atoms(system: System) -> None:
    """Refuse sites that are closer than any bond: dynamics from there would fly apart, neighbour lists never end.

    Raises:
        StructureError: Two atoms are closer than 1.3 Bohr.
    """
    shortest = shortest_distance(system)
    if shortest < CLOSEST_SITES:
        raise StructureError(
            f"two atoms of {system.formula} are {shortest:.3g} Bohr apart; expected at least {CLOSEST_SITES} (H2 has "
            f"1.4); check the lattice constant, which is in Bohr, and the strain"
        )
