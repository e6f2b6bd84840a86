"""Laws of generating: the plan is fixed, nothing is done twice, failures never become data, a killed run goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.datasets.check import check_store
from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError, InputError
from rhoscale.recipes.config import read_config
from rhoscale.recipes.generate import Event, generate, open_tasks
from rhoscale.recipes.generation_config import GenerateConfig
from rhoscale.recipes.generation_plan import plan_generation
from rhoscale.structures.distances import shortest_distance
from rhoscale.system import System
from toy_model import toy_snapshot
from toy_recipe import BATCH, CELL, RECIPE, Counting, recipe


def contents(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Structure and coefficients of each task: all that must not depend on how often a run was broken."""
    store = SnapshotStore.open(folder)
    loaded = {r.task: store.load(r) for r in store.records()}
    return {task: (s.system.content_hash(), s.density.coefficients.tobytes()) for task, s in loaded.items()}


def test_a_plan_is_the_same_every_time_and_grows_at_its_end(tmp_path: Path) -> None:
    few = plan_generation(recipe(tmp_path))
    assert few == plan_generation(recipe(tmp_path))
    assert len({t.name for t in few}) == len({t.trajectory for t in few}) == 4
    more = plan_generation(recipe(tmp_path, batch=[{**BATCH, "snapshots": 6}]))
    assert [t.name for t in more[:4]] == [t.name for t in few]
    assert [t.temperature for t in more] == [300, 900, 300, 900, 300, 900]


def test_all_that_decides_a_label_is_in_its_name_and_where_it_is_kept_is_not(tmp_path: Path) -> None:
    base = plan_generation(recipe(tmp_path))[0].name
    elsewhere = recipe(tmp_path / "other", description="said differently")
    assert plan_generation(elsewhere)[0].name == base
    for changed in (
        {"engine": {"kmesh": [2, 2, 2]}},
        {"engine": {"width_ry": 0.04}},
        {"seed": 2},
        {"temperatures": [301, 900]},
        {"strains": [0.01]},
        {"structure": {**CELL, "vacancies": 1}},
        {"thermostat": {"equilibration_fs": 70}},
        {"ab_initio": {"duration_fs": 5}},
    ):
        assert plan_generation(recipe(tmp_path, batch=[{**BATCH, **changed}]))[0].name != base, changed
    other_potential = recipe(tmp_path, pseudopotentials={"family": "gth-pbe", "valence": {"Al": 11}})
    assert plan_generation(other_potential)[0].name != base


def test_relatives_share_a_trajectory_whatever_their_labels(tmp_path: Path) -> None:
    base = plan_generation(recipe(tmp_path))[0]
    for changed, same in (
        ({"engine": {"kmesh": [2, 2, 2]}}, True),
        ({"thermostat": {"equilibration_fs": 99}}, True),
        ({"ab_initio": {"duration_fs": 5}}, True),
        ({"seed": 2}, False),
        ({"strains": [0.01]}, False),
    ):
        task = plan_generation(recipe(tmp_path, batch=[{**BATCH, **changed}]))[0]
        assert (task.trajectory == base.trajectory) is same, changed
    series = plan_generation(recipe(tmp_path, batch=[{**BATCH, "thermostat": {"snapshots_per_trajectory": 2}}]))
    assert [t.frame for t in series] == [0, 1, 0, 1]
    assert [t.seed for t in series] == [1, 1, 2, 2]
    assert len({t.trajectory for t in series}) == 2


def test_a_data_set_is_made_once_with_its_provenance(tmp_path: Path) -> None:
    vacancy = {**BATCH, "name": "b", "role": "test", "snapshots": 2, "seed": 9, "strains": [-0.02, 0.0]}
    config = recipe(tmp_path, batch=[BATCH, {**vacancy, "structure": {**CELL, "vacancies": 1}, "subsets": ["defects"]}])
    counting, events = Counting(), list[Event]()
    outcome = generate(config, jobs=3, engine_maker=counting, on_event=events.append)
    assert (len(outcome.done), outcome.failed, outcome.remaining) == (6, [], 0)
    assert len(counting.runs) == 6
    assert [e.state for e in events].count("done") == 6
    again = generate(config, jobs=3, engine_maker=counting)
    assert (again.done, again.remaining, len(counting.runs)) == ([], 0, 6)

    store = SnapshotStore.open(config.output)
    assert check_store(store) == []
    assert [r.kind for r in store.select(batch="b")] == ["vacancy+strain", "vacancy"]
    snapshot = store.load(store.select(subset="defects")[0])
    assert snapshot.system.formula == "Al3"
    assert snapshot.system.volume == pytest.approx((0.98 * 7.65) ** 3)
    assert snapshot.origin["seed"] == 9
    assert snapshot.origin["temperature"] == 300.0
    assert snapshot.origin["strain_voigt"] == pytest.approx([-0.02, -0.02, -0.02, 0, 0, 0])
    assert snapshot.origin["structure"]["lattice_constant_bohr"] == 7.65
    assert snapshot.origin["calculator"]["length_scale"] == pytest.approx(0.9867, abs=1e-3)
    assert snapshot.origin["decorrelation"]["autocorrelation_time_fs"] > 0
    assert snapshot.settings["cutoff_hartree"] == 5.0
    assert snapshot.settings["width_hartree"] == 0.04
    assert snapshot.settings["rhoscale"]


