"""What a data recipe asks for, task by task: pure, printable, the same every time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rhoscale.ase_bridge import read_system
from rhoscale.engines.interface import DFTSettings
from rhoscale.errors import DatasetError, InputError
from rhoscale.recipes.config import config_from, plain
from rhoscale.structures.alloy import random_alloy
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.structures.strain import apply_strain, strain_matrix
from rhoscale.structures.vacancy import divacancy, vacancies
from rhoscale.system import System
from rhoscale.units import HARTREE_PER_RYDBERG, KELVIN_PER_HARTREE

Strain = float | tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class EngineConfig:
    """How densities are computed; ``program`` is ``pw.x``, ``qepy``, ``auto`` or ``toy``, the width in Ry or Kelvin."""

    cutoff_ry: float
    density_cutoff_ry: float
    program: str = "auto"
    kmesh: tuple[int, int, int] = (1, 1, 1)
    kshift: tuple[int, int, int] = (0, 0, 0)
    smearing: Literal["fermi-dirac", "cold", "gaussian", "fixed"] = "cold"
    width_ry: float | None = None
    width_kelvin: float | None = None
    convergence_ry_per_electron: float = 2e-8
    max_iterations: int = 100
    kpoint: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for key in ("cutoff_ry", "density_cutoff_ry", "convergence_ry_per_electron", "max_iterations"):
            if not 0 < getattr(self, key) < math.inf:
                raise InputError(f"{key} = {getattr(self, key)}; expected a positive number; change [engine]")
        if self.density_cutoff_ry < self.cutoff_ry:
            raise InputError(
                f"density_cutoff_ry = {self.density_cutoff_ry} is below cutoff_ry = {self.cutoff_ry}; expected at "
                "least as much, as densities hold shorter waves than orbitals; two to three times as much is usual"
            )
        given = [w for w in (self.width_ry, self.width_kelvin) if w is not None]
        if any(not 0 < w < math.inf for w in given):
            raise InputError(
                f"a smearing width of {given[0]}; expected a positive number; use smearing = 'fixed' for none"
            )
        if len(given) != (0 if self.smearing == "fixed" else 1):
            raise InputError(
                f"smearing {self.smearing!r} with widths {given}; expected one of width_ry and width_kelvin "
                f"(none for 'fixed')"
            )

    def settings(self) -> DFTSettings:
        """The same in Hartree."""
        kelvin = 0.0 if self.width_kelvin is None else self.width_kelvin
        width = kelvin / KELVIN_PER_HARTREE if self.width_ry is None else self.width_ry * HARTREE_PER_RYDBERG
        return DFTSettings(
            cutoff=self.cutoff_ry * HARTREE_PER_RYDBERG,
            kmesh=self.kmesh,
            kshift=self.kshift,
            smearing=self.smearing,
            width=width,
            convergence=self.convergence_ry_per_electron * HARTREE_PER_RYDBERG,
            density_cutoff=self.density_cutoff_ry * HARTREE_PER_RYDBERG,
            max_iterations=self.max_iterations,
            kpoint=self.kpoint,
        )


@dataclass(frozen=True)
class PseudopotentialConfig:
    """A family that rhoscale writes, with valences, or a folder of UPF files."""

    family: Literal["gth-pbe"] | None = None
    valence: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if (self.family is None) == (self.folder is None):
            raise InputError('pseudopotentials need either family = "gth-pbe" (with valence) or a folder of UPF files')


@dataclass(frozen=True)
class StructureConfig:
    """A supercell of a crystal, or a structure file; elements on its sites; vacancies."""

    lattice: str | None = None
    elements: tuple[str, ...] = ()
    lattice_constant_bohr: float | None = None
    file: Path | None = None
    supercell: tuple[int, int, int] = (1, 1, 1)
    composition: Mapping[str, float] = field(default_factory=dict)
    vacancies: int = 0
    divacancy: bool = False

    def __post_init__(self) -> None:
        crystal_keys = (self.lattice, self.lattice_constant_bohr)
        if self.file is None and None in crystal_keys:
            raise InputError("a structure needs lattice, elements and lattice_constant_bohr, or a file")
        if self.file is not None and (crystal_keys != (None, None) or self.elements):
            raise InputError(f"a structure from {self.file} takes no lattice, elements or lattice_constant_bohr")
        if self.divacancy and self.vacancies:
            raise InputError("a structure has vacancies or a divacancy; got both")

    def perfect(self, seed: int) -> System:
        """The supercell without defects; an alloy's arrangement is drawn with the seed."""
        if self.file is not None:
            cell = read_system(self.file)
        else:
            assert self.lattice is not None
            assert self.lattice_constant_bohr is not None
            sites = self.elements or tuple(list(self.composition)[:1])
            cell = crystal(self.lattice, sites, self.lattice_constant_bohr)
        whole = supercell(cell, self.supercell)
        return (
            random_alloy(whole, self.composition, np.random.default_rng([seed, 0xA110])) if self.composition else whole
        )

    def build(self, seed: int, strain: Strain) -> System:
        """The start of a trajectory: defects drawn with the seed, then strained."""
        rng = np.random.default_rng([seed, 0xDEFEC7])
        system = self.perfect(seed)
        system = divacancy(system, rng) if self.divacancy else vacancies(system, self.vacancies, rng)
        return apply_strain(system, strain)


