"""Finished self-consistent runs in a folder, one JSON file each: energy, cycles and cost, from a chosen start."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rhoscale.engines.interface import DFTSettings, Engine
from rhoscale.errors import FormatError
from rhoscale.recipes.energy_runs import write_json
from rhoscale.refinement import FourierDensity
from rhoscale.system import System

FORMAT = "rhoscale-ground-state-1"
NAME_LENGTH = 20
GIVEN = "fewer waves first"  # what engines do with a given density; runs of before have other names


@dataclass(frozen=True)
class Start:
    """Where a self-consistent run starts.

    Attributes:
        name: ``atomic``, ``prediction`` or ``exact``.
        identity: All that decides the density, for the name of the kept file: a model's hash, a label's hash.
        density: Gives the density of a system, or None for the engine's own start.
    """

    name: str
    identity: str
    density: Callable[[System], FourierDensity | None]


ATOMIC = Start("atomic", "atomic", lambda _system: None)


@dataclass(frozen=True)
class GroundStateRun:
    """What a self-consistent run gave and took.

    Attributes:
        start: Name of its start.
        total: Energy of the cell, Hartree.
        iterations: Self-consistent cycles.
        cpu_seconds: Processor time of the run.
        wall_seconds: Elapsed time of the run.
        start_cpu_seconds: Processor time that making the start took.
        start_wall_seconds: Elapsed time of that.
        engine: Name and version of the program.
    """

    start: str
    total: float
    iterations: int
    cpu_seconds: float
    wall_seconds: float
    start_cpu_seconds: float
    start_wall_seconds: float
    engine: str

    @property
    def whole_cpu_seconds(self) -> float:
        """Processor time with the making of the start."""
        return self.cpu_seconds + self.start_cpu_seconds

    @property
    def whole_wall_seconds(self) -> float:
        """Elapsed time with the making of the start."""
        return self.wall_seconds + self.start_wall_seconds


@dataclass(frozen=True)
class GroundStateRuns:
    """Self-consistent runs that were done once and are never done again.

    Attributes:
        folder: Where the files are; made when the first is kept.
    """

    folder: Path

    def finished(self, engine: Engine, system: System, start: Start = ATOMIC) -> GroundStateRun | None:
        """The kept run of a system from a start, or None.

        Raises:
            FormatError: The kept file is damaged.
        """
        path = self._path(engine, system, start)
        return _read(path) if path.exists() else None

    def run(self, engine: Engine, system: System, start: Start = ATOMIC) -> GroundStateRun:
        """The kept run, or else a new one, kept as soon as it is there.

        Raises:
            EngineError: The program failed; nothing is kept.
            FormatError: A kept file is damaged.
            OutputError: The result cannot be written.
        """
        found = self.finished(engine, system, start)
        if found is not None:
            return found
        wall, cpu = time.monotonic(), time.process_time()
        density = start.density(system)
        start_wall, start_cpu = time.monotonic() - wall, time.process_time() - cpu
        state = engine.ground_state(system, initial_density=density)
        run = GroundStateRun(
            start=start.name,
            total=float(state.energies["total"]),
            iterations=int(state.iterations),
            cpu_seconds=round(state.cpu_seconds, 3),
            wall_seconds=round(state.wall_seconds, 3),
            start_cpu_seconds=round(start_cpu, 3),
            start_wall_seconds=round(start_wall, 3),
            engine=state.engine,
        )
        about = {
            "format": FORMAT,
            "formula": system.formula,
            "system": system.content_hash(),
            "identity": start.identity,
        }
        write_json(self._path(engine, system, start), {**about, "settings": asdict(engine.settings), **asdict(run)})
        return run

    def _path(self, engine: Engine, system: System, start: Start) -> Path:
        digest = hashlib.sha256(system.content_hash().encode())
        how = [] if start.name == ATOMIC.name else [GIVEN]
        digest.update(json.dumps([start.identity, *how, *_physics(engine.settings)]).encode())
        for element in system.elements:
            digest.update(engine.pseudopotentials[element].sha256.encode())
        return self.folder / f"{start.name}-{digest.hexdigest()[:NAME_LENGTH]}.json"


def _physics(settings: DFTSettings) -> list[object]:
    sampling = [list(settings.kmesh), list(settings.kshift), settings.smearing, settings.width]
    return [settings.cutoff, *sampling, settings.convergence]


def _read(path: Path) -> GroundStateRun:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r}")
        return GroundStateRun(**{f.name: values[f.name] for f in fields(GroundStateRun)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} is not a readable ground state ({type(error).__name__}: {error}); expected one that rhoscale "
            f"wrote; delete it, and it is computed again"
        ) from error
