"""Quantum ESPRESSO inside Python: QEpy, in a child process.

The child keeps a Fortran ``STOP`` from ending the caller, and several runs side by side from sharing the one set of
global variables that QEpy has.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

from rhoscale.engines.espresso_continuation import EspressoContinuation
from rhoscale.engines.espresso_input import DEFAULT_SELF_CONSISTENCY, SelfConsistency
from rhoscale.engines.espresso_run import EspressoRun
from rhoscale.engines.interface import DFTSettings, Energies, GroundState
from rhoscale.engines.pseudopotentials import PseudopotentialFile
from rhoscale.errors import EngineError
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System

CHILD = "rhoscale.engines.qepy_child"  # by name: importing it is for the child alone


class EspressoQEpy:
    """Ground states from QEpy; see :class:`~rhoscale.engines.interface.Engine`.

    Args:
        settings: Cutoffs, k-mesh, smearing, convergence.
        pseudopotentials: File for each element.
        threads: Threads of one run.
        scratch: Folder in which each run gets a folder of its own; the system's temporary folder if None.
        keep_files: Whether a successful run's folder stays.
        self_consistency: Mixing and eigensolver; the default was chosen by measurement.

    Raises:
        EngineError: QEpy is not installed.
    """

    def __init__(
        self,
        settings: DFTSettings,
        pseudopotentials: Mapping[str, PseudopotentialFile],
        *,
        threads: int = 1,
        scratch: str | Path | None = None,
        keep_files: bool = False,
        self_consistency: SelfConsistency = DEFAULT_SELF_CONSISTENCY,
    ) -> None:
        self.settings = settings
        self._run = EspressoRun(
            name=f"qepy {qepy_version()}",
            command=(sys.executable, "-m", CHILD),
            settings=settings,
            pseudopotentials=dict(pseudopotentials),
            self_consistency=self_consistency,
            threads=threads,
            scratch=None if scratch is None else Path(scratch).absolute(),
            keep_files=keep_files,
        )
        self.pseudopotentials: Mapping[str, PseudopotentialIdentity] = self._run.identities

    def ground_state(self, system: System, *, initial_density: FourierDensity | None = None) -> GroundState:
        """Compute the self-consistent ground state.

        Raises:
            EngineError: The run crashed, was killed or did not converge; the message says where its log is.
            StructureError: An element has no pseudopotential.
        """
        return self._run.ground_state(system, initial_density)

    def continuation(self, folder: Path | None = None) -> EspressoContinuation:
        """Ground states of one structure after the other, each from the density and orbitals of those before it."""
        return EspressoContinuation(self._run, folder)

    def energies_from_density(self, system: System, density: FourierDensity) -> Energies:
        """Compute the Harris-Foulkes energy of a density from one diagonalisation.

        Raises:
            EngineError: The program crashed or was killed; the message says where its log is.
            StructureError: An element has no pseudopotential.
        """
        return self._run.energies_from_density(system, density)


def qepy_version() -> str:
    """Version of the installed QEpy.

    Raises:
        EngineError: It is not installed.
    """
    if util.find_spec("qepy") is None:
        raise EngineError(
            "the Python package qepy is not installed; expected it for the engine 'qepy'; pip install rhoscale[qe] "
            "(Linux x86-64, Python 3.11 to 3.13), or use the engine 'pw.x'"
        )
    return metadata.version("qepy")
