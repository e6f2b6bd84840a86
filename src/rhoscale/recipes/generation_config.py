"""What a data recipe says: engine, pseudopotentials, structures, thermostat, batches; checked as it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rhoscale.ase_bridge import read_system
from rhoscale.engines.interface import DFTSettings
from rhoscale.errors import InputError
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
    kshift: tuple[float, float, float] = (0, 0, 0)
    smearing: Literal["fermi-dirac", "cold", "gaussian", "fixed"] = "cold"
    width_ry: float | None = None
    width_kelvin: float | None = None
    convergence_ry_per_electron: float = 2e-8
    max_iterations: int = 100

    def __post_init__(self) -> None:
        for key in ("cutoff_ry", "density_cutoff_ry", "convergence_ry_per_electron", "max_iterations"):
            if not 0 < getattr(self, key) < math.inf:
                raise InputError(f"{key} = {getattr(self, key)}; expected a positive number; change it")
        if self.density_cutoff_ry < self.cutoff_ry:
            raise InputError(
                f"density_cutoff_ry = {self.density_cutoff_ry} is below cutoff_ry = {self.cutoff_ry}; expected at "
                "least as much, as densities hold shorter waves than orbitals; two to three times as much is usual"
            )
        self._check_width()
        self.settings()  # checks the k-points

    def _check_width(self) -> None:
        both = {"width_ry": self.width_ry, "width_kelvin": self.width_kelvin}
        given = {key: width for key, width in both.items() if width is not None}
        for key, width in given.items():
            if not 0 < width < math.inf:
                raise InputError(
                    f"{key} = {width}; expected a positive number; change it, or take smearing = 'fixed' and no width "
                    f"for an insulator"
                )
        if len(given) != (0 if self.smearing == "fixed" else 1):
            raise InputError(
                f"smearing = {self.smearing!r} with {given or 'no width'}; expected one of width_ry and width_kelvin "
                f"(none for 'fixed'); give the one, leave the other out"
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
        )


@dataclass(frozen=True)
class PseudopotentialConfig:
    """A family that rhoscale writes, with valences, or a folder of UPF files."""

    family: Literal["gth-pbe"] | None = None
    valence: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        if (self.family is None) == (self.folder is None):
            raise InputError(
                f"pseudopotentials have family = {self.family!r} and folder = {self.folder}; expected one of them: "
                f'family = "gth-pbe" (with valence), or a folder of UPF files; give one, not both'
            )


@dataclass(frozen=True)
class StructureConfig:
    """A supercell of a crystal's conventional (or primitive) cell, or a structure file; elements, vacancies."""

    lattice: str | None = None
    elements: tuple[str, ...] = ()
    lattice_constant_bohr: float | None = None
    file: Path | None = None
    primitive: bool = False
    supercell: tuple[int, int, int] = (1, 1, 1)
    composition: Mapping[str, float] = field(default_factory=dict)
    vacancies: int = 0
    divacancy: bool = False

    def __post_init__(self) -> None:
        crystal_keys = (self.lattice, self.lattice_constant_bohr)
        if self.file is None and None in crystal_keys:
            raise InputError(
                f"a structure of lattice = {self.lattice!r} and lattice_constant_bohr = {self.lattice_constant_bohr}; "
                f"expected both and elements, or a file; add what is missing"
            )
        if self.file is not None and (crystal_keys != (None, None) or self.elements or self.primitive):
            raise InputError(
                f"a structure from {self.file} with lattice, elements, lattice_constant_bohr or primitive; expected "
                f"the file alone; leave these out"
            )
        if self.divacancy and self.vacancies:
            raise InputError(
                f"a structure with vacancies = {self.vacancies} and a divacancy; expected one of them; leave one out"
            )

    def cell(self) -> System:
        """The cell that the supercell repeats."""
        if self.file is not None:
            return read_system(self.file)
        assert self.lattice is not None
        assert self.lattice_constant_bohr is not None
        sites = self.elements or tuple(list(self.composition)[:1])
        return crystal(self.lattice, sites, self.lattice_constant_bohr, primitive=self.primitive)

    def perfect(self, seed: int) -> System:
        """The supercell without defects; an alloy's arrangement is drawn with the seed."""
        whole = supercell(self.cell(), self.supercell)
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
    """How structures are thermalised; ``forces`` is ``emt``, ``tersoff`` or ``package.module:Class``.

    With ``none`` the engine's own dynamics starts on the sites. With ``melt_kelvin`` they spend the time of
    equilibration at that temperature before they come to their own.
    """

    forces: str = "emt"
    timestep_fs: float = 1.0
    damping_fs: float = 100.0
    equilibration_fs: float = 4000.0
    spacing_fs: float = 1000.0
    snapshots_per_trajectory: int = 1
    melt_kelvin: float | None = None

    def __post_init__(self) -> None:
        for key in ("timestep_fs", "damping_fs", "spacing_fs", "snapshots_per_trajectory"):
            if not 0 < getattr(self, key) < math.inf:
                raise InputError(f"{key} = {getattr(self, key)}; expected a positive number; change it")
        if self.melt_kelvin is not None and not 0 < self.melt_kelvin < math.inf:
            raise InputError(f"melt_kelvin = {self.melt_kelvin}; expected a positive temperature; change it")
        if not 0 <= self.equilibration_fs < math.inf:
            raise InputError(f"equilibration_fs = {self.equilibration_fs}; expected a time of 0 or more; change it")


@dataclass(frozen=True)
class AbInitioConfig:
    """Dynamics with the engine's own forces after the classical equilibration."""

    duration_fs: float
    engine: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.duration_fs < math.inf:
            raise InputError(f"duration_fs = {self.duration_fs}; expected a positive time; change it")


@dataclass(frozen=True)
class BatchConfig:
    """Snapshots of one kind; temperatures and strains are taken in turn, each trajectory has the next seed.

    ``engine`` and ``thermostat`` hold what differs from the recipe's tables, ``kmesh_correction`` what differs from the
    engine of the label in runs that correct its density: more k-points, a lower cutoff
    (``recipes/kmesh_correction.py``).
    """

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
    kmesh_correction: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.snapshots < 1 or not self.temperatures or not self.strains:
            raise InputError(
                f"batch {self.name!r} has snapshots = {self.snapshots}, {len(self.temperatures)} temperatures and "
                f"{len(self.strains)} strains; expected one or more of each; add them"
            )
        if self.seed < 0:
            raise InputError(f"batch {self.name!r} has the seed {self.seed}; expected 0 or more; change it")
        if not all(0 < t < math.inf for t in self.temperatures):
            raise InputError(
                f"batch {self.name!r} has temperatures {list(self.temperatures)}; expected positive Kelvin; change them"
            )
        for strain in self.strains:
            strain_matrix(strain)
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"batch name {self.name!r}; expected letters, digits, - and _; rename it")


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
            raise InputError(f"batches {names}; expected at least one, each with a name of its own; rename or add one")
