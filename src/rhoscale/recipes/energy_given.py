"""A density that a user has: read from a file, checked against the structure and its electrons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rhoscale.errors import InputError
from rhoscale.formats import read_density_file
from rhoscale.prediction.field import open_density
from rhoscale.recipes.compare import refuse_other_structure
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System

ELECTRONS_OFF = 0.01  # relative; a raw prediction is off by a tenth of that, another valence by much more
SNAPSHOT = ".safetensors"


@dataclass(frozen=True)
class GivenDensity:
    """A density that was read from a file.

    Attributes:
        system: Structure that the file says it is of.
        density: Its coefficients, not rescaled.
        pseudopotentials: Identity for each element, if the file says them.
        note: What was assumed while reading.
    """

    system: System
    density: FourierDensity
    pseudopotentials: Mapping[str, PseudopotentialIdentity] | None
    note: str = ""


def read_given(path: Path) -> GivenDensity:
    """Read a density from a file of any known format or a finished Zarr store.

    Raises:
        FormatError: It cannot be read.
    """
    if path.suffix == ".zarr":
        stored = open_density(path)
        identities = stored.store.attributes["pseudopotentials"]
        known = {str(e): PseudopotentialIdentity.from_dict(p) for e, p in identities.items()}
        stored = stored.refine(shape=stored.store.plan.compute_shape)
        return GivenDensity(stored.store.system, FourierDensity.from_density(stored.density(), np.inf), known)
    if path.suffix == SNAPSHOT:
        snapshot = Snapshot.read(path)
        return GivenDensity(snapshot.system, snapshot.density, snapshot.pseudopotentials)
    file = read_density_file(path)
    density = file.fourier or FourierDensity.from_density(file.density, np.inf)
    return GivenDensity(file.system, density, None, file.note)


def refuse_density_of_another(given: GivenDensity, system: System, density: Path, structure: Path) -> None:
    """Refuse a density that is not of the structure.

    Raises:
        InputError: Cells, elements or positions differ.
    """
    try:
        refuse_other_structure(given.system, system)
    except InputError as error:
        raise InputError(f"{density} does not hold a density of {structure}: {error}") from error


def refuse_other_electrons(given: float, expected: float, where: Path) -> None:
    """Refuse a density of another electron count than the pseudopotentials': it is another quantity.

    Raises:
        InputError: They differ by more than a hundredth.
    """
    if not abs(given / expected - 1.0) <= ELECTRONS_OFF:
        raise InputError(
            f"{where} holds {given:.4f} electrons but the pseudopotentials leave {expected:g}; expected them within "
            f"{100 * ELECTRONS_OFF:g} %, for the program rescales in silence; give a valence density of these "
            f"pseudopotentials, or its pseudopotentials with --pseudopotentials"
        )
