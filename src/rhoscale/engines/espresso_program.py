"""Quantum ESPRESSO as a program: ``pw.x``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from rhoscale.engines.espresso_continuation import EspressoContinuation
from rhoscale.engines.espresso_input import DEFAULT_SELF_CONSISTENCY, SelfConsistency
from rhoscale.engines.espresso_run import EspressoRun
from rhoscale.engines.interface import DFTSettings, Energies, GroundState
from rhoscale.engines.pseudopotentials import PseudopotentialFile
from rhoscale.errors import EngineError
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System


class EspressoProgram:
    """Ground states from the ``pw.x`` program; see :class:`~rhoscale.engines.interface.Engine`.

    Args:
        settings: Cutoffs, k-mesh, smearing, convergence.
        pseudopotentials: File for each element.
        program: Path of ``pw.x``; found on PATH if None.
        threads: Threads of one run.
        scratch: Folder in which each run gets a folder of its own; the system's temporary folder if None.
        keep_files: Whether a successful run's folder stays.
        self_consistency: Mixing and eigensolver; the default was chosen by measurement.

    Raises:
        EngineError: There is no such program.
    """

    def __init__(
        self,
        settings: DFTSettings,
        pseudopotentials: Mapping[str, PseudopotentialFile],
        *,
        program: str | Path | None = None,
        threads: int = 1,
        scratch: str | Path | None = None,
        keep_files: bool = False,
        self_consistency: SelfConsistency = DEFAULT_SELF_CONSISTENCY,
    ) -> None:
        self.settings = settings
        self._run = EspressoRun(
            name="pw.x",
            command=(str(find_program(program)),),
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
            EngineError: The program crashed, was killed or did not converge; the message says where its log is.
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


def find_program(program: str | Path | None = None) -> Path:
    """Absolute path of ``pw.x``: the given one, or the first on PATH.

    Raises:
        EngineError: There is none.
    """
    wanted = "pw.x" if program is None else str(program)
    found = shutil.which(wanted)
    if found is None:
        raise EngineError(
            f"no program {wanted!r} "
            + ("on PATH" if program is None else "that can be executed")
            + "; expected Quantum ESPRESSO's pw.x; install it (Debian: apt install quantum-espresso "
            "libopenblas0-pthread), give its path, or use the engine 'qepy' (pip install rhoscale[qe])"
        )
    return Path(found).absolute()
