"""``evaluate``: a model on the test batches of a data set, case by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.errors import DatasetError, ModelError
from rhoscale.metrics import Calibration, FieldErrors, calibration
from rhoscale.models import TrainedModel
from rhoscale.recipes.atomic_tables import tables_beside
from rhoscale.recipes.calibration_report import CalibrationReport, calibration_report
from rhoscale.recipes.judge import Judged, counted_alike, judge_snapshot
from rhoscale.recipes.training_plan import EvaluationConfig
from rhoscale.snapshot import Snapshot


@dataclass(frozen=True)
class CaseErrors:
    """Errors of one case: the snapshots of one batch.

    Attributes:
        case: Name of the batch.
        records: Its snapshots.
        errors: For each snapshot.
        calibration: Of the total deviations, all snapshots together.
        sigma: Root mean squares over the points: ``aleatoric``, ``epistemic``, ``total``, electrons per Bohr^3.
        baselines: Name of a baseline -> its errors for each snapshot.
        judged: Errors and deviations point by point, for each snapshot.
    """

    case: str
    records: tuple[Record, ...]
    errors: tuple[FieldErrors, ...]
    calibration: Calibration
    sigma: Mapping[str, float]
    baselines: Mapping[str, tuple[FieldErrors, ...]]
    judged: tuple[Judged, ...] = field(repr=False, compare=False)

    @cached_property
    def report(self) -> CalibrationReport:
        """How far the deviations can be trusted, and where."""
        return calibration_report(self.records, self.judged)

    def to_dict(self) -> dict[str, Any]:
        """The case as plain values; L1 as a fraction of the electrons."""
        l1 = [e.l1 for e in self.errors]
        worst = int(np.argmax(l1))
        return {
            "snapshots": len(l1),
            **self.summary,
            "worst_task": self.records[worst].task,
            "l1_by_snapshot": {r.task: e.l1 for r, e in zip(self.records, self.errors, strict=True)},
            **self.calibration.to_dict(),
            "sigma_rms": dict(self.sigma),
            "calibration": self.report.condensed(),
            "baselines": self.baseline_summaries,
        }

    @property
    def summary(self) -> dict[str, float]:
        """Errors of the model in one line."""
        return _summary(self.errors, [j.energies["model"] for j in self.judged])

    @property
    def baseline_summaries(self) -> dict[str, dict[str, float]]:
        """The same of each baseline."""
        return {
            name: _summary(errors, [j.energies[name] for j in self.judged]) for name, errors in self.baselines.items()
        }


def _summary(errors: Sequence[FieldErrors], energies: Sequence[float]) -> dict[str, float]:
    """Errors of several snapshots in one line: means, the worst, root mean squares; energies without sign, Ha/atom."""
    return {
        "l1_mean": float(np.mean([e.l1 for e in errors])),
        "l1_worst": max(e.l1 for e in errors),
        "rmse": float(np.sqrt(np.mean([e.rmse**2 for e in errors]))),
        "rmse_over_range": float(np.sqrt(np.mean([e.rmse_over_range**2 for e in errors]))),
        "largest": max(e.largest for e in errors),
        "electrons_off_worst": max(abs(e.electrons / e.electrons_reference - 1) for e in errors),
        "energy_mean": float(np.mean(np.abs(energies))),
        "energy_worst": float(np.max(np.abs(energies))),
    }


def test_records(store: SnapshotStore, config: EvaluationConfig) -> list[Record]:
    """The snapshots that a model is judged on.

    Raises:
        DatasetError: There is no test snapshot, or none of a batch that is named.
    """
    if not config.test and not any(r.role == "test" for r in store.records()):
        raise DatasetError(f"{store.path} has no test snapshot; expected at least one; generate some or name batches")
    return store.select(role=None if config.test else "test", batch=config.test or None)


def evaluate(
    model: TrainedModel,
    store: SnapshotStore,
    config: EvaluationConfig,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> list[CaseErrors]:
    """Judge a model on every test batch of a data set.

    Raises:
        ModelError: A label belongs to another pseudopotential.
        DatasetError: There is no test snapshot.
    """
    records = test_records(store, config)
    tables = tables_beside(model, store.pseudopotential_folder)
    cases = []
    for case in dict.fromkeys(r.batch for r in records):
        mine = [r for r in records if r.batch == case]
        judged = []
        for record in mine:
            snapshot = store.load(record)
            _refuse_other_labels(model, snapshot, record)
            judged.append(judge_snapshot(model, snapshot, draws=config.draws, points=config.points, tables=tables))
            report(f"{case}: {record.task}, L1 {100 * judged[-1].errors.l1:.3f} %")
        cases.append(_case(case, mine, judged))
    return cases


def cases_to_card(cases: Sequence[CaseErrors]) -> dict[str, Any]:
    """Errors by case, as the card keeps them."""
    return {case.case: case.to_dict() for case in cases}


def calibration_reports(cases: Sequence[CaseErrors]) -> dict[str, CalibrationReport]:
    """The report of each case and, if there are several, of ``all`` together."""
    reports = {case.case: case.report for case in cases}
    if len(cases) > 1:
        together = [r for case in cases for r in case.records], [j for case in cases for j in case.judged]
        reports["all"] = calibration_report(*together)
    return reports


def _case(name: str, records: Sequence[Record], judged: Sequence[Judged]) -> CaseErrors:
    alike = counted_alike(judged)
    differences = np.concatenate([j.differences for j in alike])
    parts = {
        part: np.concatenate([getattr(j.uncertainty, part) for j in alike])
        for part in ("aleatoric", "epistemic", "total")
    }
    return CaseErrors(
        case=name,
        records=tuple(records),
        errors=tuple(j.errors for j in judged),
        calibration=calibration(differences, parts["total"], judged[0].freedom),
        sigma={part: float(np.sqrt(np.mean(np.square(v, dtype=np.float64)))) for part, v in parts.items()},
        baselines={name: tuple(j.baselines[name] for j in judged) for name in judged[0].baselines},
        judged=tuple(judged),
    )


def _refuse_other_labels(model: TrainedModel, snapshot: Snapshot, record: Record) -> None:
    for element, identity in snapshot.pseudopotentials.items():
        known = model.pseudopotentials.get(element)
        if known is None or known.sha256 != identity.sha256:
            ours = f"no {element}" if known is None else f"{known.name} ({known.sha256[:12]})"
            raise ModelError(
                f"{record.task} is labelled with {identity.name} of {element} ({identity.sha256[:12]}), but model "
                f"{model.name!r} knows {ours}; judge it on labels of its own pseudopotentials"
            )
