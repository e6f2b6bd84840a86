"""One task of a data recipe: its thermal structure, or that of a snapshot that is there, and the label."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.interface import Engine, StartDensity
from rhoscale.recipes.claims import claim
from rhoscale.recipes.config import plain
from rhoscale.recipes.generation_config import EngineConfig
from rhoscale.recipes.generation_plan import NO_FORCES, Task
from rhoscale.recipes.kmesh_correction import corrected, has_settings
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.schedule import ASE_VERSION, Schedule, Stage, ThermalStructure, snapshot_of, thermalise
from rhoscale.sampling.thermostat import EngineCalculator, ScaledCalculator, Thermostat, equilibrium_scale
from rhoscale.snapshot import Snapshot
from rhoscale.structures.strain import strain_matrix

Maker = Callable[[EngineConfig], Engine]
Tell = Callable[[Literal["thermalising", "labelling"], str], None]


def labelled(
    store: SnapshotStore,
    task: Task,
    maker: Maker,
    tell: Tell,
    start: StartDensity | None,
) -> Snapshot:
    """Make a task's snapshot, with the structure and as far as possible the label of one that is in the store.

    Args:
        store: Where to look, and in whose work folder trajectories and a label that is to be corrected wait.
        task: What to make.
        maker: Makes the engine of some settings.
        tell: Told of each part of the work, with words about it.
        start: Density to start the self-consistent cycles from.

    Raises:
        EngineError: A run failed; a label that waits for its correction is kept for the next call.
    """
    kept = uncorrected(store, task)
    if kept.exists():
        snapshot = Snapshot.read(kept)
    else:
        relative = _labelled_before(store, task)
        if relative is None:
            snapshot = _make_snapshot(task, store.work, maker, tell, start)
        else:
            snapshot = _relabelled(task, relative, maker, tell)
        if task.kmesh_correction is not None:
            kept.parent.mkdir(exist_ok=True)
            snapshot.write(kept)
    if task.kmesh_correction is None:
        return snapshot
    few, many = task.kmesh_correction
    tell("labelling", f"k-points {task.sampling}")
    return corrected(snapshot, maker(few), maker(many))


def uncorrected(store: SnapshotStore, task: Task) -> Path:
    """Where a label waits for its correction, so that a killed call does not lose it."""
    return store.work / "uncorrected" / f"{task.name}.safetensors"


def _make_snapshot(
    task: Task,
    work: Path,
    maker: Maker,
    tell: Tell,
    start: StartDensity | None = None,
) -> Snapshot:
    """Thermalise a task's structure and label it."""
    tell("thermalising", "")
    structure, scale = _thermal_structure(task, work, maker, start)
    memory = structure.decorrelation
    tell(
        "labelling",
        f"T={structure.mean_temperature:.0f} K, memory {memory.time_fs:.0f} fs, waited {memory.ratio:.1f} times it"
        + ("" if memory.enough else ": TOO SHORT, raise equilibration_fs or spacing_fs"),
    )
    initial = None if start is None else start(structure.system)
    state = maker(task.engine).ground_state(structure.system, initial_density=initial)
    return snapshot_of(
        state, {**_origin(task, structure, scale), "started_from": None if initial is None else str(start)}
    )


def _labelled_before(store: SnapshotStore, task: Task) -> Snapshot | None:
    """A snapshot of the very structure that a task asks for, if there is one: with its label rather than another."""
    wanted = _given({**_sampling(task), "index": task.frame})
    found = None
    for record in store.records():
        if record.trajectory == task.trajectory:
            snapshot = store.load(record)
            if _given({key: snapshot.origin.get(key) for key in ("thermostat", "ab_initio", "index")}) == wanted:
                if has_settings(snapshot, task.engine.settings()):
                    return snapshot
                found = snapshot
    return found


