"""Blocks of molecular dynamics that thermal supercells are made of: computed once, kept as structure files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.emt import parameters as emt_elements

from rhoscale.errors import FormatError, InputError
from rhoscale.formats.structure_file import write_structure_file
from rhoscale.formats.structure_npz import read_structure_npz
from rhoscale.recipes.config import plain
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.schedule import ASE_VERSION, VERSION, Schedule, Stage, thermalise
from rhoscale.sampling.thermostat import ScaledCalculator, Thermostat, equilibrium_scale
from rhoscale.system import System

CHECKPOINT_EVERY = 50  # steps
TERSOFF = "rhoscale.sampling.tersoff:Tersoff1989"  # compiled; "tersoff" is ASE's, the same potential
TERSOFF_ELEMENTS = {"C", "Si", "Ge"}


@dataclass(frozen=True)
class Dynamics:
    """How a block is thermalised; ``forces`` as in :func:`classical_calculator`."""

    forces: str
    temperature: float
    equilibration_fs: float
    timestep_fs: float
    damping_fs: float

    @property
    def steps(self) -> int:
        """Steps of one block."""
        return round(self.equilibration_fs / self.timestep_fs)


@dataclass(frozen=True)
class BlockRun:
    """One trajectory.

    Attributes:
        start: Atoms on their sites.
        perfect: Crystal without defects, which the potential's lengths are scaled to.
        dynamics: How it goes.
        seed: Of the momenta.
        folder: Where its last snapshot is kept.
    """

    start: System
    perfect: System
    dynamics: Dynamics
    seed: int
    folder: Path

    @property
    def file(self) -> Path:
        """The block's file; its name changes with everything that changes the block."""
        return self.folder / f"block-{self._key()}.npz"

    @property
    def done(self) -> bool:
        """Whether the block is there."""
        return self.file.exists()

    def _key(self) -> str:
        crystals = [self.start.content_hash(), self.perfect.content_hash()]
        settings = json.dumps([*crystals, plain(self.dynamics), self.seed])
        return hashlib.sha256(settings.encode()).hexdigest()[:12]


def default_forces(elements: tuple[str, ...]) -> str:
    """The classical potential that knows the elements.

    Raises:
        InputError: None does.
    """
    if set(elements) <= set(emt_elements):
        return "emt"
    if set(elements) <= TERSOFF_ELEMENTS:
        return TERSOFF
    raise InputError(
        f"no classical potential here knows {', '.join(elements)} together; expected elements of EMT "
        f"({', '.join(sorted(emt_elements))}) or of Tersoff (C, Si, Ge); name an ASE calculator: "
        f"--forces package.module:Class"
    )


def force_seconds(run: BlockRun) -> float:
    """Measure how long one evaluation of the forces takes on a block, seconds."""
    from rhoscale.ase_bridge import to_atoms

    atoms = to_atoms(run.start)
    atoms.calc = classical_calculator(run.dynamics.forces)
    atoms.get_forces()
    atoms.rattle(0.01, seed=0)
    start = time.perf_counter()
    atoms.get_forces()
    return time.perf_counter() - start


def thermal_block(run: BlockRun, on_step: Callable[[int], None] | None = None) -> tuple[System, dict[str, Any]]:
    """Run the dynamics, or read the block that an earlier run left; a killed run goes on where it was.

    Returns:
        The snapshot, and what is known about it.

    Raises:
        FormatError: The file of the block is damaged.
        StructureError: The potential does not fit the crystal.
        OutputError: The folder cannot be written.
    """
    if run.done:
        return read_structure_npz(run.file), _record(run.file)
    run.folder.mkdir(parents=True, exist_ok=True)
    potential = classical_calculator(run.dynamics.forces)
    scale = equilibrium_scale(potential, run.perfect)
    thermostat = Thermostat(run.dynamics.temperature, run.dynamics.timestep_fs, run.dynamics.damping_fs)
    stage = Stage(ScaledCalculator(potential, scale), Schedule(run.dynamics.equilibration_fs), CHECKPOINT_EVERY)
    unfinished = run.file.with_suffix(".running")
    (thermal,) = thermalise(run.start, [stage], thermostat, run.seed, checkpoint=unfinished, on_step=on_step)
    record = {
        **plain(run.dynamics),
        "seed": run.seed,
        "length_scale_of_forces": scale,
        "rhoscale": VERSION,
        "ase": ASE_VERSION,
        "seconds": round(thermal.stage_seconds, 1),
        "mean_kinetic_temperature": thermal.mean_temperature,
        "rms_displacement_bohr": thermal.root_mean_square_displacement,
        "start": run.start.content_hash(),
        "content": thermal.system.content_hash(),
    }
    write_structure_file(run.file, thermal.system, comment=json.dumps(record), force=True)
    unfinished.with_name(f"{unfinished.name}-0.npz").unlink(missing_ok=True)
    return thermal.system, record


def _record(file: Path) -> dict[str, Any]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return dict(json.loads(str(archive["comment"])))
    except (ValueError, KeyError, OSError) as error:
        raise FormatError(f"{file} is no block of rhoscale build ({error}); delete it, it is made again") from error
