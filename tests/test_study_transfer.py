"""``rhoscale study transfer``: equal budgets, equal steps, frozen layers, nothing twice; on the toy engine."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.errors import DatasetError, InputError
from rhoscale.models import load_trained
from rhoscale.models.card import to_toml
from rhoscale.recipes import study_transfer_training
from rhoscale.recipes.config import config_from, read_config
from rhoscale.recipes.study_transfer import dry_run, study_transfer
from rhoscale.recipes.study_transfer_plan import (
    Selection,
    TransferStudyConfig,
    arms_of,
    cost,
    in_order,
    plan_transfer,
)
from rhoscale.recipes.study_transfer_training import Training, trainings_of
from rhoscale.report.transfer import RunErrors, spread_over_seeds
from rhoscale.snapshot import Snapshot
from rhoscale.training import EpochReport
from toy_model import thermal_aluminium, toy_snapshot

RECIPES = Path(__file__).parent.parent / "recipes"
ARMS = ("transfer-0", "transfer-50", "joint", "large", "small")


def _labelled(seed: int, repeats: int, seconds: float) -> Snapshot:
    """A cell of the toy engine with a cost on record; its temperature follows from the seed."""
    snapshot = toy_snapshot(thermal_aluminium(seed, repeats, 0.2))
    origin = {"trajectory": f"seed{seed}", "temperature": (315.0, 933.0)[seed % 2], "kind": "bulk"}
    return replace(snapshot, origin=origin, settings={"cpu_seconds": seconds})


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of 4 atoms at 2-4 core-seconds, cells of 32 at 11-13, for every role; each a trajectory of its own."""
    folder = tmp_path_factory.mktemp("data")
    store = SnapshotStore.create(folder / "toy", name="toy", description="for tests")
    better = SnapshotStore.create(folder / "better", name="better", description="labels of another kind")
    plan = [("train-4", "train", 1, 3.0)] * 14 + [("train-32", "train", 2, 12.0)] * 3
    plan += [("validation-4", "validation", 1, 3.0), ("test-4", "test", 1, 3.0), ("test-32", "test", 2, 12.0)]
    for seed, (batch, role, repeats, seconds) in enumerate(plan):
        snapshot = _labelled(seed, repeats, seconds + np.sin(seed))
        store.add(snapshot, task=f"{batch}-{seed}", batch=batch, role=role)
        if batch == "test-32":
            shifted = replace(snapshot.density, coefficients=1.01 * snapshot.density.coefficients)
            other = replace(snapshot, density=shifted, settings={})
            better.add(other, task=f"{batch}-{seed}", batch=batch, role=role)
    return store.path


def _recipe(toy_data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "toy-study",
        "output": str(output),
        "budgets": [3],
        "seeds": [0, 1],
        "subsets": [0, 1],
        "frozen": [0.0, 0.5],
        "learning_rates": [2e-3, 4e-3],
        "large_share": 0.4,
        "steps_per_epoch": 4,
        "second_epochs": 1,
        "batch": 64,
        "draws": 2,
        "judged_points": 100,
        "fit": {"epochs": 3, "warm_epochs": 1, "learning_rate": 4e-3},
        "data": {
            "path": str(toy_data),
            "small": ["train-4"],
            "large": ["train-32"],
            "validation": ["validation-4"],
            "test": ["test-32", "test-4"],
            "better_labels": str(toy_data.parent / "better"),
        },
        "points": {"spacing": 1.2, "fraction": 1.0, "validation_spacing": 1.5},
        "model": {
            "descriptor": {"family": "scalar-products", "distances": 12, "angle_atoms": 4, "neighbours": 2},
            "network": {"width": 8, "blocks": 2, "layers": 1},
        },
        **changes,
    }


def _config(toy_data: Path, output: Path, **changes: Any) -> TransferStudyConfig:
    return config_from(_recipe(toy_data, output, **changes), TransferStudyConfig)


@pytest.fixture(scope="module")
def study(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TransferStudyConfig, Any]:
    """The whole study, run once by the functions that the command calls."""
    config = _config(toy_data, tmp_path_factory.mktemp("studies") / "toy")
    return config, study_transfer(config)


