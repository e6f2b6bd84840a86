"""``study transfer``: what training on small cells first buys on large ones, at equal DFT time and gradient steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.formats.whole_file import whole_file
from rhoscale.grid import Grid
from rhoscale.metrics import FieldErrors, field_errors
from rhoscale.promolecule import promolecule_on_grid
from rhoscale.recipes.atomic_tables import known_tables
from rhoscale.recipes.judge import judge_snapshot
from rhoscale.recipes.study_transfer_plan import (
    TransferPlan,
    TransferStudyConfig,
    Unit,
    cost,
    plan_transfer,
)
from rhoscale.recipes.study_transfer_training import (
    Bench,
    Report,
    Training,
    TrainingResult,
    finished,
    load_model,
    seconds_of,
    train_once,
    trainings_of,
    write_json,
)
from rhoscale.recipes.torch_threads import torch_threads
from rhoscale.report.transfer import ArmResult, Baseline, Case, RunErrors, draw_transfer, markdown
from rhoscale.snapshot import Snapshot

SAME_STRUCTURE = 1e-6  # Bohr


@dataclass(frozen=True)
class StudyReport:
    """What a call of the study left.

    Attributes:
        results: Every arm at every budget, as far as it is trained.
        cases: What they were judged on.
        trained: Trainings of this call.
        remaining: Trainings that the chosen arms still need.
        table: The markdown.
    """

    results: tuple[ArmResult, ...]
    cases: tuple[Case, ...]
    trained: int
    remaining: int
    table: str


@dataclass(frozen=True)
class DryRun:
    """What a study would do.

    Attributes:
        plan: Arms and snapshots.
        validation_seconds: Core-seconds of the validation cells.
        trainings: For each unit, trainings that it needs and that are not there: seeds, and rates to try.
        seconds: For each unit, their estimated processor time; a first stage counts where it is first needed.
    """

    plan: TransferPlan
    validation_seconds: float
    trainings: tuple[int, ...]
    seconds: tuple[float, ...]


def dry_run(config: TransferStudyConfig, only: Sequence[str] = ()) -> DryRun:
    """Plan a study and estimate its time from a few gradient steps; train nothing.

    Raises:
        DatasetError: Snapshots are missing.
        InputError: An arm is unknown.
    """
    with torch_threads(config.threads):
        bench, plan = _open(config, only, lambda *_: None)
        counted: set[str] = set()
        numbers, seconds = [], []
        for unit in plan.units:
            tuning = next(u for u in plan.units if (u.arm, u.budget) == (unit.arm, unit.budget))
            needed = {bench.key(t): t for t in _needed(bench, unit, tuning) if finished(bench, t) is None}
            new = {k: t for k, t in needed.items() if k not in counted}
            firsts = {bench.key(t.first): t.first for t in new.values() if t.first and finished(bench, t.first) is None}
            todo = new | {k: t for k, t in firsts.items() if k not in counted}
            counted |= set(todo)
            numbers.append(len(new))
            seconds.append(sum(seconds_of(bench, t) for t in todo.values()))
        return DryRun(plan, sum(cost(r) for r in plan.validation), tuple(numbers), tuple(seconds))


def study_transfer(
    config: TransferStudyConfig,
    *,
    only: Sequence[str] = (),
    limit: int | None = None,
    report: Report = lambda *_: None,
) -> StudyReport:
    """Train and judge every arm, seed and subset that is not done yet; write table, figure and numbers.

    The output folder keeps each training under a hash of all that it depends on, so that none is repeated: not after
    a kill, not when budgets, seeds or test cells are added to the recipe. Each arm tries the learning rates of its
    last stage with the first seed and subset, and keeps the one of the lowest validation error.

    Args:
        config: The recipe.
        only: Names of arms; all by default. Table and figure show what is finished of these.
        limit: At most so many trainings in this call.
        report: Told what is going on, and each epoch.

    Raises:
        DatasetError: Snapshots are missing.
        InputError: An arm is unknown.
    """
    with torch_threads(config.threads):
        bench, plan = _open(config, only, report)
        cases = _cases(config, bench.store)
        work = _Work(bench, limit)
        results = [
            _arm(work, cases, list(units))
            for _, units in groupby(plan.units, key=lambda unit: (unit.budget, unit.arm.name))
        ]
        shown = [_with_baselines(bench, case) for case in cases]
        seconds = sum(cost(r) for r in plan.validation)
        table = markdown(config.name, results, shown, seconds)
        _write(bench, results, shown, table)
        return StudyReport(tuple(results), tuple(shown), work.trained, work.remaining, table)


@dataclass(frozen=True)
class _Case:
    """Labels to judge against: of the study's data set, or of the same structures in another."""

    name: str
    records: tuple[Record, ...]
    labels: tuple[Snapshot, ...]
    own: tuple[Snapshot, ...]


