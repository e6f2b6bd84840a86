"""``eos``: energies over isotropic strains from predicted, promolecule and self-consistent densities, and fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.engines.interface import DFTSettings, Engine
from rhoscale.errors import InputError
from rhoscale.models import TrainedModel
from rhoscale.postprocess.equation_of_state import FEWEST_VOLUMES, BirchMurnaghan, fit_birch_murnaghan
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.recipes.energy_fields import ModelFields, promolecule_field
from rhoscale.recipes.energy_runs import EnergyRuns
from rhoscale.recipes.ground_state_runs import GroundStateRuns
from rhoscale.refinement import FourierDensity
from rhoscale.structures.strain import apply_strain
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR

PREDICTION, PROMOLECULE, DFT = "prediction", "promolecule", "DFT"
Report = Callable[[str], None]


@dataclass(frozen=True)
class EosConfig:
    """One equation of state.

    Attributes:
        crystal: Cell at strain zero.
        lattice_parameter: Of the crystal at strain zero, Bohr; it scales with the cell.
        output: Folder in which every finished energy is kept.
        strains: Isotropic: each cell vector is multiplied by 1 + strain.
        draws: Weight draws for the spread of lattice parameter and bulk modulus; 0 for none.
        seed: Of the draws.
    """

    crystal: System
    lattice_parameter: float
    output: Path
    strains: tuple[float, ...]
    draws: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if len(set(self.strains)) < FEWEST_VOLUMES or len(set(self.strains)) != len(self.strains):
            raise InputError(
                f"an equation of state over the strains {list(self.strains)}; expected at least {FEWEST_VOLUMES} "
                f"different ones; ask for more points or a wider range"
            )
        if not all(np.isfinite(e) and -0.5 < e < 1.0 for e in self.strains):
            raise InputError(
                f"strains {list(self.strains)}; expected numbers between -0.5 and 1, such as -0.03 to 0.03"
            )
        if self.draws < 0 or self.draws == 1:
            raise InputError(f"{self.draws} draws have no spread; expected 0, or at least 2; ask for 8 or more")

    def strained(self, strain: float) -> System:
        """The crystal at a strain."""
        return apply_strain(self.crystal, strain)


@dataclass(frozen=True)
class EosColumn:
    """Energies of one kind over the strains and the curve through them.

    Attributes:
        energies: One for each strain, Hartree per atom.
        volumes: Bohr^3 per atom.
        cpu_seconds: Processor time that all energies took when they were computed.
        curve: Per atom; None where none fits.
        problem: Why there is none; empty otherwise.
    """

    energies: tuple[float, ...]
    volumes: tuple[float, ...]
    cpu_seconds: float
    curve: BirchMurnaghan | None
    problem: str = ""

    @classmethod
    def fitted(cls, energies: Sequence[float], volumes: Sequence[float], cpu_seconds: float) -> EosColumn:
        """Fit a curve; energies that none fits are kept and shown all the same."""
        try:
            curve, problem = fit_birch_murnaghan(volumes, energies), ""
        except InputError as error:
            curve, problem = None, str(error)
        return cls(tuple(energies), tuple(volumes), cpu_seconds, curve, problem)


@dataclass(frozen=True)
class EosResult:
    """Curves of all columns.

    Attributes:
        config: What was asked.
        settings: Of every DFT run, the same on all sides.
        model: Name of the model.
        columns: ``prediction``, ``promolecule`` where its tables are known, ``DFT``; of the first two what the
            Harris-Foulkes energy lacks of the self-consistent one is estimated and added.
        harris_foulkes: ``prediction`` and ``promolecule`` without that.
        draws: One column for each weight draw.
    """

    config: EosConfig
    settings: DFTSettings
    model: str
    columns: Mapping[str, EosColumn]
    harris_foulkes: Mapping[str, EosColumn]
    draws: tuple[EosColumn, ...] = ()

    def lattice_parameter(self, column: EosColumn) -> float | None:
        """Lattice parameter of a column, Bohr."""
        if column.curve is None:
            return None
        crystal = self.config.crystal
        return column.curve.lattice_parameter(self.config.lattice_parameter, crystal.volume / len(crystal))

    def differences(self, mine: EosColumn) -> tuple[float, float] | None:
        """Lattice parameter (Bohr) and relative bulk modulus of a column minus those of DFT; None without a fit."""
        truth = self.columns[DFT]
        a, a_dft = self.lattice_parameter(mine), self.lattice_parameter(truth)
        if a is None or a_dft is None or mine.curve is None or truth.curve is None:
            return None
        return a - a_dft, mine.curve.bulk_modulus / truth.curve.bulk_modulus - 1

    def spread(self) -> dict[str, float] | None:
        """Standard deviations over the draws: lattice parameter (Bohr) and bulk modulus (GPa); None without draws."""
        fitted = [d for d in self.draws if d.curve is not None]
        if len(fitted) < 2:
            return None
        lengths = np.array([self.lattice_parameter(d) for d in fitted], dtype=np.float64)
        moduli = np.array([d.curve.bulk_modulus_gpa for d in fitted if d.curve is not None])
        return {
            "draws": float(len(fitted)),
            "lattice_parameter_bohr": float(lengths.std(ddof=1)),
            "bulk_modulus_gpa": float(moduli.std(ddof=1)),
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "formula": self.config.crystal.formula,
            "lattice_parameter_at_strain_zero_bohr": self.config.lattice_parameter,
            "strains": list(self.config.strains),
            "model": self.model,
            "settings": asdict(self.settings),
            "columns": {name: self._column_dict(column) for name, column in self.columns.items()},
            "harris_foulkes": {name: self._column_dict(column) for name, column in self.harris_foulkes.items()},
            "spread": self.spread(),
            "draws": [{"energies_hartree": list(d.energies), **self._fit_dict(d)} for d in self.draws],
        }

    def _column_dict(self, column: EosColumn) -> dict[str, Any]:
        difference = self.differences(column) if column is not self.columns[DFT] else None
        return {
            "volumes_bohr3": list(column.volumes),
            "energies_hartree": list(column.energies),
            "cpu_seconds": round(column.cpu_seconds, 2),
            **self._fit_dict(column),
            "lattice_parameter_minus_dft_bohr": None if difference is None else difference[0],
            "bulk_modulus_over_dft_minus_one": None if difference is None else difference[1],
        }

    def _fit_dict(self, column: EosColumn) -> dict[str, Any]:
        length, curve = self.lattice_parameter(column), column.curve
        if length is None or curve is None:
            return {"problem": column.problem}
        return {
            "lattice_parameter_bohr": length,
            "lattice_parameter_angstrom": length * ANGSTROM_PER_BOHR,
            "bulk_modulus_gpa": curve.bulk_modulus_gpa,
            "bulk_modulus_slope": curve.bulk_modulus_slope,
            "lowest_energy_hartree": curve.energy,
            "residual_hartree": curve.residual,
        }


def equation_of_state(
    config: EosConfig,
    model: TrainedModel,
    engine: Engine,
    tables: Mapping[str, AtomicDensityTable] | None,
    *,
    report: Report = lambda _: None,
) -> EosResult:
    """Compute what is missing of all energies and fit each column; the same call goes on after an interruption.

    Prediction and promolecule give the Harris-Foulkes energy of their density, with and without the estimate of what
    it lacks, DFT the self-consistent one, all with the same k-points and the same cutoff. A weight draw is one set of
    weights for all strains; its energies follow from the prediction's to second order.

    Args:
        config: Crystal, strains, folder.
        model: What predicts.
        engine: What diagonalises; its pseudopotentials are the model's.
        tables: Atomic densities of the promolecule; None to leave that column out.
        report: Told of each finished energy.

    Raises:
        ModelError: The model does not know an element.
        StructureError: Atoms overlap.
        EngineError: A run failed; those finished before are kept.
        OutputError: A result cannot be written.
    """
    single, cycles = EnergyRuns(config.output / "energies"), GroundStateRuns(config.output / "ground-states")
    lines: dict[str, _Line] = defaultdict(_Line)
    alone: dict[str, _Line] = defaultdict(_Line)
    drawn = [_Line() for _ in range(config.draws)]
    atoms, volumes = len(config.crystal), []

    def add(column: str, strain: float, total: float, cpu: float) -> None:
        lines[column].add(total / atoms, cpu)
        report(f"{column} at strain {strain:+.4f}: {total / atoms:.8f} Ha per atom, {cpu:.1f} core-s")

    for strain in config.strains:
        system = config.strained(strain)
        volumes.append(system.volume / len(system))
        fields = ModelFields.of(system, model)
        for column, density in _densities(fields, tables).items():
            found, _ = single.energies(engine, system, density)
            add(column, strain, found.corrected, found.cpu_seconds)
            alone[column].add(found.energies["total"] / atoms, found.cpu_seconds)
            if column == PREDICTION and config.draws:
                differences = fields.drawn_energies(found, config.draws, config.seed)
                for line, (difference, _) in zip(drawn, differences, strict=True):
                    line.add((found.corrected + difference) / atoms, 0.0)
        run = cycles.run(engine, system)
        add(DFT, strain, run.total, run.cpu_seconds)
    columns, harris_foulkes = ({name: line.fitted(volumes) for name, line in of.items()} for of in (lines, alone))
    draws = tuple(line.fitted(volumes) for line in drawn)
    return EosResult(config, engine.settings, model.name, columns, harris_foulkes, draws)


@dataclass
class _Line:
    """Energies of one kind as they come."""

    energies: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def add(self, energy: float, cpu_seconds: float) -> None:
        self.energies.append(energy)
        self.cpu_seconds += cpu_seconds

    def fitted(self, volumes: Sequence[float]) -> EosColumn:
        return EosColumn.fitted(self.energies, volumes, self.cpu_seconds)


def _densities(fields: ModelFields, tables: Mapping[str, AtomicDensityTable] | None) -> dict[str, FourierDensity]:
    densities = {PREDICTION: fields.prediction.fourier}
    if tables is not None:
        electrons = fields.system.electrons(fields.model.pseudopotentials)
        densities[PROMOLECULE] = promolecule_field(fields.system, tables, fields.whole_grid, electrons).fourier
    return densities
