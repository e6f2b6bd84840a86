"""Chemical symbols by atomic number, for formats that name atoms by number."""

from __future__ import annotations

from pathlib import Path

from rhoscale.errors import FormatError

PERIODIC_TABLE = """
X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS = tuple(PERIODIC_TABLE.split())
NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def symbol_of_number(file: Path, number: int) -> str:
    """Chemical symbol of an atomic number.

    Raises:
        FormatError: No element has that number.
    """
    if not 1 <= number < len(SYMBOLS):
        raise FormatError(
            f"{file} names an atom with atomic number {number}; expected 1 to {len(SYMBOLS) - 1}; mend the file"
        )
    return SYMBOLS[number]


def symbol_of_label(file: Path, label: str) -> str:
    """Chemical symbol of a label such as ``Al``, ``Al1``, ``Fe_up``, ``Si_pv/1a2b`` or ``13``.

    Raises:
        FormatError: The label begins with no element.
    """
    if label.isdigit():
        return symbol_of_number(file, int(label))
    for candidate in (label[:2].capitalize(), label[:1].upper()):
        if candidate in NUMBERS and candidate != "X":
            return candidate
    raise FormatError(
        f"{file} names an atom {label!r}; expected a chemical symbol, with or without a suffix; mend the file"
    )
