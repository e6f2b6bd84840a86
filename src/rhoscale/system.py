"""A periodic arrangement of atoms, and the identity of the pseudopotentials that define its electrons."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import StructureError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PseudopotentialIdentity:
    """What a pseudopotential is, wherever it travels: two with one hash are the same potential.

    Attributes:
        element: Chemical symbol.
        name: Family and valence, for example ``GTH-PBE-q3``.
        valence: Electrons that it leaves in the valence.
        sha256: Hash of the file as the DFT program read it, without its starting density.
    """

    element: str
    name: str
    valence: float
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """The four fields as plain values."""
        return {"element": self.element, "name": self.name, "valence": float(self.valence), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PseudopotentialIdentity:
        """Rebuild from :meth:`to_dict`."""
        return cls(str(values["element"]), str(values["name"]), float(values["valence"]), str(values["sha256"]))


@dataclass(frozen=True)
class System:
    """A crystal, liquid or supercell: atoms repeated along all three cell vectors.

    Attributes:
        cell: Cell vectors as rows [3, 3], Bohr.
        positions: Cartesian positions [n, 3], Bohr; any image of an atom will do.
        species: Chemical symbols [n].
    """

    cell: FloatArray
    positions: FloatArray
    species: NDArray[np.str_] = field(repr=False)

    def __post_init__(self) -> None:
        cell = np.array(self.cell, dtype=np.float64)
        positions = np.array(self.positions, dtype=np.float64)
        species = np.array(self.species, dtype="U2")
        if cell.shape != (3, 3) or not np.isfinite(cell).all():
            raise StructureError(
                f"the cell of shape {cell.shape} is {cell.tolist()}; expected three finite vectors [3, 3]; give the "
                f"structure a cell"
            )
        if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
            raise StructureError(
                f"positions have shape {positions.shape}; expected [n, 3] with n > 0; give three coordinates for "
                f"each atom"
            )
        if species.shape != (len(positions),):
            raise StructureError(
                f"{len(positions)} atoms have species of shape {species.shape}; expected as many species; name "
                f"one for each atom"
            )
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        if bad.size:
            raise StructureError(
                f"{bad.size} atoms have positions that are not finite numbers (first: atom {bad[0]}, "
                f"{positions[bad[0]].tolist()}); expected three finite coordinates for each; mend the structure"
            )
        volume = abs(float(np.linalg.det(cell)))
        if volume == 0.0 or volume <= 1e-6 * float(np.prod(np.linalg.norm(cell, axis=1))):
            raise StructureError(
                f"the cell has volume {volume:.3g} Bohr^3; expected three independent vectors "
                f"(a bulk cell, periodic in all directions); give the structure a cell"
            )
        for array in (cell, positions, species):
            array.setflags(write=False)
        object.__setattr__(self, "cell", cell)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "species", species)

    def __len__(self) -> int:
        return len(self.positions)

    def __repr__(self) -> str:
        return f"System({self.formula}, volume={self.volume:.2f} Bohr^3)"

    @cached_property
    def volume(self) -> float:
        """Cell volume, Bohr^3."""
        return abs(float(np.linalg.det(self.cell)))

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """The chemical symbols that occur, in alphabetical order."""
        return tuple(str(s) for s in np.unique(self.species))

    @cached_property
    def formula(self) -> str:
        """Symbols and counts, for example ``Al31`` or ``Ge32Si32``."""
        symbols, counts = np.unique(self.species, return_counts=True)
        return "".join(f"{s}{n}" for s, n in zip(symbols, counts, strict=True))

    @cached_property
    def scaled_positions(self) -> FloatArray:
        """Positions in units of the cell vectors, wrapped into [0, 1), shape [n, 3]."""
        scaled: FloatArray = np.linalg.solve(self.cell.T, self.positions.T).T.astype(np.float64)
        scaled -= np.floor(scaled)
        scaled[scaled >= 1.0] = 0.0
        return scaled

    def electrons(self, pseudopotentials: Mapping[str, PseudopotentialIdentity]) -> float:
        """Valence electrons in the cell, as the pseudopotentials count them.

        Raises:
            StructureError: An element has no pseudopotential.
        """
        missing = [e for e in self.elements if e not in pseudopotentials]
        if missing:
            raise StructureError(
                f"no pseudopotential for {', '.join(missing)}; there are ones for {', '.join(pseudopotentials)}"
            )
        symbols, counts = np.unique(self.species, return_counts=True)
        return float(sum(pseudopotentials[str(s)].valence * n for s, n in zip(symbols, counts, strict=True)))

    def content_hash(self) -> str:
        """SHA-256 over cell, positions (to 1e-9 Bohr) and species; the order of atoms counts."""
        digest = hashlib.sha256()
        for values in (self.cell, self.positions):
            digest.update((np.round(values * 1e9)).astype("<i8").tobytes())
        digest.update(" ".join(self.species.tolist()).encode())
        return digest.hexdigest()
