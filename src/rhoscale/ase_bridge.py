"""``ase.Atoms`` <-> ``System``: the door through which Angstrom comes in and goes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read as ase_read

from rhoscale.errors import FormatError, StructureError
from rhoscale.formats.structure_file import read_structure_file, refuse_elements, structure_format
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR, BOHR_PER_ANGSTROM


def from_atoms(atoms: Atoms) -> System:
    """Take cell, positions and species of an ``ase.Atoms`` (Angstrom) into a ``System`` (Bohr).

    Raises:
        StructureError: The structure is not periodic in all directions, or not a usable cell.
    """
    if not atoms.pbc.all():
        raise StructureError(
            f"the structure is periodic along {atoms.pbc.tolist()}; expected a bulk cell, periodic in all directions; "
            f"set pbc=True if it is one"
        )
    symbols = np.asarray(chemical_symbols)[atoms.numbers]
    if (atoms.numbers == 0).any():
        raise StructureError(
            f"atom {int(np.argmin(atoms.numbers))} is 'X', which is no element; expected one for each atom; name it"
        )
    return System(atoms.cell.array * BOHR_PER_ANGSTROM, atoms.positions * BOHR_PER_ANGSTROM, symbols)


def to_atoms(system: System) -> Atoms:
    """Hand a ``System`` (Bohr) out as an ``ase.Atoms`` (Angstrom)."""
    return Atoms(
        symbols=system.species.tolist(),
        positions=system.positions * ANGSTROM_PER_BOHR,
        cell=system.cell * ANGSTROM_PER_BOHR,
        pbc=True,
    )


def read_system(path: str | Path, *, index: int = -1, elements: Sequence[str] | None = None) -> System:
    """Read a structure file; of several structures, the one at ``index``.

    Extended XYZ, LAMMPS data and dumps, and .npz go through rhoscale's own readers (millions of atoms a second or so),
    everything else through ASE.

    Args:
        path: The file.
        index: Which structure; -1 is the last.
        elements: Elements of the types 1, 2, ... of a LAMMPS file that does not name them.

    Raises:
        FormatError: The file is missing, empty or not readable.
        StructureError: What it holds is not a bulk cell.
        InputError: ``elements`` for a format that has no types.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(
            f"{_what_is_no_file(file)}; expected a structure file that ASE reads (POSCAR, CIF, XYZ, ...); "
            f"check the path"
        )
    if file.stat().st_size == 0:
        raise FormatError(
            f"the structure file {file} is empty; expected a structure in a format that ASE reads; write it again"
        )
    own = structure_format(file)
    if own is not None:
        return read_structure_file(file, own, index=index, elements=elements)
    refuse_elements(file, elements)
    try:
        atoms = ase_read(file, index=index)
    except Exception as error:  # ASE's readers raise whatever their parsing meets
        raise FormatError(
            f"{file} could not be read as a structure ({_reason(error)}); expected a format that ASE knows by its name "
            f"or content; rename it to what it is, or convert it to extended XYZ"
        ) from error
    assert isinstance(atoms, Atoms)
    try:
        return from_atoms(atoms)
    except StructureError as error:
        raise StructureError(f"{file}: {error}") from error


def _what_is_no_file(path: Path) -> str:
    """What is wrong with a path that is no file."""
    if path.suffix == ".zarr" and path.is_dir():
        return f"{path} is a Zarr store, which holds a prediction"
    return f"{path} is a folder" if path.is_dir() else f"there is no structure file {path}"


def _reason(error: Exception) -> str:
    """Kind and words of another library's error, on one line; assertions often have no words."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else f"its reader gave up with a {type(error).__name__}"
