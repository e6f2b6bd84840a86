"""``study energies``: the paper's tables IV and V, snapshot by snapshot, with baselines beside the prediction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.engines.interface import Energies, Engine
from rhoscale.errors import DatasetError, InputError
from rhoscale.formats.whole_file import whole_file
from rhoscale.metrics import field_errors
from rhoscale.postprocess.energy_errors import energy_errors
from rhoscale.postprocess.energy_spread import EnergySpread
from rhoscale.prediction.refusals import refuse_other_pseudopotentials, refuse_unknown_elements
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.recipes.atomic_tables import tables_beside
from rhoscale.recipes.energy import settings_to_dict
from rhoscale.recipes.energy_cost import EnergyCost, energy_cost
from rhoscale.recipes.energy_fields import ModelFields, WholeField, promolecule_field
from rhoscale.recipes.energy_runs import EnergyRuns, write_json, write_text
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings
from rhoscale.recipes.kmesh_correction import CORRECTION
from rhoscale.recipes.public import Model, load_model
from rhoscale.recipes.study_energies_result import (
    CORRECTED,
    PREDICTION,
    PROMOLECULE,
    CellEnergies,
    markdown,
    summarise,
)
from rhoscale.refinement import FourierDensity
from rhoscale.report.energy_law import draw_energy_law
from rhoscale.snapshot import Snapshot

Report = Callable[[str], None]


@dataclass(frozen=True)
class EnergyStudy:
    """What is studied.

    Attributes:
        model: Name of a bundled model or path of a model's folder.
        data: Folder of a data set.
        out: Folder of results; the same study goes on there, and studies of several models share what they can.
        batches: Those to study; all test batches if empty.
        limit: At most so many snapshots that are not finished yet.
        draws: Weight draws for error bars; 0 for none.
        seed: Of the draws.
        baselines: Whether the model's prior mean, the promolecule and the label's own density are run beside the
            prediction; without them there are no eigenvalue errors.
        options: Engine, program, threads and pseudopotentials; cutoff, k-mesh and smearing are always the label's.
    """

    model: str
    data: Path
    out: Path
    batches: tuple[str, ...] = ()
    limit: int | None = None
    draws: int = 0
    seed: int = 0
    baselines: bool = True
    options: EnergyOptions = field(default_factory=EnergyOptions)

    def __post_init__(self) -> None:
        if self.draws < 0 or self.draws == 1:
            raise InputError(f"{self.draws} draws have no spread; expected 0 or at least 2; ask for 10 or more")
        if self.limit is not None and self.limit < 0:
            raise InputError(f"limit {self.limit}; expected 0 or more; leave it out for all snapshots")


@dataclass(frozen=True)
class OpenStudy:
    """A study whose inputs were read and checked.

    Attributes:
        study: What was asked.
        model: The model.
        store: The data set.
        records: All snapshots of the chosen batches.
    """

    study: EnergyStudy
    model: Model
    store: SnapshotStore
    records: tuple[Record, ...]

    @cached_property
    def tables(self) -> Mapping[str, AtomicDensityTable] | None:
        """Atomic densities of the promolecule, or None where they are not known."""
        folder = self.study.options.pseudopotentials or self.store.pseudopotential_folder
        return tables_beside(self.model.trained, folder)

    def path(self, record: Record) -> Path:
        """Where the result of a snapshot is kept: a name that depends on snapshot, model and draws."""
        study = self.study
        what = [record.snapshot, self.model.content_hash, study.draws, study.seed if study.draws else 0]
        what += [] if study.baselines else ["prediction alone"]
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:20]
        return self.study.out / "cells" / f"{name}.json"

    def todo(self) -> list[Record]:
        """Snapshots that are not finished, as many as the limit allows."""
        open_ones = [r for r in self.records if not self.path(r).exists()]
        return open_ones if self.study.limit is None else open_ones[: self.study.limit]

    def finished(self) -> list[CellEnergies]:
        """Results that are there, in the order of the data set.

        Raises:
            FormatError: A file is damaged.
        """
        return [CellEnergies.read(self.path(r)) for r in self.records if self.path(r).exists()]

    def costs(self) -> Iterator[EnergyCost]:
        """Estimated cost of each snapshot that is not finished: one run for each density, one for the label's own."""
        runs = 1
        if self.study.baselines:
            runs += 1 + (self.model.trained.prior_mean not in ("none", PROMOLECULE)) + (self.tables is not None)
        for record in self.todo():
            snapshot = self.store.load(record)
            yield energy_cost(snapshot.system, label_settings(snapshot), snapshot.electrons, runs)


def open_study(study: EnergyStudy) -> OpenStudy:
    """Read the model and the lists of the data set.

    Raises:
        ModelError: There is no such model.
        FormatError: A file is damaged.
        DatasetError: The data set has no such batch or no test snapshot.
    """
    store = SnapshotStore.open(study.data)
    records = store.select(role=None if study.batches else "test", batch=study.batches or None)
    if not records:
        raise DatasetError(f"{store.path} has no test snapshot; expected at least one; generate some or name batches")
    return OpenStudy(study, load_model(study.model), store, tuple(records))


