"""``energy``: a structure with a density or a model into a Harris-Foulkes energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.engines.interface import DFTSettings, Energies, Engine
from rhoscale.errors import InputError
from rhoscale.postprocess.energy_spread import EnergySpread
from rhoscale.prediction.refusals import refuse_overlaps
from rhoscale.prediction.verdict import Verdict
from rhoscale.recipes.energy_cost import GIB, EnergyCost, energy_cost, refuse_over_budget
from rhoscale.recipes.energy_fields import ModelFields
from rhoscale.recipes.energy_given import (
    SNAPSHOT,
    GivenDensity,
    read_given,
    refuse_density_of_another,
    refuse_other_electrons,
)
from rhoscale.recipes.energy_runs import energies_to_dict
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings
from rhoscale.recipes.predict import read_structure
from rhoscale.recipes.public import Model, load_model
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System
from rhoscale.units import RYDBERG_PER_HARTREE

BUDGET = 60.0  # core-minutes
MEMORY = 4 * GIB


@dataclass(frozen=True)
class EnergyConfig:
    """One energy.

    Attributes:
        structure: File that ASE reads, or a density file or snapshot whose structure is meant.
        density: Density file, snapshot, ``.save`` folder or Zarr store of that structure.
        model: Or name or folder of the model that predicts one.
        options: Cutoff, k-mesh, smearing, pseudopotentials, engine.
        draws: Weight draws of the model for an error bar; 0 for none.
        seed: Of the draws.
        budget: Core-minutes that may be estimated for all runs.
        memory: Bytes that one run may be estimated to need.
    """

    structure: Path
    density: Path | None = None
    model: str | None = None
    options: EnergyOptions = field(default_factory=EnergyOptions)
    draws: int = 0
    seed: int = 0
    budget: float = BUDGET
    memory: float = MEMORY

    def __post_init__(self) -> None:
        if (self.density is None) == (self.model is None):
            given = "neither is" if self.density is None else "both are"
            raise InputError(f"a density file or a model gives the density and {given} given; expected one; choose one")
        if self.draws and self.model is None:
            raise InputError(f"{self.draws} draws of a density file; expected a model for weight draws; leave them out")
        if self.draws < 0 or self.draws == 1:
            raise InputError(f"{self.draws} draws have no spread; expected 0 or at least 2; ask for 10 or more")
        if self.draws and self.seed < 0:
            raise InputError(f"seed {self.seed} of the draws; expected 0 or more; change --seed")
        for name, value, unit in (("budget", self.budget, "core-minutes"), ("memory", self.memory / GIB, "GiB")):
            if not value > 0:
                raise InputError(f"a {name} of {value:g} {unit}; expected a positive number; change --{name}")


@dataclass(frozen=True)
class PreparedEnergy:
    """An energy that may be computed: everything was read and checked.

    Attributes:
        system: Cell and atoms.
        source: A density, or the model that predicts one.
        name: What the density comes from, in words.
        engine: Computes it.
        settings_from: Where cutoff, k-mesh and smearing come from, in words.
        cost: Estimate for all runs.
        draws: Weight draws for an error bar.
        seed: Of the draws.
        note: What was assumed while reading.
    """

    system: System
    source: GivenDensity | Model
    name: str
    engine: Engine
    settings_from: str
    cost: EnergyCost
    draws: int = 0
    seed: int = 0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "formula": self.system.formula,
            "atoms": len(self.system),
            "volume_bohr3": self.system.volume,
            "electrons": self.system.electrons(self.engine.pseudopotentials),
            "density": self.name,
            "settings": settings_to_dict(self.engine.settings),
            "settings_from": self.settings_from,
            "pseudopotentials": {e: self.engine.pseudopotentials[e].to_dict() for e in self.system.elements},
            "estimate": self.cost.to_dict(),
            "draws": self.draws,
            "seed": self.seed,
            "note": self.note,
        }


@dataclass(frozen=True)
class EnergyReport:
    """An energy and what to think of it.

    Attributes:
        prepared: What was asked.
        found: Energies of the rescaled density; ``electrons_given`` is the count before rescaling.
        verdict: Whether the structure is inside the model's range; None for a density file.
        spread: Of the energies of weight draws; None without.
    """

    prepared: PreparedEnergy
    found: Energies
    verdict: Verdict | None
    spread: EnergySpread | None

    @property
    def per_atom(self) -> float:
        """Total free energy with the estimate of its second order, Hartree per atom."""
        return self.found.corrected / len(self.prepared.system)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, eigenvalues included."""
        atoms = len(self.prepared.system)
        verdict = None if self.verdict is None else {**self.verdict.to_dict(), "words": str(self.verdict)}
        return {
            **self.prepared.to_dict(),
            **energies_to_dict(self.found),
            "corrected_hartree": self.found.corrected,
            "corrected_per_atom_hartree": self.per_atom,
            "corrected_deviation_hartree": self.found.deviation,
            "per_atom_hartree": {name: value / atoms for name, value in self.found.energies.items()},
            "verdict": verdict,
            "spread": None if self.spread is None else self.spread.to_dict(),
        }


