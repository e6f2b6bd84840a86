"""What a model must not be asked: elements, pseudopotentials and distances that it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

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
    scaled = system.scaled_positions
    positions, owners = [scaled @ system.cell], [np.arange(len(system))]
    area_vectors = np.cross(np.roll(system.cell, -1, axis=0), np.roll(system.cell, -2, axis=0))
    margin = within * np.linalg.norm(area_vectors, axis=1) / system.volume
    for shift in product(*(range(-r, r + 1) for r in np.ceil(margin).astype(int))):
        if any(shift):
            moved = scaled + shift
            near = np.flatnonzero(((moved >= -margin) & (moved <= 1 + margin)).all(axis=1))
            positions.append(moved[near] @ system.cell)
            owners.append(near)
    tree = cKDTree(np.concatenate(positions))
    distances, partners = tree.query(positions[0], k=2, distance_upper_bound=within)
    i = int(np.argmin(distances[:, 1]))
    if np.isinf(distances[i, 1]):
        return None
    pair = {int(owner) for owner in np.concatenate(owners)[partners[i]]}
    return float(distances[i, 1]), min(pair), max(pair)
