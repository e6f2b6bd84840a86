"""Atomic densities that belong to the pseudopotentials of labels."""

from __future__ import annotations

from collections.abc import Mapping

from rhoscale.engines.atomic_density import atomic_density_table
from rhoscale.errors import InputError
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.system import PseudopotentialIdentity

TOLERANCE = 1e-7  # electrons per Bohr^3 at which a table ends; a thousandth of the best model's error


def atomic_tables(pseudopotentials: Mapping[str, PseudopotentialIdentity]) -> dict[str, AtomicDensityTable]:
    """The table of each element, for pseudopotentials that rhoscale can solve the isolated atom of (GTH-PBE).

    Raises:
        InputError: There is none for the pseudopotential of an element.
    """
    tables = {}
    for element, identity in pseudopotentials.items():
        table = atomic_density_table(element, round(identity.valence), tolerance=TOLERANCE)
        if table.pseudopotential.sha256 != identity.sha256:
            raise InputError(
                f"there is no atomic density for {identity.name} of {element} ({identity.sha256[:12]}); expected "
                f"{table.pseudopotential.name} ({table.pseudopotential.sha256[:12]}); use another prior_mean"
            )
        tables[element] = table
    return tables


def known_tables(pseudopotentials: Mapping[str, PseudopotentialIdentity]) -> dict[str, AtomicDensityTable] | None:
    """As :func:`atomic_tables`, but None where a table is not known."""
    try:
        return atomic_tables(pseudopotentials)
    except InputError:
        return None
