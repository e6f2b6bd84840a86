"""Random substitutional alloys."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rhoscale.errors import StructureError
from rhoscale.system import System


def random_alloy(system: System, composition: Mapping[str, float], rng: np.random.Generator) -> System:
    """Spread elements over the sites of a crystal at random, in exact proportion.

    The counts are the composition times the number of sites, rounded by largest remainder.

    Args:
        system: Sites; its species are replaced.
        composition: Fraction of each element; the sum is one.
        rng: Source of the arrangement.

    Raises:
        StructureError: The fractions are negative or do not add up to one.
    """
    fractions = np.array(list(composition.values()), dtype=np.float64)
    if len(fractions) == 0 or (fractions < 0).any() or abs(fractions.sum() - 1.0) > 1e-6:
        raise StructureError(f"the fractions of an alloy must be positive and add up to one; got {dict(composition)}")
    exact = fractions * len(system)
    counts = np.floor(exact + 1e-9).astype(int)
    by_remainder = np.argsort(-(exact - counts), kind="stable")
    counts[by_remainder[: len(system) - counts.sum()]] += 1
    species = np.repeat(np.array(list(composition)), counts)
    return System(system.cell, system.positions, rng.permutation(species))