@dataclass(frozen=True)
class ThermostatConfig:
    """How structures are thermalised; ``forces`` is ``emt``, ``tersoff`` or ``package.module:Class``."""

    forces: str = "emt"
    timestep_fs: float = 1.0
    damping_fs: float = 100.0
    equilibration_fs: float = 4000.0
    spacing_fs: float = 1000.0
    snapshots_per_trajectory: int = 1

    def __post_init__(self) -> None:
        for key in ("timestep_fs", "damping_fs", "spacing_fs", "snapshots_per_trajectory"):
            if not 0 < getattr(self, key) < math.inf:
                raise InputError(f"{key} = {getattr(self, key)}; expected a positive number; change [thermostat]")
        if not 0 <= self.equilibration_fs < math.inf:
            raise InputError(
                f"equilibration_fs = {self.equilibration_fs}; expected a time of 0 or more; change [thermostat]"
            )


@dataclass(frozen=True)
class AbInitioConfig:
    """Dynamics with the engine's own forces after the classical equilibration."""

    duration_fs: float
    engine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchConfig:
    """Snapshots of one kind; temperatures and strains are taken in turn, each trajectory has the next seed."""

    name: str
    role: Literal["train", "validation", "test"]
    snapshots: int
    seed: int
    temperatures: tuple[float, ...]
    structure: StructureConfig
    strains: tuple[Strain, ...] = (0.0,)
    subsets: tuple[str, ...] = ()
    engine: Mapping[str, Any] = field(default_factory=dict)
    thermostat: Mapping[str, Any] = field(default_factory=dict)
    ab_initio: AbInitioConfig | None = None

    def __post_init__(self) -> None:
        if self.snapshots < 1 or not self.temperatures or not self.strains:
            raise InputError(f"batch {self.name!r} needs snapshots >= 1, a temperature and a strain; add them")
        if self.seed < 0:
            raise InputError(f"batch {self.name!r} has the seed {self.seed}; expected 0 or more; change it")
        if not all(0 < t < math.inf for t in self.temperatures):
            raise InputError(f"batch {self.name!r} has temperatures {self.temperatures}; expected positive Kelvin")
        if any(np.linalg.det(np.eye(3) + strain_matrix(s)) <= 0.1 for s in self.strains):
            raise InputError(
                f"batch {self.name!r} has strains {self.strains}, one of which leaves no volume; expected fractions "
                f"such as -0.04 for 4 % shorter; change it"
            )
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"batch name {self.name!r}: expected letters, digits, - and _")


@dataclass(frozen=True)
class GenerateConfig:
    """A data recipe."""

    name: str
    output: Path
    engine: Mapping[str, Any]
    pseudopotentials: PseudopotentialConfig
    batch: tuple[BatchConfig, ...]
    description: str = ""
    thermostat: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [b.name for b in self.batch]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice or not names:
            raise InputError(f"batches {names}: expected at least one, each with a name of its own")


@dataclass(frozen=True)
class Task:
    """One snapshot to make.

    Attributes:
        name: Batch, number, and a hash of all that decides the result.
        trajectory: What it shares with relatives: structure, temperature, seed and source of forces.
        run: Names the trajectory's files: as ``trajectory``, with waiting times and ab-initio settings.
        frame: Number of the snapshot in its trajectory.
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
        InputError: An engine or thermostat table of a batch has a key that is unknown.
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
    engine_values = _merged(config.engine, batch.engine)
    engine = config_from(engine_values, EngineConfig, f"{where}: engine")
    thermostat = config_from({**config.thermostat, **batch.thermostat}, ThermostatConfig, f"{where}: thermostat")
    dynamics = None
    if batch.ab_initio is not None:
        values = _merged(engine_values, batch.ab_initio.engine)
        dynamics = config_from(values, EngineConfig, f"{where}: ab_initio.engine")
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
            )
        )
    return tasks


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
    values["kmesh"], values["kshift"] = list(engine.kmesh), list(engine.kshift)
    if engine.program in ("auto", "pw.x", "qepy"):  # one code in two shapes: either may go on with the other's data
        values.pop("program", None)
    return values


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]


def estimated_core_seconds(task: Task, n_atoms: int) -> float:
    """A rough cost of the label, for progress and planning only.

    Six seconds a k-point for 32 atoms at 25 Ry (measured, aluminium), growing as atoms^2.5 and cutoff^1.5.
    """
    kpoints = (
        0.8 if task.engine.settings().gamma_only else float(np.ceil(np.prod(task.engine.kmesh) / 2))
    )  # real orbitals; time reversal
    size = (n_atoms / 32) ** 2.5 * (task.engine.cutoff_ry / 25) ** 1.5
    return float(6.0 * kpoints * size)
