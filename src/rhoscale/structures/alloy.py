"""Random substitutional alloys."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import StructureError
from rhoscale.system import System


def random_alloy(system: System, composition: Mapping[str, float], rng: np.random.Generator) -> System:
    """Spread elements over the sites of a crystal at random, in exact proportion.

    The counts are those of :func:`composition_counts`.

    Args:
        system: Sites; its species are replaced.
        composition: Fraction of each element; the sum is one.
        rng: Source of the arrangement.

    Raises:
        StructureError: The fractions are negative or do not add up to one.
    """
    species = np.repeat(np.array(list(composition)), composition_counts(composition, len(system)))
    return System(system.cell, system.positions, rng.permutation(species))


def composition_counts(composition: Mapping[str, float], atoms: int) -> NDArray[np.int64]:
    """Atoms of each element: the fractions times the number of atoms, rounded by largest remainder.

    Raises:
        StructureError: The fractions are negative or do not add up to one.
    """
    fractions = np.array(list(composition.values()), dtype=np.float64)
    if len(fractions) == 0 or (fractions < 0).any() or not abs(fractions.sum() - 1.0) <= 1e-6:
        raise StructureError(
            f"the alloy has the fractions {dict(composition)}; expected positive numbers that add to one; change them"
        )
    exact = fractions * atoms
    counts = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(-(exact - counts), kind="stable")
    counts[by_remainder[: atoms - counts.sum()]] += 1
    return counts


def exact_composition(
    species: NDArray[np.str_], composition: Mapping[str, float], rng: np.random.Generator
) -> NDArray[np.str_]:
    """Change the element of as few atoms as possible, drawn at random, until the composition is exact.

    Args:
        species: A decoration whose composition is nearly that [n].
        composition: Fraction of each element; the sum is one.
        rng: Source of the choice.

    Raises:
        StructureError: The fractions are negative or do not add up to one.
    """
    wanted = composition_counts(composition, len(species))
    there = [np.flatnonzero(species == element) for element in composition]
    surplus = [rng.choice(a, max(0, len(a) - n), replace=False) for a, n in zip(there, wanted, strict=True)]
    missing = [max(0, n - len(a)) for a, n in zip(there, wanted, strict=True)]
    result = species.copy()
    result[rng.permutation(np.concatenate(surplus))] = np.repeat(np.array(list(composition)), missing)
    return result
