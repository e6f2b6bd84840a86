"""Which format a density file has, by its name or, failing that, by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rhoscale.density import Density
from rhoscale.errors import FormatError, InputError, OutputError
from rhoscale.formats.chgcar import read_chgcar, write_chgcar
from rhoscale.formats.cube import read_cube, write_cube
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.espresso_save import DENSITY_NAMES, read_save, write_into_save
from rhoscale.formats.npz import read_npz, write_npz
from rhoscale.formats.sparc import read_dens, write_dens
from rhoscale.formats.whole_file import whole_file
from rhoscale.formats.xsf import read_xsf, write_xsf
from rhoscale.snapshot import Snapshot
from rhoscale.system import System

READABLE = (
    ".cube, .cub, CHGCAR*, CHG*, AECCAR*, .chgcar, .xsf, .dens, .npz, .safetensors, "
    "a .save folder, charge-density.dat, charge-density.hdf5"
)
WRITABLE = ".cube, .cub, CHGCAR*, .chgcar, .xsf, .dens, .npz, charge-density.dat or .hdf5 in a .save folder"

Writer = Callable[[BinaryIO, System, Density, str], None]

READERS: dict[str, Callable[[Path], DensityFile]] = {
    "cube": read_cube,
    "chgcar": read_chgcar,
    "xsf": read_xsf,
    "dens": read_dens,
    "npz": read_npz,
    "espresso": read_save,
    "snapshot": lambda path: _read_snapshot(path),
}
WRITERS: dict[str, Writer] = {
    "cube": write_cube,
    "chgcar": write_chgcar,
    "xsf": write_xsf,
    "dens": write_dens,
    "npz": write_npz,
}
SUFFIXES = {
    ".cube": "cube",
    ".cub": "cube",
    ".chgcar": "chgcar",
    ".xsf": "xsf",
    ".dens": "dens",
    ".npz": "npz",
    ".save": "espresso",
    ".safetensors": "snapshot",
}


def format_of_name(path: Path) -> str | None:
    """The format that a name announces, or None."""
    if path.name in DENSITY_NAMES:
        return "espresso"
    if path.name.upper().startswith(("CHGCAR", "AECCAR")) or re.match(r"CHG($|[._-])", path.name):
        return "chgcar"
    return SUFFIXES.get(path.suffix.lower())


def format_of_content(path: Path) -> str | None:
    """The format that the first bytes of a file show, or None."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head.startswith((b"\x89HDF\r\n\x1a\n", b"\x0c\x00\x00\x00")):
        return "espresso"
    text = head.decode("latin-1")
    if re.search(r"^\s*CRYSTAL\s*$", text, re.MULTILINE):
        return "xsf"
    lines = [line.split() for line in text.splitlines()]
    if len(lines) > 5 and all(_are_numbers(line, at_least=4) and _is_integer(line[0]) for line in lines[2:6]):
        return "dens" if lines[1][:2] == ["Cell", "length:"] else "cube"
    if len(lines) > 7 and _are_numbers(lines[1], at_least=1) and all(_are_numbers(v, at_least=3) for v in lines[2:5]):
        return "chgcar"
    return None


def _are_numbers(words: list[str], at_least: int) -> bool:
    return len(words) >= at_least and all(re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", w) for w in words[:at_least])


def _is_integer(word: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9]+", word) is not None


def read_density_file(path: str | Path) -> DensityFile:
    """Read structure and density from a file of any known format.

    Raises:
        FormatError: The file is missing, empty, truncated, damaged, or of no known format.
    """
    file = Path(path)
    if not file.exists():
        raise FormatError(f"no file {file}; expected a density file ({READABLE}); check the path")
    kind = format_of_name(file)
    if kind is None and file.is_file() and file.stat().st_size > 0:
        kind = format_of_content(file)
    if kind is None or (file.is_dir() and kind != "espresso"):
        raise FormatError(
            f"{file} has no known density format by name or content; expected one of {READABLE}; "
            f"rename it to what it is, or convert it"
        )
    return READERS[kind](file)


def _read_snapshot(path: Path) -> DensityFile:
    snapshot = Snapshot.read(path)
    fourier = snapshot.density
    return DensityFile(snapshot.system, fourier.on_grid(fourier.smallest_shape), snapshot.electrons, "", fourier)


def write_density_file(
    path: str | Path, system: System, density: Density, *, force: bool = False, comment: str = ""
) -> None:
    """Write structure and density in the format that the name announces, whole or not at all.

    Args:
        path: A name with a known suffix.
        system: Cell and atoms.
        density: Electrons per Bohr^3 on a grid of that cell.
        force: Replace an existing file.
        comment: One line of text for formats that keep one.

    Raises:
        InputError: Density and structure have different cells, or values are not finite.
        OutputError: The name is of no known format, the file exists already, or it cannot be written.
    """
    file = Path(path)
    kind = format_of_name(file)
    if kind not in WRITERS and kind != "espresso":
        raise OutputError(f"{file} has no density format that can be written; expected {WRITABLE}; choose one of these")
    _check(file, system, density)
    if kind == "espresso":
        write_into_save(file, system, density, force=force)
        return
    with whole_file(file, force=force) as stream:
        WRITERS[str(kind)](stream, system, density, " ".join(comment.split()))


def _check(file: Path, system: System, density: Density) -> None:
    difference = float(np.abs(system.cell - density.grid.cell).max())
    if difference > 1e-8:
        raise InputError(
            f"{file}: the cells of structure and density differ by {difference:.3g} Bohr; expected one cell; "
            f"give the density of this structure"
        )
    bad = int(np.count_nonzero(~np.isfinite(density.values)))
    if bad:
        raise InputError(
            f"{file}: {bad} of {density.grid.size} values of the density are not finite; expected finite numbers; "
            f"look where they come from before writing"
        )