class _Work:
    """Trainings of one call: which are allowed, done and left."""

    def __init__(self, bench: Bench, limit: int | None) -> None:
        self.bench, self.limit, self.trained, self.remaining = bench, limit, 0, 0

    def train(self, training: Training, words: str) -> TrainingResult | None:
        """The result, or None where the limit is reached."""
        known = finished(self.bench, training)
        if known is None and self.limit is not None and self.trained >= self.limit:
            self.remaining += 1
            return None
        self.bench.report(words, None)
        if known is not None:
            return known
        self.trained += 1
        return train_once(self.bench, training)


def _open(config: TransferStudyConfig, only: Sequence[str], report: Report) -> tuple[Bench, TransferPlan]:
    store = SnapshotStore.open(config.data.path)
    plan = plan_transfer(config, store, only)
    return Bench(config, store, plan.validation, report), plan


def _needed(bench: Bench, unit: Unit, tuning: Unit) -> Iterator[Training]:
    """Trainings of a unit: rates are tried with the first seed of the unit of the first subset, one goes on."""
    config = bench.config
    if unit.lacking > 0:
        return
    tried = {r: finished(bench, _training(config, tuning, config.seeds[0], r)) for r in config.learning_rates}
    rate = _best(config, {r: result.validation for r, result in tried.items() if result is not None})
    if unit is tuning:
        yield from (_training(config, unit, config.seeds[0], r) for r in config.learning_rates)
    for seed in config.seeds[1:] if unit is tuning else config.seeds:
        yield _training(config, unit, seed, config.learning_rates[0] if rate is None else rate)


def _training(config: TransferStudyConfig, unit: Unit, seed: int, rate: float) -> Training:
    return trainings_of(config, unit.arm.kind, unit.arm.frozen, unit.selection, seed, rate)


def _best(config: TransferStudyConfig, validation: Mapping[float, float]) -> float | None:
    """The rate of the lowest validation error, once all were tried."""
    if len(validation) < len(set(config.learning_rates)):
        return None
    return min(validation, key=lambda rate: (validation[rate], rate))


def _arm(work: _Work, cases: Sequence[_Case], units: Sequence[Unit]) -> ArmResult:
    """Tune, train and judge one arm at one budget."""
    config, arm = work.bench.config, units[0].arm
    lacking = max(unit.lacking for unit in units)
    validation: dict[float, float] = {}
    rate: float | None = None
    runs: dict[str, list[RunErrors]] = {case.name: [] for case in cases}
    seconds = []
    if lacking == 0:
        validation = _tried(work, units[0])
        rate = _best(config, validation)
        work.remaining += 0 if rate is not None else len(units) * len(config.seeds) - 1
    for unit, seed in [(u, s) for u in units for s in config.seeds] if rate is not None else []:
        training = _training(config, unit, seed, rate or 0.0)
        result = work.train(training, f"{arm.name}, budget {unit.budget}, subset {unit.subset}, seed {seed}")
        if result is None:
            continue
        before = None if training.first is None else finished(work.bench, training.first)
        seconds.append(result.core_seconds + (0.0 if before is None else before.core_seconds))
        for case, errors in _judged(work.bench, result, cases).items():
            runs[case].append(_run(unit.subset, seed, errors))
    return ArmResult(
        arm=arm.name,
        budget=units[0].budget,
        target=tuple(unit.target for unit in units),
        cells=tuple((len(u.selection.small), len(u.selection.large)) for u in units),
        seconds=tuple((sum(map(cost, u.selection.small)), sum(map(cost, u.selection.large))) for u in units),
        steps=config.steps,
        lacking=lacking,
        rate=rate,
        training_seconds=float(np.mean(seconds)) if seconds else None,
        validation=validation,
        runs={case: tuple(found) for case, found in runs.items() if found},
    )


def _tried(work: _Work, unit: Unit) -> dict[float, float]:
    """Validation error of each rate, with the first seed and the subset of the unit."""
    config, arm, found = work.bench.config, unit.arm, {}
    for rate in config.learning_rates:
        training = _training(config, unit, config.seeds[0], rate)
        result = work.train(training, f"{arm.name}, budget {unit.budget}, rate {rate:g}")
        if result is not None:
            found[rate] = result.validation
    return found


