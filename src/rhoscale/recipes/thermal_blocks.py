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
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses, atomic_numbers

from rhoscale.errors import FormatError, InputError
from rhoscale.formats.structure_file import write_structure_file
from rhoscale.formats.structure_npz import read_structure_npz
from rhoscale.recipes.config import plain
from rhoscale.sampling.emt import METALS
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.langevin import Langevin
from rhoscale.sampling.momenta import draw_momenta
from rhoscale.sampling.schedule import ASE_VERSION, VERSION
from rhoscale.sampling.tersoff import PARAMETERS as TERSOFF
from rhoscale.sampling.thermostat import (
    Motion,
    ScaledCalculator,
    at_rest,
    equilibrium_scale,
    run_dynamics,
)
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM

CHECKPOINT_EVERY = 50  # steps
RECORDS = 20  # times at which the temperature is noted
THERMOSTAT = "Langevin"


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
        start: Atoms on their sites, or where they are already.
        perfect: Crystal without defects, which the potential's lengths are scaled to.
        dynamics: How it goes.
        seed: Of the momenta.
        folder: Where its last snapshot is kept.
        warm: Whether the atoms are displaced from the first. On their sites they get twice the momenta, half of which
            goes into displacements.
    """

    start: System
    perfect: System
    dynamics: Dynamics
    seed: int
    folder: Path
    warm: bool = False

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
        settings = json.dumps([*crystals, THERMOSTAT, plain(self.dynamics), self.seed, self.warm])
        return hashlib.sha256(settings.encode()).hexdigest()[:12]


def default_forces(elements: tuple[str, ...]) -> str:
    """The classical potential that knows the elements.

    Raises:
        InputError: None does.
    """
    if set(elements) <= set(METALS):
        return "emt"
    if set(elements) <= set(TERSOFF):
        return "tersoff"
    raise InputError(
        f"no classical potential here knows {', '.join(elements)} together; expected elements of EMT "
        f"({', '.join(METALS)}) or of Tersoff ({', '.join(TERSOFF)}); name an ASE calculator: "
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
    unfinished = run.file.with_suffix(".running.npz")
    motion = _motion(run, ScaledCalculator(potential, scale), unfinished, on_step)
    moved = System(run.start.cell, motion.positions * BOHR_PER_ANGSTROM, run.start.species)
    snapshot = System(moved.cell, moved.scaled_positions @ moved.cell, moved.species)
    travelled = moved.positions - run.start.positions
    record = {
        "thermostat": THERMOSTAT,
        **plain(run.dynamics),
        "seed": run.seed,
        "length_scale_of_forces": scale,
        "rhoscale": VERSION,
        "ase": ASE_VERSION,
        "seconds": round(motion.seconds, 1),
        "mean_kinetic_temperature": float(motion.kinetic[len(motion.kinetic) // 2 :].mean()),
        "rms_displacement_bohr": float(np.sqrt(((travelled - travelled.mean(axis=0)) ** 2).sum(axis=1).mean())),
        "start": run.start.content_hash(),
        "content": snapshot.content_hash(),
    }
    write_structure_file(run.file, snapshot, comment=json.dumps(record), force=True)
    unfinished.unlink(missing_ok=True)
    return snapshot, record


def _motion(run: BlockRun, forces: Calculator, unfinished: Path, on_step: Callable[[int], None] | None) -> Motion:
    """The end of a trajectory that starts like those of :func:`thermalise`, but with a bath for every vibration.

    Under a Nose-Hoover chain crystals that start on their sites swing in step: at one picosecond their potential energy
    is one to two percent above its mean, in all of them.
    """
    dynamics = run.dynamics
    thermostat = Langevin(dynamics.temperature, dynamics.timestep_fs, dynamics.damping_fs, run.seed)
    masses = atomic_masses[[atomic_numbers[s] for s in run.start.species]]
    factor = 1.0 if run.warm else 2.0
    momenta = draw_momenta(masses, factor * dynamics.temperature, np.random.default_rng([run.seed, 0x7E45]))
    return run_dynamics(
        Motion.read(unfinished) if unfinished.exists() else at_rest(run.start, momenta),
        run.start,
        forces,
        thermostat,
        steps=dynamics.steps,
        record_every=dynamics.steps if run.warm else max(1, dynamics.steps // RECORDS),
        checkpoint=unfinished,
        checkpoint_every=CHECKPOINT_EVERY,
        on_step=on_step,
    )


def _record(file: Path) -> dict[str, Any]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return dict(json.loads(str(archive["comment"])))
    except (ValueError, KeyError, OSError) as error:
        raise FormatError(f"{file} is no block of rhoscale build ({error}); delete it, it is made again") from error
