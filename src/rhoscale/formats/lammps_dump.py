"""LAMMPS dumps as text (``dump atom``, ``dump custom``): snapshots with box bounds and named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import FormatError, StructureError
from rhoscale.formats.lammps import (
    bohr_per_length,
    in_order_of,
    refuse_repeated,
    restricted_cell,
    symbol_of_mass,
    symbol_of_word,
    symbols_of_types,
)
from rhoscale.formats.structure_text import Column, StructureText, Table
from rhoscale.formats.text_volume import system_of_file
from rhoscale.system import System

FloatArray = NDArray[np.float64]

POSITIONS = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))


@dataclass(frozen=True)
class _Header:
    """Up to the line ``ITEM: ATOMS``: number of atoms, cell, its corner, boundaries, columns, units."""

    atoms: int
    cell: FloatArray
    corner: FloatArray
    boundaries: tuple[str, ...]
    columns: tuple[str, ...]
    units: str


def read_lammps_dump(path: str | Path, *, index: int = -1, elements: Sequence[str] | None = None) -> System:
    """Read one snapshot of a dump, atoms sorted by ``id`` if there is one; of several, the one at ``index``.

    Elements come from ``elements`` (types 1, 2, ... in this order), or from a column ``element`` or ``mass``. Positions
    are those of LAMMPS, the corner of the box included.

    Raises:
        FormatError: The file is truncated, contradicts itself, or does not say which element a type is.
        StructureError: The box is not periodic in all directions.
    """
    text = StructureText(path, "LAMMPS dump")
    starts: list[tuple[int, int]] = []
    units = "metal"
    while not text.only_blanks_follow() and (index < 0 or len(starts) <= index):
        starts.append((text.position, text.line_number))
        header = _header(text, units)
        units = header.units
        text.skip_lines(header.atoms, "atoms")
    if not -len(starts) <= index < len(starts):
        raise FormatError(
            f"{text.file} holds {len(starts)} snapshots, asked for number {index}; "
            f"expected {-len(starts)} to {len(starts) - 1}; choose one of them"
        )
    text.position, text.line_number = starts[index]
    return _snapshot(text, units, elements)


def _header(text: StructureText, units: str) -> _Header:
    atoms, box = 0, np.zeros((0, 0))
    labels: tuple[str, ...] = ()
    while True:
        line = text.line("ITEM: ATOMS")
        item = line.strip()
        if item.startswith("ITEM: ATOMS"):
            break
        if not item.startswith("ITEM:"):
            raise text.error(f"line {text.line_number} reads {item[:80]!r}", "a line that begins with ITEM:")
        if item.startswith("ITEM: BOX BOUNDS"):
            labels = tuple(item.split()[3:])
            box = _rows(text)
        elif item == "ITEM: NUMBER OF ATOMS":
            atoms = _integer(text)
        elif item == "ITEM: UNITS":
            units = text.line("the units").strip()
        else:
            text.line("the value of the item")
    if atoms == 0 or box.size == 0:
        raise text.error(f"line {text.line_number} begins the atoms", "NUMBER OF ATOMS (not 0) and BOX BOUNDS before")
    cell, corner = _cell(text, labels, box)
    return _Header(atoms, cell, corner, labels[-3:], tuple(item.split()[2:]), units)


def _integer(text: StructureText) -> int:
    word = text.line("the number of atoms").strip()
    if not word.isdigit():
        raise text.error(f"line {text.line_number} reads {word[:80]!r}", "the number of atoms")
    return int(word)


def _rows(text: StructureText) -> FloatArray:
    lines = [text.line("the bounds of the box").split() for _ in range(3)]
    try:
        box = np.array(lines, dtype=np.float64)
    except ValueError:
        box = np.zeros((0, 0))
    if box.shape not in ((3, 2), (3, 3), (3, 4)) or not np.isfinite(box).all():
        raise text.error(f"lines {text.line_number - 2} to {text.line_number} read {lines}", "three bounds of the box")
    return box


def _cell(text: StructureText, labels: tuple[str, ...], box: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cell and corner; a restricted triclinic box is given by its bounding box and tilts."""
    if labels[:2] == ("abc", "origin"):
        if box.shape != (3, 4):
            raise text.error(f"the box 'abc origin' has rows of {box.shape[1]} numbers", "four numbers a row")
        return box[:, :3], box[:, 3]
    low, high = box[:, 0].copy(), box[:, 1].copy()
    if box.shape[1] == 2:
        return restricted_cell(high - low, np.zeros(3)), low
    xy, xz, yz = box[:, 2]
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    return restricted_cell(high - low, box[:, 2]), low


