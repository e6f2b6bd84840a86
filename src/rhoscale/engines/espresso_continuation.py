"""Runs of Quantum ESPRESSO one after the other, each from the density and the orbitals of those before it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.engines.atomic_density import density_table_of_file
from rhoscale.engines.espresso_input import DENSITY_CUTOFF_FACTOR
from rhoscale.engines.espresso_run import EspressoRun, RunStart, save_folder
from rhoscale.engines.interface import GroundState, StartDensity
from rhoscale.formats.espresso import coefficients_at, read_charge_density_dat
from rhoscale.promolecule import AtomicDensityTable, promolecule_fourier
from rhoscale.refinement import FourierDensity
from rhoscale.system import System

ORIGIN_NAME = "origin.json"
KEPT = 2
LARGEST_FACTOR = 2.0  # of the last change; one step like the one before it has 1


@dataclass(frozen=True)
class EarlierRun:
    """A finished run and the structure it was of."""

    folder: Path
    system: System

    def density(self) -> FourierDensity:
        """Its density, all waves of the run."""
        return read_charge_density_dat(save_folder(self.folder) / "charge-density.dat").density


class EspressoContinuation:
    """Ground states of nearby structures; see :class:`~rhoscale.engines.interface.Continuation`.

    The start is the promolecule rho_0 of the new structure n, what the last run had beside its own, and the change of
    that, drawn on as far as the atoms moved on:

        rho_n = rho_0,n + d_n-1 + a (d_n-1 - d_n-2),    d = rho - rho_0,
        a = argmin |x_n - x_n-1 - a (x_n-1 - x_n-2)|    (T. A. Arias, M. C. Payne, J. D. Joannopoulos, Phys. Rev. B
                                                        45, 1538 (1992), with one coefficient)

    with the orbitals of the last run. A second-order change starts nearer, but passes the errors of loosely converged
    densities on, and larger at each step.

    All that a run starts from is in the folder, and a run that is asked for again is read from there: a caller that
    was killed and does its last step once more goes on bit for bit.

    Args:
        run: How and where the program is started.
        folder: Keeps the last two runs; a temporary one if None.
    """

    def __init__(self, run: EspressoRun, folder: Path | None) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="rhoscale-continuation-", ignore_cleanup_errors=True)
            if folder is None
            else None
        )
        self._folder = Path(self._temporary.name) if self._temporary else Path(str(folder)).absolute()
        self._run = replace(run, scratch=self._folder)  # on the disk where it is kept: a rename is whole or nothing

    def ground_state(self, system: System, *, start: StartDensity | None = None) -> GroundState:
        """Compute a ground state from those of the structures before it.

        Raises:
            EngineError: The program crashed, was killed or did not converge; the message says where its log is.
            StructureError: An element has no pseudopotential.
        """
        earlier = self._earlier(system)
        for run in earlier:
            if np.array_equal(run.system.positions, system.positions):
                return self._run.earlier_ground_state(system, run.folder)
        if earlier:
            density: FourierDensity | None = self._extrapolated(system, earlier)
        else:
            density = None if start is None else start(system)
        for left in self._folder.glob("rhoscale-dft-*"):  # of runs that were killed or failed
            shutil.rmtree(left, ignore_errors=True)
        state, folder = self._run.kept_ground_state(system, RunStart(density, earlier[0].folder if earlier else None))
        self._keep(system, folder)
        return state

    @cached_property
    def _tables(self) -> Mapping[str, AtomicDensityTable]:
        return {e: density_table_of_file(file) for e, file in self._run.pseudopotentials.items()}

    def _extrapolated(self, system: System, earlier: Sequence[EarlierRun]) -> FourierDensity:
        last, excess = earlier[0], self._excess(earlier[0])
        if len(earlier) > 1:
            before = earlier[1]
            factor = _factor(_moved(before.system, last.system), _moved(last.system, system))
            excess = excess + factor * (excess - self._excess(before))
        atoms = self._promolecule(system)
        return replace(atoms, coefficients=atoms.coefficients + excess)

    def _excess(self, run: EarlierRun) -> np.ndarray:
        atoms = self._promolecule(run.system)
        return coefficients_at(run.density(), atoms.millers) - atoms.coefficients

    def _promolecule(self, system: System) -> FourierDensity:
        return promolecule_fourier(system, self._tables, DENSITY_CUTOFF_FACTOR * self._run.settings.cutoff)

    def _finished(self) -> list[Path]:
        """Folders of finished runs, the last one first."""
        return sorted((f.parent for f in self._folder.glob(f"[0-9]*/{ORIGIN_NAME}")), reverse=True)

    def _earlier(self, system: System) -> list[EarlierRun]:
        """Finished runs of the same atoms in the same cell with the same settings, the last one first."""
        wanted, found = self._origin(system), []
        for folder in self._finished():
            origin = json.loads((folder / ORIGIN_NAME).read_text())
            if {**origin, "positions": None} == {**wanted, "positions": None}:
                positions = np.array(origin["positions"])
                found.append(EarlierRun(folder, System(system.cell, positions, system.species)))
        return found

    def _origin(self, system: System) -> dict[str, Any]:
        """All that decides whether a run can go on from another; JSON keeps every bit of the numbers."""
        return {
            "settings": repr(self._run.settings),
            "pseudopotentials": {e: self._run.identities[e].sha256 for e in system.elements},
            "species": system.species.tolist(),
            "cell": system.cell.tolist(),
            "positions": system.positions.tolist(),
        }

    def _keep(self, system: System, folder: Path) -> None:
        finished = self._finished()
        number = int(finished[0].name) + 1 if finished else 0
        (folder / ORIGIN_NAME).write_text(json.dumps(self._origin(system)))
        folder.rename(self._folder / f"{number:08d}")
        for old in finished[KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)


def _moved(before: System, after: System) -> np.ndarray:
    steps = after.scaled_positions - before.scaled_positions
    return (steps - np.round(steps)) @ before.cell


def _factor(last: np.ndarray, now: np.ndarray) -> float:
    square = float((last * last).sum())
    return float(np.clip((last * now).sum() / square, -LARGEST_FACTOR, LARGEST_FACTOR)) if square > 0 else 0.0
