"""What a density file holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from rhoscale.density import Density
from rhoscale.refinement import FourierDensity
from rhoscale.system import System


@dataclass(frozen=True)
class DensityFile:
    """A structure and its density, as read from one file.

    Attributes:
        system: Cell and atoms.
        density: Total density on the file's grid.
        electrons: Valence electrons in the cell if the file states them, else None; never guessed.
        note: What was left out or assumed while reading, for the user to know; empty if nothing.
        fourier: The density's coefficients if the file holds those, else None.
    """

    system: System
    density: Density
    electrons: float | None
    note: str = ""
    fourier: FourierDensity | None = None