def test_every_arm_costs_the_same_within_half_a_snapshot(toy_data: Path, tmp_path: Path) -> None:
    """|spent - target| <= half the dearest small cell: whole snapshots allow no more, and none is free."""
    plan = plan_transfer(_config(toy_data, tmp_path), SnapshotStore.open(toy_data))
    dearest = max(cost(r) for u in plan.units for r in u.selection.small)
    assert {u.arm.name for u in plan.units} == set(ARMS)
    for unit in plan.units:
        assert unit.lacking == 0
        assert unit.target > 8 * dearest
        assert abs(unit.selection.seconds - unit.target) <= 0.5 * dearest, unit.arm.name


def test_transfer_and_joint_training_have_the_same_cells_and_the_paper_s_share_of_large_ones(
    toy_data: Path, tmp_path: Path
) -> None:
    plan = plan_transfer(_config(toy_data, tmp_path), SnapshotStore.open(toy_data))
    chosen = {(u.arm.name, u.subset): u.selection for u in plan.units}
    for subset in (0, 1):
        assert chosen["transfer-0", subset] == chosen["transfer-50", subset] == chosen["joint", subset]
        assert len(chosen["joint", subset].large) == round(0.4 * 3)
        assert set(chosen["joint", subset].large) < set(chosen["large", subset].large)
        assert not chosen["small", subset].large
        assert set(chosen["joint", subset].small) < set(chosen["small", subset].small)
    assert chosen["joint", 0] != chosen["joint", 1]


def test_all_arms_take_the_same_number_of_gradient_steps(toy_data: Path, tmp_path: Path) -> None:
    config = _config(toy_data, tmp_path)
    for arm in arms_of(config):
        last: Training | None = trainings_of(config, arm.kind, arm.frozen, Selection(), 0, 1e-3)
        epochs = 0
        while last is not None:
            epochs, last = epochs + last.epochs, last.first
        assert epochs * config.steps_per_epoch == config.steps == 16, arm.name


def test_the_steps_that_were_made_are_the_steps_that_were_planned(study: tuple[TransferStudyConfig, Any]) -> None:
    config, _ = study
    done = {f.stem: json.loads(f.read_text()) for f in (config.output / "trained").iterdir()}
    totals = []
    for key, values in done.items():
        first = values["identity"]["first"]
        if first is not None or not any(v["identity"]["first"] == key for v in done.values()):
            totals.append(values["result"]["steps"] + (0 if first is None else done[first]["result"]["steps"]))
    assert set(totals) == {config.steps}
    runs, rates = 2 * 2, 2
    assert len(totals) == 4 * (runs + rates - 1) + (2 + rates - 1)  # both subsets have the same three large cells ...
    assert len(done) - len(totals) == 4  # ... first stages, shared by the transfer arms


def test_frozen_layers_keep_the_bits_of_the_first_stage_and_others_do_not(
    study: tuple[TransferStudyConfig, Any],
) -> None:
    config, _ = study
    seen = set()
    for file in (config.output / "trained").iterdir():
        identity = json.loads(file.read_text())["identity"]
        if identity["first"] is None:
            continue
        first, second = (load_trained(config.output / "models" / key) for key in (identity["first"], file.stem))
        frozen = first.network.first_layers(identity["frozen"])
        seen.add(len(frozen))
        for name, before in first.posterior.means.items():
            assert torch.equal(before, second.posterior.means[name]) == (name in frozen), name
    assert seen == {0, 2}


def test_the_study_ends_with_errors_of_every_arm_a_table_and_a_picture(study: tuple[TransferStudyConfig, Any]) -> None:
    config, report = study
    assert report.remaining == 0
    assert [case.name for case in report.cases] == ["test-32", "test-32, labels of better", "test-4"]
    assert [result.arm for result in report.results] == list(ARMS)
    for result in report.results:
        assert result.rate == min(result.validation, key=result.validation.__getitem__)
        for case in report.cases:
            runs = result.runs[case.name]
            assert [(r.subset, r.seed) for r in runs] == [(s, i) for s in (0, 1) for i in (0, 1)]
            assert all(0 < r.l1 <= r.worst < 1 and 0 < r.epistemic < r.total for r in runs)
    (own,) = (b for b in report.cases[1].baselines if b.name == "labels of toy")
    assert 0 < own.rmse < 0.01  # the other labels are one per cent higher ...
    assert own.l1 < 1e-2  # ... in a cell that still holds as many electrons
    assert (config.output / "transfer.md").read_text() == report.table
    assert (config.output / "transfer.png").stat().st_size > 10_000
    lines = [line for line in report.table.splitlines() if line.startswith("| transfer-50")]
    assert len(lines) == 1 + len(report.cases)
    assert re.search(r"\d\.\d{3} ± \d\.\d{3} %", lines[1])


