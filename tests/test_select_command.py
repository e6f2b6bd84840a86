"""``rhoscale select`` from a recipe to a choice, a table and a figure, on the toy engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import ScalarProducts, describe
from rhoscale.errors import InputError
from rhoscale.models.card import to_toml
from rhoscale.recipes.config import config_from, read_config
from rhoscale.recipes.select import select, snapshots_of
from rhoscale.recipes.selection_plan import SelectConfig
from rhoscale.recipes.selection_score import network_score
from toy_model import toy_store

AL = ("Al",)
RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells to train on, one each for validation and test; four atoms of the toy engine."""
    plan = [(role, role, 1) for role in ("train", "train", "validation", "test")]
    return toy_store(tmp_path_factory.mktemp("data") / "toy", plan, amplitude=0.3).path


def _recipe(toy_data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "toy",
        "output": str(output),
        "data": {"path": str(toy_data), "spacing": 0.9, "validation_spacing": 1.2},
        "scalar_products": {
            "distance_step": 8, "largest_distances": 24, "angle_step": 4, "largest_angle_atoms": 8,
            "largest_neighbours": 1,
        },
        "network": {"width": 16, "blocks": 1},
        "fit": {"epochs": 3, "warm_epochs": 2, "learning_rate": 3e-3},
        **changes,
    }  # fmt: skip


SMOOTH: dict[str, Any] = {
    "scalar_products": None,
    "score": "ridge",
    "smooth": {"radial_counts": [4, 8, 12], "degree_counts": [0, 2], "angular_cutoffs": [5.0, 7.0]},
}


def _config(toy_data: Path, output: Path, **changes: Any) -> SelectConfig:
    return config_from(_recipe(toy_data, output, **changes), SelectConfig)


def test_a_recipe_becomes_a_choice_a_table_and_a_figure(toy_data: Path, tmp_path: Path) -> None:
    done = select(_config(toy_data, tmp_path / "out"))
    assert sorted(p.name for p in done.folder.iterdir()) == ["scores", "selection.json", "selection.png"]
    assert (done.folder / "selection.png").read_bytes()[:4] == b"\x89PNG"
    kept = json.loads((done.folder / "selection.json").read_text())
    assert kept["chosen"]["spec"] == done.search.chosen.spec.to_dict()
    assert kept["chosen"]["rmse"] == min(done.search.chosen.error, kept["chosen"]["rmse"])
    assert done.computed == len(list((done.folder / "scores").iterdir())) == len({t.spec for t in done.search.trials})
    assert len({t.error for t in done.search.trials}) > 2
    again = select(_config(toy_data, tmp_path / "out"))
    assert again.computed == 0
    assert again.search == done.search


def test_other_points_seeds_and_networks_are_scored_anew_and_other_ends_are_not(toy_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = select(_config(toy_data, out)).computed
    values = _recipe(toy_data, out)
    wider = {**values["scalar_products"], "largest_distances": 32}
    assert 0 < select(_config(toy_data, out, scalar_products=wider)).computed < first
    for changes in (
        {"fit": {**values["fit"], "seed": 1}},
        {"network": {"width": 8, "blocks": 1}},
        {"repeats": 2},
        {"data": {**values["data"], "spacing": 0.8}},
        {"data": {**values["data"], "snapshots": 1}},
    ):
        assert select(_config(toy_data, out, **changes)).computed >= 3


def test_the_score_of_several_seeds_is_the_median_of_each(toy_data: Path, tmp_path: Path) -> None:
    scores, labelled = [], snapshots_of(_config(toy_data, tmp_path))
    spec = ScalarProducts(AL, 8, 0, 1)
    fit = _recipe(toy_data, tmp_path)["fit"]
    for changes in ({"repeats": 3}, *({"fit": {**fit, "seed": seed}} for seed in range(3))):
        config = _config(toy_data, tmp_path, **changes)
        scores.append(network_score(config, *labelled, config.largest(AL))(spec))
    assert len(set(scores[1:])) == 3
    assert scores[0] == pytest.approx(sorted(scores[1:])[1], rel=1e-6)


def test_ridge_scores_are_the_errors_of_the_linear_fit_itself(toy_data: Path, tmp_path: Path) -> None:
    from rhoscale.baselines.linear import fit_linear
    from rhoscale.datasets.points import Draw, points_of

    done = select(_config(toy_data, tmp_path / "out", **SMOOTH))
    chosen = done.search.chosen
    assert chosen.spec.size > 4
    store = SnapshotStore.open(toy_data)
    train, validation = (
        points_of(
            [store.load(r) for r in store.select(role=role)], lambda s, p: describe(p, s, chosen.spec), Draw(spacing)
        )
        for role, spacing in (("train", 0.9), ("validation", 1.2))
    )
    batches = [[(p.features, p.density, p.weights)] for p in (train, validation)]
    predicted = fit_linear(batches[0], validation=batches[1]).predict(validation.features)
    assert chosen.error == pytest.approx(np.sqrt(np.mean((predicted - validation.density) ** 2)), rel=1e-3)


def test_network_scores_do_not_touch_test_snapshots(toy_data: Path, tmp_path: Path) -> None:
    seen = []
    load = SnapshotStore.load

    def watch(store: SnapshotStore, record: Any) -> Any:
        seen.append(record.role)
        return load(store, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SnapshotStore, "load", watch)
        select(_config(toy_data, tmp_path / "out"))
    assert set(seen) == {"train", "validation"}


def test_the_command_searches_and_its_dry_run_does_not(toy_data: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.toml", tmp_path / "out"
    recipe.write_text(to_toml({k: v for k, v in _recipe(toy_data, out, **SMOOTH).items() if v is not None}))
    run = CliRunner()
    dry = run.invoke(app, ["select", str(recipe), "--dry-run"], catch_exceptions=False)
    assert dry.exit_code == 0
    assert "4, 8, 12" in dry.output
    assert not out.exists()
    done = run.invoke(app, ["select", str(recipe)], catch_exceptions=False)
    assert done.exit_code == 0
    assert 'family = "smooth"' in done.output
    assert "scores computed" in done.output
    again = run.invoke(app, ["select", str(recipe)], catch_exceptions=False)
    assert "0 scores computed" in again.output


def test_a_recipe_of_two_families_or_of_none_is_refused(toy_data: Path, tmp_path: Path) -> None:
    for changes in ({"smooth": {}}, {"scalar_products": None}, {"tolerance": 1.0}, {"batch": 0}, {"repeats": 0}):
        with pytest.raises(InputError, match="recipe: "):
            _config(toy_data, tmp_path, **changes)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "x"\noutput = "y"\ntolerence = 3\n')
    done = subprocess.run(
        [sys.executable, "-c", "from rhoscale.cli.app import main; main()", "select", str(recipe)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "did you mean 'tolerance'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("select-*.toml")), ids=lambda p: p.stem)
def test_shipped_selection_recipes_can_be_read(recipe: Path) -> None:
    config = read_config(recipe, SelectConfig)
    assert config.name == recipe.stem
    assert len(list(config.candidates(AL))) >= 3
