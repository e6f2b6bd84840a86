"""One run of Quantum ESPRESSO in a scratch folder of its own: files in, process, files out or a clear error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhoscale.engines.espresso_input import DENSITY_CUTOFF_FACTOR, PREFIX, SelfConsistency, pw_input
from rhoscale.engines.espresso_output import EspressoOutput, read_output
from rhoscale.engines.interface import DFTSettings, GroundState
from rhoscale.engines.pseudopotentials import PseudopotentialFile
from rhoscale.errors import EngineError, FormatError, RhoscaleError
from rhoscale.formats.espresso import read_charge_density_dat, write_charge_density_dat
from rhoscale.refinement import FourierDensity
from rhoscale.system import System

INPUT_NAME = "pw.in"
LOG_NAME = "pw.out"
LOG_LINES_SHOWN = 12
NOT_CONVERGED = "convergence NOT achieved"  # as pw.x says it
ABORT_NOTICE = "MPI_ABORT was invoked"  # Open MPI's words after the program's own last ones
NO_DAEMON = {"OMPI_MCA_ess_singleton_isolated": "1"}  # else Open MPI starts a daemon beside a program on its own


@dataclass(frozen=True)
class EspressoRun:
    """How and where Quantum ESPRESSO is started.

    Attributes:
        name: Of the engine, for messages.
        command: Program and its arguments; `` -in pw.in`` is added.
        threads: Threads of the linear algebra and Fourier transforms.
        scratch: Folder in which each run gets a folder of its own; the system's temporary folder if None.
        keep_files: Whether a successful run's folder stays.
    """

    name: str
    command: Sequence[str]
    threads: int = 1
    scratch: Path | None = None
    keep_files: bool = False

    def ground_state(
        self,
        system: System,
        settings: DFTSettings,
        pseudopotentials: Mapping[str, PseudopotentialFile],
        self_consistency: SelfConsistency,
        initial_density: FourierDensity | None = None,
    ) -> GroundState:
        """Run to self-consistency and read what it left; see :class:`~rhoscale.engines.interface.Engine`."""
        identities = {element: file.identity for element, file in pseudopotentials.items()}
        electrons = system.electrons(identities)
        folder = self._prepare(system, settings, pseudopotentials, self_consistency, initial_density)
        process = self._start(folder)
        output = self._finished_output(folder, process)
        self._check(output, system, settings, electrons, folder)
        if output.forces is None:
            raise self._failure("wrote no forces", folder)
        try:
            density = read_charge_density_dat(_save(folder) / "charge-density.dat").density
        except FormatError as error:
            raise self._failure(f"left an unusable density: {error}", folder) from error
        if abs(density.electrons - electrons) > 1e-5 * electrons:
            raise self._failure(f"left a density of {density.electrons:.6f} electrons instead of {electrons:g}", folder)
        if not self.keep_files:
            shutil.rmtree(folder, ignore_errors=True)
        return GroundState(
            system=system,
            density=FourierDensity.from_coefficients(
                system.cell, density.millers, density.coefficients, settings.density_cutoff
            ),
            electrons=electrons,
            pseudopotentials={element: identities[element] for element in system.elements},
            energies=output.energies,
            fermi=output.fermi,
            eigenvalues=output.eigenvalues,
            kpoints=output.kpoints,
            weights=output.weights,
            forces=output.forces,
            settings=settings,
            iterations=output.iterations,
            wall_seconds=process.wall_seconds,
            cpu_seconds=process.cpu_seconds,
            engine=f"{self.name} ({output.version})",
            extra={"functional": output.functional, "residual": output.residual},
        )

    def _prepare(
        self,
        system: System,
        settings: DFTSettings,
        pseudopotentials: Mapping[str, PseudopotentialFile],
        self_consistency: SelfConsistency,
        initial_density: FourierDensity | None,
    ) -> Path:
        try:
            if self.scratch is not None:
                self.scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="rhoscale-dft-", dir=self.scratch))
            (folder / "pseudo").mkdir()
            files = {e: pseudopotentials[e].write(folder / "pseudo").name for e in system.elements}
            identities = {element: file.identity for element, file in pseudopotentials.items()}
            if initial_density is not None:
                _save(folder).mkdir(parents=True)
                write_charge_density_dat(
                    _save(folder) / "charge-density.dat",
                    initial_density,
                    cutoff=DENSITY_CUTOFF_FACTOR * settings.cutoff,
                    gamma_only=settings.gamma_only,
                )
            text = pw_input(
                system,
                settings,
                identities,
                files,
                self_consistency=self_consistency,
                start_from_file=initial_density is not None,
            )
            (folder / INPUT_NAME).write_text(text)
        except OSError as error:
            if isinstance(error, RhoscaleError):
                raise
            raise EngineError(
                f"{self.name}: the scratch folder under {self.scratch or tempfile.gettempdir()} cannot be written "
                f"({error}); expected a folder with some gigabytes of space; choose another with scratch=..."
            ) from error
        return folder

    def _start(self, folder: Path) -> ProcessUse:
        threads = str(self.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, **NO_DAEMON}
        try:
            return run_measured([*self.command, "-in", INPUT_NAME], folder, environment, folder / LOG_NAME)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(
                f"{self.name}: the program {self.command[0]} cannot be started ({error.strerror or error}); "
                f"expected Quantum ESPRESSO's pw.x; install it (Debian: quantum-espresso) or give its path"
            ) from error

    def _finished_output(self, folder: Path, process: ProcessUse) -> EspressoOutput:
        if process.returncode < 0:
            raise self._failure(f"was killed by signal {_signal_name(-process.returncode)}", folder)
        log = (folder / LOG_NAME).read_text(errors="replace")
        if NOT_CONVERGED in log:
            raise self._failure("did not reach self-consistency", folder)
        if process.returncode != 0:
            raise self._failure(f"ended with exit code {process.returncode}", folder)
        try:
            return read_output(_save(folder) / "data-file-schema.xml")
        except FormatError as error:
            raise self._failure(f"left no readable result: {error}", folder) from error

    def _check(
        self, output: EspressoOutput, system: System, settings: DFTSettings, electrons: float, folder: Path
    ) -> None:
        if not output.converged:
            raise self._failure(
                f"did not reach self-consistency in {output.iterations} of {settings.max_iterations} cycles", folder
            )
        if abs(output.electrons - electrons) > 1e-6:
            raise self._failure(
                f"counted {output.electrons:g} electrons where the pseudopotentials have {electrons:g}",
                folder,
            )
        if output.system.species.tolist() != system.species.tolist():
            raise self._failure(f"computed {output.system.formula} instead of {system.formula}", folder)

    def _failure(self, what: str, folder: Path) -> EngineError:
        log = folder / LOG_NAME
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = text.split(ABORT_NOTICE)[0].rstrip(" -\n").splitlines()
        shown = "\n".join(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:]) or "  | (nothing)"
        return EngineError(
            f"{self.name} {what}; expected a converged run, and nothing is taken from this one; "
            f"its input and log are kept in {folder}; the log ends:\n{shown}"
        )


@dataclass(frozen=True)
class ProcessUse:
    """How a process ended (negative: minus the signal) and what it used, seconds."""

    returncode: int
    wall_seconds: float
    cpu_seconds: float


def run_measured(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> ProcessUse:
    """Run a program in a folder, its output to a log, and count its processor time.

    An interrupt of the caller kills the program.

    Raises:
        OSError: The program cannot be started.
    """
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        _, status, use = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return ProcessUse(process.returncode, time.monotonic() - started, use.ru_utime + use.ru_stime)


def _save(folder: Path) -> Path:
    return folder / "out" / f"{PREFIX}.save"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
