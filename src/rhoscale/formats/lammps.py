"""What LAMMPS files share: units of length, boxes, types that stand for elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_masses
from numpy.typing import NDArray

from rhoscale.errors import FormatError, InputError
from rhoscale.formats.elements import NUMBERS, SYMBOLS
from rhoscale.units import BOHR_PER_ANGSTROM

FloatArray = NDArray[np.float64]

MASS_TOLERANCE = 0.25  # atomic mass units: "27" is meant for aluminium, "64.5" is nobody's
# https://docs.lammps.org/units.html
_ANGSTROM = {"metal": 1.0, "real": 1.0, "electron": 1.0 / BOHR_PER_ANGSTROM, "nano": 10.0, "micro": 1e4}


def bohr_per_length(file: Path, units: str) -> float:
    """Bohr in the unit of length of a LAMMPS ``units`` style.

    Raises:
        FormatError: The style has no length that belongs to atoms (``lj``), or is unknown.
    """
    if units not in _ANGSTROM:
        raise FormatError(
            f"{file} is in units {units!r}; expected one of {', '.join(_ANGSTROM)}; write it in one of these"
        )
    return _ANGSTROM[units] * BOHR_PER_ANGSTROM


def symbol_of_mass(mass: float) -> str | None:
    """The element whose mass is near and clearly nearer than any other, or None."""
    away = np.abs(atomic_masses[1:] - mass)
    first, second = np.argsort(away)[:2]
    return SYMBOLS[first + 1] if away[first] <= MASS_TOLERANCE and away[first] < 0.5 * away[second] else None


def symbol_of_word(word: str) -> str | None:
    """The element that a word names, or None."""
    return word if NUMBERS.get(word, 0) > 0 else None


def symbols_of_types(
    file: Path, types: Sequence[str], known: Mapping[str, str | None], elements: Sequence[str] | None
) -> NDArray[np.str_]:
    """The element of each type: from ``elements`` (types 1, 2, ... in this order) if given, else what the file says.

    Raises:
        FormatError: Nothing says which element a type is.
        InputError: ``elements`` has too few entries, or one that is no element.
    """
    if elements is not None:
        strange = [e for e in elements if symbol_of_word(e) is None]
        largest = max((int(t) for t in types if t.isdigit()), default=0)
        if strange or largest > len(elements):
            raise InputError(
                f"elements {','.join(elements)} for {file}, which has types up to {largest}; "
                f"expected a chemical symbol for each type, in the order of their numbers"
            )
        known = {**known, **{str(n + 1): e for n, e in enumerate(elements)}}
    missing = [t for t in types if known.get(t) is None]
    if missing:
        raise FormatError(
            f"{file} does not say which element type {', '.join(sorted(missing))} is; expected a name or mass that "
            f"tells; give the elements of types 1, 2, ... (--elements Al,Mg on the command line)"
        )
    return np.array([known[t] for t in types])


def restricted_cell(lengths: FloatArray, tilts: FloatArray) -> FloatArray:
    """Cell vectors of a restricted triclinic box: a = (lx, 0, 0), b = (xy, ly, 0), c = (xz, yz, lz)."""
    (lx, ly, lz), (xy, xz, yz) = lengths, tilts
    return np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])


def in_order_of(ids: FloatArray) -> NDArray[np.int64] | slice:
    """Indices that sort atoms by their number; everything as it is if they are sorted already."""
    return slice(None) if (ids[1:] > ids[:-1]).all() else np.argsort(ids, kind="stable")


def refuse_repeated(file: Path, sorted_ids: FloatArray) -> None:
    """Refuse a file in which two atoms have one number.

    Raises:
        FormatError: They do.
    """
    twice = np.flatnonzero(sorted_ids[1:] == sorted_ids[:-1])
    if twice.size:
        raise FormatError(
            f"{file} has {twice.size} atoms whose number occurs twice (first: {sorted_ids[twice[0]]:.0f}); "
            f"expected each atom once; write the file again"
        )
