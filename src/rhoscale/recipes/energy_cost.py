"""What one diagonalisation costs, before it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rhoscale.engines.interface import DFTSettings
from rhoscale.errors import InputError
from rhoscale.system import System

GIB = float(2**30)
COMPLEX_BYTES = 16
# Fitted to pw.x 6.7 on one core (docs/energies.md has the runs): core-seconds for each k-point and plane wave are
# WAVE_SECONDS N_bands (Fourier transforms) + BAND_SECONDS N_bands^2 (products of wave functions): cubic in the size.
WAVE_SECONDS = 3.2e-6
BAND_SECONDS = 4.0e-8
START_SECONDS = 0.1
DAVIDSON_SETS = 10  # sets of bands in the eigensolver's space, with their products
DENSE_FIELDS = 20  # fields on the grid of the density
PROGRAM_BYTES = 60e6


@dataclass(frozen=True)
class EnergyCost:
    """Estimated cost of several runs, one after the other.

    Attributes:
        runs: Diagonalisations.
        kpoints: Of one run, after time reversal.
        plane_waves: Of one orbital.
        bands: Orbitals for each k-point.
        core_seconds: Of all runs.
        memory: Of one run, bytes.
    """

    runs: int
    kpoints: int
    plane_waves: int
    bands: int
    core_seconds: float
    memory: float

    def __str__(self) -> str:
        return (
            f"{self.runs} x {self.kpoints} k-points, {self.plane_waves} plane waves, {self.bands} bands: about "
            f"{self.core_seconds / 60:.2g} core-minutes, {self.memory / GIB:.2g} GiB"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "runs": self.runs,
            "kpoints": self.kpoints,
            "plane_waves": self.plane_waves,
            "bands": self.bands,
            "core_minutes": self.core_seconds / 60,
            "memory_gib": self.memory / GIB,
        }


def energy_cost(system: System, settings: DFTSettings, electrons: float, runs: int = 1) -> EnergyCost:
    """Estimate diagonalisations with pw.x from plane waves, bands and k-points.

    Args:
        system: Cell and atoms.
        settings: Cutoff, k-mesh, smearing.
        electrons: Valence electrons in the cell.
        runs: Densities whose energy is wanted.
    """
    waves = settings.plane_waves(system.volume)
    bands = number_of_bands(electrons, settings)
    seconds = START_SECONDS + settings.kpoints * waves * bands * (WAVE_SECONDS + BAND_SECONDS * bands)
    dense = system.volume * (8 * settings.cutoff) ** 1.5 / np.pi**3  # points of the box that holds |G| <= 2 G_max
    memory = PROGRAM_BYTES + COMPLEX_BYTES * (waves * bands * (DAVIDSON_SETS + settings.kpoints) + DENSE_FIELDS * dense)
    return EnergyCost(runs, settings.kpoints, round(waves), bands, runs * seconds, memory)


def number_of_bands(electrons: float, settings: DFTSettings) -> int:
    """Bands that pw.x computes by itself: the occupied ones, and with smearing a fifth more, at least four."""
    occupied = electrons / 2
    if settings.smearing == "fixed":
        return int(np.ceil(occupied))
    return max(int(np.floor(1.2 * occupied + 0.5)), int(np.floor(occupied + 0.5)) + 4)


def refuse_over_budget(cost: EnergyCost, core_minutes: float, memory: float) -> None:
    """Refuse what would take longer or more memory than allowed.

    Args:
        cost: The estimate.
        core_minutes: Allowed for all runs.
        memory: Bytes that one run may use.

    Raises:
        InputError: It would.
    """
    needed = cost.core_seconds / 60
    if not needed <= core_minutes:
        raise InputError(
            f"{cost}; expected at most {core_minutes:g} core-minutes (the cost grows with the third power of the "
            f"number of atoms); raise --budget, or take fewer k-points or a smaller cell"
        )
    if not cost.memory <= memory:
        raise InputError(
            f"{cost}; expected at most {memory / GIB:g} GiB; raise --memory if the machine has it, or take fewer "
            f"k-points, a lower cutoff or a smaller cell"
        )
