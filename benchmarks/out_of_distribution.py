"""Epistemic deviation near vacant sites, and coverage on kinds of structures that a model may not have seen.

    python benchmarks/out_of_distribution.py models/al-bulk --data data/al \
        --batch test-32 --batch test-vacancy-32 --batch test-strain-32

``--refit calibration-32`` first measures range and recalibration anew, on those held-out batches and the training
snapshots that the model's card names (for models from before the leverage). A model with leverage is also shown
without that term.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rhoscale.datasets.store import SnapshotStore
from rhoscale.models import TrainedModel
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.calibrate import calibrated
from rhoscale.recipes.evaluate import calibration_reports, evaluate
from rhoscale.recipes.judge import Judged
from rhoscale.recipes.training_data import Labelled, select
from rhoscale.recipes.training_plan import EvaluationConfig
from rhoscale.system import System

NEAR, AWAY = 3.0, 5.0  # Bohr from a vacant site
WIDTH = 2.5  # Bohr, of the Gaussians that fill the places of atoms


def vacant_site(system: System, points: np.ndarray) -> np.ndarray:
    """The point [3] where Gaussians on the atoms add up to least."""
    return points[np.argmin(sum(np.exp(-0.5 * (distances(system, points, a) / WIDTH) ** 2) for a in system.positions))]


def distances(system: System, points: np.ndarray, site: np.ndarray) -> np.ndarray:
    """Of points [n, 3] to the nearest image of a site, Bohr."""
    scaled = (points - site) @ np.linalg.inv(system.cell)
    return np.linalg.norm((scaled - np.round(scaled)) @ system.cell, axis=1)


def near_and_away(system: System, judged: Judged) -> tuple[float, float, float, float]:
    """Median epistemic deviation and root mean square error within 3 Bohr of the vacant site and beyond 5."""
    grid = judged.grid.points()
    far = distances(system, grid[judged.chosen], vacant_site(system, grid))
    epistemic, errors = judged.uncertainty.epistemic, judged.differences
    found = [np.median(epistemic[far < NEAR]), np.median(epistemic[far > AWAY])]
    found += [np.sqrt(np.mean(errors[part] ** 2)) for part in (far < NEAR, far > AWAY)]
    return tuple(float(x) for x in found)


def refitted(model: TrainedModel, store: SnapshotStore, batches: Sequence[str]) -> TrainedModel:
    """The model with a recalibration and a range as ``rhoscale train`` would give it now."""
    records = [store.record(task) for task in model.card["data"]["stage_1"]["train"]["tasks"]]
    training = Labelled(tuple(records), tuple(store.load(r) for r in records))
    return calibrated(model, select(store, "validation", batches), training, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", action="append", default=[])
    parser.add_argument("--refit", action="append", default=[])
    parser.add_argument("--points", type=int, default=20_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = load_with_hash(options.model)
    store = SnapshotStore.open(options.data)
    models = {"as it is": model}
    if options.refit:
        models["refitted"] = refitted(model, store, options.refit)
    latest = [*models.values()][-1]
    if latest.recalibration is not None and latest.recalibration.leverage > 0:
        models["without its leverage"] = replace(latest, recalibration=replace(latest.recalibration, leverage=0.0))
    for name, one in models.items():
        print(f"\n{model.name}, {name}: {one.recalibration}")
        cases = evaluate(one, store, EvaluationConfig(tuple(options.batch), points=options.points))
        print(
            f"{'':34} {'50 %':>6} {'68 %':>6} {'90 %':>6} {'95 %':>6} {'99.7 %':>6} {'NLL':>7} {'beyond':>7} {'L1':>7}"
        )
        for case, report in calibration_reports(cases).items():
            shares = " ".join(f"{100 * s:6.1f}" for s in report.overall.coverage.values())
            print(f"{case:34} {shares} {report.nll:7.2f}")
        for case in cases:
            for record, judged in zip(case.records, case.judged, strict=True):
                inside = np.mean(np.abs(judged.differences) < judged.uncertainty.total)
                far = float("nan")
                if judged.leverage is not None:
                    far = float(np.mean(judged.leverage > one.range["leverage_quantile"]))
                line = f"  {record.task:32} {'':6} {100 * inside:6.1f} {'':28} {100 * far:6.1f}%"
                line += f" {100 * judged.errors.l1:6.2f}%"
                if record.kind == "vacancy":
                    near, away, error, rest = near_and_away(store.load(record).system, judged)
                    line += f"  vacant site: epistemic {near / away:.1f}, error {error / rest:.1f} times the rest's"
                print(line)


if __name__ == "__main__":
    main()
