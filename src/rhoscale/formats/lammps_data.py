"""LAMMPS data files (``read_data``, ``write_data``): box, types with masses or names, atoms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import FormatError
from rhoscale.formats.lammps import (
    bohr_per_length,
    in_order_of,
    refuse_repeated,
    restricted_cell,
    symbol_of_mass,
    symbol_of_word,
    symbols_of_types,
)
from rhoscale.formats.structure_text import Column, StructureText
from rhoscale.formats.text_volume import system_of_file
from rhoscale.system import System

FloatArray = NDArray[np.float64]

# Words before the type and between the type and x (https://docs.lammps.org/read_data.html)
STYLES = {
    "atomic": (1, 0),
    "charge": (1, 1),
    "dipole": (1, 1),
    "sphere": (1, 2),
    "bond": (2, 0),
    "angle": (2, 0),
    "molecular": (2, 0),
    "full": (2, 1),
}
_BY_WORDS = {5: "atomic", 8: "atomic", 7: "full", 10: "full"}  # 8 and 10 with image flags
_SECTION = re.compile(rb"^[ \t]*Atoms[ \t]*(?:#[ \t]*([a-z/]+).*)?\r?$", re.MULTILINE)
_COUNT = re.compile(r"^\s*(\d+)\s+atoms\s*$")
_UNITS = re.compile(r"\bunits\s*=\s*(\w+)")
_EDGES = (("xlo", "xhi"), ("ylo", "yhi"), ("zlo", "zhi"))


def read_lammps_data(path: str | Path, *, elements: Sequence[str] | None = None) -> System:
    """Read the atoms of a data file, sorted by their numbers; ``Atoms`` of the styles in ``STYLES``.

    Elements come from ``elements`` (types 1, 2, ... in this order), type labels, the comments beside the masses, or
    the masses. Lengths are Angstrom unless the first line names other units, as ``write_data`` does.

    Raises:
        FormatError: The file is truncated, contradicts itself, or does not say which element a type is.
    """
    text = StructureText(path, "LAMMPS data")
    section = _SECTION.search(text.bytes)
    if section is None:
        raise text.error("no line reads 'Atoms'", "a section Atoms")
    head = text.bytes[: section.start()].decode("latin-1").splitlines()
    plain = [line.split("#")[0].rstrip() for line in head]
    count = _count(text, plain)
    cell = _cell(text, plain[1:])
    text.position, text.line_number = section.end() + 1, len(head) + 1
    while not text.only_blanks_follow() and not _peek(text):
        text.line("an atom")
    style = _style(text, section[1].decode() if section[1] else "")
    before, between = STYLES[style]
    skip: tuple[Column, ...] = ("skip",)
    columns: list[Column] = ["number", *skip * (before - 1), "label", *skip * between, "number", "number", "number"]
    table = text.table(count, columns, "atoms", comment="#")
    _refuse_more(text, count)
    symbols = symbols_of_types(text.file, table.labels, _known(text, head), elements)
    stated = _UNITS.search(head[0]) if head else None
    bohr = bohr_per_length(text.file, stated[1] if stated else "metal")
    order = in_order_of(table.numbers[:, 0])
    refuse_repeated(text.file, table.numbers[order, 0])
    return system_of_file(text.file, cell * bohr, table.numbers[order, 1:] * bohr, symbols[table.codes[order]])


def _count(text: StructureText, lines: list[str]) -> int:
    found = [int(match[1]) for line in lines if (match := _COUNT.match(line))]
    if len(found) != 1 or found[0] == 0:
        raise text.error(f"{len(found)} lines before the atoms read 'N atoms'", "one of them, with the number of atoms")
    return found[0]


def _cell(text: StructureText, lines: list[str]) -> FloatArray:
    values: dict[tuple[str, ...], list[float]] = {}
    for line in lines:
        words = line.split()
        names = tuple(w for w in words if w[0].isalpha() and w.lower() not in ("nan", "inf"))
        if names in (*_EDGES, ("xy", "xz", "yz"), ("avec",), ("bvec",), ("cvec",)):
            try:
                values[names] = [float(w) for w in words[: len(words) - len(names)]]
            except ValueError as error:
                raise text.error(f"a line of the box reads {line.strip()!r}", "numbers and their names") from error
    general = [values.get((f"{v}vec",), []) for v in "abc"]
    if all(len(vector) == 3 for vector in general):
        return np.array(general)
    edges, tilts = [values.get(names, []) for names in _EDGES], values.get(("xy", "xz", "yz"), [0.0, 0.0, 0.0])
    if not all(len(edge) == 2 for edge in edges) or len(tilts) != 3:
        raise text.error(f"the box has {len(values)} lines", "xlo xhi, ylo yhi, zlo zhi, with or without xy xz yz")
    return restricted_cell(np.diff(edges)[:, 0], np.array(tilts))


def _peek(text: StructureText) -> bool:
    end = text.bytes.find(b"\n", text.position)
    return bool(text.bytes[text.position : end if end >= 0 else None].strip())


def _style(text: StructureText, comment: str) -> str:
    end = text.bytes.find(b"\n", text.position)
    words = len(text.bytes[text.position : end if end >= 0 else None].split(b"#")[0].split())
    style = comment or _BY_WORDS.get(words, "")
    if style not in STYLES:
        raise text.error(
            f"the atoms have {words} words a line and style {comment or 'not named'!r}",
            f"'Atoms # STYLE' with STYLE one of {', '.join(STYLES)}, in the section's line",
        )
    return style


def _refuse_more(text: StructureText, count: int) -> None:
    while not text.only_blanks_follow():
        line = text.line("the next section").strip()
        if line and not line.startswith("#"):
            if not line[0].isalpha():
                raise text.error(f"line {text.line_number} after {count} atoms reads {line[:80]!r}", f"{count} atoms")
            return


def _known(text: StructureText, head: list[str]) -> dict[str, str | None]:
    known: dict[str, str | None] = {}
    for number, label in _section(head, "Atom Type Labels"):
        known[number] = known[label.split()[0]] = symbol_of_word(label.split()[0])
    for number, rest in _section(head, "Masses"):
        mass, _, comment = rest.partition("#")
        try:
            by_mass = symbol_of_mass(float(mass))
        except ValueError as error:
            raise FormatError(
                f"{text.file} gives type {number} the mass {mass.strip()!r}; expected a number; mend the file"
            ) from error
        words = comment.split()
        named = symbol_of_word(words[0]) if words else None
        known[number] = known.get(number) or named or by_mass
    return known


def _section(head: list[str], name: str) -> list[tuple[str, str]]:
    """Pairs of first word and rest of the lines below a section's name."""
    pairs: list[tuple[str, str]] = []
    inside = False
    for line in head:
        plain = line.split("#")[0].strip()
        if plain == name:
            inside = True
        elif inside and plain:
            words = line.split(None, 1)
            if len(words) < 2 or (plain[0].isalpha() and pairs):
                break
            pairs.append((words[0], words[1]))
    return pairs
