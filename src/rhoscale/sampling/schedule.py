"""Temperatures and waiting times into thermal structures, and those into snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses, atomic_numbers

from rhoscale.engines.interface import GroundState
from rhoscale.errors import InputError
from rhoscale.sampling.decorrelation import Decorrelation, autocorrelation, density_waves, integrated_time, overlap
from rhoscale.sampling.momenta import draw_momenta
from rhoscale.sampling.thermostat import Motion, Thermostat, at_rest, run_dynamics
from rhoscale.snapshot import Snapshot
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM

VERSION = version("rhoscale")
ASE_VERSION = ase.__version__
RECORD_FS = 10.0


@dataclass(frozen=True)
class Schedule:
    """When snapshots are taken from one trajectory, femtoseconds.

    Attributes:
        equilibration_fs: Before the first snapshot.
        spacing_fs: Between snapshots.
        snapshots: How many.
    """

    equilibration_fs: float
    spacing_fs: float = 1000.0
    snapshots: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.equilibration_fs < inf and 0 < self.spacing_fs < inf and self.snapshots >= 1):
            raise InputError(f"{self}; expected positive times and at least one snapshot; change what is not")

    @property
    def times_fs(self) -> tuple[float, ...]:
        """Time of each snapshot."""
        return tuple(self.equilibration_fs + i * self.spacing_fs for i in range(self.snapshots))


@dataclass(frozen=True)
class ThermalStructure:
    """A structure taken from a trajectory, and what is known about its past.

    Attributes:
        system: The structure, atoms wrapped into the cell.
        time_fs: Time since the start of the trajectory's last stage.
        mean_temperature: Mean kinetic temperature since half the last stage's equilibration, Kelvin.
        root_mean_square_displacement: From the start of the last stage, without drift, Bohr.
        decorrelation: How much was forgotten.
        stage_seconds: Elapsed time of the last stage, shared evenly by its snapshots.
    """

    system: System
    time_fs: float
    mean_temperature: float
    root_mean_square_displacement: float
    decorrelation: Decorrelation
    stage_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Provenance as plain values."""
        return {
            "time_fs": self.time_fs,
            "mean_kinetic_temperature": self.mean_temperature,
            "rms_displacement_bohr": self.root_mean_square_displacement,
            "decorrelation": self.decorrelation.to_dict(),
        }


@dataclass(frozen=True)
class Stage:
    """A stretch of a trajectory with one source of forces; it ends with the schedule's last snapshot.

    Attributes:
        calculator: Source of forces.
        schedule: When it ends.
        checkpoint_every: Steps between writings of the state; 0 for none but the last.
        temperature: Of the thermostat in this stage, Kelvin; the trajectory's own if None.
    """

    calculator: Calculator
    schedule: Schedule
    checkpoint_every: int = 0
    temperature: float | None = None


def thermalise(
    system: System,
    stages: Iterable[Stage],
    thermostat: Thermostat,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[ThermalStructure]:
    """Run one trajectory and take its snapshots.

    The atoms start on their sites with momenta of twice the temperature: half of it goes into the potential
    energy of a harmonic crystal. Each stage starts where the one before it ended, with the momenta it had.

    Args:
        system: Start.
        stages: Sources of forces, one after the other; snapshots come from the last one.
        thermostat: Temperature, time step and chain.
        seed: Of the momenta.
        checkpoint: File stem under which the state of each stage is kept; a run goes on from there.
        on_step: Called with the steps done in the present stage.

    Returns:
        Structures at the times of the last stage's schedule, atoms wrapped into the cell.
    """
    rng = np.random.default_rng([seed, 0x7E45])
    masses = atomic_masses[[atomic_numbers[s] for s in system.species]]
    motion = at_rest(system, draw_momenta(masses, 2.0 * thermostat.temperature, rng), thermostat.chain)
    record_every = max(1, round(RECORD_FS / thermostat.timestep_fs))
    schedule = None
    for number, stage in enumerate(stages):
        schedule = stage.schedule
        motion = replace(motion, step=0, frames=motion.positions[None], kinetic=motion.kinetic[-1:], seconds=0.0)
        file = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}-{number}.npz")
        if file is not None and file.exists():
            motion = Motion.read(file)
        steps = [round(t / thermostat.timestep_fs / record_every) * record_every for t in schedule.times_fs]
        if motion.step < steps[-1]:
            motion = run_dynamics(
                motion,
                system,
                stage.calculator,
                thermostat if stage.temperature is None else replace(thermostat, temperature=stage.temperature),
                steps=steps[-1],
                record_every=record_every,
                checkpoint=file,
                checkpoint_every=stage.checkpoint_every,
                on_step=on_step,
            )
            if file is not None:
                motion.write(file)
    if schedule is None:
        raise InputError("a trajectory needs at least one stage; got none")
    return _take(system, motion, schedule, record_every * thermostat.timestep_fs)


