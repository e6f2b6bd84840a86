"""Extended XYZ: number of atoms, a line of key=value pairs, one atom a line; Angstrom, millions of atoms a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from ase.io.extxyz import key_val_str_to_dict
from numba import njit
from numpy.typing import NDArray

from rhoscale.errors import FormatError, OutputError, StructureError
from rhoscale.formats.elements import NUMBERS, symbol_of_number
from rhoscale.formats.structure_text import Column, StructureText
from rhoscale.formats.text_volume import system_of_file
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR, BOHR_PER_ANGSTROM

DECIMALS = 8
_WIDTH = 17  # a blank and a number like %16.8f
_LONGEST = 10.0**6  # Angstrom: with sign, point and decimals this fills the column
_ROWS_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class _Header:
    atoms: int
    line: int
    comment: str


def read_extended_xyz(path: str | Path, *, index: int = -1) -> System:
    """Read one structure of an extended XYZ file; of several, the one at ``index``.

    Takes ``Lattice``, ``pbc`` and, as ``Properties`` say, the columns ``species`` or ``Z`` and ``pos``.

    Raises:
        FormatError: The file is truncated, has fewer structures, or a line is not what the header announces.
        StructureError: The structure is not periodic in all directions.
    """
    text = StructureText(path, "extended XYZ")
    starts: list[tuple[int, int]] = []
    while not text.only_blanks_follow() and (index < 0 or len(starts) <= index):
        starts.append((text.position, text.line_number))
        text.skip_lines(_header(text).atoms, "atoms")
    if not -len(starts) <= index < len(starts):
        raise FormatError(
            f"{text.file} holds {len(starts)} structures, asked for number {index}; "
            f"expected {-len(starts)} to {len(starts) - 1}; choose one of them"
        )
    text.position, text.line_number = starts[index]
    return _frame(text)


def _header(text: StructureText) -> _Header:
    first = text.line("the number of atoms")
    line = text.line_number
    if not first.strip().isdigit() or int(first) == 0:
        raise text.error(
            f"line {line} reads {first.strip()[:80]!r}",
            "the number of atoms (one line with it, one with the cell, then as many lines as atoms)",
        )
    return _Header(int(first), line, text.line("the line with the cell"))


def _frame(text: StructureText) -> System:
    header = _header(text)
    try:
        info = key_val_str_to_dict(header.comment)
        cell = np.array(info["Lattice"], dtype=np.float64).T
        columns = _columns(str(info.get("Properties", "species:S:1:pos:R:3")))
    except (KeyError, ValueError, TypeError) as error:
        raise text.error(
            f"line {header.line + 1} reads {header.comment.strip()[:200]!r} ({error})",
            'Lattice="..." with 9 numbers and Properties with species and pos:R:3',
        ) from error
    periodic = np.broadcast_to(np.asarray(info.get("pbc", True)), 3)
    if not periodic.all():
        raise StructureError(
            f"{text.file}: the structure is periodic along {periodic.tolist()}; expected a bulk cell, periodic in all "
            f'directions; set pbc="T T T" if it is one'
        )
    table = text.table(header.atoms, columns, "atoms")
    symbols = np.array([_symbol(text.file, label) for label in table.labels])
    numbers = table.numbers
    numbers *= BOHR_PER_ANGSTROM
    return system_of_file(text.file, cell * BOHR_PER_ANGSTROM, numbers, symbols[table.codes])


def _columns(properties: str) -> list[Column]:
    fields = properties.split(":")
    layout = list(zip(fields[::3], fields[1::3], (int(n) for n in fields[2::3]), strict=True))
    names = [name for name, _, _ in layout]
    if names.count("pos") != 1 or ("pos", "R", 3) not in layout or not {"species", "Z"} & set(names):
        raise ValueError(f"Properties={properties}")
    element = "species" if "species" in names else "Z"
    columns: list[Column] = []
    for name, _, count in layout:
        columns += ["label" if name == element else "number" if name == "pos" else "skip"] * count
    if columns.count("label") != 1:
        raise ValueError(f"Properties={properties}")
    while columns[-1] == "skip":
        columns.pop()
    return columns


def _symbol(file: Path, label: str) -> str:
    if label.isdigit():
        return symbol_of_number(file, int(label))
    symbol = label.capitalize()
    if NUMBERS.get(symbol, 0) == 0:
        raise FormatError(f"{file} names an atom {label!r}; expected a chemical symbol; mend the file")
    return symbol


def write_extended_xyz(file: BinaryIO, system: System, comment: str) -> None:
    """Write cell and atoms in Angstrom with 8 decimals, and the comment as a key of that name.

    Raises:
        OutputError: An atom lies too far away for its column.
    """
    farthest = float(np.abs(system.positions).max()) * ANGSTROM_PER_BOHR
    if farthest >= _LONGEST:
        raise OutputError(
            f"an atom lies {farthest:.3g} Angstrom from the origin; expected less than {_LONGEST:g} in an XYZ file; "
            f"wrap the atoms into the cell"
        )
    lattice = " ".join(repr(float(x)) for x in (system.cell * ANGSTROM_PER_BOHR).ravel())
    words = comment.replace('"', "'").replace("\\", "/").replace("\n", " ")
    note = f' comment="{words}"' if words else ""
    header = f'{len(system)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3{note} pbc="T T T"\n'
    file.write(header.encode("utf-8"))
    rows = np.empty((min(_ROWS_AT_ONCE, len(system)), 2 + 3 * _WIDTH + 1), dtype=np.uint8)
    for start in range(0, len(system), len(rows)):
        symbols = system.species[start : start + len(rows)].astype("S2")
        block = rows[: len(symbols)]
        _fill_rows(block, symbols.view(np.uint8).reshape(-1, 2), _fixed_point(system.positions[start:][: len(symbols)]))
        file.write(block.tobytes())


def _fixed_point(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(positions * (ANGSTROM_PER_BOHR * 10.0**DECIMALS)).astype(np.int64)


@njit(cache=True, nogil=True)
def _fill_rows(rows, symbols, values):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """Rows like ``%-2s %16.8f %16.8f %16.8f`` and a line end, from integers of 1e-8 Angstrom."""
    for n in range(len(rows)):
        rows[n, :] = 32
        rows[n, 0] = symbols[n, 0]
        if symbols[n, 1]:
            rows[n, 1] = symbols[n, 1]
        for k in range(3):
            place, left = 2 + _WIDTH * (k + 1) - 1, abs(values[n, k])
            for digit in range(DECIMALS + 8):
                if digit == DECIMALS:
                    rows[n, place] = 46
                    place -= 1
                if digit > DECIMALS and left == 0:
                    break
                rows[n, place] = 48 + left % 10
                place -= 1
                left //= 10
            if values[n, k] < 0:
                rows[n, place] = 45
        rows[n, -1] = 10
