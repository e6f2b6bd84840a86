"""What cheap labels are off by, learned from structures that have better ones too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.datasets.points import Draw, points_of
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import Smooth, describer
from rhoscale.descriptors.smooth import AngularSet, RadialSet
from rhoscale.errors import DatasetError
from rhoscale.models import load_trained
from rhoscale.recipes.calibrate import training_batches
from rhoscale.recipes.config import config_from
from rhoscale.recipes.label_correction import label_correction
from rhoscale.recipes.train import train
from rhoscale.recipes.training_data import Labelled, grid_points
from rhoscale.recipes.training_plan import TrainConfig
from rhoscale.snapshot import Snapshot
from rhoscale.structures.strain import apply_strain
from rhoscale.system import System
from toy_model import toy_snapshot

SPEC = Smooth(("Al",), (RadialSet(8, 9.0),), (AngularSet((3, 3, 2), 7.0),))


def crystal(seed: int) -> System:
    rng = np.random.default_rng(seed)
    sites = 7.65 * np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return System(7.65 * np.eye(3), sites + rng.normal(0, 0.3, sites.shape), np.full(4, "Al"))


def cheap(better: Snapshot) -> Snapshot:
    """A label whose waves are all 3 % too strong: as many electrons, and wrong in the same way in like surroundings."""
    factors = np.where(better.density.millers.any(axis=1), 1.03, 1.0)  # the mean stays
    density = replace(better.density, coefficients=better.density.coefficients * factors)
    return replace(better, density=density, settings={**better.settings, "kmesh": [1, 1, 1]})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SnapshotStore:
    """Six structures with cheap labels, four of which have better ones; validation is cheap, tests are better."""
    made = SnapshotStore.create(tmp_path_factory.mktemp("data") / "toy", name="toy", description="for tests")
    for seed in range(10):
        better = toy_snapshot(crystal(seed))
        better = replace(better, origin={"trajectory": f"seed{seed}", "temperature": 900.0, "kind": "bulk"})
        batch = "train" if seed < 6 else "validation" if seed < 8 else "test"
        label = better if batch == "test" else cheap(better)
        made.add(label, task=f"{batch}-{seed}", batch=batch, role=batch)
        if seed < 4:
            made.add(better, task=f"better-{seed}", batch="better", role="train")
    return made


def labelled(store: SnapshotStore, batch: str) -> Labelled:
    records = tuple(store.select(batch=batch))
    return Labelled(records, tuple(store.load(r) for r in records))


def test_what_is_common_to_all_labels_is_found_on_structures_that_had_no_part(store: SnapshotStore) -> None:
    found = label_correction(store, ["better"], labelled(store, "train"), SPEC, 0.6)
    assert [record.task for record in found.better] == [f"better-{seed}" for seed in range(4)]
    assert found.left < 0.25 * found.difference
    new = toy_snapshot(crystal(20))
    truth, off = (grid_points(s, SPEC, 0.65) for s in (new, cheap(new)))
    corrected = found.corrected(off).density
    assert np.sqrt(np.mean((off.density - truth.density) ** 2)) == pytest.approx(found.difference, rel=0.3)
    assert np.abs(corrected - truth.density).mean() < 0.25 * np.abs(off.density - truth.density).mean()


def test_corrected_labels_hold_as_many_electrons(store: SnapshotStore) -> None:
    training = labelled(store, "train")
    found = label_correction(store, ["better"], training, SPEC, 0.6)
    strained = [toy_snapshot(apply_strain(crystal(20 + n), e)) for n, e in enumerate((-0.1, 0.0, 0.1))]
    draw = Draw(0.6, 0.5, None, seed=1)
    points = points_of(strained, lambda system, at: describer(system, SPEC)(at), draw)
    change = points.weights * (found.corrected(points).density - points.density)
    for number in range(3):
        assert abs(change[points.snapshot == number].mean()) < 1e-7 * points.density.mean()
    assert np.abs(change).mean() > 1e-4 * points.density.mean()


def recipe(store: SnapshotStore, output: Path, **data: Any) -> TrainConfig:
    values = {
        "name": "toy",
        "output": str(output),
        "batch": 512,
        "prior_mean": "linear",
        "data": {"path": str(store.path), "spacing": 0.7, "validation_spacing": 0.9, **data},
        "descriptor": {key: value for key, value in SPEC.to_dict().items() if key != "elements"},
        "network": {"preset": "quick", "width": 8},
        "fit": {"epochs": 2, "warm_epochs": 2, "learning_rate": 3e-3},
        "evaluation": {"draws": 0, "points": 200},
    }
    return config_from(values, TrainConfig)


def test_a_model_of_cheap_labels_predicts_the_better_ones(store: SnapshotStore, tmp_path: Path) -> None:
    names = ["train"]
    as_they_are = train(recipe(store, tmp_path / "cheap", train=names))
    corrected = train(recipe(store, tmp_path / "corrected", converged=["better"]))  # trains on the rest by default
    errors = [np.mean([e.l1 for e in report.cases[0].errors]) for report in (as_they_are, corrected)]
    assert errors[1] < 0.6 * errors[0]
    card = load_trained(tmp_path / "corrected").card["data"]
    assert card["label_correction"]["tasks"] == [f"better-{seed}" for seed in range(4)]
    assert card["label_correction"]["rms_left"] < card["label_correction"]["rms_difference"]
    assert card["stage_1"]["train"]["tasks"] == [f"train-{seed}" for seed in range(6)]
    assert "label_correction" not in load_trained(tmp_path / "cheap").card["data"]


def test_what_cannot_be_compared_is_refused(store: SnapshotStore, tmp_path: Path) -> None:
    training = labelled(store, "train")
    with pytest.raises(DatasetError, match=r"names nothing; .* has better, test, train, validation"):
        label_correction(store, ["nothing"], training, SPEC, 0.6)
    with pytest.raises(DatasetError, match="no snapshot of test has the role train"):
        label_correction(store, ["test"], training, SPEC, 0.6)
    with pytest.raises(DatasetError, match=r"train-0 of data\.converged has the structure of no training snapshot"):
        label_correction(store, ["train"], labelled(store, "validation"), SPEC, 0.6)
    with pytest.raises(DatasetError, match=r"train-0 of data\.converged is a training snapshot itself"):
        label_correction(store, ["train"], training, SPEC, 0.6)
    one = SnapshotStore.create(tmp_path / "one", name="one", description="a single structure")
    for name in ("train-0", "better-0"):
        one.add(store.load(store.record(name)), task=name, batch=name[:-2], role="train")
    with pytest.raises(DatasetError, match=r"one trajectory \(seed0\); expected at least two"):
        label_correction(one, ["better"], labelled(one, "train"), SPEC, 0.6)
    with pytest.raises(DatasetError, match=r"data\.converged takes all train batches"):
        training_batches(one, recipe(one, tmp_path / "m", converged=["better", "train"]).data)
