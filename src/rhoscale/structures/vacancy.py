"""Vacancies: atoms taken out of a crystal."""

from __future__ import annotations

import numpy as np

from rhoscale.errors import StructureError
from rhoscale.structures.distances import distances_from
from rhoscale.system import System


def remove_atoms(system: System, indices: np.ndarray | list[int]) -> System:
    """Leave out the atoms of the given numbers.

    Raises:
        StructureError: Nothing would be left.
    """
    keep = np.ones(len(system), dtype=bool)
    keep[np.asarray(indices, dtype=int)] = False
    if not keep.any():
        raise StructureError(f"all {len(system)} atoms would be removed; expected one that stays; remove fewer")
    return System(system.cell, system.positions[keep], system.species[keep])


def vacancies(system: System, count: int, rng: np.random.Generator) -> System:
    """Remove atoms chosen at random.

    Raises:
        StructureError: The count is negative or reaches the number of atoms.
    """
    if not 0 <= count < len(system):
        raise StructureError(
            f"{count} vacancies in a cell of {len(system)} atoms; expected 0 to {len(system) - 1}; take fewer, or a "
            f"larger supercell"
        )
    return remove_atoms(system, rng.choice(len(system), size=count, replace=False))


def divacancy(system: System, rng: np.random.Generator) -> System:
    """Remove a pair of nearest neighbours, the pair chosen at random.

    Raises:
        StructureError: The cell has fewer than three atoms.
    """
    if len(system) < 3:
        raise StructureError(
            f"a divacancy in a cell of {len(system)} atoms; expected at least three; take a larger supercell"
        )
    first = int(rng.integers(len(system)))
    distances = distances_from(system, first)
    distances[first] = np.inf
    nearest = np.flatnonzero(distances < distances.min() * 1.05)
    return remove_atoms(system, [first, int(rng.choice(nearest))])
