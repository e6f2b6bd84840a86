"""A density that a user has: read from a file, checked against the structure and its electrons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rhoscale.errors import InputError
from rhoscale.formats import read_density_file
from rhoscale.prediction.field import open_density
from rhoscale.recipes.compare import ELECTRONS_OFF, refuse_other_structure
from rhoscale.recipes.energy_cost import GIB
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System

SNAPSHOT = ".safetensors"
BYTES_PER_POINT = 64  # values, their spectrum, and lists of waves and coefficients


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


def read_given(path: Path, memory: float) -> GivenDensity:
    """Read a density from a file of any known format or a finished Zarr store.

    Args:
        path: The file or folder.
        memory: Bytes that a store may need when it is read whole; stores are made for cells of any size.

    Raises:
        FormatError: It cannot be read.
        InputError: It is a store that needs more memory.
    """
    if path.suffix == ".zarr":
        return _read_store(path, memory)
    if path.suffix == SNAPSHOT:
        snapshot = Snapshot.read(path)
        return GivenDensity(snapshot.system, snapshot.density, snapshot.pseudopotentials)
    file = read_density_file(path)
    density = file.fourier or FourierDensity.from_density(file.density, np.inf)
    return GivenDensity(file.system, density, None, file.note)


def _read_store(path: Path, memory: float) -> GivenDensity:
    stored = open_density(path)
    plan = stored.store.plan  # finer grids hold no more waves, but for a sharp part
    shape = np.maximum(plan.compute_shape, plan.output_shape) if stored.store.sharp is not None else plan.compute_shape
    stored = stored.refine(shape=[int(n) for n in shape])
    needed = BYTES_PER_POINT * stored.grid.size
    if needed > memory:
        raise InputError(
            f"{path} has {stored.grid.size} points, {needed / GIB:.3g} GiB in memory; expected at most "
            f"{memory / GIB:g} GiB, for a cell that a DFT program can take; give a smaller cell, or raise --memory"
        )
    store = stored.store
    return GivenDensity(store.system, FourierDensity.from_density(stored.density(), np.inf), store.pseudopotentials)


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
