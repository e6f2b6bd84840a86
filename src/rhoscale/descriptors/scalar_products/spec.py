"""The paper's scalar-product descriptors: what they are, their order, and what happens at ties and at nuclei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from operator import index
from typing import Any

from rhoscale.errors import InputError

SHELL_GAP = 2e-6
"""Atoms whose distances follow each other within this, Bohr, form one shell: they are tied."""

NUCLEUS = 1e-2
"""A distance below this, Bohr, counts as this in the denominator of a cosine."""

FAMILY = "scalar-products"


@dataclass(frozen=True)
class ScalarProducts:
    """Sorted distances and cosines of the nearest atoms (sets I and II of the paper, sections IV.C-D, Algorithm 1).

        set I    d_j = |R_j - r|,                                            j = 1 .. M nearest atoms of r
        set II   c_ij = (R_i - r).(R_j - r) / (|R_i - r| |R_j - r|),         i = 1 .. M_a nearest atoms of r,
                                                                             j = 1 .. k nearest atoms of R_i

    An atom is not its own neighbour. With several elements, sets I and II are formed for each element alone, in
    alphabetical order; then for each pair of elements A < B the cosines of the M_a nearest A atoms with the k nearest
    B atoms of each.

    Order: for each element M distances, then M_a * k cosines (k running fastest); then M_a * k cosines for each pair.

    Ties: atoms whose sorted distances (from the point, or from the atom whose neighbours they are) follow each other
    within 2e-6 Bohr form a shell. What belongs to a shell is sorted by value, largest first, and fills the shell's
    places in that order: the cosines with tied neighbours of one atom; then, column by column (each j), those of
    tied atoms. A shell that only partly finds room gives its largest values. So a perfect crystal has one
    description, whatever the order of its atoms, its orientation or the supercell it is written in.

    Nuclei: distances below 0.01 Bohr count as 0.01 Bohr in the denominators, so a cosine goes to zero, continuously,
    where the point meets one of the two atoms.

    Attributes:
        elements: Chemical symbols; kept in alphabetical order.
        distances: M, nearest atoms of each element whose distances are features.
        angle_atoms: M_a <= M, nearest atoms that cosines start from; 0 leaves out set II.
        neighbours: k, neighbours of each of them.
        reach: Radius, Bohr, within which all these atoms are expected: what tiles are cut with. 0 stands for 5 Bohr
            more than a sphere of M atoms in a crystal of 150 Bohr^3 an atom, of which an alloy's scarcer element is
            40 %. That is 17.9 for aluminium and 22.5 for Si-Ge, where thermal cells (to 1866 and 2600 K, with holes
            of six vacancies or 4 % strain in Al) asked for at most 14.4 and 22.3. A crystal's own describer looks
            further by itself where it is not enough; one of a cluster raises ``HaloError``.

    Raises:
        InputError: A count or the reach is out of range, or an element occurs twice.
    """

    elements: tuple[str, ...]
    distances: int = 60
    angle_atoms: int = 15
    neighbours: int = 3
    reach: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(sorted(str(e) for e in self.elements)))
        if not self.elements or len(set(self.elements)) < len(self.elements):
            raise InputError(f"descriptors need one or more different elements; got {self.elements}")
        if self.distances < 1 or not 0 <= self.angle_atoms <= self.distances or self.neighbours < 1:
            raise InputError(
                f"distances={self.distances}, angle_atoms={self.angle_atoms}, neighbours={self.neighbours}: expected "
                f"distances >= angle_atoms >= 0 and at least one distance and one neighbour"
            )
        if not 0 <= self.reach < float("inf"):
            raise InputError(f"reach must be a positive number of Bohr; got {self.reach}")
        if self.reach == 0:
            volume = 150.0 / (1.0 if len(self.elements) == 1 else 0.4)
            radius = (3.0 * self.distances * volume / (4.0 * pi)) ** (1.0 / 3.0)
            object.__setattr__(self, "reach", round(radius + 5.0, 1))

    @property
    def family(self) -> str:
        """``scalar-products``."""
        return FAMILY

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Kinds of the two atoms of each set of cosines, in the order of the features."""
        kinds = range(len(self.elements))
        return tuple((a, a) for a in kinds) + tuple((a, b) for a in kinds for b in kinds if a < b)

    @property
    def cosines(self) -> int:
        """Cosines of one set, M_a * k."""
        return self.angle_atoms * self.neighbours

    @property
    def size(self) -> int:
        """Features of a point."""
        return len(self.elements) * self.distances + len(self.pairs) * self.cosines

    def distance_column(self, kind: int) -> int:
        """First column of the distances to the atoms of one element."""
        return kind * (self.distances + self.cosines)

    def cosine_column(self, pair: int) -> int:
        """First column of one set of cosines, counted as in ``pairs``."""
        if pair < len(self.elements):
            return self.distance_column(pair) + self.distances
        return len(self.elements) * self.distances + pair * self.cosines

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values."""
        return {
            "family": self.family,
            "elements": list(self.elements),
            "distances": self.distances,
            "angle_atoms": self.angle_atoms,
            "neighbours": self.neighbours,
            "reach": self.reach,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScalarProducts:
        """Rebuild from :meth:`to_dict`; what is absent takes its default.

        Raises:
            InputError: A key is unknown, or a value cannot be used.
        """
        known = {"family", "elements", "distances", "angle_atoms", "neighbours", "reach"}
        unknown = sorted(set(values) - known)
        if unknown or "elements" not in values:
            raise InputError(
                f"descriptors of family {FAMILY!r} need elements and take {', '.join(sorted(known - {'family'}))}; "
                f"got {', '.join(sorted(values)) or 'nothing'}"
            )
        kinds: dict[str, Any] = {"distances": index, "angle_atoms": index, "neighbours": index, "reach": float}
        try:
            elements = _symbols(values["elements"])
            numbers = {name: kind(values[name]) for name, kind in kinds.items() if name in values}
        except (TypeError, ValueError) as error:
            raise InputError(
                f"descriptors of family {FAMILY!r}: {error}; expected a list of elements, whole numbers of atoms "
                f"and a reach in Bohr"
            ) from error
        return cls(elements, **numbers)


def _symbols(elements: Any) -> tuple[str, ...]:
    if isinstance(elements, str):
        raise TypeError(f"elements is the one word {elements!r}")
    return tuple(elements)
