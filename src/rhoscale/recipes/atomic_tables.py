"""Atomic densities that belong to pseudopotentials: solved for GTH-PBE, else what the user's UPF files carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rhoscale.engines.atomic_density import atomic_density_table, density_table_of_file
from rhoscale.engines.pseudopotentials import PseudopotentialFile, folder_pseudopotentials
from rhoscale.errors import FormatError, InputError
from rhoscale.models import TrainedModel
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.recipes.prior import promolecule_tables
from rhoscale.system import PseudopotentialIdentity

TOLERANCE = 1e-7  # electrons per Bohr^3 at which a table ends; a thousandth of the best model's error
Tables = dict[str, AtomicDensityTable]


def atomic_tables(pseudopotentials: Mapping[str, PseudopotentialIdentity], folder: Path | None = None) -> Tables:
    """The table of each element: the isolated atom that rhoscale solves (GTH-PBE), or the one in the user's UPF file.

    Args:
        pseudopotentials: Identity for each element.
        folder: Where UPF files are, one for each element, if it exists; those of other hashes are passed over.

    Raises:
        InputError: There is none for the pseudopotential of an element.
        FormatError: A UPF file is damaged or carries no atomic density.
    """
    files = _files(folder)
    return {e: _table(identity, files.get(e), folder) for e, identity in pseudopotentials.items()}


def known_tables(pseudopotentials: Mapping[str, PseudopotentialIdentity], folder: Path | None = None) -> Tables | None:
    """As :func:`atomic_tables`, but None where a table is not known: many UPF files carry no atomic density.

    Raises:
        FormatError: A UPF file is damaged.
    """
    files = _files(folder)
    try:
        return {e: _table(identity, files.get(e), folder) for e, identity in pseudopotentials.items()}
    except (InputError, FormatError):
        return None


def tables_beside(model: TrainedModel, folder: Path | None, elements: Sequence[str] = ()) -> Tables | None:
    """The atomic densities of the promolecule that reports show beside a model, or None where they are not known.

    A model whose prior mean is the promolecule has them itself.

    Args:
        model: Its pseudopotentials are meant.
        folder: As in :func:`atomic_tables`.
        elements: Those that are needed; by default all of the model's.

    Raises:
        FormatError: A UPF file is damaged.
        ModelError: The model lacks a table of its prior mean.
    """
    wanted = elements or tuple(model.pseudopotentials)
    if model.prior_mean == "promolecule":
        own = promolecule_tables(model)
        return {e: own[e] for e in wanted}
    return known_tables({e: model.pseudopotentials[e] for e in wanted}, folder)


def _files(folder: Path | None) -> Mapping[str, PseudopotentialFile]:
    return {} if folder is None or not folder.is_dir() else folder_pseudopotentials(folder)


def _table(
    identity: PseudopotentialIdentity, file: PseudopotentialFile | None, folder: Path | None
) -> AtomicDensityTable:
    solved = _solved(identity)
    if solved is not None:
        return solved
    if file is not None and file.identity.sha256 == identity.sha256:
        return density_table_of_file(file, tolerance=TOLERANCE)
    there = "no UPF file of it" if file is None else f"{file.identity.name} ({file.identity.sha256[:12]})"
    raise InputError(
        f"there is no atomic density for {identity.name} of {identity.element} ({identity.sha256[:12]}); expected "
        f"GTH-PBE, or its UPF file in {folder or 'a folder'}, where there is {there}; put it there, or use another "
        f"prior_mean"
    )


def _solved(identity: PseudopotentialIdentity) -> AtomicDensityTable | None:
    """The isolated pseudo-atom, or None where the pseudopotential is no GTH-PBE."""
    try:
        table = atomic_density_table(identity.element, round(identity.valence), tolerance=TOLERANCE)
    except InputError:  # an element or valence without published parameters
        return None
    return table if table.pseudopotential.sha256 == identity.sha256 else None