def _judged(bench: Bench, result: TrainingResult, cases: Sequence[_Case]) -> dict[str, list[dict[str, float]]]:
    """Errors of a model on every test cell; cells that were judged before are not judged again."""
    file = bench.folder("judged") / f"{result.key}.json"
    known: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    settings, model, before = bench.config, None, len(known)
    found: dict[str, list[dict[str, float]]] = {}
    for case in cases:
        for label in case.labels:
            name = f"{label.content_hash} {settings.draws} {settings.judged_points}"
            if name not in known:
                model = load_model(bench, result) if model is None else model
                judged = judge_snapshot(model, label, draws=settings.draws, points=settings.judged_points)
                parts = ("aleatoric", "epistemic", "total")
                known[name] = asdict(judged.errors) | {p: _rms(getattr(judged.uncertainty, p)) for p in parts}
            found.setdefault(case.name, []).append(known[name])
    if len(known) > before:
        write_json(file, known)
    return found


def _run(subset: int, seed: int, errors: Sequence[Mapping[str, float]]) -> RunErrors:
    l1 = [e["l1"] for e in errors]
    rms = {key: _rms([e[key] for e in errors]) for key in ("rmse", "epistemic", "total")}
    return RunErrors(subset, seed, float(np.mean(l1)), max(l1), **rms)


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _cases(config: TransferStudyConfig, store: SnapshotStore) -> list[_Case]:
    """Test batches with their own labels, each followed by the labels of the same structures in another set."""
    better = None if config.data.better_labels is None else SnapshotStore.open(config.data.better_labels)
    cases = []
    for batch in config.data.test:
        records = tuple(store.select(role="test", batch=batch))
        own = tuple(store.load(r) for r in records)
        cases.append(_Case(batch, records, own, own))
        if better is not None:
            pairs = [(r, s, _same(better, r, s)) for r, s in zip(records, own, strict=True)]
            matched = [(r, s, other) for r, s, other in pairs if other is not None]
            if matched:
                parts = zip(*matched, strict=True)
                kept, mine, others = (tuple(part) for part in parts)
                cases.append(_Case(f"{batch}, labels of {better.path.name}", kept, others, mine))
    return cases


def _same(store: SnapshotStore, record: Record, snapshot: Snapshot) -> Snapshot | None:
    """The snapshot of the same structure in another data set."""
    for other in store.records():
        if (other.trajectory, other.formula, other.role) == (record.trajectory, record.formula, "test"):
            found = store.load(other)
            a, b = found.system, snapshot.system
            alike = np.allclose(a.cell, b.cell, atol=SAME_STRUCTURE, rtol=0)
            if alike and np.allclose(a.positions, b.positions, atol=SAME_STRUCTURE, rtol=0):
                return found
    return None


def _with_baselines(bench: Bench, case: _Case) -> Case:
    """The case with the errors of the promolecule and, against other labels, of the study's own."""
    tables = known_tables(case.labels[0].pseudopotentials, bench.store.pseudopotential_folder)
    found: dict[str, list[FieldErrors]] = {}
    for label, own in zip(case.labels, case.own, strict=True):
        grid = Grid.from_spacing(label.system.cell, bench.config.points.spacing)
        reference = label.density.on_grid(grid.shape)
        if own is not label:
            other = field_errors(own.density.on_grid(grid.shape), reference, label.electrons)
            found.setdefault(f"labels of {bench.store.path.name}", []).append(other)
        if tables is not None:
            atoms = promolecule_on_grid(label.system, tables, grid)
            found.setdefault("sum of atomic densities", []).append(field_errors(atoms, reference, label.electrons))
    baselines = (
        Baseline(name, float(np.mean([e.l1 for e in errors])), _rms([e.rmse for e in errors]))
        for name, errors in found.items()
    )
    return Case(case.name, tuple(r.task for r in case.records), tuple(baselines))


def _write(bench: Bench, results: Sequence[ArmResult], cases: Sequence[Case], table: str) -> None:
    config = bench.config
    values = {
        "name": config.name,
        "cases": [asdict(case) for case in cases],
        "results": [asdict(result) for result in results],
    }
    bench.folder("trained")
    write_json(config.output / "transfer.json", values)
    with whole_file(config.output / "transfer.md", force=True) as file:
        file.write(table.encode())
    with whole_file(config.output / "transfer.png", force=True) as file:
        draw_transfer(file, config.name, results, cases)
