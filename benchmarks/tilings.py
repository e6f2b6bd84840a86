"""How far predictions of one structure in other tiles differ: the same sums of atoms, rounded in another order.

    OMP_NUM_THREADS=1 python benchmarks/tilings.py data/al              # in the model's own precision
    OMP_NUM_THREADS=1 python benchmarks/tilings.py data/al --float32    # without bfloat16 products

Every test cell of a data set on the compute grid of the model, as it is and in tiles of other shapes. Of the density
before it is rounded for storage: the largest and the mean difference over the range of the cell's density; of both
standard deviations the same over the value itself.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from zarr.storage import MemoryStore

from rhoscale.datasets.store import SnapshotStore
from rhoscale.models import TrainedModel
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.field import Request, about, plan_field
from rhoscale.recipes.model_tiles import ModelTiles
from rhoscale.system import System

SHAPES = ((7, 9, 11), (5, 16, 8), (1, 18, 4))
FIELDS = ("density", "aleatoric", "epistemic")


def predicted(plan: PredictionPlan, system: System, model: TrainedModel) -> dict[str, np.ndarray]:
    """The fields of a plan, tile by tile."""
    tiles = ModelTiles(PredictionStore.create(MemoryStore(), plan, system, about(system, model)), model)
    fields = {name: np.empty(plan.compute_shape) for name in FIELDS}
    for tile in plan.tiles:
        found = tiles(tile)
        for name in FIELDS:
            fields[name][tile.region] = getattr(found, name)
    return fields


def differences(system: System, model: TrainedModel, model_hash: str) -> dict[str, list[np.ndarray]]:
    """Of each field, its differences in other tiles: the density's over its range, the deviations' over themselves."""
    plan = replace(plan_field(system, model, model_hash, Request()), density_step=0.0)
    whole = predicted(plan, system, model)
    scale = {**whole, "density": np.ptp(whole["density"])}
    others = [predicted(replace(plan, tile_shape=shape), system, model) for shape in SHAPES]
    return {name: [np.abs(other[name] - whole[name]) / scale[name] for other in others] for name in FIELDS}


def measure(data: Path, model_name: str) -> None:
    """Print each test cell's differences, then those of all."""
    model, model_hash = load_with_hash(model_name)
    store = SnapshotStore.open(data)
    pooled: dict[str, list[np.ndarray]] = {name: [] for name in FIELDS}
    for record in store.select(role="test"):
        found = differences(store.load(record).system, model, model_hash)
        words = []
        for name, values in found.items():
            pooled[name] += [v.reshape(-1) for v in values]
            words.append(f"{name} {np.max(values):.1e}, {np.mean(values):.1e}")
        print(f"{record.task:34s} {'; '.join(words)}", flush=True)
    for name, values in pooled.items():
        every = np.concatenate(values)
        print(f"all {name}: largest {every.max():.1e}, mean {every.mean():.1e} of {len(every)} points")


def main() -> None:
    """Measure in the precision that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="al-pbe")
    parser.add_argument("--float32", action="store_true")
    arguments = parser.parse_args()
    if not arguments.float32:
        measure(arguments.data, arguments.model)
        return
    with patch("rhoscale.models.inference.predictor.has_bfloat16", return_value=False):
        measure(arguments.data, arguments.model)


if __name__ == "__main__":
    main()