def _relabelled(task: Task, relative: Snapshot, maker: Maker, tell: Tell) -> Snapshot:
    """Label the structure of a snapshot with the settings of a task, starting from the density that is there."""
    origin = {**relative.origin, "task": task.name, "batch": task.batch.name}
    if has_settings(relative, task.engine.settings()):
        return replace(relative, origin=origin)
    tell("labelling", f"the structure of {relative.origin['task']}, from its density")
    state = maker(task.engine).ground_state(relative.system, initial_density=relative.density)
    return snapshot_of(state, {**origin, "sampling_core_seconds": 0.0, "started_from": relative.origin["task"]})


def _thermal_structure(
    task: Task, work: Path, maker: Maker, start: StartDensity | None
) -> tuple[ThermalStructure, float]:
    settings, ab_initio = task.thermostat, task.batch.ab_initio
    folder = work / "trajectories"
    states = folder / f"{task.run}-states"
    count = settings.snapshots_per_trajectory
    stages, scale = [], 1.0
    if settings.forces != NO_FORCES:
        potential = classical_calculator(settings.forces)
        scale = equilibrium_scale(potential, task.batch.structure.perfect(task.seed))
        classical = Schedule(settings.equilibration_fs, settings.spacing_fs, count if ab_initio is None else 1)
        stages = [Stage(ScaledCalculator(potential, scale), classical)]
        if settings.melt_kelvin is not None:
            melting = Schedule(settings.equilibration_fs)
            stages.insert(0, Stage(ScaledCalculator(potential, scale), melting, temperature=settings.melt_kelvin))
    if ab_initio is not None and task.dynamics_engine is not None:
        schedule = Schedule(ab_initio.duration_fs, settings.spacing_fs, count)
        calculator = EngineCalculator(maker(task.dynamics_engine), start, folder=states)
        stages.append(Stage(calculator, schedule, checkpoint_every=1))
    thermostat = Thermostat(task.temperature, settings.timestep_fs, settings.damping_fs)
    with claim(folder / f"{task.run}.lock", blocking=True):
        structures = thermalise(
            task.batch.structure.build(task.seed, task.strain),
            stages,
            thermostat,
            task.seed,
            checkpoint=folder / task.run,
        )
        shutil.rmtree(states, ignore_errors=True)
    return structures[task.frame], scale


def _origin(task: Task, structure: ThermalStructure, scale: float) -> dict[str, Any]:
    batch = task.batch
    return {
        "task": task.name,
        "batch": batch.name,
        "trajectory": task.trajectory,
        "kind": task.kind,
        "index": task.frame,
        "temperature": task.temperature,
        "seed": task.seed,
        "structure": plain(batch.structure),
        "strain_voigt": _voigt(task),
        "volume_per_atom_bohr3": structure.system.volume / len(structure.system),
        "method": "classical" if batch.ab_initio is None else "ab-initio",
        **_sampling(task),
        "calculator": {"name": task.thermostat.forces, "length_scale": scale, "ase": ASE_VERSION},
        "sampling_core_seconds": 0.0 if batch.ab_initio is None else round(structure.stage_seconds, 1),
        **structure.to_dict(),
    }


def _sampling(task: Task) -> dict[str, Any]:
    """What moved the atoms besides the potential, which the name of the trajectory knows."""
    ab_initio = None
    if task.batch.ab_initio is not None and task.dynamics_engine is not None:
        ab_initio = {"duration_fs": task.batch.ab_initio.duration_fs, "engine": plain(task.dynamics_engine)}
    return {"thermostat": {"name": "Nose-Hoover chain of 3", **plain(task.thermostat)}, "ab_initio": ab_initio}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None: older snapshots do not name settings that came later and are off."""
    return {
        key: _given(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def _voigt(task: Task) -> list[float]:
    e = strain_matrix(task.strain)
    return [float(v) for v in (e[0, 0], e[1, 1], e[2, 2], 2 * e[1, 2], 2 * e[0, 2], 2 * e[0, 1])]
