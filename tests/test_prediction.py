"""Prediction: any tiling, order, number of threads or interruption gives the same field; its store says what it is."""

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
from zarr.storage import MemoryStore

from known_waves import SYSTEM, make_plan, predicted, stored_bits, waves
from rhoscale.errors import FormatError, ModelError, OutputError, TileError
from rhoscale.prediction.field import open_density
from rhoscale.prediction.one_tile import PointPrediction, TilePrediction, predict_tile
from rhoscale.prediction.plan import rounding_step
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore, refuse_small_disk
from rhoscale.prediction.tiles import Tile
from rhoscale.prediction.verdict import FieldTotals

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
from known_waves import SYSTEM, make_plan, waves
from rhoscale.prediction.one_tile import predict_tile
from rhoscale.prediction.run_local import run_local
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
