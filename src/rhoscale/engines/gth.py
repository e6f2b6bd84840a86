"""Goedecker-Teter-Hutter pseudopotentials for PBE: published parameters and the functions they stand for.

The local part and the projectors of channel l are (Hartwigsen, Goedecker, Hutter 1998, eqs. 1-3)

    V_loc(r) = -Z/r erf(r / (sqrt(2) r_loc)) + exp(-x^2/2) (C1 + C2 x^2 + C3 x^4 + C4 x^6),    x = r / r_loc
    p_i(r) = sqrt(2) r^(l+2i-2) exp(-r^2 / (2 r_l^2)) / (r_l^(l+2i-1/2) sqrt(Gamma(l+2i-1/2)))
    V_nl = sum_lm sum_ij |p_i Y_lm> h_ij <p_j Y_lm|
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from rhoscale.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Channel:
    """The projectors of one angular momentum.

    Attributes:
        l: Angular momentum.
        radius: r_l, Bohr.
        h: Symmetric coupling matrix by rows, Hartree; empty if the channel has no projector.
    """

    l: int
    radius: float
    h: tuple[tuple[float, ...], ...]

    @property
    def coupling(self) -> FloatArray:
        """The matrix h_ij [n, n], Hartree."""
        return np.array(self.h, dtype=np.float64).reshape(len(self.h), len(self.h))

    def projector(self, i: int, r: FloatArray) -> FloatArray:
        """p_i(r) for i = 1, 2, 3 at distances r (Bohr); normalised so that int p_i^2 r^2 dr = 1."""
        power = self.l + 2 * i - 0.5
        norm = math.sqrt(2.0) / (self.radius**power * math.sqrt(math.gamma(power)))
        return np.asarray(norm * r ** (self.l + 2 * i - 2) * np.exp(-0.5 * (r / self.radius) ** 2))


@dataclass(frozen=True)
class GTH:
    """One GTH-PBE pseudopotential.

    Attributes:
        element: Chemical symbol.
        valence: Electrons left in the valence.
        occupations: Of these, in s, p, d and f orbitals of the reference atom.
        r_loc: Radius of the ionic charge, Bohr.
        c: Coefficients C1 ... C4 of the local part, Hartree; as many as are published.
        channels: Projectors for l = 0, 1, ...
        published: The line of the table that holds all this, with its digits.
    """

    element: str
    valence: int
    occupations: tuple[int, ...]
    r_loc: float
    c: tuple[float, ...]
    channels: tuple[Channel, ...]
    published: str

    @property
    def name(self) -> str:
        """Family and valence, for example ``GTH-PBE-q3``."""
        return f"GTH-PBE-q{self.valence}"

    def local(self, r: FloatArray) -> FloatArray:
        """V_loc at distances r (Bohr, zero allowed), Hartree."""
        r = np.asarray(r, dtype=np.float64)
        width = math.sqrt(2.0) * self.r_loc
        with np.errstate(divide="ignore", invalid="ignore"):
            coulomb = np.where(r > 0, erf(r / width) / r, 2 / (math.sqrt(math.pi) * width))
        x2 = (r / self.r_loc) ** 2
        polynomial = sum((c * x2**k for k, c in enumerate(self.c)), np.zeros_like(r))
        return np.asarray(-self.valence * coulomb + np.exp(-0.5 * x2) * polynomial)


def gth(element: str, valence: int | None = None) -> GTH:
    """Look up the GTH-PBE pseudopotential of an element; by default the one with the fewest valence electrons.

    Raises:
        InputError: The table holds no such element or valence.
    """
    choices = gth_valences(element)
    chosen = choices[0] if valence is None else valence
    if chosen not in choices:
        raise InputError(
            f"there is no GTH-PBE pseudopotential of {element} with {chosen} valence electrons; "
            f"there are ones with {', '.join(map(str, choices))}; choose one of them"
        )
    return _table()[element, chosen]


def gth_valences(element: str) -> tuple[int, ...]:
    """The published numbers of valence electrons of an element, fewest first.

    Raises:
        InputError: The table holds no such element.
    """
    choices = tuple(sorted(q for symbol, q in _table() if symbol == element))
    if not choices:
        raise InputError(
            f"there is no GTH-PBE pseudopotential of {element!r}; there are ones of "
            f"{', '.join(gth_elements())}; give a folder with UPF files of your own"
        )
    return choices


def gth_elements() -> tuple[str, ...]:
    """The elements of the table, by atomic number."""
    return tuple(dict.fromkeys(symbol for symbol, _ in _table()))


@cache
def _table() -> dict[tuple[str, int], GTH]:
    text = files("rhoscale.engines").joinpath("gth_pbe.txt").read_text(encoding="ascii")
    entries = [_entry(line) for line in text.splitlines() if line and not line.startswith("#")]
    return {(entry.element, entry.valence): entry for entry in entries}


def _entry(line: str) -> GTH:
    head, electrons, local, *channels = (part.split() for part in line.split("|"))
    return GTH(
        element=head[0],
        valence=int(head[1]),
        occupations=tuple(map(int, electrons)),
        r_loc=float(local[0]),
        c=tuple(map(float, local[1:])),
        channels=tuple(Channel(l, float(c[0]), _symmetric(list(map(float, c[1:])))) for l, c in enumerate(channels)),
        published=line,
    )


def _symmetric(triangle: list[float]) -> tuple[tuple[float, ...], ...]:
    n = {0: 0, 1: 1, 3: 2, 6: 3}[len(triangle)]
    h = np.zeros((n, n))
    h[np.triu_indices(n)] = triangle
    h = h + np.triu(h, 1).T
    return tuple(tuple(map(float, row)) for row in h)