def prepare_energy(config: EnergyConfig) -> PreparedEnergy:
    """Read and check everything that an energy needs, and estimate its cost; nothing is computed.

    Raises:
        InputError: Options contradict each other, or the density is of another structure or electron count.
        FormatError: A file cannot be read.
        StructureError: The structure is not a bulk cell, or atoms overlap.
        ModelError: There is no such model, it does not know an element, or pseudopotentials differ.
        EngineError: No DFT program is usable here.
    """
    system = read_structure(config.structure)
    if config.model is not None:
        model = load_model(config.model)
        ModelFields.refuse(system, model.trained)
        return _prepared(config, system, model, f'model "{model.name}"', model.trained.pseudopotentials)
    assert config.density is not None
    refuse_overlaps(system)
    given = read_given(config.density, config.memory)
    refuse_density_of_another(given, system, config.density, config.structure)
    prepared = _prepared(config, system, given, str(config.density), given.pseudopotentials)
    refuse_other_electrons(given.density.electrons, system.electrons(prepared.engine.pseudopotentials), config.density)
    return prepared


def prepare_structure(
    system: System, model: Model, options: EnergyOptions, *, draws: int = 0, seed: int = 0
) -> PreparedEnergy:
    """The same for a structure and a model in memory.

    Raises:
        ModelError: The model does not know an element, or pseudopotentials differ.
        StructureError: Atoms overlap.
        EngineError: No DFT program is usable here.
    """
    ModelFields.refuse(system, model.trained)
    name, known = f'model "{model.name}"', model.trained.pseudopotentials
    engine = options.make(system, options.settings(system), known, model.name)
    cost = energy_cost(system, engine.settings, system.electrons(known), 1)
    return PreparedEnergy(system, model, name, engine, "options and defaults", cost, draws, seed)


def _prepared(
    config: EnergyConfig,
    system: System,
    source: GivenDensity | Model,
    name: str,
    known: Mapping[str, PseudopotentialIdentity] | None,
) -> PreparedEnergy:
    label = _label(config)
    settings = config.options.settings(system, label)
    engine = config.options.make(system, settings, known, source.name if isinstance(source, Model) else name)
    cost = energy_cost(system, settings, system.electrons(engine.pseudopotentials), 1)
    where = "options and defaults" if label is None else "the snapshot's label, but for options"
    note = source.note if isinstance(source, GivenDensity) else ""
    return PreparedEnergy(system, source, name, engine, where, cost, config.draws, config.seed, note)


def compute_energy(prepared: PreparedEnergy, report: Callable[[str], None] = lambda _: None) -> EnergyReport:
    """Compute an energy, and how far weight draws spread it.

    Args:
        prepared: From :func:`prepare_energy`.
        report: Told what is done next.

    Raises:
        EngineError: The program failed.
        EmptyDensityError: The predicted density integrates to zero or less.
    """
    system, engine, source = prepared.system, prepared.engine, prepared.source
    if isinstance(source, GivenDensity):
        report(f"one diagonalisation in the potential of {prepared.name}")
        return EnergyReport(prepared, engine.energies_from_density(system, source.density), None, None)
    fields = ModelFields.of(system, source.trained)
    verdict = fields.verdict
    report(f"one diagonalisation in the potential that {prepared.name} predicts; {verdict}")
    found = engine.energies_from_density(system, FourierDensity.from_density(fields.prediction.raw, np.inf))
    spread = None
    if prepared.draws:
        report(f"{prepared.draws} draws of the weights")
        drawn = fields.drawn_energies(found, prepared.draws, prepared.seed)
        spread = EnergySpread.of(*zip(*drawn, strict=True))
    return EnergyReport(prepared, found, verdict, spread)


def energy(config: EnergyConfig, report: Callable[[str], None] = lambda _: None) -> EnergyReport:
    """Prepare, refuse what is over the budget, compute.

    Raises:
        RhoscaleError: As :func:`prepare_energy` and :func:`compute_energy`; InputError if it is over the budget.
    """
    prepared = prepare_energy(config)
    refuse_over_budget(prepared.cost, config.budget, config.memory)
    return compute_energy(prepared, report)


def settings_to_dict(settings: DFTSettings) -> dict[str, Any]:
    """Cutoff, k-mesh and smearing as plain values."""
    return {
        "cutoff_ry": settings.cutoff * RYDBERG_PER_HARTREE,
        "kmesh": list(settings.kmesh),
        "kshift": list(settings.kshift),
        "smearing": settings.smearing,
        "width_ry": settings.width * RYDBERG_PER_HARTREE,
    }


def _label(config: EnergyConfig) -> DFTSettings | None:
    for path in (config.structure, config.density):
        if path is not None and path.suffix == SNAPSHOT:
            snapshot = Snapshot.read(path)
            if "kmesh" in snapshot.settings:
                return label_settings(snapshot)
    return None
