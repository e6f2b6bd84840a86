"""``rhoscale train`` killed with SIGKILL, which nothing can catch, goes on to the weights of an unbroken run."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rhoscale.models import load_trained
from rhoscale.models.card import to_toml
from rhoscale.training.state import TrainingState
from toy_model import toy_store

PATIENCE = 120.0  # seconds until a run must have written a state
STEPS, WARM, FIRST, SECOND = 12, 20, 40, 60


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training in two stages, some hundred milliseconds each, that writes its state after every epoch."""
    folder = tmp_path_factory.mktemp("killed")
    plan = [("train-4", "train", 1)] * 3 + [("validation-4", "validation", 1)] + [("test-4", "test", 1)]
    plan += [("train-32", "train", 2)]
    store = toy_store(folder / "toy", plan)
    text = to_toml(
        {
            "name": "toy",
            "output": "unused",
            "batch": 256,
            "steps_per_epoch": STEPS,
            "data": {"path": str(store.path), "train": ["train-4"], "spacing": 0.9, "validation_spacing": 1.0},
            "descriptor": {"family": "scalar-products", "distances": 20, "angle_atoms": 5},
            "network": {"preset": "quick", "width": 16},
            "fit": {"epochs": FIRST, "warm_epochs": WARM, "learning_rate": 3e-3, "checkpoint_seconds": 0.0},
            "transfer": {
                "train": ["train-32"],
                "settings": {"frozen": 0.5, "data_fraction": 1.0},
                "fit": {"epochs": SECOND},
            },
            "evaluation": {"draws": 0, "points": 200},
        }
    )
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def command(recipe: Path, output: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-c", "from rhoscale.cli.app import main; main()"),
        *("train", str(recipe), "--out", str(output), *options),
    ]


def run(recipe: Path, output: Path, *options: str) -> None:
    done = subprocess.run(command(recipe, output, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kill_once_written(state: Path, recipe: Path, output: Path, *options: str) -> TrainingState:
    """Start a training, kill it as soon as a state is on disk, and give the state."""
    with subprocess.Popen(
        command(recipe, output, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"the training ended before {state.name} was seen"
    return TrainingState.read(state)


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_training_killed_in_each_stage_ends_with_the_weights_of_an_unbroken_one(recipe: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(recipe, whole)

    first = kill_once_written(killed / "work" / "stage-1.safetensors", recipe, killed)
    assert 0 < first.epoch < WARM + FIRST
    assert not (killed / "card.toml").exists()

    second = kill_once_written(killed / "work" / "stage-2.safetensors", recipe, killed, "--resume")
    assert 0 < second.epoch < SECOND
    assert not (killed / "card.toml").exists()

    run(recipe, killed, "--resume")
    final = load_trained(whole).posterior.means
    for state in (first, second):  # what was left to do is no trifle
        assert any(not torch.equal(state.posterior.means[name], final[name]) for name in final)
    assert sha256(killed) == sha256(whole)
    assert not (killed / "work").exists()
