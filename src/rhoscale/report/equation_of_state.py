"""Pictures of equations of state: energy over lattice parameter, and what each column is away from DFT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rhoscale.postprocess.equation_of_state import BirchMurnaghan

MARKERS = ("o", "s", "^", "v")
POINTS = 200  # of a curve
MILLI = 1000.0


@dataclass(frozen=True)
class EnergyCurve:
    """One column of a picture.

    Attributes:
        label: Its name.
        lengths: Lattice parameters [n], Bohr.
        volumes: Of each [n], Bohr^3 per atom.
        energies: [n], Hartree per atom.
        fit: The curve through them, or None.
    """

    label: str
    lengths: NDArray[np.float64]
    volumes: NDArray[np.float64]
    energies: NDArray[np.float64]
    fit: BirchMurnaghan | None


def draw_equation_of_state(file: BinaryIO, curves: Sequence[EnergyCurve], title: str) -> None:
    """Draw energies and fits as PNG, and beside them the differences to the last curve, the reference.

    Args:
        file: Where the picture goes.
        curves: All with the same lattice parameters; the last one is the reference.
        title: Line above all.
    """
    reference = curves[-1]
    lowest = reference.energies.min()
    figure = Figure(figsize=(9.5, 4.0), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=10)
    left, right = figure.subplots(1, 2)
    right.set_yscale("symlog", linthresh=1e-3)
    for number, (curve, marker) in enumerate(zip(curves, MARKERS, strict=False)):
        colour = f"C{number}"
        left.plot(curve.lengths, MILLI * (curve.energies - lowest), marker, color=colour, label=curve.label, mfc="none")
        if curve.fit is not None:
            lengths = np.linspace(curve.lengths.min(), curve.lengths.max(), POINTS)
            volumes = curve.volumes[0] * (lengths / curve.lengths[0]) ** 3
            left.plot(lengths, MILLI * (curve.fit(volumes) - lowest), "-", color=colour, linewidth=1)
        if curve is not reference:
            right.plot(curve.lengths, MILLI * (curve.energies - reference.energies), marker + "-", color=colour)
    left.set(xlabel="lattice parameter (Bohr)", ylabel=f"energy − lowest of {reference.label} (mHa/atom)")
    left.legend()
    right.axhline(0.0, color="black", linewidth=0.7)
    right.set(xlabel="lattice parameter (Bohr)", ylabel=f"energy − {reference.label} (mHa/atom)")
    figure.savefig(file, format="png")
