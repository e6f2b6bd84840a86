"""Dask: the plan's bits from any workers, also when two of them are killed; failures name their tile."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster
from zarr.storage import MemoryStore

from known_waves import SYSTEM, make_plan, stored_bits, waves
from rhoscale.errors import InputError, ModelError, TileError
from rhoscale.prediction.one_tile import TilePrediction, predict_tile
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.run_dask import connect, run_dask
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile
from rhoscale.recipes.field import Request, plan_field
from rhoscale.recipes.model_tiles import ModelTiles
from toy_model import thermal_aluminium

PLAN = make_plan(tile_shape=(8, 8, 8))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect(workers=3) as client:
        yield client


def new_store(place: Path | None = None, plan: PredictionPlan = PLAN) -> PredictionStore:
    return PredictionStore.create(place or MemoryStore(), plan, SYSTEM, {"electrons": 7.0})


def local_bits(plan: PredictionPlan = PLAN) -> dict[str, bytes]:
    store = new_store(plan=plan)
    run_local(plan, partial(predict_tile, plan=plan, predict_points=waves), store)
    return stored_bits(store)


def slowly(tile: Tile, place: Path) -> TilePrediction:
    """A tile that takes its time and leaves a trace of who worked on it."""
    (place / f"{tile.index}-{os.getpid()}").touch()
    time.sleep(0.1)
    return predict_tile(tile, PLAN, waves)


def test_workers_give_the_bits_of_threads(client: Client, tmp_path: Path) -> None:
    store = new_store(tmp_path / "a.zarr")
    seen: list[int] = []
    predict = partial(predict_tile, plan=PLAN, predict_points=waves)
    run_dask(PLAN, predict, store, client=client, progress=lambda done, _all: seen.append(done))
    assert stored_bits(store) == local_bits()
    assert len(set(stored_bits(store).values())) == 4
    assert seen == sorted(seen)
    assert seen[-1] == PLAN.grid.size


def test_two_workers_killed_in_the_middle_change_nothing(client: Client, tmp_path: Path) -> None:
    store = new_store(tmp_path / "a.zarr")
    (tmp_path / "traces").mkdir()
    workers = list(client.run(os.getpid).values())
    assert len(workers) == 3
    killed: list[int] = []

    def kill(done: int, _all: int) -> None:
        busy = {int(trace.name.split("-")[1]) for trace in (tmp_path / "traces").iterdir()}
        for pid in workers[:2]:
            if pid in busy and pid not in killed and done > 0:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    run_dask(PLAN, partial(slowly, place=tmp_path / "traces"), store, client=client, progress=kill)
    assert len(killed) == 2
    assert len(list((tmp_path / "traces").iterdir())) > PLAN.n_tiles  # some tiles were begun again
    assert stored_bits(store) == local_bits()


def test_an_interrupted_run_goes_on_elsewhere(client: Client, tmp_path: Path) -> None:
    store = new_store(tmp_path / "a.zarr")
    (tmp_path / "traces").mkdir()

    def only_some(tile: Tile) -> TilePrediction:
        if tile.index == 9:
            raise RuntimeError("power cut")
        return predict_tile(tile, PLAN, waves)

    with pytest.raises(TileError, match="power cut"):
        run_local(PLAN, only_some, store, retries=0)
    begun = int(store.done().sum())
    assert 0 < begun < PLAN.n_tiles
    run_dask(PLAN, partial(slowly, place=tmp_path / "traces"), store, client=client)
    assert len(list((tmp_path / "traces").iterdir())) == PLAN.n_tiles - begun
    assert stored_bits(store) == local_bits()


def broken(tile: Tile, kind: type[Exception], place: Path) -> TilePrediction:
    if tile.index == 3:
        place.joinpath("tries").open("a").write("x")
        raise kind("no luck")
    return predict_tile(tile, PLAN, waves)


@pytest.mark.parametrize(("kind", "tries"), [(MemoryError, 3), (ModelError, 1)])
def test_a_tile_that_goes_on_failing_is_named_and_the_rest_stays(
    client: Client, tmp_path: Path, kind: type[Exception], tries: int
) -> None:
    store = new_store(tmp_path / "a.zarr")
    expected = (TileError, r"tile 3, points .* failed 3 times \(MemoryError: no luck\)")
    error, message = expected if kind is MemoryError else (ModelError, "no luck")
    with pytest.raises(error, match=message):
        run_dask(PLAN, partial(broken, kind=kind, place=tmp_path), store, client=client, retries=2)
    assert len((tmp_path / "tries").read_text()) == tries
    assert not store.done()[3]
    run_dask(PLAN, partial(predict_tile, plan=PLAN, predict_points=waves), store, client=client)
    assert stored_bits(store) == local_bits()


def test_a_model_gives_the_same_bits_on_workers(client: Client, toy_model: Path, tmp_path: Path) -> None:
    from rhoscale.models import load_trained

    model, system = load_trained(toy_model), thermal_aluminium(2, 2)
    plan = plan_field(system, model, "0" * 64, Request(draws=3))
    bits = []
    for name in ("threads", "workers"):
        store = PredictionStore.create(tmp_path / f"{name}.zarr", plan, system, {})
        run = partial(run_local, threads=2) if name == "threads" else partial(run_dask, client=client)
        run(plan, ModelTiles(store, model), store)
        bits.append(stored_bits(store))
    assert bits[0] == bits[1]
    assert np.ptp(np.frombuffer(bits[0]["density"], dtype=np.float32)) > 0.01


def test_what_workers_cannot_see_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="expected a folder that all workers see"):
        run_dask(PLAN, partial(predict_tile, plan=PLAN, predict_points=waves), new_store(), client=client)


def test_a_scheduler_of_somebody_else_is_used_and_a_missing_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rhoscale.prediction import run_dask as module

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster:
        with connect(scheduler=cluster.scheduler_address) as client:
            store = new_store(tmp_path / "a.zarr")
            run_dask(PLAN, partial(predict_tile, plan=PLAN, predict_points=waves), store, client=client)
        assert stored_bits(store) == local_bits()
    monkeypatch.setattr(module, "PATIENCE", 1)
    with (
        pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        connect(scheduler="tcp://127.0.0.1:9"),
    ):
        pass


def test_the_command_takes_a_scheduler_for_threads(client: Client, toy_model: Path, tmp_path: Path) -> None:
    from ase.io import write

    from rhoscale.ase_bridge import to_atoms
    from rhoscale.recipes.predict import PredictConfig, predict

    write(tmp_path / "al.extxyz", to_atoms(thermal_aluminium(0)))
    config = PredictConfig(tmp_path / "al.extxyz", str(toy_model), tmp_path / "a.zarr", threads=1)
    there = replace(config, output=tmp_path / "b.zarr", threads=None, scheduler=client.scheduler.address)
    reports = [predict(config), predict(there)]
    assert reports[0].summary == reports[1].summary
    bits = [stored_bits(PredictionStore.open(report.output)) for report in reports]
    assert bits[0] == bits[1]


def test_python_takes_a_client_for_threads(client: Client, toy_model: Path, tmp_path: Path) -> None:
    import rhoscale
    from rhoscale.ase_bridge import to_atoms

    atoms, model = to_atoms(thermal_aluminium(0)), rhoscale.load_model(toy_model)
    for name, how in (("threads", {"threads": 1}), ("workers", {"client": client})):
        rhoscale.predict_to_store(atoms, model, tmp_path / f"{name}.zarr", **how)
    bits = [stored_bits(PredictionStore.open(tmp_path / f"{name}.zarr")) for name in ("threads", "workers")]
    assert bits[0] == bits[1]
    with pytest.raises(InputError, match="both threads 2 and a client are given"):
        rhoscale.predict_to_store(atoms, model, tmp_path / "both.zarr", threads=2, client=client)
    with pytest.raises(InputError, match=r"expected a distributed\.Client"):
        rhoscale.predict_to_store(atoms, model, tmp_path / "none.zarr", client="tcp://10.0.0.1:8786")
    assert not (tmp_path / "none.zarr").exists()


def test_without_dask_the_command_says_what_to_install(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ase.io import write

    from rhoscale.ase_bridge import to_atoms
    from rhoscale.recipes.predict import PredictConfig, predict

    write(tmp_path / "al.extxyz", to_atoms(thermal_aluminium(0)))
    monkeypatch.delitem(sys.modules, "rhoscale.prediction.run_dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install \"rhoscale\[dask\]\""):
        predict(PredictConfig(tmp_path / "al.extxyz", str(toy_model), tmp_path / "a.zarr", workers=2))