def _take(system: System, motion: Motion, schedule: Schedule, step_fs: float) -> list[ThermalStructure]:
    frames = motion.frames * BOHR_PER_ANGSTROM
    taken = [min(round(t / step_fs), len(frames) - 1) for t in schedule.times_fs]
    settled = min(taken[0] // 2, len(frames) - 1)
    waves = density_waves(frames[settled:], system.cell)
    time_fs = integrated_time(autocorrelation(waves), step_fs)
    measured_fs = (len(frames) - 1 - settled) * step_fs
    result = []
    for number, index in enumerate(taken):
        previous = None if number == 0 else taken[number - 1]
        correlation = None if previous is None else overlap(waves[previous - settled], waves[index - settled], waves)
        result.append(
            ThermalStructure(
                system=_wrapped(system, frames[index]),
                time_fs=index * step_fs,
                mean_temperature=float(motion.kinetic[settled:].mean()),
                root_mean_square_displacement=_displacement(frames[index] - frames[0]),
                decorrelation=Decorrelation(time_fs, measured_fs, (index - (previous or 0)) * step_fs, correlation),
                stage_seconds=motion.seconds / len(taken),
            )
        )
    return result


def _displacement(moved: np.ndarray) -> float:
    without_drift = moved - moved.mean(axis=0)
    return float(np.sqrt((without_drift**2).sum(axis=1).mean()))


def _wrapped(system: System, positions: np.ndarray) -> System:
    moved = System(system.cell, positions, system.species)
    return System(system.cell, moved.scaled_positions @ system.cell, system.species)


def snapshot_of(state: GroundState, origin: Mapping[str, Any]) -> Snapshot:
    """A ground state with its full provenance as a data point.

    Args:
        state: Converged ground state.
        origin: Where the structure came from: trajectory, temperature, seed, kind, ...
    """
    settings = state.settings
    return Snapshot(
        system=state.system,
        density=state.density.truncated(settings.density_cutoff),
        electrons=state.electrons,
        pseudopotentials=dict(state.pseudopotentials),
        energies={**{k: float(v) for k, v in state.energies.items()}, "fermi": float(state.fermi)},
        forces=np.asarray(state.forces, dtype=np.float64),
        origin=dict(origin),
        settings={
            "engine": state.engine,
            "rhoscale": VERSION,
            "ase": ASE_VERSION,
            "extra": {k: _plain(v) for k, v in state.extra.items()},
            "cutoff_hartree": settings.cutoff,
            "density_cutoff_hartree": settings.density_cutoff,
            "kmesh": list(settings.kmesh),
            "kshift": list(settings.kshift),
            "kpoints": len(state.weights),
            "bands": int(state.eigenvalues.shape[1]) if state.eigenvalues.ndim == 2 else 0,
            "smearing": settings.smearing,
            "width_hartree": settings.width,
            "convergence_hartree_per_electron": settings.convergence,
            "iterations": int(state.iterations),
            "wall_seconds": round(float(state.wall_seconds), 2),
            "cpu_seconds": round(float(state.cpu_seconds), 2),
        },
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
