"""What a model must not be asked: elements, pseudopotentials and distances that it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.descriptors.neighbours import CellList, periodic_cell_list
from rhoscale.errors import ModelError, StructureError
from rhoscale.system import PseudopotentialIdentity, System

OVERLAP = 1.0  # Bohr; shorter than the bond of H2 (1.40), which no bulk material undercuts
SHARE_OF_CLOSEST = 0.75  # of the smallest distance in training; thermal motion does not reach further


def refuse_unknown_elements(system: System, known: Iterable[str], model: str) -> None:
    """Refuse a structure with elements that the model was not trained on.

    Raises:
        ModelError: There is such an element.
    """
    elements = list(known)
    unknown = [e for e in system.elements if e not in elements]
    if unknown:
        raise ModelError(
            f'model "{model}" knows {", ".join(elements)}; the structure also holds {", ".join(unknown)}; '
            f"choose a model that knows them (`rhoscale models` lists them)"
        )


def refuse_other_pseudopotentials(
    elements: Iterable[str],
    wanted: Mapping[str, PseudopotentialIdentity],
    known: Mapping[str, PseudopotentialIdentity],
    model: str,
) -> None:
    """Refuse pseudopotentials other than the model's: their valence densities are different quantities.

    Args:
        elements: Those of the structure; the model knows them.
        wanted: Pseudopotentials that the user works with, by element.
        known: Those of the model, by element.
        model: Name of the model.

    Raises:
        ModelError: One differs, or the user's lack an element.
    """
    for element in elements:
        ours, theirs = known[element], wanted.get(element)
        expected = f'that of model "{model}", {ours.name} (valence {ours.valence:g}, {ours.sha256[:12]})'
        if theirs is None:
            raise ModelError(f"no pseudopotential of {element} was given; expected {expected}; add it, or give none")
        if theirs.sha256 != ours.sha256:
            raise ModelError(
                f"{element}: pseudopotential {theirs.name} (valence {theirs.valence:g}, {theirs.sha256[:12]}) is not "
                f"{expected}; its density is another quantity; use the model's pseudopotential or a model of yours"
            )


def refuse_overlaps(system: System, closest_known: float | None = None) -> None:
    """Refuse atoms that sit on each other.

    Args:
        system: The structure.
        closest_known: Smallest distance of two atoms in the model's training data, Bohr, if it says.

    Raises:
        StructureError: Two atoms are closer than 1 Bohr, or than three quarters of ``closest_known``.
    """
    smallest = max(OVERLAP, SHARE_OF_CLOSEST * (closest_known or 0.0))
    found = closest_pair(system, smallest)
    if found is None:
        return
    distance, i, j = found
    raise StructureError(
        f"atoms {i} ({system.species[i]}) and {j} ({system.species[j]}) are {distance:.3f} Bohr apart; "
        f"expected at least {smallest:.2f} Bohr; remove doubled atoms or mend units and cell of the structure"
    )


def closest_pair(system: System, within: float) -> tuple[float, int, int] | None:
    """The two closest atoms, periodic images included, if closer than ``within`` Bohr: distance and indices."""
    atoms = periodic_cell_list(system, system.elements)
    distance, i, j = _closest(atoms, within)
    if i < 0:
        return None
    pair = (int(atoms.order[i]), int(atoms.order[j]))
    return float(distance), min(pair), max(pair)


@njit(nogil=True, cache=True)
def _closest(atoms: CellList, within: float) -> Any:
    """Distance and sorted numbers of the two closest atoms closer than ``within``, or -1 for both numbers."""
    n0, n1, n2 = atoms.counts
    shift = np.empty(3)
    reach = np.ceil(within / atoms.heights * atoms.counts + 1e-9).astype(np.int64)
    closest, first, second = within * within, -1, -1
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                here = (i * n1 + j) * n2 + k
                for u in range(i - reach[0], i + reach[0] + 1):
                    for v in range(j - reach[1], j + reach[1] + 1):
                        for w in range(k - reach[2], k + reach[2] + 1):
                            there = (u % n0 * n1 + v % n1) * n2 + w % n2
                            for c in range(3):
                                shift[c] = u // n0 * atoms.cell[0, c] + v // n1 * atoms.cell[1, c]
                                shift[c] += w // n2 * atoms.cell[2, c]
                            same = u == i and v == j and w == k
                            closest, first, second = _closest_in_bins(
                                atoms, here, there, shift, same, closest, first, second
                            )
    return np.sqrt(closest), first, second


@njit(nogil=True, cache=True)
def _closest_in_bins(
    atoms: CellList,
    here: int,
    there: int,
    shift: NDArray[np.float64],
    same: bool,
    closest: float,
    first: int,
    second: int,
) -> Any:
    """The closer of a pair already found, by its squared distance, and the closest between two bins."""
    for a_starts in atoms.starts:
        for a in range(a_starts[here], a_starts[here + 1]):
            for b_starts in atoms.starts:
                for b in range(b_starts[there], b_starts[there + 1]):
                    r2 = 0.0
                    for c in range(3):
                        r2 += (atoms.positions[b, c] + shift[c] - atoms.positions[a, c]) ** 2
                    if r2 < closest and not (same and a == b):
                        closest, first, second = r2, a, b
    return closest, first, second
