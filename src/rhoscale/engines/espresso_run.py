"""One run of Quantum ESPRESSO in a scratch folder of its own: files in, process, files out or a clear error."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rhoscale.engines.espresso_input import DENSITY_CUTOFF_FACTOR, MIXED, PREFIX, Purpose, SelfConsistency, pw_input
from rhoscale.engines.espresso_output import EspressoOutput, read_output
from rhoscale.engines.interface import DFTSettings, Energies, GroundState
from rhoscale.engines.process import ProcessUse, run_measured
from rhoscale.engines.pseudopotentials import PseudopotentialFile
from rhoscale.engines.response import mean_gap
from rhoscale.engines.second_order import nearer_density, second_order_energy
from rhoscale.errors import EngineError, FormatError
from rhoscale.formats.espresso import espresso_waves, read_charge_density_dat, write_charge_density_dat
from rhoscale.formats.espresso_orbitals import widen_orbitals
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System

INPUT_NAME = "pw.in"
LOG_NAME = "pw.out"
XML_NAME = "data-file-schema.xml"
LOG_LINES_SHOWN = 12
SMALLEST_WITH_FEWER_WAVES = 16  # atoms: smaller cells take seconds, and starting the program twice shows
LEAST_WAVES = 65  # for each pair of electrons; where there are fewer, fewer yet are no start (docs/scf_start.md)
NOT_CONVERGED = "convergence NOT achieved"  # as pw.x says it
EXIT_NOT_CONVERGED = 2
ABORT_NOTICE = "MPI_ABORT was invoked"  # Open MPI's words after the program's own last ones
NO_DAEMON = {"OMPI_MCA_ess_singleton_isolated": "1"}  # else Open MPI starts a daemon beside a program on its own
# OpenBLAS 0.3.21 (Debian 12) reads beyond the last column in zgemv_n, and where the heap ends there (16 Mg atoms at
# 10 Ry, 2x2x2 shifted) the program is killed by SIGSEGV: glibc is to keep spare room behind the heap. Any of these
# settings freezes the others, so they are what glibc would come to by itself.
SPARE_MEMORY = {
    "MALLOC_TOP_PAD_": str(2**24),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
}
# Accuracy of a first diagonalisation, Hartree, and the estimated error of the energy for each electron that it suits;
# below that the density in fewer waves is no nearer than the given one. The step of a nearer start asks for
# these shares of it: 0.16 are left with a gap, 0.023 to 0.026 without, where a looser one would be diagonalised again.
LOOSEST_START = 5e-6
ASKED_WITH_GAP, ASKED_WITHOUT_GAP = 0.2, 0.015


@dataclass(frozen=True)
class RunStart:
    """Where a run starts.

    Attributes:
        density: The atoms' if None.
        orbitals: Folder of an earlier run whose orbitals are taken, beside its density or another.
        threshold: Accuracy asked of the first diagonalisation, Hartree; the program's if None.
    """

    density: FourierDensity | None = None
    orbitals: Path | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class EspressoRun:
    """How and where Quantum ESPRESSO is started, and what for.

    Attributes:
        name: Of the engine, for messages.
        command: Program and its arguments; ``-in pw.in`` is added.
        settings: Cutoffs, k-mesh, smearing, convergence.
        pseudopotentials: File for each element.
        self_consistency: Mixing and eigensolver.
        threads: Threads of the linear algebra and Fourier transforms.
        scratch: Folder in which each run gets a folder of its own; the system's temporary folder if None.
        keep_files: Whether a successful run's folder stays.
    """

    name: str
    command: Sequence[str]
    settings: DFTSettings
    pseudopotentials: Mapping[str, PseudopotentialFile]
    self_consistency: SelfConsistency
    threads: int
    scratch: Path | None
    keep_files: bool

    @property
    def identities(self) -> dict[str, PseudopotentialIdentity]:
        """Identity for each element."""
        return {element: file.identity for element, file in self.pseudopotentials.items()}

    def ground_state(self, system: System, initial_density: FourierDensity | None) -> GroundState:
        """Run to self-consistency and read what it left; see :class:`~rhoscale.engines.interface.Engine`.

        With k-points and many waves a given density is first made use of in fewer (:meth:`_nearer_start`).
        """
        if initial_density is None or not self._fewer_waves_pay(system):
            state, folder = self.kept_ground_state(system, RunStart(initial_density))
            self._clean(folder)
            return state
        first, start, use = self._nearer_start(system, self._rescaled(system, initial_density))
        try:
            state, folder = self.kept_ground_state(system, start)
        finally:
            self._clean(first)
        self._clean(folder)
        return replace(
            state, wall_seconds=state.wall_seconds + use.wall_seconds, cpu_seconds=state.cpu_seconds + use.cpu_seconds
        )

    def kept_ground_state(self, system: System, start: RunStart) -> tuple[GroundState, Path]:
        """As :meth:`ground_state` from just this start, and the run's folder, which stays."""
        folder, output, process = self._computed(system, start, Purpose.GROUND_STATE)
        return self._state(system, folder, output, process), folder

    def _fewer_waves_pay(self, system: System) -> bool:
        if self.settings.gamma_only or len(system) < SMALLEST_WITH_FEWER_WAVES:
            return False
        pairs = system.electrons(self.identities) / 2
        return self.settings.plane_waves(system.volume) >= LEAST_WAVES * pairs

    def _nearer_start(self, system: System, given: FourierDensity) -> tuple[Path, RunStart, ProcessUse]:
        """Orbitals from one diagonalisation in fewer waves, and the density that their change points to."""
        folder, output, process = self._computed(system, RunStart(given), Purpose.ORBITALS)
        files = list(save_folder(folder).glob("wfc*.dat"))  # none of a program built with HDF5
        waves = espresso_waves(system.cell, DENSITY_CUTOFF_FACTOR * self.settings.cutoff, gamma_only=False)
        for file in files:
            widen_orbitals(file, waves, self.settings.cutoff)
        start = RunStart(given, folder if files else None)
        if output.residual > LOOSEST_START * output.electrons:
            new = self._density(folder, output.electrons)
            change = replace(new, coefficients=new.coefficients - given.coefficients_of(new.millers))
            gap = mean_gap(output.eigenvalues, output.weights, output.electrons, system.volume)
            asked = (ASKED_WITH_GAP if gap else ASKED_WITHOUT_GAP) * output.residual / output.electrons
            nearer = nearer_density(given, change, output.electrons, gap)
            start = replace(start, density=nearer, threshold=min(LOOSEST_START, asked))
        return folder, start, process

    def earlier_ground_state(self, system: System, folder: Path) -> GroundState:
        """Read again what a finished run of this system left in its folder."""
        output = read_output(save_folder(folder) / XML_NAME)
        return self._state(system, folder, output, ProcessUse(0, 0.0, 0.0))

    def _state(self, system: System, folder: Path, output: EspressoOutput, process: ProcessUse) -> GroundState:
        if not output.converged:
            raise self._failure(f"did not reach self-consistency in {output.iterations} cycles", folder)
        if output.forces is None:
            raise self._failure("wrote no forces", folder)
        density = self._density(folder, output.electrons)
        return GroundState(
            system=system,
            density=FourierDensity.from_coefficients(
                system.cell, density.millers, density.coefficients, self.settings.density_cutoff
            ),
            electrons=output.electrons,
            pseudopotentials={element: self.identities[element] for element in system.elements},
            energies=output.energies,
            fermi=output.fermi,
            eigenvalues=output.eigenvalues,
            kpoints=output.kpoints,
            weights=output.weights,
            forces=output.forces,
            settings=self.settings,
            iterations=output.iterations,
            wall_seconds=process.wall_seconds,
            cpu_seconds=process.cpu_seconds,
            engine=f"{self.name} ({output.version})",
            extra={"functional": output.functional, "residual": output.residual},
        )

    def energies_from_density(self, system: System, density: FourierDensity) -> Energies:
        """Diagonalise once in the potential of a density; see :class:`~rhoscale.engines.interface.Engine`."""
        given = self._rescaled(system, density)
        folder, output, process = self._computed(system, RunStart(given), Purpose.ENERGY)
        change = self._change(folder, given, output.electrons)
        self._clean(folder)
        gap = mean_gap(output.eigenvalues, output.weights, output.electrons, system.volume)
        return Energies(
            energies={**output.energies, "second_order": second_order_energy(change, output.electrons, gap)},
            change=change,
            fermi=output.fermi,
            gap=gap,
            eigenvalues=output.eigenvalues,
            kpoints=output.kpoints,
            weights=output.weights,
            electrons_given=density.electrons,
            wall_seconds=process.wall_seconds,
            cpu_seconds=process.cpu_seconds,
            engine=f"{self.name} ({output.version})",
        )

    def _rescaled(self, system: System, density: FourierDensity) -> FourierDensity:
        """The density with the electrons of the pseudopotentials, as the program would scale it in silence."""
        return replace(
            density, coefficients=density.coefficients * (system.electrons(self.identities) / density.electrons)
        )

    def _change(self, folder: Path, given: FourierDensity, electrons: float) -> FourierDensity:
        """Density of the new orbitals less the given one."""
        mixed = self._density(folder, electrons)
        return replace(mixed, coefficients=(mixed.coefficients - given.coefficients_of(mixed.millers)) / MIXED)

    def _computed(self, system: System, start: RunStart, purpose: Purpose) -> tuple[Path, EspressoOutput, ProcessUse]:
        electrons = system.electrons(self.identities)
        folder = self._prepared_folder(system, start, purpose)
        process = self._run_in(folder)
        self._check_end(folder, process, purpose)
        try:
            output = read_output(save_folder(folder) / XML_NAME)
        except FormatError as error:
            raise self._failure(f"left no readable result: {error}", folder) from error
        if abs(output.electrons - electrons) > 1e-6:
            raise self._failure(
                f"counted {output.electrons:g} electrons where the pseudopotentials have {electrons:g}", folder
            )
        if output.system.species.tolist() != system.species.tolist():
            raise self._failure(f"computed {output.system.formula} instead of {system.formula}", folder)
        return folder, output, process

    def _prepared_folder(self, system: System, start: RunStart, purpose: Purpose) -> Path:
        try:
            if self.scratch is not None:
                self.scratch.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="rhoscale-dft-", dir=self.scratch))
            files = {e: self.pseudopotentials[e].write(folder / "pseudo").name for e in system.elements}
            text = pw_input(
                system,
                self.settings,
                self.identities,
                files,
                self_consistency=self.self_consistency,
                purpose=purpose,
                start_from_file=start.density is not None,
                start_from_orbitals=start.orbitals is not None,
                first_threshold=start.threshold,
            )
            (folder / INPUT_NAME).write_text(text)
            if start.density is not None:
                save_folder(folder).mkdir(parents=True)
                write_charge_density_dat(
                    save_folder(folder) / "charge-density.dat",
                    start.density,
                    cutoff=DENSITY_CUTOFF_FACTOR * self.settings.cutoff,
                    gamma_only=self.settings.gamma_only,
                )
            if start.orbitals is not None:
                _copy_orbitals(save_folder(start.orbitals), save_folder(folder))
        except OSError as error:
            raise EngineError(
                f"{self.name}: the scratch folder under {self.scratch or tempfile.gettempdir()} cannot be written "
                f"({error}); expected a folder with some gigabytes of space; choose another with scratch=..."
            ) from error
        return folder

    def _density(self, folder: Path, electrons: float) -> FourierDensity:
        try:
            density = read_charge_density_dat(save_folder(folder) / "charge-density.dat").density
        except FormatError as error:
            raise self._failure(f"left an unusable density: {error}", folder) from error
        if abs(density.electrons - electrons) > 1e-5 * electrons:
            raise self._failure(f"left a density of {density.electrons:.6f} electrons instead of {electrons:g}", folder)
        return density

    def _clean(self, folder: Path) -> None:
        if not self.keep_files:
            shutil.rmtree(folder, ignore_errors=True)

    def _run_in(self, folder: Path) -> ProcessUse:
        threads = str(self.threads)
        own = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        environment = {**SPARE_MEMORY, **os.environ, **own, **NO_DAEMON}
        try:
            return run_measured([*self.command, "-in", INPUT_NAME], folder, environment, folder / LOG_NAME)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(
                f"{self.name}: the program {self.command[0]} cannot be started ({error.strerror or error}); "
                f"expected Quantum ESPRESSO's pw.x; install it (Debian: quantum-espresso) or give its path"
            ) from error

    def _check_end(self, folder: Path, process: ProcessUse, purpose: Purpose) -> None:
        if process.returncode < 0:
            raise self._failure(f"was killed by signal {_signal_name(-process.returncode)}", folder)
        if purpose is not Purpose.ENERGY and NOT_CONVERGED in (folder / LOG_NAME).read_text(errors="replace"):
            raise self._failure("did not reach self-consistency", folder)
        if process.returncode not in ((0, EXIT_NOT_CONVERGED) if purpose is Purpose.ENERGY else (0,)):
            raise self._failure(f"ended with exit code {process.returncode}", folder)

    def _failure(self, what: str, folder: Path) -> EngineError:
        log = folder / LOG_NAME
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = text.split(ABORT_NOTICE)[0].rstrip(" -\n").splitlines()
        shown = "\n".join(f"  | {line}" for line in lines[-LOG_LINES_SHOWN:]) or "  | (nothing)"
        return EngineError(
            f"{self.name} {what}; expected a converged run, and nothing is taken from this one; "
            f"its input and log are kept in {folder}; the log ends:\n{shown}"
        )


def _copy_orbitals(source: Path, target: Path) -> None:
    for file in (source / XML_NAME, *source.glob("wfc*")):  # without the XML file pw.x takes random orbitals, silently
        shutil.copyfile(file, target / file.name)


def save_folder(folder: Path) -> Path:
    """The ``.save`` folder in a run's folder."""
    return folder / "out" / f"{PREFIX}.save"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
