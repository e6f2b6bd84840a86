"""Laws of labels corrected for k-points: nearer to the denser mesh itself, nothing computed twice, nonsense refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.datasets.check import check_store
from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import InputError
from rhoscale.metrics import field_errors
from rhoscale.recipes.generate import Event, generate
from rhoscale.recipes.generation_plan import estimated_core_seconds, plan_generation
from rhoscale.recipes.kmesh_correction import has_settings, total_energy
from rhoscale.snapshot import Snapshot
from toy_recipe import BATCH, Counting, recipe

DENSER = {"cutoff_ry": 6, "kmesh": [4, 4, 4]}
CORRECTED = {**BATCH, "name": "corrected", "kmesh_correction": DENSER}


def only_snapshot(store: SnapshotStore, batch: str) -> Snapshot:
    (record,) = store.select(batch=batch)
    return store.load(record)


def error(snapshot: Snapshot, reference: Snapshot) -> float:
    shape = (20, 20, 20)
    return field_errors(snapshot.density.on_grid(shape), reference.density.on_grid(shape)).l1


@pytest.mark.dft
@pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on PATH")
def test_a_corrected_label_is_near_that_of_the_denser_mesh(tmp_path: Path) -> None:
    engine = {"program": "pw.x", "cutoff_ry": 25, "density_cutoff_ry": 50, "width_ry": 0.08, "kmesh": [3, 3, 3]}
    batches = [
        BATCH,
        {**CORRECTED, "kmesh_correction": {"cutoff_ry": 15, "kmesh": [5, 5, 5]}},
        {**BATCH, "name": "dense", "engine": {"kmesh": [5, 5, 5]}},
    ]
    config = recipe(tmp_path, engine=engine, batch=[{**b, "snapshots": 1} for b in batches])
    assert generate(config).failed == []
    store = SnapshotStore.open(config.output)
    assert check_store(store) == []
    coarse, corrected, dense = (only_snapshot(store, name) for name in ("a", "corrected", "dense"))
    before, after = error(coarse, dense), error(corrected, dense)
    assert before > 0.002
    assert after < before / 5
    energies = [total_energy(s) for s in (coarse, corrected, dense)]
    assert abs(energies[1] - energies[2]) < abs(energies[0] - energies[2]) / 5
    assert corrected.density.electrons == pytest.approx(12, abs=1e-4)


def test_a_correction_of_a_label_that_is_there_takes_two_runs_and_the_rest_from_it(tmp_path: Path) -> None:
    generate(recipe(tmp_path))
    store = SnapshotStore.open(recipe(tmp_path).output)
    counting, events = Counting(), list[Event]()
    generate(recipe(tmp_path, batch=[BATCH, CORRECTED]), engine_maker=counting, on_event=events.append)
    assert len(counting.runs) == 2 * len(store.select(batch="a"))
    assert not [e for e in events if e.state == "thermalising"]
    for first, second in zip(store.select(batch="a"), store.select(batch="corrected"), strict=True):
        label, corrected = store.load(first), store.load(second)
        assert corrected.system.content_hash() == label.system.content_hash()
        assert (corrected.origin["task"], corrected.origin["batch"]) == (second.task, "corrected")
        assert dict(corrected.energies) == dict(label.energies)
        about = corrected.settings["kmesh_correction"]
        assert (about["kmesh"], about["cutoff_hartree"], about["energy_change_hartree"]) == ([4, 4, 4], 3.0, 0.0)
        assert corrected.settings["kmesh"] == label.settings["kmesh"] == [1, 1, 1]
        assert second.core_seconds >= first.core_seconds
        np.testing.assert_array_equal(corrected.density.coefficients, label.density.coefficients)  # the toy has no k


def test_without_a_label_to_correct_it_is_made_first(tmp_path: Path) -> None:
    counting = Counting()
    config = recipe(tmp_path, batch=[CORRECTED])
    generate(config, engine_maker=counting)
    assert len(counting.runs) == 3 * BATCH["snapshots"]
    store = SnapshotStore.open(config.output)
    assert all("kmesh_correction" in store.load(r).settings for r in store.records())


@pytest.mark.parametrize("fail_at", [1, 2])
def test_a_label_outlives_a_failed_correction(tmp_path: Path, fail_at: int) -> None:
    config = recipe(tmp_path, batch=[{**CORRECTED, "snapshots": 1}])
    assert len(generate(config, engine_maker=Counting(fail_at=fail_at)).failed) == 1
    again = Counting()
    assert generate(config, engine_maker=again).remaining == 0
    assert len(again.runs) == 2
    store = SnapshotStore.open(config.output)
    assert not list((store.work / "uncorrected").iterdir())
    broken, whole = only_snapshot(store, "corrected"), recipe(tmp_path / "whole", batch=[{**CORRECTED, "snapshots": 1}])
    generate(whole)
    unbroken = only_snapshot(SnapshotStore.open(whole.output), "corrected")
    np.testing.assert_array_equal(broken.density.coefficients, unbroken.density.coefficients)


def test_a_corrected_label_is_not_taken_for_one_of_its_settings(tmp_path: Path) -> None:
    config = recipe(tmp_path, batch=[{**CORRECTED, "snapshots": 1}])
    generate(config)
    store = SnapshotStore.open(config.output)
    (task,) = plan_generation(config)
    assert not has_settings(only_snapshot(store, "corrected"), task.engine.settings())
    counting = Counting()
    generate(recipe(tmp_path, batch=[{**CORRECTED, "snapshots": 1}, {**BATCH, "snapshots": 1}]), engine_maker=counting)
    assert len(counting.runs) == 1
    assert has_settings(only_snapshot(store, "a"), task.engine.settings())


def test_the_correction_is_in_the_name_of_the_label_and_in_its_cost(tmp_path: Path) -> None:
    tasks = [
        plan_generation(recipe(tmp_path, batch=[{**BATCH, "kmesh_correction": correction}]))[0]
        for correction in ({}, DENSER, {**DENSER, "cutoff_ry": 7}, {**DENSER, "kmesh": [5, 5, 5]})
    ]
    assert len({t.name for t in tasks}) == 4
    assert len({t.trajectory for t in tasks}) == 1
    costs = [estimated_core_seconds(t, 32) for t in tasks]
    assert costs == sorted(set(costs))


@pytest.mark.parametrize(
    ("correction", "said"),
    [
        ({"cutoff_ry": 10, "kmesh": [4, 4, 4]}, "a lower cutoff"),
        ({"kmesh": [4, 4, 4]}, "a lower cutoff"),
        ({"cutoff_ry": 6}, "expected more points"),
        ({"cutoff_ry": 6, "kmesh": [0, 1, 1]}, "kmesh"),
        ({"cutof_ry": 6, "kmesh": [4, 4, 4]}, "did you mean 'cutoff_ry'"),
    ],
)
def test_a_correction_that_corrects_nothing_is_refused(tmp_path: Path, correction: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match="kmesh_correction") as error:
        plan_generation(recipe(tmp_path, batch=[{**BATCH, "kmesh_correction": correction}]))
    assert said in str(error.value)
