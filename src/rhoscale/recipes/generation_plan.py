"""What a data recipe asks for, task by task: pure, printable, the same every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rhoscale.errors import DatasetError, InputError
from rhoscale.recipes.config import config_from, plain
from rhoscale.recipes.generation_config import BatchConfig, EngineConfig, GenerateConfig, Strain, ThermostatConfig
from rhoscale.structures.distances import refuse_close_atoms
from rhoscale.structures.strain import apply_strain

NO_FORCES = "none"


@dataclass(frozen=True)
class Task:
    """One snapshot to make.

    Attributes:
        name: Batch, number, and a hash of all that decides the result.
        trajectory: What it shares with relatives: structure, temperature, seed and source of forces.
        run: Names the trajectory's files: as ``trajectory``, with waiting times and ab-initio settings.
        frame: Number of the snapshot in its trajectory.
        engine: Makes the label.
        dynamics_engine: Moves the atoms, if they are not moved by a potential alone.
        kmesh_correction: As ``engine`` with fewer waves, and that with more k-points (``recipes/kmesh_correction.py``).
    """

    name: str
    batch: BatchConfig
    trajectory: str
    run: str
    frame: int
    seed: int
    temperature: float
    strain: Strain
    engine: EngineConfig
    thermostat: ThermostatConfig
    dynamics_engine: EngineConfig | None
    kmesh_correction: tuple[EngineConfig, EngineConfig] | None = None

    @property
    def engines(self) -> tuple[EngineConfig, ...]:
        """Those of the label: its own and those of its correction."""
        return (self.engine, *(self.kmesh_correction or ()))

    @property
    def sampling(self) -> str:
        """The k-points of the label in words."""
        words = self.engine.settings().sampling
        if self.kmesh_correction is None:
            return words
        _, many = self.kmesh_correction
        return f"{words}, corrected to {many.settings().sampling} at {many.cutoff_ry:g} Ry"

    @property
    def kind(self) -> str:
        """``bulk``, ``vacancy``, ``divacancy``, ``strain`` or two of them joined by +."""
        structure = self.batch.structure
        parts = ["divacancy"] if structure.divacancy else ["vacancy"] if structure.vacancies else []
        parts += ["strain"] if np.any(self.strain) else []
        return "+".join(parts) or "bulk"


def plan_generation(config: GenerateConfig) -> list[Task]:
    """All tasks of a recipe in its order.

    Raises:
        InputError: An engine or thermostat table of a batch has a key that is unknown or a value that cannot be used.
        StructureError: A structure cannot be built, or has atoms that overlap.
        DatasetError: Two batches put one trajectory into two roles.
    """
    tasks = [task for batch in config.batch for task in _tasks(config, batch)]
    first: dict[str, Task] = {}
    for task in tasks:
        other = first.setdefault(task.trajectory, task).batch
        if other.role != task.batch.role:
            raise DatasetError(
                f"trajectory {task.trajectory} serves as {other.role} in batch {other.name!r} and as "
                f"{task.batch.role} in batch {task.batch.name!r}; expected one role a trajectory; change a seed"
            )
    return tasks


def _tasks(config: GenerateConfig, batch: BatchConfig) -> list[Task]:
    where = f"batch {batch.name}"
    cell = batch.structure.cell()
    for strain in dict.fromkeys(batch.strains):
        refuse_close_atoms(apply_strain(cell, strain))
    engine_values = _merged(config.engine, batch.engine)
    engine = config_from(engine_values, EngineConfig, f"{where}: engine")
    thermostat = config_from({**config.thermostat, **batch.thermostat}, ThermostatConfig, f"{where}: thermostat")
    dynamics = None
    if thermostat.forces == NO_FORCES and (batch.ab_initio is None or thermostat.melt_kelvin is not None):
        raise InputError(
            f"{where}: forces = {NO_FORCES!r} with {'no ' if batch.ab_initio is None else ''}[batch.ab_initio] and "
            f"melt_kelvin = {thermostat.melt_kelvin}; expected that table and no melt_kelvin, as nothing else moves "
            f"the atoms; change these two, or name a potential"
        )
    if batch.ab_initio is not None:
        values = _merged(engine_values, batch.ab_initio.engine)
        dynamics = config_from(values, EngineConfig, f"{where}: ab_initio.engine")
    correction = _kmesh_correction(batch.kmesh_correction, engine_values, where) if batch.kmesh_correction else None
    pseudopotentials = plain(config.pseudopotentials, keep_defaults=False)
    tasks = []
    for index in range(batch.snapshots):
        number, frame = divmod(index, thermostat.snapshots_per_trajectory)
        seed = batch.seed + number
        temperature = batch.temperatures[number % len(batch.temperatures)]
        strain = batch.strains[number % len(batch.strains)]
        start = {
            "structure": plain(batch.structure, keep_defaults=False),
            "temperature": temperature,
            "strain": strain,
            "seed": seed,
            "forces": thermostat.forces,
        }
        run = {
            **start,
            "thermostat": plain(thermostat, keep_defaults=False),
            "ab_initio": None if batch.ab_initio is None else batch.ab_initio.duration_fs,
            "dynamics": None if dynamics is None else _physics(dynamics),
        }
        label = {**run, "frame": frame, "engine": _physics(engine), "pseudopotentials": pseudopotentials}
        if correction is not None:
            label["kmesh_correction"] = [_physics(e) for e in correction]
        tasks.append(
            Task(
                name=f"{batch.name}-{index:03d}-{_digest(label)}",
                batch=batch,
                trajectory=f"{temperature:g}K-seed{seed}-{_digest(start)}",
                run=_digest(run),
                frame=frame,
                seed=seed,
                temperature=temperature,
                strain=strain,
                engine=engine,
                thermostat=thermostat,
                dynamics_engine=dynamics,
                kmesh_correction=correction,
            )
        )
    return tasks


def _kmesh_correction(
    values: Mapping[str, Any], engine: Mapping[str, Any], where: str
) -> tuple[EngineConfig, EngineConfig]:
    where = f"{where}: kmesh_correction"
    many = config_from(_merged(engine, values), EngineConfig, where)
    few = config_from({**engine, "cutoff_ry": many.cutoff_ry}, EngineConfig, where)
    label, wanted, points = engine["cutoff_ry"], many.settings(), few.settings().kpoints
    if many.cutoff_ry >= label or wanted.kpoints <= points:
        raise InputError(
            f"{where}: {wanted.kpoints} k-points ({wanted.sampling}) with {many.cutoff_ry:g} Ry for a label of "
            f"{points} with {label:g} Ry; expected more points and a lower cutoff, which is what it is for; change "
            f"kmesh or cutoff_ry, or give the denser mesh to the label itself"
        )
    return few, many


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(base)
    if {"width_ry", "width_kelvin", "smearing"} & set(override):
        kept = {
            k: v
            for k, v in base.items()
            if not (k.startswith("width_") and set(override) & {"width_ry", "width_kelvin"})
        }
    return {**kept, **override}


def _physics(engine: EngineConfig) -> dict[str, Any]:
    values = plain(engine, keep_defaults=False)
    values["kmesh"], values["kshift"] = list(engine.kmesh), list(engine.settings().kshift)
    if engine.program in ("auto", "pw.x", "qepy"):  # one code in two shapes: either may go on with the other's data
        values.pop("program", None)
    return values


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]


def estimated_core_seconds(task: Task, n_atoms: int) -> float:
    """A rough cost of the label, for progress and planning only.

    Six seconds a k-point for 32 atoms at 25 Ry (measured, aluminium), growing as atoms^2.5 and cutoff^1.5.
    """
    return sum(_core_seconds(engine, n_atoms) for engine in task.engines)


def _core_seconds(engine: EngineConfig, n_atoms: int) -> float:
    settings = engine.settings()
    kpoints = 0.8 if settings.gamma_only else settings.kpoints  # real orbitals at Gamma
    return float(6.0 * kpoints * (n_atoms / 32) ** 2.5 * (engine.cutoff_ry / 25) ** 1.5)
