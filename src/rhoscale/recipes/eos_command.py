"""From a crystal and a model to an equation of state in a folder: checks, plan, run, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rhoscale.engines.interface import Engine
from rhoscale.errors import InputError
from rhoscale.formats.whole_file import whole_file
from rhoscale.prediction.refusals import refuse_unknown_elements
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.recipes.atomic_tables import tables_beside
from rhoscale.recipes.energy_runs import write_json
from rhoscale.recipes.energy_settings import EnergyOptions
from rhoscale.recipes.eos import EosConfig, EosResult, equation_of_state
from rhoscale.recipes.eos_plan import EosPlan, plan_eos
from rhoscale.recipes.predict import read_structure
from rhoscale.recipes.public import Model, load_model
from rhoscale.report.equation_of_state import EnergyCurve, draw_equation_of_state
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System
from rhoscale.units import KELVIN_PER_HARTREE, RYDBERG_PER_HARTREE

PAPER_KELVIN = 631.554


@dataclass(frozen=True)
class EosRequest:
    """What a user asks for.

    Attributes:
        structure: Structure file of the crystal, or None.
        lattice: Or the name of a lattice, with ``elements`` and ``constant``.
        elements: One for each sublattice.
        constant: Lattice constant at strain zero, Bohr.
        repeats: Supercell.
        strains: Lowest and highest.
        points: Number of strains.
        model: Name of a bundled model or path of a model's folder.
        output: Folder of results.
        options: Cutoff, k-mesh, smearing, pseudopotentials, engine.
        draws: Weight draws; 0 for none.
        seed: Of the draws.
    """

    structure: Path | None
    lattice: str | None
    elements: tuple[str, ...]
    constant: float | None
    repeats: tuple[int, int, int]
    strains: tuple[float, float]
    points: int
    model: str
    output: Path
    options: EnergyOptions
    draws: int = 0
    seed: int = 0

    def config(self) -> EosConfig:
        """Crystal and strains.

        Raises:
            InputError: Neither a file nor a lattice is given, or both; the strains make no sense.
            StructureError: There is no such crystal.
            FormatError: The structure file cannot be read.
        """
        cell = self._cell()
        if self.points < 1 or not self.strains[0] < self.strains[1]:
            raise InputError(
                f"{self.points} strains from {self.strains[0]:g} to {self.strains[1]:g}; expected at least 5 from a "
                f"lower to a higher one; mend --points or --range"
            )
        strains = tuple(round(float(e), 8) for e in np.linspace(*self.strains, self.points))
        length = float(np.linalg.norm(cell.cell[0]))
        return EosConfig(supercell(cell, self.repeats), length, self.output, strains, self.draws, self.seed)

    def _cell(self) -> System:
        keys = {"--lattice": self.lattice, "--element": self.elements or None, "--constant": self.constant}
        given = [name for name, value in keys.items() if value is not None]
        if (self.structure is None) != (len(given) == 3) or (self.structure is not None and given):
            raise InputError(
                f"the crystal is given by {', '.join(given) or 'no lattice'} and "
                f"{f'the file {self.structure}' if self.structure else 'no file'}; expected a structure file, or all "
                f"of {', '.join(keys)}; give one of them"
            )
        if self.structure is not None:
            return read_structure(self.structure)
        assert self.lattice is not None
        assert self.constant is not None
        return crystal(self.lattice, self.elements, self.constant)


@dataclass(frozen=True)
class PreparedEos:
    """An equation of state that may be computed: everything was read and checked.

    Attributes:
        config: Crystal, strains, folder.
        model: What predicts.
        engine: What diagonalises.
        tables: Atomic densities of the promolecule, or None where the pseudopotentials have none.
        plan: Runs and cost.
    """

    config: EosConfig
    model: Model
    engine: Engine
    tables: dict[str, AtomicDensityTable] | None
    plan: EosPlan


def prepare_eos(request: EosRequest) -> PreparedEos:
    """Read and check everything; nothing is computed or written.

    Raises:
        RhoscaleError: Of the kind that fits what is wrong with a file, an option or the crystal.
    """
    config = request.config()
    model = load_model(request.model)
    trained = model.trained
    refuse_unknown_elements(config.crystal, trained.pseudopotentials, trained.name)
    settings = request.options.settings(config.crystal)
    engine = request.options.make(config.crystal, settings, trained.pseudopotentials, trained.name)
    tables = tables_beside(trained, request.options.pseudopotentials, config.crystal.elements)
    return PreparedEos(config, model, engine, tables, plan_eos(config, engine, promolecule=tables is not None))


def run_eos(prepared: PreparedEos, *, report: Callable[[str], None] = lambda _: None) -> EosResult:
    """Compute what is missing, and write ``eos.json`` and ``eos.png`` into the folder.

    Raises:
        RhoscaleError: As :func:`~rhoscale.recipes.eos.equation_of_state` raises them.
    """
    config = prepared.config
    result = equation_of_state(config, prepared.model.trained, prepared.engine, prepared.tables, report=report)
    write_json(config.output / "eos.json", {"model_hash": prepared.model.content_hash, **result.to_dict()})
    lengths = config.lattice_parameter * (1 + np.array(config.strains))
    curves = [
        EnergyCurve(name, lengths, np.array(column.volumes), np.array(column.energies), column.curve)
        for name, column in result.columns.items()
    ]
    title = f"{config.crystal.formula}, model {result.model}, k-points {result.settings.sampling}"
    with whole_file(config.output / "eos.png", force=True) as file:
        draw_equation_of_state(file, curves, title)
    return result


def paper_protocol(options: EnergyOptions) -> EnergyOptions:
    """Options with the k-points and smearing of the paper: the Gamma point, Fermi-Dirac at 631.554 K."""
    width = PAPER_KELVIN / KELVIN_PER_HARTREE * RYDBERG_PER_HARTREE
    return replace(options, kmesh=(1, 1, 1), kshift=(0, 0, 0), smearing="fermi-dirac", width_ry=width)