def test_a_finished_study_trains_and_judges_nothing_again(
    study: tuple[TransferStudyConfig, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, report = study

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained or judged again")

    monkeypatch.setattr(study_transfer_training, "fit", never)
    monkeypatch.setattr("rhoscale.recipes.study_transfer.judge_snapshot", never)
    again = study_transfer(config)
    assert again.trained == 0
    assert again.table == report.table
    assert sum(dry_run_without_probe(config, monkeypatch).trainings) == 0


def dry_run_without_probe(config: TransferStudyConfig, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dry run at a given speed: the probe is a fit of its own."""
    monkeypatch.setattr(study_transfer_training, "_speed", lambda *_: (1.0, 0.0))
    return dry_run(config)


def test_a_killed_study_goes_on_to_the_same_models(
    toy_data: Path, tmp_path: Path, study: tuple[TransferStudyConfig, Any]
) -> None:
    """Killed in the second epoch of the second training; the first is kept and the end is the same bits."""
    small = {"seeds": [0], "subsets": [0], "fit": {"epochs": 3, "warm_epochs": 1, "learning_rate": 4e-3}}
    config = _config(toy_data, tmp_path / "killed", **small)
    config = replace(config, fit=replace(config.fit, checkpoint_seconds=0.0))
    epochs = []

    def kill(_text: str, epoch: EpochReport | None) -> None:
        epochs.append(epoch)
        if sum(e is not None for e in epochs) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study_transfer(config, only=["joint"], report=kill)
    assert len(list((config.output / "trained").iterdir())) == 1
    resumed: list[EpochReport] = []
    done = study_transfer(config, only=["joint"], report=lambda _, e: resumed.append(e) if e else None)
    assert done.trained == 1
    assert [e.epoch for e in resumed] == [2, 3]
    whole = study[0].output / "models"
    for folder in (config.output / "models").iterdir():
        ours, theirs = load_trained(folder).posterior, load_trained(whole / folder.name).posterior
        assert all(torch.equal(ours.means[k], theirs.means[k]) for k in theirs.means)


def test_a_limit_is_kept_and_a_call_without_goes_on(toy_data: Path, tmp_path: Path) -> None:
    config = _config(toy_data, tmp_path / "limited", seeds=[0])
    first = study_transfer(config, only=["small"], limit=1)
    assert (first.trained, first.remaining) == (1, 2)
    assert first.results[0].rate is None
    assert "not chosen yet" in first.table
    rest = study_transfer(config, only=["small"])
    assert (rest.trained, rest.remaining) == (2, 0)


def test_the_command_plans_and_refuses_with_one_message(toy_data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(to_toml(_recipe(toy_data, tmp_path / "planned", budgets=[1, 3])))
    done = CliRunner().invoke(app, ["study", "transfer", str(recipe), "--dry-run"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "transfer-50" in done.output
    assert "core-minutes" in done.output.replace("\n", " ")
    assert not (tmp_path / "planned").exists()
    refused = CliRunner().invoke(app, ["study", "transfer", str(recipe), "--only", "transfer-33"])
    assert isinstance(refused.exception, InputError)
    assert "transfer-50" in str(refused.exception)


def test_missing_cells_are_named(toy_data: Path, tmp_path: Path) -> None:
    values = _recipe(toy_data, tmp_path)
    for key, wrong in (("large", "train-108"), ("test", "test-256")):
        data = {**values["data"], key: [wrong]}
        with pytest.raises(DatasetError, match=wrong):
            study_transfer(config_from({**values, "data": data}, TransferStudyConfig))
    with pytest.raises(DatasetError, match="needs more than the 3"):
        plan_transfer(_config(toy_data, tmp_path, budgets=[4]), SnapshotStore.open(toy_data))


def test_an_arm_without_enough_small_cells_says_so_and_is_not_trained(toy_data: Path, tmp_path: Path) -> None:
    """Large cells of 12 s: three cost as much as twelve of 3 s; one of three is left for the small cells to replace."""
    store = SnapshotStore.open(toy_data)
    config = _config(toy_data, tmp_path, data={**_recipe(toy_data, tmp_path)["data"], "small": ["train-4", "train-32"]})
    rich = plan_transfer(config, store, ["small"])
    assert rich.units[0].lacking == 0
    cheap = [replace(r, core_seconds=1.0) if r.batch == "train-4" else r for r in store.records()]
    poor = plan_transfer(_config(toy_data, tmp_path), _Records(store, cheap), ["small", "large"])
    lacking = {u.arm.name: u.lacking for u in poor.units}
    assert lacking["large"] == 0
    assert lacking["small"] == pytest.approx(poor.units[0].target - 14.0)


def test_measured_costs_of_the_recipe_take_the_place_of_the_records(toy_data: Path, tmp_path: Path) -> None:
    data = {**_recipe(toy_data, tmp_path)["data"], "seconds": {"train-4": 2.0, "train-32": 8.0}}
    plan = plan_transfer(_config(toy_data, tmp_path, data=data), SnapshotStore.open(toy_data), ["small", "large"])
    assert {u.target for u in plan.units} == {24.0}
    assert {len(u.selection.small) for u in plan.units} == {0, 12}
    with pytest.raises(InputError, match="'test-4'; expected a positive number"):
        _config(toy_data, tmp_path, data={**data, "seconds": {"test-4": 2.0}})


class _Records:
    """A data set whose records are given."""

    def __init__(self, store: SnapshotStore, records: list[Record]) -> None:
        self.path, self._records = store.path, records

    def select(self, *, role: str, batch: str) -> list[Record]:
        return [r for r in self._records if (r.role, r.batch) == (role, batch)]


def test_the_order_mixes_temperatures_and_survives_new_snapshots(toy_data: Path) -> None:
    records = SnapshotStore.open(toy_data).select(role="train", batch="train-4")
    order = in_order(records, 0)
    assert sorted(r.task for r in order) == sorted(r.task for r in records)
    assert all(a.temperature != b.temperature for a, b in pairwise(order))
    assert [r.task for r in order] != [r.task for r in in_order(records, 1)]
    fewer = in_order(records[:-2], 0)
    for temperature in (315.0, 933.0):
        kept = [r for r in order if r.temperature == temperature and r in fewer]
        assert kept == [r for r in fewer if r.temperature == temperature]


def test_the_spread_is_that_of_seeds_not_of_subsets() -> None:
    runs = [
        RunErrors(s, i, l1, l1, 0.0, 0.0, 0.0) for s, i, l1 in ((0, 0, 1.0), (0, 1, 3.0), (1, 0, 11.0), (1, 1, 13.0))
    ]
    assert spread_over_seeds(runs, lambda r: r.l1) == pytest.approx(np.sqrt(2.0))
    assert spread_over_seeds(runs[:1], lambda r: r.l1) is None


def test_recipes_with_unequal_steps_or_nothing_to_do_are_refused(toy_data: Path, tmp_path: Path) -> None:
    patient = {"fit": {"epochs": 5, "patience": 2}}
    for wrong in (patient, {"second_epochs": 3}, {"seeds": []}, {"large_share": 1.0}, {"frozen": [0.333, 0.3333]}):
        with pytest.raises(InputError, match=r"change the recipe|leave it out"):
            _config(toy_data, tmp_path, **wrong)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("study-transfer-*.toml")), ids=lambda p: p.stem)
def test_shipped_study_recipes_can_be_read(recipe: Path) -> None:
    config = read_config(recipe, TransferStudyConfig)
    assert config.name == recipe.stem
    assert "transfer-33" in [arm.name for arm in arms_of(config)]
    network = config.model.network.network(105)
    assert (network.blocks, network.layers) == (3, 3)
    assert {name.split(".")[1] for name in network.first_layers(config.frozen[1])} == {"0", "1", "2"}
