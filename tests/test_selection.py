"""Searches for a descriptor's size: laws on made-up errors, columns of real features, the command on the toy engine."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import DescriptorSpec, ScalarProducts, Smooth, describe
from rhoscale.descriptors.scalar_products.reference import describe_reference, nearest
from rhoscale.descriptors.smooth import AngularSet, RadialSet, describe_by_definition
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import FormatError, InputError
from rhoscale.models.card import to_toml
from rhoscale.recipes.config import config_from, read_config
from rhoscale.recipes.select import select, snapshots_of
from rhoscale.recipes.selection_plan import SelectConfig
from rhoscale.recipes.selection_score import network_score
from rhoscale.sampling.schedule import snapshot_of
from rhoscale.selection import (
    KeptScores,
    ScalarProductLimits,
    Search,
    SmoothAxes,
    columns_within,
    select_angles,
    select_distances,
    select_scalar_products,
    select_smooth,
)
from rhoscale.system import System

AL = ("Al",)
RECIPES = Path(__file__).parent.parent / "recipes"
LIMITS = ScalarProductLimits(largest_distances=90, largest_angle_atoms=30, largest_neighbours=4)

Numbers = tuple[int, int, int]


def _numbers(spec: DescriptorSpec) -> Numbers:
    """M, M_a and k; k is 0 without cosines."""
    assert isinstance(spec, ScalarProducts)
    return spec.distances, spec.angle_atoms, spec.neighbours if spec.angle_atoms else 0


def _search(error: Callable[[int, int, int], float], tolerance: float = 0.02) -> Search:
    return select_scalar_products(lambda spec: error(*_numbers(spec)), AL, LIMITS, tolerance=tolerance)


def _elbow(distances: int, angle_atoms: int, neighbours: int) -> Callable[[int, int, int], float]:
    """Errors that fall until each number reaches its elbow and hold still from there."""

    def error(m: int, a: int, k: int) -> float:
        return 1.0 + max(0, distances - m) + (max(0, angle_atoms - a) + max(0, neighbours - k)) / 10

    return error


@given(
    st.integers(1, 6).map(lambda n: 10 * n), st.integers(1, 4).map(lambda n: 5 * n), st.integers(1, 3)
)  # fmt: skip
def test_the_elbow_of_each_number_is_found(distances: int, angle_atoms: int, neighbours: int) -> None:
    angle_atoms = min(angle_atoms, distances)
    found = _search(_elbow(distances, angle_atoms, neighbours))
    assert _numbers(found.chosen.spec) == (distances, angle_atoms, neighbours)
    assert found.chosen.error == pytest.approx(1.0)


def test_the_papers_numbers_follow_from_errors_that_converge_there() -> None:
    found = _search(_elbow(60, 15, 3))
    assert _numbers(found.chosen.spec) == (60, 15, 3)
    assert found.chosen.spec.size == 105
    assert found.limits == ()
    assert max(_numbers(t.spec)[0] for t in found.trials) == 80  # two increments beyond


def test_every_k_grows_from_the_start_again() -> None:
    found = _search(_elbow(60, 15, 3))
    for k in (1, 2, 3, 4):
        grown = [t.spec for t in found.trials if t.series == f"k = {k}"]
        assert [_numbers(spec) for spec in grown] == [(60, a, k) for a in (5, 10, 15, 20, 25)]


def test_a_later_k_may_need_more_atoms_than_an_earlier() -> None:
    def error(m: int, a: int, k: int) -> float:
        angles = 0.5 * k - 0.02 * max(0, 10 * k - a) if 0 < k < 3 else 0.0
        return 2.0 + max(0, 30 - m) / 10 - angles

    found = _search(error, tolerance=0.01)
    assert _numbers(found.chosen.spec) == (30, 20, 2)
    assert max(_numbers(t.spec)[1] for t in found.trials if t.series == "k = 1") == 20  # chosen there: 10


def test_an_error_that_always_falls_chooses_the_largest_and_says_so() -> None:
    found = _search(lambda m, a, k: 0.9**m * 0.9**a * 0.9**k)
    assert _numbers(found.chosen.spec) == (90, 30, 4)
    assert found.limits == ("distances", "k = 4", "k")


def test_a_flat_error_chooses_the_smallest_descriptor() -> None:
    found = _search(lambda *_: 0.5)
    assert _numbers(found.chosen.spec) == (10, 0, 0)
    assert len(found.trials) == 3 + 2  # M = 10, 20, 30; M_a = 5, 10 for k = 1: no more than M of them


def test_an_error_that_rises_again_is_not_followed() -> None:
    found = select_distances(
        lambda spec: 1.0 + abs(spec.distances - 30) / 10, AL, step=10, largest=90, tolerance=0.02
    )  # fmt: skip
    assert _numbers(found.chosen.spec)[0] == 30
    assert len(found.trials) == 5


@given(st.floats(0.001, 0.3), st.booleans())
def test_only_gains_above_the_tolerance_count(tolerance: float, above: bool) -> None:
    gain = tolerance * (1.05 if above else 0.45)  # two gains of 0.45 stay below it, too
    errors = {m: (1.0 - gain) ** min(m // 10 - 1, 3) for m in range(10, 100, 10)}
    found = select_distances(lambda spec: errors[spec.distances], AL, step=10, largest=90, tolerance=tolerance)
    assert _numbers(found.chosen.spec)[0] == (40 if above else 10)


def test_two_small_gains_that_add_up_count() -> None:
    errors = {10: 1.0, 20: 0.985, 30: 0.97, 40: 0.97, 50: 0.97}
    found = select_distances(lambda spec: errors[spec.distances], AL, step=10, largest=50, tolerance=0.02)
    assert _numbers(found.chosen.spec)[0] == 20


def test_angles_that_do_not_pay_are_left_out() -> None:
    found = _search(lambda m, _, k: 2.0 - 0.01 * min(m, 40) + (0.1 if k else 0.0))
    assert _numbers(found.chosen.spec) == (40, 0, 0)


def test_angles_start_from_the_distances_that_were_found() -> None:
    distances = select_distances(lambda _: 1.0, AL, step=7, largest=70, tolerance=0.0)
    found = select_angles(
        lambda spec: 1.0 / (1 + spec.cosines), distances, step=3, largest_atoms=30, largest_neighbours=1, tolerance=0.0
    )
    assert _numbers(found.chosen.spec) == (7, 6, 1)


def test_errors_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        _search(lambda *_: float("nan"))
    with pytest.raises(InputError, match="tolerance"):
        _search(lambda *_: 1.0, tolerance=1.0)


AXES = SmoothAxes((4, 8, 12, 16), (8.0, 10.0, 12.0, 14.0), (0, 4, 8), (4.5,), (0, 2, 4, 6, 8), 4, (5.0, 7.0, 9.0, 11.0))


def _smooth_elbow(spec: Smooth) -> float:
    """Falls with each coordinate up to its elbow; a cutoff only pays with enough functions to fill it."""
    angular = spec.angular[0] if spec.angular else AngularSet((1,), 5.0)
    counts = [*(angular.counts if spec.angular else ()), 0, 0, 0, 0, 0]
    error = 1.0 + max(0, 12 - spec.radial[0].count) / 8 + max(0, 10.0 - spec.radial[0].cutoff) / 4
    error += sum(max(0, want - have) / 4 for want, have in zip((6, 4, 2, 0, 0), counts, strict=False))
    return error + (max(0, 9.0 - angular.cutoff) / 4 if counts[1] >= 4 else 0.5 * (angular.cutoff - 5.0) + 1.0)


def test_the_smooth_search_finds_every_elbow() -> None:
    found = select_smooth(_smooth_elbow, AL, AXES, tolerance=0.01)
    assert found.chosen.spec == Smooth(AL, (RadialSet(12, 10.0),), (AngularSet((6, 4, 2), 9.0),))
    assert found.chosen.error == pytest.approx(1.0)


def test_a_flat_smooth_search_keeps_the_start() -> None:
    found = select_smooth(lambda _: 1.0, AL, AXES, tolerance=0.01)
    assert found.chosen.spec == Smooth(AL, (RadialSet(4, 8.0),), ())
    assert found.chosen is found.trials[0]


def test_a_smooth_search_that_always_pays_ends_at_the_largest() -> None:
    found = select_smooth(lambda s: 1.0 / (s.size + 100 * s.reach), AL, AXES, tolerance=0.0)
    assert found.chosen.spec.size == 16 + 8 + 5 * 36
    assert {"radial count", "degree 4", "radial cutoff"} <= set(found.limits)


def test_a_coordinate_that_pays_only_after_another_is_grown_in_a_later_round() -> None:
    def error(spec: Smooth) -> float:
        cutoff = 8.0 if not spec.angular else min(spec.radial[0].cutoff, 12.0)
        return 10.0 - cutoff / 2 - (1.0 if spec.angular else 0.0)

    assert select_smooth(error, AL, AXES, tolerance=0.01).chosen.spec.to_dict()["radial"][0]["cutoff"] == 12.0


def test_values_that_do_not_rise_are_refused() -> None:
    for wrong in ({"radial_counts": (8, 4)}, {"short_cutoffs": ()}, {"radial_counts": (0, 4)}, {"highest_degree": 10}):
        with pytest.raises(InputError, match="expected"):
            SmoothAxes(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="distance_step"):
        ScalarProductLimits(distance_step=0)


def _kept(folder: Path, computed: list[Numbers], budget: int = 10**6, context: str = "one") -> KeptScores:
    def score(spec: DescriptorSpec) -> float:
        if len(computed) >= budget:
            raise KeyboardInterrupt
        computed.append(_numbers(spec))
        return _elbow(60, 15, 3)(*_numbers(spec))

    return KeptScores(score, folder, {"what": context})


def test_a_killed_search_repeats_no_score_and_ends_the_same(tmp_path: Path) -> None:
    whole = _search(_elbow(60, 15, 3))
    first: list[Numbers] = []
    second: list[Numbers] = []
    with pytest.raises(KeyboardInterrupt):
        select_scalar_products(_kept(tmp_path, first, 11), AL, LIMITS, tolerance=0.02)
    found = select_scalar_products(_kept(tmp_path, second), AL, LIMITS, tolerance=0.02)
    assert len(first) == 11
    assert not set(first) & set(second)
    assert len(first) + len(second) == len(set(first + second)) == len({t.spec for t in whole.trials})
    assert found == whole


def test_scores_of_other_data_or_settings_are_not_taken(tmp_path: Path) -> None:
    computed: list[Numbers] = []
    spec = ScalarProducts(AL, 10, 0)
    for context in ("one", "other", "one"):
        _kept(tmp_path, computed, context=context)(spec)
    assert len(computed) == 2
    score = _kept(tmp_path, computed)
    score.path_of(spec).write_text("{}")
    with pytest.raises(FormatError, match="remove the file"):
        score(spec)


def _crystal(seed: int, species: list[str], amplitude: float = 0.3) -> System:
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = np.random.default_rng(seed).normal(7.65 * corners, amplitude)
    return System(7.65 * np.eye(3), sites, species)


PERFECT, THERMAL = _crystal(0, ["Al"] * 4, 1e-30), _crystal(1, ["Al"] * 4)
ALLOY = _crystal(2, ["Ge", "Si", "Si", "Ge"])
ON_LATTICE = np.array([[0.1, 0.2, 0.3], [1.9125, 1.9125, 1.9125], [3.825, 0.0, 0.0], [2.0, 2.0, 0.5]])
SMALL_AND_LARGE = [(20, 5, 2), (12, 0, 1), (30, 10, 1), (13, 7, 4)]


@pytest.mark.parametrize("system", [PERFECT, THERMAL, ALLOY], ids=["perfect", "thermal", "alloy"])
def test_features_of_fewer_atoms_are_columns_of_those_of_more(system: System) -> None:
    large = ScalarProducts(system.elements, 30, 10, 4)
    by_definition = describe_reference(ON_LATTICE, system, large)
    thermal = np.random.default_rng(0).random((300, 3)) * 7.65
    points = np.concatenate([ON_LATTICE, thermal])
    by_kernel = describe(points, system, large)
    assert np.ptp(by_definition, axis=0).max() > 0.5
    for numbers in SMALL_AND_LARGE:
        small = ScalarProducts(system.elements, *numbers)
        columns = columns_within(small, large)
        assert len(set(columns)) == len(columns) == small.size
        np.testing.assert_array_equal(by_definition[:, columns], describe_reference(ON_LATTICE, system, small))
        np.testing.assert_allclose(by_kernel[:, columns], describe(points, system, small), atol=3e-6, rtol=0)


@pytest.mark.parametrize("system", [THERMAL, ALLOY], ids=["one element", "alloy"])
def test_smooth_features_of_fewer_functions_are_columns_of_those_of_more(system: System) -> None:
    large = SmoothAxes((4, 6), (6.0, 8.0), (0, 5), (4.0, 6.0), (0, 2, 3), 2, (5.0, 6.0)).largest(system.elements)
    points = np.random.default_rng(0).random((3, 3)) * 7.65
    many = np.random.default_rng(1).random((300, 3)) * 7.65
    by_definition, by_kernel = describe_by_definition(points, system, large), describe(many, system, large)
    for radial, angular in (
        ((RadialSet(4, 8.0),), ()),
        ((RadialSet(6, 6.0), RadialSet(3, 4.0)), (AngularSet((2, 0, 3), 6.0),)),
        ((RadialSet(5, 8.0), RadialSet(5, 6.0)), (AngularSet((3,), 5.0),)),
    ):
        small = Smooth(system.elements, radial, angular)
        columns = columns_within(small, large)
        assert len(set(columns)) == len(columns) == small.size
        features = describe(many, system, small)
        np.testing.assert_allclose(
            by_definition[:, columns], describe_by_definition(points, system, small), rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(by_kernel[:, columns], features, atol=2e-5 * np.ptp(features), rtol=0)


def test_a_descriptor_that_the_larger_does_not_hold_is_refused() -> None:
    large = ScalarProducts(AL, 20, 5, 2)
    for small in (ScalarProducts(AL, 21, 0), ScalarProducts(AL, 20, 5, 3), ScalarProducts(("Ge",), 5, 0), Smooth(AL)):
        with pytest.raises(InputError, match="not among"):
            columns_within(small, large)
    with pytest.raises(InputError, match="not among"):
        columns_within(Smooth(AL, (RadialSet(4, 7.0),), ()), Smooth(AL))


@pytest.mark.parametrize("axes", [SmoothAxes(), AXES, SmoothAxes(short_counts=(0,), highest_degree=-1)])
def test_the_largest_smooth_descriptor_holds_every_candidate(axes: SmoothAxes) -> None:
    largest, rng = axes.largest(AL), np.random.default_rng(0)
    for _ in range(50):
        small = axes.spec(AL, {name: rng.choice(values).item() for name, values in axes.coordinates.items()})
        assert len(columns_within(small, largest)) == small.size


def test_triple_products_of_the_benchmark_follow_from_cosines() -> None:
    source = spec_from_file_location("triple_products", RECIPES.parent / "benchmarks" / "triple_products.py")
    assert source is not None
    assert source.loader is not None
    benchmark = module_from_spec(source)
    source.loader.exec_module(benchmark)
    sites = np.concatenate([THERMAL.positions + 7.65 * np.array(shift) for shift in np.ndindex(2, 2, 2)])
    sites += np.random.default_rng(3).normal(0, 0.1, sites.shape)
    system = System(15.3 * np.eye(3), sites, ["Al"] * 32)
    points = np.random.default_rng(4).random((5, 3)) * 15.3
    found = benchmark.triple_products(points, system, ScalarProducts(AL, 20, 4, 3)).reshape(5, 4, 3)
    assert np.ptp(found) > 0.5
    for point, products in zip(points, found, strict=True):
        for vector, each in zip(nearest(system, "Al", point, 4), products, strict=True):
            around = vector + nearest(system, "Al", point + vector, 3, without_itself=True)
            for pair, value in zip(([0, 1], [0, 2], [1, 2]), each, strict=True):
                three = np.array([vector, *around[pair]])
                u = three / np.linalg.norm(three, axis=1, keepdims=True)
                assert value**2 == pytest.approx(np.linalg.det(u @ u.T), abs=1e-9)


@pytest.fixture(scope="module")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells to train on, one each for validation and test; four atoms of the toy engine."""
    engine = SuperpositionEngine(DFTSettings(cutoff=6.0, density_cutoff=8.0), {"Al": 3.0})
    store = SnapshotStore.create(tmp_path_factory.mktemp("data") / "toy", name="toy", description="for tests")
    for seed, role in enumerate(["train", "train", "validation", "test"]):
        state = engine.ground_state(_crystal(seed, ["Al"] * 4))
        snapshot = snapshot_of(state, {"trajectory": f"seed{seed}", "temperature": 933.0, "kind": "bulk"})
        store.add(snapshot, task=f"{role}-{seed}", batch=role, role=role)
    return store.path


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
