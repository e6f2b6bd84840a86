"""``rhoscale train`` from a recipe to a judged model, on densities of the toy engine."""

import json
import math
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.errors import DatasetError, InputError, OutputError
from rhoscale.grid import Grid
from rhoscale.models import Ensemble, load_trained
from rhoscale.models.card import to_toml
from rhoscale.models.dense_network import Parameters
from rhoscale.recipes.config import config_from, read_config
from rhoscale.recipes.member import start_of
from rhoscale.recipes.prior import prior_alone, prior_mean
from rhoscale.recipes.train import train
from rhoscale.recipes.training_data import near_atoms
from rhoscale.recipes.training_plan import TrainConfig
from rhoscale.system import System
from rhoscale.training import EpochReport
from toy_model import toy_store

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cells of 4 atoms and, for transfer, two of 32; each a trajectory of its own."""
    plan = [("train-4", "train", 1)] * 3 + [("validation-4", "validation", 1)] * 2 + [("test-4", "test", 1)] * 2
    plan += [("train-32", "train", 2), ("test-32", "test", 2)]
    return toy_store(tmp_path_factory.mktemp("data") / "toy", plan, amplitude=0.3).path


def _recipe(toy_data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "toy",
        "output": str(output),
        "batch": 512,
        "data": {"path": str(toy_data), "train": ["train-4"], "spacing": 0.7, "validation_spacing": 0.9},
        "descriptor": {"family": "scalar-products", "distances": 20, "angle_atoms": 5},
        "network": {"preset": "quick", "width": 16},
        "posterior": {"prior_deviation": 0.3},
        "fit": {"epochs": 6, "warm_epochs": 6, "learning_rate": 3e-3, "checkpoint_seconds": 0.0},
        "evaluation": {"draws": 4, "points": 400},
        **changes,
    }


def _config(toy_data: Path, output: Path, **changes: Any) -> TrainConfig:
    return config_from(_recipe(toy_data, output, **changes), TrainConfig)


def _same_weights(a: Path, b: Path) -> bool:
    first, second = load_trained(a).posterior, load_trained(b).posterior
    return all(torch.equal(first.means[k], second.means[k]) for k in first.means) and all(
        torch.equal(first.log_deviations[k], second.log_deviations[k]) for k in first.log_deviations
    )


def test_a_recipe_becomes_a_judged_model(toy_data: Path, tmp_path: Path) -> None:
    report = train(_config(toy_data, tmp_path / "toy"))
    model = load_trained(report.folder)
    assert sorted(p.name for p in report.folder.iterdir()) == ["card.toml", "weights.safetensors"]
    assert model.functional == "unknown"
    assert model.pseudopotentials["Al"].valence == 3.0
    assert set(model.range) == {
        "largest_total", "largest_epistemic", "l1_ratio_low", "l1_ratio_high", "largest_electrons_off",
        "smallest_distance", "leverage_quantile", "leverage_share",
    }  # fmt: skip
    assert 3.0 < model.range["smallest_distance"] < 5.4
    assert model.recalibration is not None
    card = model.card
    assert card["data"]["stage_1"]["train"]["snapshots"] == 3
    assert card["data"]["stage_1"]["train"]["labels"] == ["toy, 10 Ry, k-points 1x1x1, fermi-dirac 0.004 Ry"]
    assert set(card["errors"]) == {"test-4", "test-32"}
    errors = card["errors"]["test-4"]
    assert 0 < errors["l1_mean"] <= errors["l1_worst"] < 0.2
    assert errors["l1_mean"] <= errors["rmse"] / (3 / 111.92) * 1.1  # the bound of L1 by the RMSE, raw against rescaled
    first, last = (card["training"]["stage_1"]["validation_l1"][i] for i in (0, -1))
    assert last < first


def test_a_killed_training_goes_on_to_the_same_weights(toy_data: Path, tmp_path: Path) -> None:
    whole, killed = _config(toy_data, tmp_path / "whole"), _config(toy_data, tmp_path / "killed")

    def kill(_text: str, epoch: EpochReport | None) -> None:
        if epoch is not None and epoch.epoch == 7:
            raise KeyboardInterrupt

    train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(killed, report=kill)
    with pytest.raises(OutputError, match="--resume"):
        train(killed)
    train(killed, resume=True)
    assert _same_weights(tmp_path / "whole", tmp_path / "killed")
    assert not (tmp_path / "killed" / "work").exists()


def _distance(first: Parameters, second: Parameters) -> float:
    return math.sqrt(sum(float(torch.sum((first[name] - value) ** 2)) for name, value in second.items()))


def test_an_ensemble_is_trained_member_by_member_and_goes_on_where_it_was_killed(
    toy_data: Path, tmp_path: Path
) -> None:
    one = {"prior_deviation": 0.02}  # holds so much that it shows what it holds to
    two = {**one, "members": 2}
    config = _config(toy_data, tmp_path / "alone", posterior=one)
    alone = train(config).model
    whole = train(_config(toy_data, tmp_path / "whole", posterior=two)).model
    assert isinstance(whole.posterior, Ensemble)
    first, second = whole.posterior.members
    start = start_of(config, alone.network, config.fit.seed).means
    assert _distance(first, start) < 0.9 * _distance(alone.variational.means, start)
    assert not torch.equal(first["output.weight"], second["output.weight"])
    histories = [whole.card["training"][key]["validation_l1"] for key in ("stage_1", "stage_1_member_2")]
    warm, by_itself = config.fit.warm_epochs, alone.card["training"]["stage_1"]["validation_l1"]
    assert histories[0][:warm] == by_itself[:warm]  # the prior does not count yet
    assert len({tuple(history[warm:]) for history in (by_itself, *histories)}) == 3

    def kill(text: str, epoch: EpochReport | None) -> None:
        if epoch is not None and text == "stage 1, member 2" and epoch.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_config(toy_data, tmp_path / "killed", posterior=two), report=kill)
    train(_config(toy_data, tmp_path / "killed", posterior=two), resume=True)
    again = load_trained(tmp_path / "killed").posterior
    assert isinstance(again, Ensemble)
    for before, after in zip(whole.posterior.members, again.members, strict=True):
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    with pytest.raises(InputError, match="members is 0"):
        _config(toy_data, tmp_path / "none", posterior={"members": 0})


def test_an_unfinished_run_of_another_recipe_is_not_gone_on_with(toy_data: Path, tmp_path: Path) -> None:
    def kill(_text: str, epoch: EpochReport | None) -> None:
        if epoch is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_config(toy_data, tmp_path / "toy"), report=kill)
    other = _config(toy_data, tmp_path / "toy", posterior={"prior_deviation": 0.2})
    with pytest.raises(InputError, match="other settings or data"):
        train(other, resume=True)


def test_transfer_keeps_the_first_layers_of_the_first_stage(toy_data: Path, tmp_path: Path) -> None:
    whole = {"train": ["train-32"], "settings": {"frozen": 0.5, "data_fraction": 1.0}, "fit": {"epochs": 2}}
    train(_config(toy_data, tmp_path / "first"))
    train(_config(toy_data, tmp_path / "second", transfer=whole))
    first, second = (load_trained(tmp_path / name) for name in ("first", "second"))
    frozen = first.network.first_layers(0.5)
    assert {name.split(".")[1] for name in frozen} == {"0", "1"}
    for name, before in first.posterior.means.items():
        assert torch.equal(before, second.posterior.means[name]) == (name in frozen), name
    assert second.card["data"]["stage_2"]["train"]["formulas"] == ["Al32"]


def test_a_linear_prior_travels_with_the_model_and_its_errors_stand_beside(toy_data: Path, tmp_path: Path) -> None:
    report = train(_config(toy_data, tmp_path / "toy", prior_mean="linear"))
    model = load_trained(report.folder)
    assert model.prior_mean == "linear"
    names = {"linear.coefficients", "linear.centre", "linear.offset_and_strength"}
    assert set(model.prior_arrays) == names | {f"alone.{name}" for name in names}
    case = model.card["errors"]["test-4"]
    assert case["baselines"]["prior_mean"]["l1_mean"] > case["l1_mean"] > 0


def test_the_linear_part_is_fitted_again_to_what_the_network_leaves(toy_data: Path, tmp_path: Path) -> None:
    """On all points of one training cell errors are orthogonal to the features, but for what ridge and rounding do."""
    config = _config(toy_data, tmp_path / "toy", prior_mean="linear")
    one = replace(config, data=replace(config.data, snapshots=1, importance="none"))
    model = train(one).model
    store = SnapshotStore.open(toy_data)
    snapshot = store.load(store.select(role="train", batch=["train-4"])[0])
    spec = spec_from_dict(model.descriptor_spec)
    features = describer(snapshot.system, spec)(Grid.from_spacing(snapshot.system.cell, one.data.spacing).points())
    label = snapshot.density.on_grid(Grid.from_spacing(snapshot.system.cell, one.data.spacing).shape).values.reshape(-1)
    off = {}
    for name, choose in {"again": prior_mean, "alone": prior_alone}.items():
        linear = choose(snapshot.system, model)(np.empty((0, 3)), features)
        assert linear is not None
        off[name] = linear + model.predictor.residual(features) - label
    assert abs(off["again"].mean()) < 0.02 * abs(off["alone"].mean())
    assert np.sqrt(np.mean(off["again"] ** 2)) < np.sqrt(np.mean(off["alone"] ** 2))


def test_a_fitted_promolecule_needs_no_atoms_but_those_of_the_labels(toy_data: Path, tmp_path: Path) -> None:
    """Toy labels are sums of atoms: the prior mean is all there is to learn, in the second stage too."""
    whole = {"train": ["train-32"], "settings": {"data_fraction": 1.0}, "fit": {"epochs": 1}}
    report = train(_config(toy_data, tmp_path / "toy", prior_mean="fitted-promolecule", transfer=whole))
    model = load_trained(report.folder)
    assert set(model.prior_arrays) == {"promolecule.Al", "promolecule.Al.step"}
    case = model.card["errors"]["test-4"]
    assert 0 < case["baselines"]["prior_mean"]["l1_mean"] < 0.03


def test_the_command_trains_judges_and_prints(toy_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(_recipe(toy_data, tmp_path / "unused")))
    done = CliRunner().invoke(app, ["train", str(recipe), "--out", str(tmp_path / "toy")], catch_exceptions=False)
    assert done.exit_code == 0
    assert "validation L1" in done.output
    assert "test-32" in done.output
    again = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "toy"), "--data", str(toy_data), "--batch", "test-4", "--draws", "4",
              "--points", "400", "--json"], catch_exceptions=False
    )  # fmt: skip
    text = again.stdout[again.stdout.index("{") :]
    card = tomllib.loads((tmp_path / "toy" / "card.toml").read_text())
    assert json.loads(text)["test-4"]["l1_mean"] == pytest.approx(card["card"]["errors"]["test-4"]["l1_mean"], rel=1e-4)


def test_the_command_follows_every_stage_of_every_member(toy_data: Path, tmp_path: Path) -> None:
    changes = {
        "posterior": {"members": 2},
        "fit": {"epochs": 1, "warm_epochs": 1},
        "transfer": {"train": ["train-32"], "fit": {"epochs": 2}},
    }
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(_recipe(toy_data, tmp_path / "two", **changes)))
    done = CliRunner().invoke(app, ["train", str(recipe)], catch_exceptions=False)
    assert done.exit_code == 0
    told = [line for line in done.output.splitlines() if line.startswith("epoch ")]
    names = [f"stage {stage}, member {member}" for member in (1, 2) for stage in (1, 2)]
    assert [next(name for name in names if name in line) for line in told] == [n for n in names for _ in range(2)]
    assert isinstance(load_trained(tmp_path / "two").posterior, Ensemble)


def test_a_finished_model_is_not_replaced_without_force(toy_data: Path, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "card.toml").write_text("")
    with pytest.raises(OutputError, match="--force"):
        train(_config(toy_data, tmp_path / "toy"))


def test_a_place_that_cannot_hold_a_model_is_refused_before_any_work(toy_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    said: list[str] = []
    with pytest.raises(OutputError, match="use --out"):
        train(_config(toy_data, tmp_path / "file" / "model"), report=lambda text, _: said.append(text))
    assert said == []


def test_batches_of_another_role_and_unknown_keys_are_refused(toy_data: Path, tmp_path: Path) -> None:
    values = _recipe(toy_data, tmp_path / "toy")
    with pytest.raises(DatasetError, match="expected at least one"):
        train(config_from({**values, "data": {**values["data"], "train": ["test-4"]}}, TrainConfig))
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        config_from({**values, "fit": {"epoch": 3}}, TrainConfig)
    for wrong in ({"fit": {"epochs": 0}}, {"threads": 0}, {"posterior": {"prior_deviation": 0.0}}):
        with pytest.raises(InputError, match="recipe: "):
            config_from({**values, **wrong}, TrainConfig)


def test_a_bad_recipe_ends_with_one_message_and_exit_code_2(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "x"\noutput = "y"\nwidth = 3\n')
    done = subprocess.run(
        [sys.executable, "-c", "from rhoscale.cli.app import main; main()", "train", str(recipe)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "unknown key 'width'" in done.stderr
    assert "Traceback" not in done.stderr


def test_points_near_nuclei_are_more_important_across_the_cell_border_too() -> None:
    system = System(10 * np.eye(3), np.array([[0.1, 0.1, 0.1]]), np.array(["Al"]))
    near, across, far = near_atoms(system, np.array([[0.2, 0.2, 0.2], [9.9, 9.9, 9.9], [5.0, 5.0, 5.0]]))
    assert near > across > 3.5
    assert far == pytest.approx(1.0, abs=1e-3)


TRAINING_RECIPES = [p for p in sorted(RECIPES.glob("*.toml")) if "descriptor" in tomllib.loads(p.read_text())]


@pytest.mark.parametrize("recipe", TRAINING_RECIPES, ids=lambda p: p.stem)
def test_shipped_training_recipes_can_be_read(recipe: Path) -> None:
    config = read_config(recipe, TrainConfig)
    assert config.name == recipe.stem
    assert config.network.network(105).hidden_layers >= 2