def test_other_labels_of_one_structure_take_it_and_its_density_from_the_store(tmp_path: Path) -> None:
    """And only of the very structure: another waiting time or number in the trajectory is thermalised anew."""
    generate(recipe(tmp_path))
    store = SnapshotStore.open(recipe(tmp_path).output)
    shutil.rmtree(store.work / "trajectories")
    finer = {**BATCH, "name": "finer", "engine": {"cutoff_ry": 12, "density_cutoff_ry": 16}}
    later = {**BATCH, "name": "later", "thermostat": {"equilibration_fs": 80}}
    counting, events = Counting(), list[Event]()
    generate(recipe(tmp_path, batch=[BATCH, finer, later]), engine_maker=counting, on_event=events.append)
    assert len(counting.runs) == 2 * BATCH["snapshots"]
    assert {e.task.batch.name for e in events if e.state == "thermalising"} == {"later"}
    by_batch = {name: store.select(batch=name) for name in ("a", "finer", "later")}
    for first, second, other in zip(*by_batch.values(), strict=True):
        one, same, different = (store.load(record) for record in (first, second, other))
        assert one.system.content_hash() == same.system.content_hash() != different.system.content_hash()
        assert one.settings["cutoff_hartree"] == 5.0
        assert same.settings["cutoff_hartree"] == 6.0
        assert same.origin["started_from"] == first.task
        assert same.origin["task"] == second.task
        kept = {"trajectory", "seed", "temperature", "decorrelation", "thermostat"}
        assert {key: same.origin[key] for key in kept} == {key: one.origin[key] for key in kept}