def _snapshot(text: StructureText, units: str, elements: Sequence[str] | None) -> System:
    header = _header(text, units)
    if len(header.boundaries) == 3 and any(b != "pp" for b in header.boundaries):
        raise StructureError(
            f"{text.file}: the box has boundaries {' '.join(header.boundaries)}; expected pp pp pp, a bulk cell, "
            f"periodic in all directions; change the file's line if it is one"
        )
    place, tells = _wanted(text, header.columns, elements)
    wanted = ("id", *place, *(("mass",) if tells == "mass" else ()))
    names = [name for name in header.columns if name in wanted]
    table = text.table(header.atoms, _columns(header.columns, names, tells), "atoms")
    column = {name: table.numbers[:, k] for k, name in enumerate(names)}
    positions = np.stack([column[name] for name in place], axis=1)
    if place[0].startswith("xs"):
        positions = positions @ header.cell + header.corner
    symbols = _symbols(text, table, tells, column.get("mass"), elements)
    bohr = bohr_per_length(text.file, header.units)
    if "id" in column:
        order = in_order_of(column["id"])
        refuse_repeated(text.file, column["id"][order])
        positions, symbols = positions[order], symbols[order]
    return system_of_file(text.file, header.cell * bohr, positions * bohr, symbols)


def _wanted(
    text: StructureText, columns: tuple[str, ...], elements: Sequence[str] | None
) -> tuple[tuple[str, ...], str]:
    """The columns of the position, and the one that tells the element."""
    place = next((names for names in POSITIONS if set(names) <= set(columns)), None)
    allowed = ("type",) if elements is not None else ("element", "mass", "type")
    tells = next((name for name in allowed if name in columns), None)
    if place is None or tells is None:
        raise text.error(
            f"the columns are {' '.join(columns)}", f"positions (x y z, xs ys zs, ...) and {' or '.join(allowed)}"
        )
    return place, tells


def _columns(columns: tuple[str, ...], numbers: Sequence[str], tells: str) -> list[Column]:
    last = max(columns.index(name) for name in (*numbers, tells))
    return ["number" if name in numbers else "label" if name == tells else "skip" for name in columns[: last + 1]]


def _symbols(
    text: StructureText, table: Table, tells: str, mass: FloatArray | None, elements: Sequence[str] | None
) -> NDArray[np.str_]:
    """Element of each atom [n]."""
    if mass is not None:
        masses, of_atom = np.unique(mass, return_inverse=True)
        known = {f"{m!r}": symbol_of_mass(m) for m in masses.tolist()}
    elif tells == "element":
        of_atom = table.codes.astype(np.intp)
        known = {label: symbol_of_word(label) for label in table.labels}
    else:
        return symbols_of_types(text.file, table.labels, {}, elements)[table.codes]
    strange = [label for label, symbol in known.items() if symbol is None]
    if strange:
        raise FormatError(
            f"{text.file} has the {tells} {', '.join(strange[:10])}; expected chemical symbols or masses of elements; "
            f"give the elements of types 1, 2, ... (--elements Al,Mg on the command line)"
        )
    return np.array(list(known.values()))[of_atom]
