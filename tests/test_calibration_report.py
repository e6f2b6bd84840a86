"""Recalibration on batches of its own, and the report of how far predicted deviations can be trusted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError, OutputError
from rhoscale.metrics import negative_log_likelihood
from rhoscale.metrics.regions import REGIONS, nearest_atom, regions
from rhoscale.metrics.reliability import (
    block_numbers,
    block_rms,
    bootstrap_interval,
    constant_by_group,
    deciles,
    rank_correlation,
    rank_correlation_ceiling,
    reliability,
)
from rhoscale.models import load_trained
from rhoscale.recipes.calibrate import validation_batches
from rhoscale.recipes.calibration_report import calibration_report
from rhoscale.recipes.config import config_from
from rhoscale.recipes.judge import judge_snapshot
from rhoscale.recipes.train import train
from rhoscale.recipes.training_plan import TrainConfig
from rhoscale.system import System
from toy_model import thermal_aluminium, toy_snapshot, toy_store


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


def test_the_report_and_its_picture_come_from_the_command(toy_data: Path, tmp_path: Path) -> None:
    folder = train(_config(toy_data, tmp_path / "toy")).folder
    words = ["evaluate", str(folder), "--data", str(toy_data), "--draws", "4", "--calibration"]
    picture = tmp_path / "calibration.png"
    cases = ["--batch", "test-4", "--batch", "train-4"]
    shown = CliRunner().invoke(app, [*words, *cases, "--figure", str(picture)], catch_exceptions=False)
    assert "region core" in shown.output
    assert "ceiling" in shown.output
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    told = CliRunner().invoke(app, [*words, *cases, "--json"], catch_exceptions=False)
    found = json.loads(told.stdout[told.stdout.index("{") :])
    report = found["calibration"]["all"]
    assert report["snapshots"] == 5
    assert sum(g["points"] for g in report["region"].values()) == report["overall"]["points"]
    assert sum(g["points"] for g in report["decile"].values()) == report["overall"]["points"]
    assert 0 <= report["overall"]["coverage"]["50"] < report["overall"]["coverage"]["95"] <= 1
    card = load_trained(folder).card["errors"]["test-4"]["calibration"]
    assert -1 <= card["spearman"] <= 1
    assert set(card["coverage_68"]) == {"region", "temperature", "decile"}
    nowhere = CliRunner().invoke(app, [*words, "--figure", str(tmp_path / "no" / "folder.png")])
    assert isinstance(nowhere.exception, OutputError)


def test_a_large_cell_counts_like_a_small_one(toy_model: Path, tmp_path: Path) -> None:
    store = toy_store(tmp_path / "toy", [("four", "test", 1), ("many", "test", 2)])
    model, records = load_trained(toy_model), store.records()
    small, large = (judge_snapshot(model, store.load(r), draws=4) for r in records)
    assert len(large.chosen) > 4 * len(small.chosen)
    off = replace(large, differences=1.0 + large.differences)
    shares = [calibration_report([r], [j]).overall.coverage for r, j in zip(records, (small, off), strict=True)]
    together = calibration_report(records, [small, off])
    assert together.overall.points == 2 * len(small.chosen)
    assert shares[0][0.95] > shares[1][0.95] == 0.0
    assert together.overall.coverage == {level: share / 2 for level, share in shares[0].items()}
    assert len(together.block_error) > len(calibration_report(records[:1], [small]).block_error) * 8


def _calibrated_fields(seed: int, snapshots: int, points: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    sigma = [rng.lognormal(-9.0, 0.7, points) for _ in range(snapshots)]
    return [s * rng.standard_normal(points) for s in sigma], sigma


def test_calibrated_errors_are_covered_as_often_as_the_levels_say_in_every_decile() -> None:
    errors, sigma = _calibrated_fields(0, 5, 20_000)
    tenths = [deciles(np.concatenate(sigma))[i * 20_000 : (i + 1) * 20_000] for i in range(5)]
    assert np.bincount(np.concatenate(tenths)).tolist() == [10_000] * 10
    for number in range(10):
        chosen = [t == number for t in tenths]
        found = reliability(
            [e[c] for e, c in zip(errors, chosen, strict=True)], [s[c] for s, c in zip(sigma, chosen, strict=True)]
        )
        assert found is not None
        assert found.points == 10_000
        for level, share in found.coverage.items():
            assert share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 10_000))
        assert found.rms_error == pytest.approx(found.rms_sigma, rel=0.05)


@given(factor=st.floats(0.3, 3.0))
def test_scaled_deviations_have_the_coverage_of_the_scaled_interval(factor: float) -> None:
    errors, sigma = _calibrated_fields(1, 1, 20_000)
    found = reliability(errors, [factor * s for s in sigma])
    assert found is not None
    assert found.interval is None  # one snapshot says nothing about others
    for level, share in found.coverage.items():
        expected = 2.0 * ndtr(factor * ndtri(0.5 * (1.0 + level))) - 1.0
        assert share == pytest.approx(expected, abs=0.02)


def test_the_bootstrap_interval_holds_the_mean_and_shrinks_with_the_root_of_the_snapshots() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for number in (25, 400):
        shares = rng.beta(20, 10, (number, 1))
        low, high = bootstrap_interval(100.0 * shares, np.full(number, 100.0))[:, 0]
        assert low < 2 / 3 < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.25)
    spread = 2 * 1.96 * np.sqrt(20 * 10 / (30**2 * 31) / 400)
    assert widths[1] == pytest.approx(spread, rel=0.2)


def test_true_deviations_reach_the_ceiling_of_the_rank_correlation_and_others_do_not() -> None:
    errors, sigma = (np.concatenate(parts) for parts in _calibrated_fields(3, 1, 100_000))
    ceiling = rank_correlation_ceiling(sigma, seed=9)
    assert 0.3 < ceiling < 0.7
    assert rank_correlation(errors, sigma) == pytest.approx(ceiling, abs=0.01)
    assert abs(rank_correlation(errors, np.random.default_rng(4).permutation(sigma))) < 0.02


def test_deviations_that_vary_within_a_region_beat_its_constant() -> None:
    errors, sigma = (np.concatenate(parts) for parts in _calibrated_fields(5, 1, 50_000))
    groups = np.arange(50_000) % 3
    constant = constant_by_group(errors, groups)
    assert len(np.unique(constant)) == 3
    assert negative_log_likelihood(errors, sigma) < negative_log_likelihood(errors, constant) - 0.1
    assert sigma.mean() < constant.mean()
    flat = np.full(50_000, 1e-4)
    drawn = flat * np.random.default_rng(6).standard_normal(50_000)
    fitted = negative_log_likelihood(drawn, constant_by_group(drawn, groups))
    assert fitted == pytest.approx(negative_log_likelihood(drawn, flat), abs=1e-3)  # nothing varies: nothing to win


def test_blocks_tell_smooth_deviations_and_hold_every_point_once() -> None:
    shape, points = (12, 10, 8), np.arange(960)
    blocks = block_numbers(points, shape, (6.0, 5.0, 4.0), 2.0)
    assert np.bincount(blocks).tolist() != [960]
    assert len(np.unique(blocks)) == 3 * 2 * 2
    assert blocks[0] == blocks[3 * 80 + 4 * 8 + 3]  # one corner block: 4 x 5 x 4 points
    assert blocks[0] != blocks[4 * 80]
    values = np.random.default_rng(7).normal(size=960)
    squares = block_rms(values, blocks) ** 2 @ np.bincount(blocks)
    assert squares == pytest.approx(np.sum(values**2))


def test_regions_follow_from_the_atoms_alone_and_know_periodic_images() -> None:
    system = System(10 * np.eye(3), np.array([[0.2, 0.0, 0.0], [5.0, 0.0, 0.0]]), np.array(["Al", "Al"]))
    points = np.array([[9.9, 0.0, 0.0], [2.6, 0.0, 0.0], [5.0, 5.0, 5.0]])
    distance = nearest_atom(system, points)
    np.testing.assert_allclose(distance, [0.3, 2.4, np.sqrt(50)], rtol=1e-6)
    found = regions(distance, np.array([0.01, 0.04, 0.001]), 0.02)
    assert [REGIONS[i] for i in found] == ["core", "bond", "interstitial"]


def test_errors_are_of_the_density_with_the_right_number_of_electrons(toy_model: Path) -> None:
    model = load_trained(toy_model)
    snapshot = toy_snapshot(thermal_aluminium(77))
    judged = judge_snapshot(model, snapshot, draws=0, points=None, seed=0, tables=None)
    raw = judged.errors.electrons / snapshot.electrons - 1
    assert abs(raw) > 1e-6
    assert abs(judged.differences.mean()) < 0.01 * abs(raw) * snapshot.electrons / snapshot.system.volume