def test_thermal_structures_have_moved_but_not_collapsed(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    generate(config)
    perfect = config.batch[0].structure.perfect(0)
    for record in SnapshotStore.open(config.output).records():
        system = SnapshotStore.open(config.output).load(record).system
        moved = (system.scaled_positions - perfect.scaled_positions + 0.5) % 1 - 0.5
        assert np.abs(moved).max() > 1e-3
        assert shortest_distance(system) > 0.75 * shortest_distance(perfect)


def test_a_failed_run_is_no_data_and_is_tried_again(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    outcome = generate(config, engine_maker=Counting(fail_at=1))
    assert len(outcome.done) == 3
    assert outcome.remaining == 1
    (task, message), *rest = outcome.failed
    assert (rest, task.name) == ([], plan_generation(config)[1].name)
    assert "did not converge" in message
    assert SnapshotStore.open(config.output).record(task.name) is None
    again = Counting()
    assert generate(config, engine_maker=again).remaining == 0
    assert len(again.runs) == 1


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        generate(config, engine_maker=Counting(fail_at=2, error=KeyboardInterrupt))
    assert 2 <= len(SnapshotStore.open(config.output).records()) < 4
    assert generate(config).remaining == 0
    unbroken = recipe(tmp_path / "unbroken")
    generate(unbroken, jobs=2)
    assert contents(config.output) == contents(unbroken.output)


def test_only_and_limit_choose_tasks(tmp_path: Path) -> None:
    config = recipe(tmp_path, batch=[BATCH, {**BATCH, "name": "b", "seed": 50}])
    assert generate(config, only=["b"], limit=3).remaining == 1
    assert {r.batch for r in SnapshotStore.open(config.output).records()} == {"b"}
    with pytest.raises(InputError, match="no batch c in the recipe; there are a, b"):
        open_tasks(config, only=["c"])


def test_splits_are_fixed_once_made(tmp_path: Path) -> None:
    generate(recipe(tmp_path))
    with pytest.raises(DatasetError, match="splits are fixed"):
        generate(recipe(tmp_path, batch=[{**BATCH, "role": "test"}]))


def test_a_recipe_cannot_put_one_trajectory_into_two_roles(tmp_path: Path) -> None:
    both = recipe(tmp_path, batch=[BATCH, {**BATCH, "name": "b", "role": "test", "engine": {"kmesh": [2, 2, 2]}}])
    with pytest.raises(DatasetError, match="one role a trajectory"):
        generate(both)


def test_without_classical_forces_the_engines_own_dynamics_starts_on_the_sites(tmp_path: Path) -> None:
    batch = {**BATCH, "snapshots": 1, "temperatures": [600], "ab_initio": {"duration_fs": 30}}
    batch["structure"] = {**CELL, "elements": ["Mg"]}  # which no potential here knows
    potentials = {"family": "gth-pbe", "valence": {"Mg": 2}}
    with pytest.raises(InputError, match="does not know Mg"):
        generate(recipe(tmp_path, pseudopotentials=potentials, batch=[batch]))
    config = recipe(tmp_path, pseudopotentials=potentials, batch=[batch], thermostat={"forces": "none"})
    outcome = generate(config)
    assert not outcome.failed
    (record,) = outcome.done
    origin = SnapshotStore.open(config.output).load(record).origin
    assert origin["method"] == "ab-initio"
    assert origin["time_fs"] == 30
    assert 0.05 < origin["rms_displacement_bohr"] < 1
    for changes in ({"ab_initio": None}, {"thermostat": {"melt_kelvin": 900}}):
        with pytest.raises(InputError, match="nothing else moves the atoms"):
            plan_generation(recipe(tmp_path, batch=[{**batch, **changes}], thermostat={"forces": "none"}))


def test_ab_initio_dynamics_starts_from_the_classical_end_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    batch = {**BATCH, "snapshots": 2, "ab_initio": {"duration_fs": 30}, "temperatures": [600]}
    config = recipe(tmp_path, batch=[{**batch, "thermostat": {"snapshots_per_trajectory": 2, "spacing_fs": 10}}])
    unbroken = Counting()
    generate(config, engine_maker=unbroken)
    store = SnapshotStore.open(config.output)
    one, two = (store.load(r) for r in store.records())
    assert one.origin["method"] == "ab-initio"
    assert one.trajectory == two.trajectory
    assert [one.origin["time_fs"], two.origin["time_fs"]] == [30, 40]
    # 40 steps, the forces at the start, two labels: the second snapshot takes the dynamics of the first
    assert len(unbroken.runs) == 43

    broken = recipe(
        tmp_path / "broken", batch=[{**batch, "thermostat": {"snapshots_per_trajectory": 2, "spacing_fs": 10}}]
    )
    with pytest.raises(KeyboardInterrupt):
        generate(broken, engine_maker=Counting(fail_at=20, error=KeyboardInterrupt))
    rest = Counting()
    assert generate(broken, engine_maker=rest).remaining == 0
    assert len(rest.runs) <= 43 - 18
    assert contents(broken.output) == contents(config.output)


def test_every_run_starts_from_the_density_that_is_given_for_its_structure(tmp_path: Path) -> None:
    given: list[Any] = []
    taken: list[Any] = []

    class Watching(Counting):
        def __call__(self, *args: Any, **keywords: Any) -> Any:
            engine = super().__call__(*args, **keywords)
            counted = engine.ground_state

            def ground_state(system: System, *, initial_density: Any = None) -> Any:
                taken.append(initial_density)
                return counted(system, initial_density=initial_density)

            engine.ground_state = ground_state
            return engine

    def start(system: System) -> Any:
        given.append(toy_snapshot(system).density if len(given) % 2 else None)
        return given[-1]

    batch = {**BATCH, "snapshots": 1, "ab_initio": {"duration_fs": 10}}
    config = recipe(tmp_path, batch=[batch])
    generate(config, engine_maker=Watching(), start=start)
    assert len(given) == 12
    assert all(one is other for one, other in zip(given, taken, strict=True))
    store = SnapshotStore.open(config.output)
    assert "start" in store.load(store.records()[0]).origin["started_from"]


def test_a_killed_process_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path: Path) -> None:
    file, output = tmp_path / "killed.toml", tmp_path / "killed"
    file.write_text(RECIPE.format(output=output))
    start = "from rhoscale.cli.app import main; main()"
    command = [sys.executable, "-c", start, "generate", str(file), "--jobs", "2"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while len(list((output / "records").glob("*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = {f.name: f.read_bytes() for f in output.glob("*/*.*") if f.suffix in (".json", ".safetensors")}
    assert 2 <= len(SnapshotStore.open(output).records()) < 10, (tmp_path / "log").read_text()

    config = read_config(file, GenerateConfig)
    assert generate(config, jobs=2).remaining == 0
    assert kept.items() <= {f.name: f.read_bytes() for f in output.glob("*/*.*") if f.is_file()}.items()
    assert check_store(SnapshotStore.open(output)) == []
    (tmp_path / "whole.toml").write_text(RECIPE.format(output=tmp_path / "whole"))
    generate(read_config(tmp_path / "whole.toml", GenerateConfig))
    assert contents(output) == contents(tmp_path / "whole")
