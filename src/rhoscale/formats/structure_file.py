"""Structure files that rhoscale reads and writes itself, because a loop over atoms would be too slow for millions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from rhoscale.errors import InputError, OutputError
from rhoscale.formats.extended_xyz import read_extended_xyz, write_extended_xyz
from rhoscale.formats.lammps_data import read_lammps_data
from rhoscale.formats.lammps_dump import read_lammps_dump
from rhoscale.formats.structure_npz import read_structure_npz, write_structure_npz
from rhoscale.formats.structure_text import first_bytes
from rhoscale.formats.whole_file import whole_file
from rhoscale.system import System

StructureFormat = Literal["extended XYZ", "LAMMPS data", "LAMMPS dump", "npz"]
WRITERS: dict[str, Callable[[BinaryIO, System, str], None]] = {
    ".xyz": write_extended_xyz,
    ".extxyz": write_extended_xyz,
    ".npz": write_structure_npz,
}

_RECOGNISED_WITHIN = 1 << 16
_XYZ = re.compile(rb"\A\s*\d+[ \t]*\r?\n[^\n]*\bLattice\s*=")
_BOX = re.compile(rb"^[^\n#]*\b(?:xlo[ \t]+xhi|avec)\b", re.MULTILINE)
_ATOMS = re.compile(rb"^[ \t]*\d+[ \t]+atoms[ \t]*(?:#[^\n]*)?\r?$", re.MULTILINE)


def structure_format(path: str | Path) -> StructureFormat | None:
    """The format that a file's first bytes show, or None if it is none of rhoscale's own."""
    head = first_bytes(Path(path), _RECOGNISED_WITHIN)
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head.startswith(b"ITEM:"):
        return "LAMMPS dump"
    if _XYZ.match(head):
        return "extended XYZ"
    if _BOX.search(head) and _ATOMS.search(head):
        return "LAMMPS data"
    return None


def read_structure_file(
    path: str | Path, known: StructureFormat, *, index: int = -1, elements: Sequence[str] | None = None
) -> System:
    """Read a structure in one of rhoscale's own formats; of several, the one at ``index``.

    Args:
        path: The file, which may be compressed (.gz, .bz2, .xz) if it is text.
        known: Its format.
        index: Which structure.
        elements: Elements of the types 1, 2, ... of a LAMMPS file.

    Raises:
        FormatError: The file is damaged, or holds fewer structures.
        StructureError: What it holds is not a bulk cell.
        InputError: ``elements`` for a format that has no types, or of another number.
    """
    if known == "LAMMPS dump":
        return read_lammps_dump(path, index=index, elements=elements)
    if known == "LAMMPS data":
        return read_lammps_data(path, elements=elements)
    refuse_elements(path, elements)
    return read_extended_xyz(path, index=index) if known == "extended XYZ" else read_structure_npz(path)


def refuse_elements(path: str | Path, elements: Sequence[str] | None) -> None:
    """Refuse elements for a file that names its own.

    Raises:
        InputError: There are some.
    """
    if elements is not None:
        raise InputError(
            f"elements {','.join(elements)} were given for {path}, whose format names the elements itself; "
            f"expected them for LAMMPS files only; leave them out"
        )


def refuse_unwritable(path: str | Path) -> None:
    """Refuse a name whose suffix is no format that can be written.

    Raises:
        OutputError: It is not.
    """
    if Path(path).suffix.lower() not in WRITERS:
        raise OutputError(
            f"{path} has no format that structures are written in; expected {', '.join(WRITERS)}; choose one of these"
        )


def write_structure_file(path: str | Path, system: System, *, comment: str = "", force: bool = False) -> None:
    """Write a structure as extended XYZ (Angstrom, 8 decimals) or .npz (Bohr, bit for bit), by the suffix.

    Raises:
        OutputError: The suffix is unknown, the file exists and ``force`` is not given, or it cannot be written.
    """
    refuse_unwritable(path)
    with whole_file(path, force=force) as file:
        WRITERS[Path(path).suffix.lower()](file, system, comment)
