"""Prediction: any tiling, order, number of threads or interruption gives the same field."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from rhoscale.density import Density
from rhoscale.errors import (
    EmptyDensityError,
    FormatError,
    InputError,
    ModelError,
    OutputError,
    StructureError,
    TileError,
)
from rhoscale.grid import Grid
from rhoscale.postprocess.charge import charge_factor, rescale_to_charge
from rhoscale.prediction.field import StoredField, open_density
from rhoscale.prediction.interpolation import (
    cubic_weights,
    fourier_weights,
    interpolate,
    periodic_values,
    windowed_weights,
)
from rhoscale.prediction.one_tile import PointPrediction, TilePrediction, predict_tile
from rhoscale.prediction.plan import PredictionPlan, Workload, plan_prediction, rounding_step
from rhoscale.prediction.refusals import closest_pair, refuse_other_pseudopotentials, refuse_overlaps
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore, refuse_small_disk
from rhoscale.prediction.tiles import Tile
from rhoscale.prediction.verdict import FieldTotals, judge
from rhoscale.refinement import refine
from rhoscale.system import PseudopotentialIdentity, System

CELL = np.array([[9.0, 0.3, 0.0], [-0.5, 8.0, 0.2], [0.1, 0.7, 10.0]])
SYSTEM = System(CELL, [[0.0, 0.0, 0.0], [4.0, 4.1, 5.2]], ["Si", "Al"])
RECIPROCAL = 2 * np.pi * np.linalg.inv(CELL).T


def waves(points: np.ndarray) -> PointPrediction:
    """A band-limited density and smooth positive deviations: a model whose field is known everywhere."""
    phases = points @ RECIPROCAL.T
    density = 0.03 + 0.01 * np.cos(phases[:, 0] + 2 * phases[:, 1]) + 0.004 * np.sin(3 * phases[:, 2] - phases[:, 0])
    noise = 2e-4 * np.exp(0.5 * np.cos(phases[:, 1]))
    spread = 1e-4 * np.exp(0.8 * np.sin(phases[:, 2]))
    return PointPrediction(density.astype(np.float32), noise.astype(np.float32), spread.astype(np.float32))


def make_plan(shape: tuple[int, int, int] = (20, 18, 21), **options: object) -> PredictionPlan:
    work = Workload(features=5, halo=6.0)
    return plan_prediction(SYSTEM, Grid(CELL, shape), work, model="waves", model_hash="0" * 64, **options)  # type: ignore[arg-type]


def predicted(plan: PredictionPlan, place: Path | None = None, threads: int = 1) -> PredictionStore:
    about = {"electrons": 7.0, "pseudopotentials": {}, "what": "waves"}
    store = PredictionStore.create(place or MemoryStore(), plan, SYSTEM, about)
    run_local(plan, partial(predict_tile, plan=plan, predict_points=waves), store, threads=threads)
    totals = FieldTotals.from_tiles(store.statistics(), plan.grid.volume_element)
    store.finish(charge_factor(totals.electrons, 7.0), {"totals": totals.to_dict()})
    return store


def stored_bits(store: PredictionStore) -> dict[str, bytes]:
    return {name: np.asarray(store.array(name)[:]).tobytes() for name in ("density", "aleatoric", "epistemic", "tiles")}


# one tile, any tiling


def test_any_tiling_gives_the_untiled_field() -> None:
    whole = waves(make_plan().grid.points())
    for tile_shape in (None, (5, 7, 9), (20, 18, 21), (1, 18, 4)):
        plan = make_plan(tile_shape=tile_shape)
        store = predicted(plan)
        np.testing.assert_array_equal(store.array("density")[:], whole.density.reshape(plan.compute_shape))
        assert np.ptp(whole.density) > 0.01


def test_any_number_of_threads_gives_the_same_bits() -> None:
    one, three = (stored_bits(predicted(make_plan(tile_shape=(8, 8, 8)), threads=n)) for n in (1, 3))
    assert one == three
    assert len(set(one.values())) == 4


def test_a_value_that_is_no_number_names_its_block() -> None:
    def broken(points: np.ndarray) -> PointPrediction:
        values = waves(points)
        values.density[3] = np.nan
        return values

    plan = make_plan()
    tile = list(plan.tiles)[-1]
    with pytest.raises(ModelError, match=rf"density is not a finite number at 1 of {tile.size} .*\({tile.start[0]}, "):
        predict_tile(tile, plan, broken)


def test_a_rounded_density_loses_half_a_step_and_no_electrons() -> None:
    exact = waves(make_plan().grid.points()).density.astype(np.float64)
    step = rounding_step(float(exact.mean()))
    assert 0.5e-5 < step / exact.mean() <= 1e-5
    store = predicted(make_plan(density_step=step))
    stored = np.asarray(store.array("density")[:], dtype=np.float64).reshape(-1)
    assert np.abs(stored - exact).max() <= step / 2
    assert np.abs(stored - exact).max() > step / 4
    np.testing.assert_array_equal(stored / step, np.rint(stored / step))
    assert np.abs(stored - exact).mean() / exact.mean() < 2.6e-6
    electrons = FieldTotals.from_tiles(store.statistics(), 1.0).electrons
    assert electrons == pytest.approx(stored.sum(), rel=1e-12)
    assert electrons == pytest.approx(exact.sum(), rel=1e-6)


# interruption


def test_a_failed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    plan = make_plan(tile_shape=(8, 8, 8))
    unbroken = predicted(plan)
    store = PredictionStore.create(tmp_path / "a.zarr", plan, SYSTEM, {"electrons": 7.0})
    calls: list[int] = []

    def predict(tile: Tile, last: int) -> TilePrediction:
        calls.append(tile.index)
        if tile.index == last:
            raise RuntimeError("power cut")
        return predict_tile(tile, plan, waves)

    with pytest.raises(RuntimeError, match="power cut"):
        run_local(plan, partial(predict, last=7), store)
    before = int(store.done().sum())
    assert before == 7
    calls.clear()
    again = PredictionStore.open(tmp_path / "a.zarr")
    run_local(again.plan, partial(predict, last=-1), again, threads=2)
    assert sorted(calls) == list(range(7, plan.n_tiles))
    assert stored_bits(again) == stored_bits(unbroken)


def test_a_tile_is_tried_again_as_often_as_allowed() -> None:
    plan = make_plan(tile_shape=(8, 8, 8))
    unbroken = stored_bits(predicted(plan))
    for failures, retries in ((1, 1), (2, 2), (3, 2)):
        store = PredictionStore.create(MemoryStore(), plan, SYSTEM, {})
        left = [failures]

        def predict(tile: Tile, left: list[int] = left) -> TilePrediction:
            if tile.index == 5 and left[0]:
                left[0] -= 1
                raise MemoryError("no luck")
            return predict_tile(tile, plan, waves)

        if failures <= retries:
            run_local(plan, predict, store, retries=retries)
            assert stored_bits(store) == unbroken
        else:
            with pytest.raises(TileError, match=r"tile 5, points .* failed 3 times \(MemoryError: no luck\)"):
                run_local(plan, predict, store, retries=retries)
            assert not store.done()[5]


def test_what_a_model_refuses_is_not_asked_again() -> None:
    plan = make_plan()
    asked = []

    def refuse(tile: Tile) -> TilePrediction:
        asked.append(tile.index)
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"):
        run_local(plan, refuse, PredictionStore.create(MemoryStore(), plan, SYSTEM, {}), retries=7)
    assert asked == [0]


def test_half_written_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    store = predicted(make_plan(), tmp_path / "a.zarr")
    before = stored_bits(store)
    left = tmp_path / "a.zarr" / "density" / "c" / "0" / "0" / "0.1f2e.partial"
    left.write_bytes(b"half")
    store.remove_unfinished_files()
    assert not left.exists()
    assert stored_bits(store) == before


KILLED = """
import os, signal, sys
from functools import partial
sys.path.insert(0, {tests!r})
from test_prediction import SYSTEM, make_plan, predict_tile, run_local, waves
from rhoscale.prediction.store import PredictionStore
plan = make_plan(tile_shape=(5, 5, 6))
store = PredictionStore.create({place!r}, plan, SYSTEM, {{"electrons": 7.0}})
def predict(tile):
    if tile.index == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return predict_tile(tile, plan, waves)
