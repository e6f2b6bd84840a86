"""What the number of features in the leverage changes: calibration on test cells beside the operations a point.

    OMP_NUM_THREADS=1 python benchmarks/leverage_features.py sige-pbe data/sige --features 16 32 64 96 128 192 708

For each number the leverage and its scale are measured anew on the model's training snapshots, the deviations are
recalibrated on its calibration snapshots, and judged on all test snapshots; the weights stay. The last row is the model
as it is. About a minute a row.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import rhoscale
import rhoscale.uncertainty.leverage as module
from rhoscale.datasets.store import SnapshotStore
from rhoscale.models import TrainedModel
from rhoscale.recipes.calibrate import calibrated
from rhoscale.recipes.calibration_report import calibration_report
from rhoscale.recipes.judge import judge_snapshot
from rhoscale.recipes.training_data import Labelled

POINTS = 20_000  # of a test snapshot


def labelled(store: SnapshotStore, tasks: Sequence[str]) -> Labelled:
    """Snapshots by name."""
    records = tuple(store.record(task) for task in tasks)
    return Labelled(records, tuple(store.load(record) for record in records))


def row(name: str, model: TrainedModel, store: SnapshotStore) -> str:
    """Calibration on the test snapshots."""
    records = store.select(role="test")
    found = calibration_report(records, [judge_snapshot(model, store.load(r), draws=0, points=POINTS) for r in records])
    shares = {name: group.coverage[0.68] for name, group in found.groups["decile"].items()}
    size = 0 if model.leverage is None else model.leverage.whitening.size
    return (
        f"{name:10} {2 * size:8} {100 * found.overall.coverage[0.68]:6.1f} "
        f"{100 * min(shares.values()):6.1f} {100 * max(shares.values()):6.1f} {found.nll:8.3f} "
        f"{found.spearman / found.spearman_ceiling:6.2f} {found.block_correlation:6.2f}"
    )


def main() -> None:
    """Print one row a number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--features", nargs="+", type=int, default=[16, 32, 64, 96, 128])
    given = parser.parse_args()
    store = SnapshotStore.open(given.data)
    model = rhoscale.load_model(given.model).trained
    seen = labelled(store, model.card["data"]["stage_1"]["train"]["tasks"])
    held_out = labelled(store, model.card["data"]["calibration"]["tasks"])
    print("features   operations 68 % least and most of deciles     NLL  Spearman blocks")
    chosen = module.FEATURES, module.LEFT
    for number in given.features:
        module.FEATURES, module.LEFT = number, 1.0
        print(row(str(number), calibrated(replace(model, range={}), held_out, seen, 0), store), flush=True)
    module.FEATURES, module.LEFT = chosen
    print(row("as it is", model, store))


if __name__ == "__main__":
    main()
