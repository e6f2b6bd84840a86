"""What a build needs, checked before anything is computed: settings, shape of the supercell, trajectories of blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoscale.ase_bridge import read_system, to_atoms
from rhoscale.errors import InputError
from rhoscale.formats.structure_file import refuse_unwritable
from rhoscale.formats.whole_file import refuse_existing
from rhoscale.recipes.block_runs import at_a_time
from rhoscale.recipes.thermal_blocks import BlockRun, Dynamics, default_forces, force_seconds
from rhoscale.sampling.forces import COMPILED, classical_calculator
from rhoscale.sampling.thermostat import potential_energy
from rhoscale.structures.alloy import random_alloy
from rhoscale.structures.crystal import crystal, sublattices, supercell
from rhoscale.structures.distances import refuse_close_atoms
from rhoscale.structures.thermal_tiling import Repeats, windows
from rhoscale.structures.vacancy import vacancies
from rhoscale.system import System

SEAM_CELLS = 2
SETTLING_FS = 100.0  # the energy of seams is that of the dynamics after 60
SETTLING_DAMPING_FS = 50.0
MOST_SETTLED = 250_000  # sites that settle unless asked otherwise: seven kilobytes of near pairs each
BYTES_PER_SITE = {".npz": 32, ".xyz": 54, ".extxyz": 54}


@dataclass(frozen=True)
class BuildConfig:
    """A thermal supercell.

    Attributes:
        lattice: Of the cubic crystals that :func:`crystal` knows; None with a structure.
        lattice_constant_bohr: Edge of the conventional cell; None with a structure.
        temperature: Kelvin.
        output: ``NAME.xyz`` or ``NAME.npz``; ``OUTPUT.json`` beside it says where it comes from.
        elements: One for each sublattice; or
        alloy: Fraction of each element on the sites of the lattice, at random.
        structure: Or any file with the cell of a perfect crystal, all atoms on their sites.
        supercell: Cells along each axis; or
        atoms: About how many sites, in about a cube.
        blocks: Trajectories that the supercell is tiled from, if it is larger than one.
        block_atoms: Least number of atoms of a block.
        vacancies: Fraction of the sites without an atom.
        seed: Of momenta, decoration, vacancies and places.
        forces: Classical potential; by default the one that knows the elements.
        equilibration_fs, timestep_fs, damping_fs: Dynamics of a block.
        settling_fs: Dynamics of the whole supercell after tiling, which seams, vacancies and exchanged elements need to
            come to equilibrium; by default 100 up to 250,000 sites with a compiled potential, and none otherwise.
        folder: Where blocks are kept; by default ``thermal-blocks`` beside the output.
        force: Replace an existing output.
    """

    lattice: str | None
    lattice_constant_bohr: float | None
    temperature: float
    output: Path
    elements: tuple[str, ...] = ()
    alloy: Mapping[str, float] = field(default_factory=dict)
    structure: Path | None = None
    supercell: Repeats | None = None
    atoms: int | None = None
    blocks: int = 4
    block_atoms: int = 2000
    vacancies: float = 0.0
    seed: int = 0
    forces: str | None = None
    equilibration_fs: float = 1000.0
    timestep_fs: float = 1.0
    damping_fs: float = 100.0
    settling_fs: float | None = None
    folder: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.structure is not None:
            if self.elements or (self.lattice, self.lattice_constant_bohr) != (None, None):
                raise InputError(
                    f"a structure from {self.structure} with lattice {self.lattice}, constant "
                    f"{self.lattice_constant_bohr} and elements {self.elements}; expected the file alone, or with an "
                    f"alloy on its sites; leave these out"
                )
        elif None in (self.lattice, self.lattice_constant_bohr):
            raise InputError(
                f"lattice {self.lattice} and constant {self.lattice_constant_bohr}; expected both, or a structure file "
                f"with the crystal's cell; add what is missing"
            )
        elif bool(self.elements) == bool(self.alloy):
            raise InputError(
                f"elements {self.elements} and alloy {dict(self.alloy)}; expected one of them: elements for a pure or "
                f"ordered crystal, alloy for a random one"
            )
        if (self.supercell is None) == (self.atoms is None):
            raise InputError(f"supercell {self.supercell} and atoms {self.atoms}; expected one of them; leave one out")
        for name in ("temperature", "equilibration_fs", "timestep_fs", "damping_fs", "blocks", "block_atoms"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected a positive number; change it")
        counts = {"atoms": (self.atoms,), "supercell": self.supercell}
        if any(n is not None and n < 1 for numbers in counts.values() for n in numbers or ()):
            raise InputError(
                f"atoms {self.atoms} and supercell {self.supercell}; expected 1 or more; give the size that is wanted"
            )
        if self.settling_fs is not None and not 0.0 <= self.settling_fs < math.inf:
            raise InputError(f"settling_fs is {self.settling_fs}; expected 0 for none, or a positive number; change it")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}; expected 0 or more; choose another")
        if not 0.0 <= self.vacancies < 1.0:
            raise InputError(
                f"vacancies {self.vacancies}; expected a fraction of the sites from 0 to below 1; change it"
            )

    @property
    def sidecar(self) -> Path:
        """File that says where the output comes from."""
        return self.output.with_name(self.output.name + ".json")


@dataclass(frozen=True)
class BuildPlan:
    """What a build will do.

    Attributes:
        config: What was asked for.
        cell: The conventional cell, or that of the structure file.
        repeats: Cells of the supercell along each axis.
        block: Cells of a block.
        runs: The trajectories.
    """

    config: BuildConfig
    cell: System
    repeats: Repeats
    block: Repeats
    runs: tuple[BlockRun, ...]

    @property
    def crystal(self) -> str:
        """The crystal in a word: a lattice or a file."""
        return str(self.config.lattice or self.config.structure)

    @property
    def edge(self) -> float:
        """Lattice constant, or that of an fcc crystal as dense as the cell of a file, Bohr."""
        as_fcc = float(np.cbrt(4 * self.cell.volume / len(self.cell)))
        return self.config.lattice_constant_bohr or as_fcc

    @property
    def sites(self) -> int:
        """Sites of the supercell."""
        return len(self.cell) * int(np.prod(self.repeats))

    @cached_property
    def vacancies(self) -> int:
        """Sites that stay empty."""
        return round(self.config.vacancies * self.sites)

    @property
    def single(self) -> bool:
        """Whether one trajectory makes the whole supercell, vacancies and all."""
        return self.repeats == self.block

    @property
    def open(self) -> tuple[BlockRun, ...]:
        """Trajectories still to run."""
        return tuple(run for run in self.runs if not run.done)

    @cached_property
    def settling(self) -> Dynamics | None:
        """Dynamics of the tiled supercell, or None."""
        first, length = self.runs[0].dynamics, self.config.settling_fs
        if length is None:
            length = SETTLING_FS if first.forces in COMPILED and self.sites <= MOST_SETTLED else 0.0
        if self.single or round(length / first.timestep_fs) == 0:
            return None
        return replace(first, equilibration_fs=length, damping_fs=SETTLING_DAMPING_FS)

    def estimated_seconds(self) -> float:
        """Of the dynamics still to run, blocks and settling; measures the forces once."""
        settling = 0 if self.settling is None else self.settling.steps * self.sites / len(self.runs[0].start)
        in_turn = math.ceil(len(self.open) / at_a_time(len(self.open))) * self.runs[0].dynamics.steps
        return force_seconds(self.runs[0]) * (in_turn + settling) if in_turn + settling else 0.0

    def __str__(self) -> str:
        config, first = self.config, self.runs[0]
        size = self.sites * BYTES_PER_SITE[config.output.suffix.lower()] / 1e6
        shape = " x ".join(map(str, self.repeats))
        block = " x ".join(map(str, self.block))
        what = "dynamics of the whole cell" if self.single else f"tiled from {len(self.runs)} blocks of {block} cells"
        settling = "none" if self.settling is None else f"{self.settling.steps} steps of the whole supercell"
        return "\n".join(
            (
                f"structure     {self.sites - self.vacancies} atoms on {shape} cells of {self.crystal}, {what}",
                f"vacancies     {self.vacancies} of {self.sites} sites",
                f"dynamics      {len(first.start)} atoms, {config.temperature:g} K, {first.dynamics.steps} steps of "
                f"{config.timestep_fs:g} fs, forces {first.dynamics.forces}",
                f"settling      {settling}",
                f"blocks        {len(self.runs) - len(self.open)} of {len(self.runs)} are there in {first.folder}",
                f"file          {config.output}, about {size:.3g} MB",
            )
        )


def plan_build(config: BuildConfig) -> BuildPlan:
    """Check everything that a build needs; nothing is computed or written.

    Raises:
        InputError: A setting cannot be used.
        StructureError: The crystal or the alloy cannot be, or the potential does not know an element.
        OutputError: The output exists already or has no known format.
    """
    refuse_unwritable(config.output)
    for path in (config.output, config.sidecar):
        refuse_existing(path, force=config.force)
    cell = _cell(config)
    refuse_close_atoms(cell)
    lengths = np.linalg.norm(cell.cell, axis=1)
    repeats = config.supercell or _about_a_cube((config.atoms or 0) / len(cell), lengths)
    sites = len(cell) * int(np.prod(repeats))
    # Dynamics of the whole is the better structure; it is taken where it costs no more than the blocks would.
    single = sites <= config.blocks * config.block_atoms
    block = repeats if single else block_shape(repeats, len(cell), config.block_atoms, lengths)
    elements = tuple(config.alloy) or cell.elements
    dynamics = Dynamics(
        config.forces or default_forces(elements),
        config.temperature,
        config.equilibration_fs,
        config.timestep_fs,
        config.damping_fs,
    )
    for element in elements:  # of each a pure crystal, which is small
        pure = System(cell.cell, cell.positions, np.full(len(cell), element))
        potential_energy(classical_calculator(dynamics.forces), to_atoms(pure))
    for axis, length in enumerate(block):
        windows(repeats[axis], length, SEAM_CELLS)
    seeds = [config.seed] if single else np.random.SeedSequence([config.seed, 0xB10C]).generate_state(config.blocks)
    folder = config.folder or config.output.parent / "thermal-blocks"
    full, empty = supercell(cell, block), config.vacancies if single else 0.0
    runs = []
    for seed in map(int, seeds):
        perfect = _decorated(full, config.alloy, seed) if config.alloy else cell
        # Vacancies first, so that the composition is that of the atoms which are there
        start = vacancies(full, round(empty * len(full)), np.random.default_rng(seed))
        start = _decorated(start, config.alloy, seed) if config.alloy else start
        runs.append(BlockRun(start, perfect, dynamics, seed, folder))
    return BuildPlan(config, cell, repeats, block, tuple(runs))


def _cell(config: BuildConfig) -> System:
    if config.structure is not None:
        return read_system(config.structure)
    assert config.lattice is not None
    assert config.lattice_constant_bohr is not None
    elements = config.elements or (next(iter(config.alloy)),) * sublattices(config.lattice)
    return crystal(config.lattice, elements, config.lattice_constant_bohr)


def _about_a_cube(cells: float, lengths: NDArray[np.float64]) -> Repeats:
    edge = (cells * np.prod(lengths)) ** (1 / 3)
    x, y, z = (max(1, round(float(edge / length))) for length in lengths)
    return x, y, z


def block_shape(repeats: Repeats, sites: int, least: int, lengths: Sequence[float] | NDArray[np.float64]) -> Repeats:
    """The most cubic block with at least so many atoms that is nowhere longer than the supercell.

    Args:
        repeats: Cells of the supercell along each axis.
        sites: Atoms of a cell.
        least: Atoms of the block.
        lengths: Of the cell's vectors.
    """
    block = [1, 1, 1]
    while sites * int(np.prod(block)) < least and block != list(repeats):
        block[min((a for a in range(3) if block[a] < repeats[a]), key=lambda a: block[a] * lengths[a])] += 1
    return block[0], block[1], block[2]


def _decorated(system: System, alloy: Mapping[str, float], seed: int) -> System:
    return random_alloy(system, alloy, np.random.default_rng([seed, 0xA110]))
