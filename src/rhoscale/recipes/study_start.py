"""``study scf-start``: what a predicted density saves as the start of self-consistent runs, beside the exact one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.interface import DFTSettings
from rhoscale.errors import DatasetError
from rhoscale.recipes.energy_runs import write_json
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings
from rhoscale.recipes.ground_state_runs import ATOMIC, GroundStateRun, GroundStateRuns, Start
from rhoscale.recipes.kmesh_correction import CORRECTION
from rhoscale.recipes.start import PredictedStart
from rhoscale.snapshot import Snapshot


@dataclass(frozen=True)
class CellStarts:
    """One snapshot's structure, computed from three starts with the settings of its label.

    Attributes:
        task: Name of the snapshot in its data set.
        gamma_only: Whether the Gamma point alone is sampled.
        kmesh: Monkhorst-Pack mesh.
        atoms: In the cell.
        atomic: From the atoms' densities.
        prediction: From the model's prediction, its making counted.
        exact: From the label itself: the bound of what any prediction can save.
    """

    task: str
    gamma_only: bool
    kmesh: tuple[int, int, int]
    atoms: int
    atomic: GroundStateRun
    prediction: GroundStateRun
    exact: GroundStateRun

    @property
    def slower(self) -> bool:
        """Whether the prediction costs more processor time than the atomic start, its making counted."""
        return self.prediction.whole_cpu_seconds > self.atomic.whole_cpu_seconds

    @property
    def disagreement(self) -> float:
        """Largest difference of the three energies, Hartree per atom: a start must not change the result."""
        totals = [run.total for run in (self.atomic, self.prediction, self.exact)]
        return (max(totals) - min(totals)) / self.atoms

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**asdict(self), "slower": self.slower, "disagreement_hartree_per_atom": self.disagreement}


@dataclass(frozen=True)
class StartSummary:
    """Means over cells of one kind; seconds are core-seconds with the prediction counted.

    Attributes:
        cells: Number of cells.
        iterations: Self-consistent cycles from ``atomic``, ``prediction`` and ``exact``.
        seconds: Processor time of each.
        prediction_seconds: Of that from the prediction, the time that predicting took.
        saved: Share of the processor time that the prediction saves, all cells together.
        bound: Share that the exact density saves.
        slower: Share of the cells that got slower.
        disagreement: Largest disagreement of the energies, Hartree per atom.
    """

    cells: int
    iterations: dict[str, float]
    seconds: dict[str, float]
    prediction_seconds: float
    saved: float
    bound: float
    slower: float
    disagreement: float

    @classmethod
    def of(cls, cells: Sequence[CellStarts]) -> StartSummary:
        """Average cells, at least one."""
        starts = ("atomic", "prediction", "exact")
        runs: dict[str, list[GroundStateRun]] = {s: [getattr(c, s) for c in cells] for s in starts}
        seconds = {s: float(np.mean([r.whole_cpu_seconds for r in runs[s]])) for s in starts}
        return cls(
            cells=len(cells),
            iterations={s: float(np.mean([r.iterations for r in runs[s]])) for s in starts},
            seconds=seconds,
            prediction_seconds=float(np.mean([r.start_cpu_seconds for r in runs["prediction"]])),
            saved=1 - seconds["prediction"] / seconds["atomic"],
            bound=1 - seconds["exact"] / seconds["atomic"],
            slower=float(np.mean([c.slower for c in cells])),
            disagreement=max(c.disagreement for c in cells),
        )


@dataclass(frozen=True)
class StartStudy:
    """What a study of starts found.

    Attributes:
        model: Name and hash of the model.
        cells: One entry for each snapshot.
        refused: Snapshots whose structures the model refuses.
    """

    model: str
    cells: tuple[CellStarts, ...]
    refused: tuple[str, ...] = ()

    def summaries(self) -> dict[str, StartSummary]:
        """Means of the Gamma-only and of the k-sampled cells, apart."""
        kinds = {"Gamma only": True, "k-sampled": False}
        chosen = {name: [c for c in self.cells if c.gamma_only == gamma] for name, gamma in kinds.items()}
        return {name: StartSummary.of(cells) for name, cells in chosen.items() if cells}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "model": self.model,
            "summaries": {name: asdict(summary) for name, summary in self.summaries().items()},
            "cells": [cell.to_dict() for cell in self.cells],
            "refused": list(self.refused),
        }


def study_starts(
    model: str,
    store: SnapshotStore,
    output: Path,
    options: EnergyOptions,
    *,
    batches: Sequence[str] = (),
    limit: int | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> StartStudy:
    """Run each test snapshot's structure from three starts; finished runs are kept, the same call goes on.

    Args:
        model: Name of a bundled model, or path of a model's folder.
        store: Data set with the labels.
        output: Folder of the finished runs, and one file a snapshot under ``cells``.
        options: Engine, program and pseudopotentials; the settings are those of each label.
        batches: Batches to take; by default all of role ``test``.
        limit: At most so many snapshots.
        report: Told of each finished run.

    Raises:
        DatasetError: There is no such snapshot, or a label does not say how it was made.
        ModelError: The labels belong to other pseudopotentials than the model.
        EngineError: A run failed; those finished before are kept.
        OutputError: A result cannot be written.
    """
    records = store.select(role=None if batches else "test", batch=batches or None)[:limit]
    if not records:
        raise DatasetError(f"{store.path} has no snapshot to start from; expected test snapshots; name batches of it")
    predicted = PredictedStart.load(model, store.pseudopotentials())
    runs, cells, refused = GroundStateRuns(output / "runs"), [], []
    for record in records:
        snapshot = store.load(record)
        if predicted(snapshot.system) is None:  # the first call of a process compiles kernels: the next one is timed
            refused.append(record.task)
            report(f"{record.task}: the model refuses this structure")
            continue
        cell = _cell(predicted, snapshot, record.task, runs, options, report)
        write_json(output / "cells" / f"{record.task}.json", cell.to_dict())
        cells.append(cell)
    return StartStudy(predicted.name, tuple(cells), tuple(refused))


def _cell(
    predicted: PredictedStart,
    snapshot: Snapshot,
    task: str,
    runs: GroundStateRuns,
    options: EnergyOptions,
    report: Callable[[str], None],
) -> CellStarts:
    settings = own_settings(snapshot)
    engine = options.make(snapshot.system, settings, snapshot.pseudopotentials, task)
    starts = (
        ATOMIC,
        Start("prediction", predicted.name, predicted),
        Start("exact", snapshot.content_hash, lambda _: snapshot.density),
    )
    if CORRECTION in snapshot.settings:
        report(
            f"{task}: the label is corrected for k-points; its density is not quite that of its mesh, so no exact start"
        )
    done = {}
    for start in starts:
        run = done[start.name] = runs.run(engine, snapshot.system, start)
        report(f"{task}, {start.name}: {run.iterations} cycles, {run.whole_cpu_seconds:.1f} core-s")
    return CellStarts(task, settings.gamma_only, settings.kmesh, len(snapshot.system), **done)


def own_settings(snapshot: Snapshot) -> DFTSettings:
    """The settings of a snapshot's label with the convergence that it was made with."""
    values = snapshot.settings
    return replace(label_settings(snapshot), convergence=float(values.get("convergence_hartree_per_electron", 1e-8)))