run_local(plan, predict, store, threads=2)
"""


def test_kill_9_and_resume_end_with_the_bits_of_an_unbroken_run(tmp_path: Path) -> None:
    place = tmp_path / "killed.zarr"
    code = KILLED.format(tests=str(Path(__file__).parent), place=str(place))
    ended = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == -signal.SIGKILL
    store = PredictionStore.open(place)
    plan = store.plan
    assert 0 < store.done().sum() < plan.n_tiles
    assert not store.complete
    with pytest.raises(FormatError, match=rf"of {plan.n_tiles} tiles"):
        open_density(place)
    run_local(plan, partial(predict_tile, plan=plan, predict_points=waves), store)
    assert stored_bits(store) == stored_bits(predicted(make_plan(tile_shape=(5, 5, 6))))


def test_a_full_disk_is_an_error_and_the_store_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(tile_shape=(8, 8, 8))
    store = PredictionStore.create(tmp_path / "full.zarr", plan, SYSTEM, {"electrons": 7.0})
    space = [40]

    def write(original: Callable[..., object], *arguments: object, **options: object) -> object:
        space[0] -= 1
        if space[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        from zarr.storage import _local

        patch.setattr(_local, "_put", partial(write, _local._put))
        with pytest.raises(OutputError, match=r"No space left .* goes on from what is written"):
            run_local(plan, partial(predict_tile, plan=plan, predict_points=waves), store, threads=2)
    assert 0 < store.done().sum() < plan.n_tiles
    run_local(plan, partial(predict_tile, plan=plan, predict_points=waves), store)
    assert stored_bits(store) == stored_bits(predicted(plan))


def test_a_disk_that_cannot_hold_the_plan_is_refused_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"may need 9\.06e\+03 GiB but .* GiB are free"):
        refuse_small_disk(tmp_path / "big.zarr", 10**13 - 2**38)
    with pytest.raises(OutputError, match="there is no folder"):
        refuse_small_disk(tmp_path / "nowhere" / "a.zarr", 1)


# the store


def test_the_store_says_what_it_is(tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    predicted(make_plan(), place)
    store = PredictionStore.open(place)
    assert store.plan == make_plan()
    assert store.complete
    np.testing.assert_array_equal(store.system.positions, SYSTEM.positions)
    assert store.system.species.tolist() == ["Si", "Al"]
    assert store.attributes["electrons"] == 7.0
    assert store.array("density").dtype == np.float32
    assert store.array("epistemic").dtype == np.float16
    assert store.array("density").attrs["units"] == "electrons/Bohr^3"
    group = zarr.open_group(place, mode="r")
    assert {name for name, _ in group.members()} == {
        "density",
        "aleatoric",
        "epistemic",
        "positions",
        "species",
        "cell_list",
        "histograms",
        "tiles",
    }


def test_deviations_keep_three_digits_in_half_precision() -> None:
    plan = make_plan()
    field = StoredField(predicted(plan), plan.grid)
    exact = waves(plan.grid.points())
    noise = exact.aleatoric.reshape(plan.compute_shape) * field.charge_factor  # type: ignore[union-attr]
    np.testing.assert_allclose(field.aleatoric[:], noise, rtol=6e-4)
    np.testing.assert_allclose(field.total[:] ** 2, field.aleatoric[:] ** 2 + field.epistemic[:] ** 2, rtol=1e-5)


def test_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no prediction"):
        PredictionStore.open(tmp_path / "nothing.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(FormatError, match="not a readable Zarr store"):
        PredictionStore.open(tmp_path / "empty.zarr")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(FormatError, match="has format None"):
        PredictionStore.open(tmp_path / "other.zarr")
    plan = make_plan()
    with pytest.raises(OutputError, match="exists already"):
        PredictionStore.create(tmp_path / "other.zarr", plan, SYSTEM, {})


# blocks on demand

COUNTS = st.integers(2, 11)


@settings(deadline=None, max_examples=40)
@given(st.tuples(COUNTS, COUNTS, COUNTS), st.tuples(COUNTS, COUNTS, COUNTS), st.integers(0, 2**31))
def test_fourier_blocks_are_the_refined_whole(old: tuple[int, ...], more: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=old)
    new = tuple(a + b for a, b in zip(old, more, strict=True))
    whole = refine(Density(Grid(CELL, old), values), new).values  # type: ignore[arg-type]
    start = tuple(int(rng.integers(0, n)) for n in new)
    stop = tuple(int(rng.integers(a + 1, n + 1)) for a, n in zip(start, new, strict=True))
    block = interpolate(periodic_values(values), old, new, start, stop, fourier_weights, slab=3)  # type: ignore[arg-type]
    np.testing.assert_allclose(block, whole[tuple(map(slice, start, stop))], atol=1e-12)


def test_a_field_is_indexed_like_an_array(tmp_path: Path) -> None:
    plan = make_plan(output_shape=(31, 40, 25))
    predicted(plan, tmp_path / "a.zarr")
    field = open_density(tmp_path / "a.zarr")
    exact = waves(plan.output_grid.points()).density.reshape(plan.output_shape)
    assert field.shape == (31, 40, 25)
    whole = field[:]
    np.testing.assert_allclose(whole / field.charge_factor, exact, atol=1e-7)
    for key in (0, (3, 4, 5), (-1, slice(None, None, 3)), (..., slice(2, 9)), (slice(5, 9), 7), (slice(4, 4),), ...):
        np.testing.assert_allclose(field[key], whole[key], atol=1e-7)
        assert field[key].shape == whole[key].shape
    np.testing.assert_array_equal(np.asarray(field), whole)
    with pytest.raises(IndexError):
        field[31]
    with pytest.raises(IndexError, match="expected at most three"):
        field[0, 0, 0, 0]
    with pytest.raises(IndexError, match="positive step"):
        field[::-1]


def test_any_spacing_can_be_asked_for_later(tmp_path: Path) -> None:
    plan = make_plan()
    predicted(plan, tmp_path / "a.zarr")
    assert open_density(tmp_path / "a.zarr").shape == plan.compute_shape
    fine = open_density(tmp_path / "a.zarr", spacing=0.3)
    assert max(fine.grid.spacings) <= 0.3
    coarse = fine.refine(shape=(7, 7, 7))
    exact = waves(coarse.grid.points()).density.reshape(7, 7, 7)
    np.testing.assert_allclose(coarse[:] / coarse.charge_factor, exact, atol=1e-7)
    with pytest.raises(InputError, match="expected one; leave one out"):
        fine.refine(shape=(7, 7, 7), spacing=0.3)
    with pytest.raises(InputError, match="three numbers"):
        fine.refine(shape=(7, 7))


def test_refined_deviations_stay_positive_and_close() -> None:
    plan = make_plan(output_shape=(45, 45, 45))
    field = StoredField(predicted(plan), plan.output_grid)
    exact = waves(plan.output_grid.points())
    for name in ("aleatoric", "epistemic"):
        values = getattr(field, name)[:]
        expected = getattr(exact, name).reshape(plan.output_shape) * field.charge_factor
        assert values.min() > 0
        np.testing.assert_allclose(values, expected, rtol=5e-3)


def test_local_weights_reach_two_points_and_sum_to_one() -> None:
    found = cubic_weights(12, 30, 0, 30)
    assert found.first == -1
    assert found.weights.shape == (30, 15)  # an image before the cell, two after it
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    assert (np.count_nonzero(found.weights, axis=1) <= 4).all()
    np.testing.assert_allclose(found.weights[::5][:, 1:13:2], np.eye(6), atol=1e-15)


def test_windowed_weights_keep_the_waves_they_promise() -> None:
    old, new, start, stop = 200, 500, 37, 81
    x = np.arange(start, stop) / new
    for wave in (1, 40, 80):  # of 100, the Nyquist wave
        found = windowed_weights(old, new, start, stop)
        points = found.first + np.arange(found.weights.shape[1])
        values = found.weights @ np.exp(2j * np.pi * wave * points / old)
        np.testing.assert_allclose(values, np.exp(2j * np.pi * wave * x), atol=1.5e-5)
    assert found.weights.shape[1] < 44 * old // new + 35


def test_boxes_of_a_periodic_field_may_leave_the_cell() -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6))
    box = periodic_values(values)((-3, 2, -7), (6, 4, 13))
    tiled = np.tile(values, (5, 3, 7))
    np.testing.assert_array_equal(box, tiled[8 - 3 : 8 + 6, 5 + 2 : 5 + 4, 18 - 7 : 18 + 13])


# charge and verdict


def test_the_rescaled_field_integrates_to_the_electrons(tmp_path: Path) -> None:
    plan = make_plan(output_shape=(33, 40, 36))
    store = predicted(plan, tmp_path / "a.zarr")
    raw = FieldTotals.from_tiles(store.statistics(), plan.grid.volume_element).electrons
    assert abs(raw - 7.0) > 1.0
    assert open_density(tmp_path / "a.zarr").density().integral() == pytest.approx(7.0, abs=1e-5)
    density = Density(plan.grid, waves(plan.grid.points()).density.reshape(plan.compute_shape))
    assert rescale_to_charge(density, 7.0).integral() == pytest.approx(7.0, abs=1e-6)
    assert charge_factor(raw, 7.0) == pytest.approx(7.0 / density.integral(), rel=1e-6)


@pytest.mark.parametrize("raw", [0.0, -3.0, float("nan")])
def test_a_density_without_electrons_cannot_be_rescaled(raw: float) -> None:
    with pytest.raises(EmptyDensityError, match="expected about 96"):
        charge_factor(raw, 96.0)


def test_totals_do_not_depend_on_the_order_of_tiles() -> None:
    plan = make_plan(tile_shape=(5, 5, 6))
    rows = predicted(plan).statistics()
    shuffled = rows[np.random.default_rng(1).permutation(len(rows))]
    assert not np.array_equal(rows, shuffled)
    assert FieldTotals.from_tiles(rows, 0.1) == FieldTotals.from_tiles(shuffled, 0.1)


def test_expected_l1_is_the_mean_absolute_error_of_gaussian_errors() -> None:
    plan = make_plan()
    rng = np.random.default_rng(3)
    exact = waves(plan.grid.points())
    sigma = np.hypot(exact.aleatoric, exact.epistemic)  # type: ignore[arg-type]
    errors = rng.normal(size=(200, len(sigma))) * sigma
    l1 = np.abs(errors).mean() * plan.grid.volume / 7.0
    totals = FieldTotals.from_tiles(predicted(plan).statistics(), plan.grid.volume_element)
    verdict = judge(totals, plan.grid.volume, totals.electrons, {})
    assert verdict.expected_l1 == pytest.approx(l1 * 7.0 / totals.electrons, rel=5e-3)
    assert verdict.range == "unknown"
    assert verdict.expected_l1_low is None


def test_verdict_counts_points_beyond_validation() -> None:
    exact = waves(make_plan().grid.points())
    sigma = np.hypot(exact.aleatoric, exact.epistemic)  # type: ignore[arg-type]
    words = {}
    for quantile in (0.5, 0.98, 1.0):
        limit = float(np.quantile(sigma, quantile))
        plan = make_plan(sigma_limit=limit)
        totals = FieldTotals.from_tiles(predicted(plan).statistics(), plan.grid.volume_element)
        limits = {"largest_total": limit, "l1_ratio_low": 0.5, "l1_ratio_high": 1.5}
        verdict = judge(totals, plan.grid.volume, totals.electrons, limits)
        assert verdict.share_beyond == np.count_nonzero(sigma > np.float32(limit)) / sigma.size
        assert verdict.expected_l1_low == pytest.approx(verdict.expected_l1 * 0.5)
        words[verdict.range] = str(verdict)
    assert list(words) == ["outside", "partly", "inside"]
    assert "do not rely on it" in words["outside"]
    assert " to " in words["inside"]


@pytest.mark.parametrize("known", [None, 1e-3])
def test_a_wrong_electron_count_overrules_a_small_uncertainty(known: float | None) -> None:
    plan = make_plan(sigma_limit=1.0)
    totals = FieldTotals.from_tiles(predicted(plan).statistics(), plan.grid.volume_element)
    limits = {"largest_total": 1.0, "l1_ratio_low": 0.5, "l1_ratio_high": 1.5}
    limits |= {} if known is None else {"largest_electrons_off": known}
    right = judge(totals, plan.grid.volume, totals.electrons, limits)
    assert right.expected_l1_high is not None
    assert right.expected_l1_high > 2e-3
    largest = right.expected_l1_high if known is None else known
    verdicts = [judge(totals, plan.grid.volume, totals.electrons / (1 - x * largest), limits) for x in (0.9, 1.1, 2.1)]
    assert [v.range for v in verdicts] == ["inside", "partly", "outside"]
    assert "raw electron count is off by -" in str(verdicts[1])
    assert "raw electron count" not in str(verdicts[0])


# refusals


def test_atoms_on_each_other_are_named_also_across_the_cell_face() -> None:
    doubled = System(np.eye(3) * 8.0, [[0.1, 4.0, 4.0], [4.0, 4.0, 4.0], [7.8, 4.0, 4.0]], ["Al", "Al", "Si"])
    with pytest.raises(StructureError, match=r"atoms 0 \(Al\) and 2 \(Si\) are 0\.300 Bohr apart; expected at least 1"):
        refuse_overlaps(doubled)
    refuse_overlaps(SYSTEM)
    closest = closest_pair(SYSTEM, 20.0)
    assert closest is not None
    refuse_overlaps(SYSTEM, closest_known=closest[0] / 0.76)
    with pytest.raises(StructureError, match=f"{closest[0]:.3f} Bohr apart"):
        refuse_overlaps(SYSTEM, closest_known=closest[0] / 0.74)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_closest_pair_agrees_with_a_search_over_all_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 6 + rng.normal(size=(3, 3))
    system = System(cell, rng.uniform(-9, 9, size=(7, 3)), ["Al"] * 7)
    shifts = (np.array(list(np.ndindex(7, 7, 7))) - 3) @ cell
    between = system.positions[:, None] - system.positions[None]
    wrapped = (between @ np.linalg.inv(cell)) % 1.0 @ cell
    distances = np.linalg.norm(wrapped[:, :, None] + shifts, axis=-1)
    distances[distances < 1e-9] = np.inf
    smallest = distances.min()
    found = closest_pair(system, 6.0)
    assert (found is None) == (smallest >= 6.0)
    if found is not None:
        assert found[0] == pytest.approx(smallest)


def test_another_pseudopotential_is_refused() -> None:
    ours = {"Al": PseudopotentialIdentity("Al", "GTH-PBE-q3", 3.0, "a" * 64)}
    refuse_other_pseudopotentials(["Al"], ours, ours, "toy")
    theirs = {"Al": PseudopotentialIdentity("Al", "ONCV", 3.0, "b" * 64)}
    with pytest.raises(ModelError, match=r"Al: pseudopotential ONCV .* is not that of model \"toy\", GTH-PBE-q3"):
        refuse_other_pseudopotentials(["Al"], theirs, ours, "toy")
    with pytest.raises(ModelError, match="no pseudopotential of Al was given"):
        refuse_other_pseudopotentials(["Al"], {}, ours, "toy")
