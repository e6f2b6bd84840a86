"""Recalibration on batches of its own, and the report of how far predicted deviations can be trusted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError
from rhoscale.models import load_trained
from rhoscale.recipes.calibrate import validation_batches
from rhoscale.recipes.config import config_from
from rhoscale.recipes.train import train
from rhoscale.recipes.training_plan import TrainConfig
from toy_model import thermal_aluminium, toy_snapshot


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of 4 atoms, each a trajectory of its own; the second validation batch is outside the subset ``cold``."""
    store = SnapshotStore.create(tmp_path_factory.mktemp("data") / "toy", name="toy", description="for tests")
    plan = [("train-4", "train")] * 3 + [("validation-4", "validation"), ("calibration-4", "validation")] * 2
    for seed, (batch, role) in enumerate([*plan, ("test-4", "test"), ("test-4", "test")]):
        snapshot = toy_snapshot(thermal_aluminium(seed))
        subsets = () if batch == "calibration-4" else ("cold",)
        store.add(snapshot, task=f"{batch}-{seed}", batch=batch, role=role, subsets=subsets)
    return store.path


def _config(toy_data: Path, output: Path, **data: Any) -> TrainConfig:
    return config_from(
        {
            "name": "toy",
            "output": str(output),
            "data": {"path": str(toy_data), "spacing": 0.7, "validation_spacing": 0.9, **data},
            "descriptor": {"family": "scalar-products", "distances": 20, "angle_atoms": 5},
            "network": {"preset": "quick", "width": 16},
            "fit": {"epochs": 2, "warm_epochs": 4, "learning_rate": 3e-3},
            "evaluation": {"draws": 4, "points": 400},
        },
        TrainConfig,
    )


def test_calibration_on_batches_of_its_own_leaves_the_weights_alone(toy_data: Path, tmp_path: Path) -> None:
    both = {"validation": ["validation-4"]}
    plain = load_trained(train(_config(toy_data, tmp_path / "plain", **both)).folder)
    own = load_trained(train(_config(toy_data, tmp_path / "own", **both, calibration=["calibration-4"])).folder)
    assert plain.posterior.means["output.weight"].numpy().any()
    for name, mean in plain.posterior.means.items():
        np.testing.assert_array_equal(mean.numpy(), own.posterior.means[name].numpy())
    assert plain.recalibration != own.recalibration
    assert own.card["data"]["calibration"]["tasks"] == ["calibration-4-4", "calibration-4-6"]
    assert own.card["data"]["validation"]["tasks"] == ["validation-4-3", "validation-4-5"]
    assert plain.card["data"]["calibration"] == plain.card["data"]["validation"]


def test_batches_kept_for_calibration_do_not_validate(toy_data: Path, tmp_path: Path) -> None:
    store = SnapshotStore.open(toy_data)
    assert validation_batches(store, _config(toy_data, tmp_path).data) == ()  # all of the role
    kept = _config(toy_data, tmp_path, calibration=["calibration-4"]).data
    assert validation_batches(store, kept) == ("validation-4",)
    named = _config(toy_data, tmp_path, calibration=["calibration-4"], validation=["calibration-4"]).data
    assert validation_batches(store, named) == ("calibration-4",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"calibration": ["test-4"]}, "role test"),
        ({"calibration": ["validation-4", "calibration-4"]}, "expected one that is left"),
        ({"calibration": ["calibration-4"], "validation": ["validation-4"], "subset": "cold"}, "subset"),
        ({"calibration": ["calibration-5"]}, "there are"),
    ],
)  # fmt: skip
def test_batches_that_cannot_calibrate_are_refused_before_training(
    toy_data: Path, tmp_path: Path, data: dict[str, Any], words: str
) -> None:
    def no_epoch(_text: str, epoch: object) -> None:
        assert epoch is None

    with pytest.raises(DatasetError, match=words):
        train(_config(toy_data, tmp_path / "toy", **data), report=no_epoch)