def run_study(opened: OpenStudy, report: Report = lambda _: None) -> list[CellEnergies]:
    """Compute every snapshot that is not finished; each diagonalisation and each snapshot is kept at once.

    Returns:
        All finished snapshots of the chosen batches, those of earlier calls too.

    Raises:
        EngineError: The program failed; what is finished is kept.
        DatasetError: A snapshot does not say how its label was made.
        ModelError: A label belongs to other pseudopotentials than the model's.
    """
    todo = opened.todo()
    for number, record in enumerate(todo):
        kelvin = "" if record.temperature is None else f", {record.temperature:g} K"
        report(f"{number + 1}/{len(todo)} {record.task}: {record.formula}, {record.kind}{kelvin}")
        cell = study_cell(opened, record, report)
        write_json(opened.path(record), cell.to_dict())
    return opened.finished()


def study_cell(opened: OpenStudy, record: Record, report: Report = lambda _: None) -> CellEnergies:
    """All columns of one snapshot, computed with its label's cutoff, k-mesh and smearing."""
    snapshot = opened.store.load(record)
    engine = _engine(opened, record, snapshot)
    kept = EnergyRuns(opened.study.out / "runs")

    def energies(density: FourierDensity, name: str) -> Energies:
        found, new = kept.energies(engine, snapshot.system, density)
        report(f"  {name}: {found.energies['total']:.8f} Ha" + (f", {found.cpu_seconds:.0f} core-s" if new else ""))
        return found

    fields = ModelFields.of(snapshot.system, opened.model.trained)
    baselines = opened.study.baselines
    compared = columns(fields, opened.tables) if baselines else {PREDICTION: fields.prediction}
    found = {name: energies(whole.fourier, name) for name, whole in compared.items()}
    own = energies(snapshot.density, "label's own") if baselines else None
    reference = snapshot.density.on_grid(fields.whole_grid.shape)
    errors = {
        name: energy_errors(
            {**found[name].energies, "fermi": found[name].fermi},
            snapshot.energies,
            l1=field_errors(whole.raw, reference, snapshot.electrons).l1,
            atoms=record.n_atoms,
            eigenvalues=found[name].eigenvalues,
            reference_eigenvalues=None if own is None else own.eigenvalues,
        )
        for name, whole in compared.items()
    }
    spread = None
    if opened.study.draws:
        drawn = fields.drawn_energies(found[PREDICTION], opened.study.draws, opened.study.seed)
        spread = EnergySpread.of(*zip(*drawn, strict=True))
    runs = found if own is None else {"label": own, **found}
    seconds = {name: one.cpu_seconds for name, one in runs.items()}
    return CellEnergies(
        case=record.batch,
        task=record.task,
        facts={
            **_facts(opened, record, snapshot, engine),
            "program": found[PREDICTION].engine,
            "core_seconds": seconds,
        },
        errors=errors,
        closure=None if own is None else (own.energies["total"] - snapshot.energies["total"]) / record.n_atoms,
        spread=spread,
    )


def _engine(opened: OpenStudy, record: Record, snapshot: Snapshot) -> Engine:
    labelled, trained = snapshot.pseudopotentials, opened.model.trained
    refuse_unknown_elements(snapshot.system, trained.pseudopotentials, trained.name)
    refuse_other_pseudopotentials(snapshot.system.elements, labelled, trained.pseudopotentials, trained.name)
    settings = label_settings(snapshot)
    return opened.study.options.make(snapshot.system, settings, labelled, f"label of {record.task}")


def _facts(opened: OpenStudy, record: Record, snapshot: Snapshot, engine: Engine) -> dict[str, Any]:
    return {
        "snapshot": record.snapshot,
        "model": opened.model.name,
        "model_hash": opened.model.content_hash,
        "formula": record.formula,
        "atoms": record.n_atoms,
        "kind": record.kind,
        "temperature": record.temperature,
        "settings": settings_to_dict(engine.settings),
        CORRECTED: CORRECTION in snapshot.settings,
    }


def columns(fields: ModelFields, tables: Mapping[str, AtomicDensityTable] | None) -> dict[str, WholeField]:
    """The densities that are compared: of the model, its prior mean, and the promolecule where its atoms are known."""
    found = {PREDICTION: fields.prediction}
    prior, trained = fields.prior_alone, fields.model
    if prior is not None and trained.prior_mean != PROMOLECULE:
        found[trained.prior_mean] = prior
    if tables is not None:
        electrons = fields.system.electrons(trained.pseudopotentials)
        found[PROMOLECULE] = promolecule_field(fields.system, tables, fields.whole_grid, electrons)
    return found


def write_tables(opened: OpenStudy, cells: Sequence[CellEnergies]) -> list[Path]:
    """Write the tables of finished snapshots as JSON and Markdown and draw them; give the files' paths.

    Raises:
        OutputError: They cannot be written.
    """
    out, name = opened.study.out, opened.model.name
    write_json(out / f"{name}.json", summarise(cells))
    write_text(out / f"{name}.md", markdown(cells))
    points = {
        density: [(c.errors[density].l1, abs(c.errors[density].total)) for c in cells if density in c.errors]
        for density in dict.fromkeys(d for c in cells for d in c.errors)
    }
    picture = out / f"{name}.png"
    with whole_file(picture, force=True) as stream:
        draw_energy_law(stream, points, f"{name}, {opened.store.header.get('name', '')}: {len(cells)} snapshots")
    return [out / f"{name}.json", out / f"{name}.md", picture]
