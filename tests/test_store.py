"""Laws of the store: what goes in comes out, nothing twice, no trajectory on both sides, damage is seen."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from rhoscale.datasets.check import check_store
from rhoscale.datasets.compact import largest_sphere, loss, smallest_cutoff
from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import DatasetError, FormatError, OutputError
from rhoscale.sampling.schedule import snapshot_of
from rhoscale.snapshot import Snapshot
from rhoscale.structures.crystal import crystal
from rhoscale.system import PseudopotentialIdentity, System

ENGINE = SuperpositionEngine(DFTSettings(cutoff=5.0, density_cutoff=6.0), {"Al": 3})


def snapshot(seed: int, trajectory: str | None = None) -> Snapshot:
    cell = crystal("fcc", ["Al"], 7.65)
    rng = np.random.default_rng(seed)
    moved = System(cell.cell, cell.positions + rng.normal(0, 0.1, (4, 3)), cell.species)
    origin = {"trajectory": trajectory or f"t{seed}", "kind": "bulk", "temperature": 100.0 * seed}
    return snapshot_of(ENGINE.ground_state(moved), origin)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    store = SnapshotStore.create(tmp_path / "set", name="set", description='says "hello" \\ and more')
    store.add(snapshot(1), task="a-1", batch="a", role="train", subsets=("bulk",))
    store.add(snapshot(2), task="a-2", batch="a", role="train")
    store.add(snapshot(3), task="b-3", batch="b", role="test", subsets=("bulk",))
    store.freeze()
    return SnapshotStore.open(tmp_path / "set")


def test_what_goes_in_comes_out(store: SnapshotStore) -> None:
    record = store.records()[0]
    kept = store.load(record)
    assert kept.content_hash == snapshot_hash_without_cost(kept, snapshot(1))
    assert kept.origin["trajectory"] == record.trajectory == "t1"
    assert (record.formula, record.n_atoms, record.kind, record.temperature) == ("Al4", 4, "bulk", 100.0)
    assert np.abs(kept.density.coefficients).max() > 0.01
    assert np.array_equal(kept.density.coefficients, snapshot(1).density.coefficients.astype(np.complex64))
    assert store.load(record.snapshot).content_hash == record.snapshot


def snapshot_hash_without_cost(kept: Snapshot, again: Snapshot) -> str:
    """The hash of a recomputed snapshot that is given the kept one's times, the only thing that may differ."""
    return replace(again, settings=kept.settings).content_hash


def test_a_snapshot_is_readable_without_this_package(store: SnapshotStore) -> None:
    """As docs/data.md describes the file: the Fourier sum at some points is the density there."""
    record = store.records()[0]
    with safe_open(str(store.snapshot_path(record)), framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        text = json.loads(file.metadata()["rhoscale"])
    h, k, l = arrays["waves_limits"]
    box = np.unpackbits(arrays["waves_kept"], count=(2 * h + 1) * (2 * k + 1) * (l + 1))
    millers = np.argwhere(box.reshape(2 * h + 1, 2 * k + 1, l + 1)) - [h, k, 0]
    coefficients = arrays["coefficients"][:, 0] + 1j * arrays["coefficients"][:, 1]
    twice = np.where((millers == 0).all(axis=1), 1.0, 2.0)
    density = store.load(record).density.on_grid((20, 20, 20)).values
    for i, j, m in ((0, 0, 0), (3, 7, 11), (19, 2, 10)):
        phase = np.exp(2j * np.pi * (millers @ np.array([i, j, m]) / 20))
        assert (twice * coefficients * phase).real.sum() == pytest.approx(density[i, j, m], rel=1e-5)
    assert text["species"] == ["Al"] * 4
    assert text["electrons"] == 12


def test_selections_are_those_of_the_records(store: SnapshotStore) -> None:
    assert [r.task for r in store.select()] == ["a-1", "a-2", "b-3"]
    assert [r.task for r in store.select(role="train")] == ["a-1", "a-2"]
    assert [r.task for r in store.select(subset="bulk")] == ["a-1", "b-3"]
    assert [r.task for r in store.select(role="train", subset="bulk", batch=["a", "b"])] == ["a-1"]
    with pytest.raises(DatasetError, match="has batch 'c'; there are a, b"):
        store.select(batch="c")


def test_the_header_keeps_description_splits_and_identity(store: SnapshotStore) -> None:
    assert store.header["description"] == 'says "hello" \\ and more'
    assert store.header["roles"] == {"train": ["a-1", "a-2"], "validation": [], "test": ["b-3"]}
    assert store.header["subsets"] == {"bulk": ["a-1", "b-3"]}
    assert store.header["pseudopotentials"] == [ENGINE.pseudopotentials["Al"].to_dict()]


def test_a_finished_task_keeps_its_first_result(store: SnapshotStore) -> None:
    first = store.record("a-1")
    assert store.add(snapshot(9), task="a-1", batch="a", role="train", subsets=("bulk",)) == first
    assert len(list((store.path / "snapshots").iterdir())) == 3


def test_one_trajectory_never_serves_two_roles(store: SnapshotStore) -> None:
    store.add(snapshot(4, "t1"), task="a-4", batch="a", role="train")
    with pytest.raises(DatasetError, match=r"t1 serves as train .a-1. and as test .c-1."):
        store.add(snapshot(5, "t1"), task="c-1", batch="c", role="test")
    assert store.record("c-1") is None
    file = store.path / "records" / "a-4.json"
    file.write_text(file.read_text().replace('"train"', '"validation"'))
    with pytest.raises(DatasetError, match="one role a trajectory"):
        SnapshotStore.open(store.path)


def test_one_data_set_has_one_pseudopotential_for_an_element(store: SnapshotStore) -> None:
    other = {"Al": PseudopotentialIdentity("Al", "other-q3", 3.0, "f" * 64)}
    with pytest.raises(DatasetError, match="one pseudopotential for an"):
        store.add(replace(snapshot(6), pseudopotentials=other), task="a-6", batch="a", role="train")
    assert len(store.records()) == 3


def test_many_writers_at_once_leave_a_sound_store(tmp_path: Path) -> None:
    SnapshotStore.create(tmp_path / "set", name="set", description="")
    ready = [snapshot(seed) for seed in range(8)]

    def write() -> None:
        mine = SnapshotStore.open(tmp_path / "set")
        for number, one in enumerate(ready):
            mine.add(one, task=f"a-{number}", batch="a", role="train")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = SnapshotStore.open(tmp_path / "set")
    assert len(whole.records()) == 8
    assert check_store(whole) == []
    assert not list(whole.path.rglob("*.part"))


def test_a_sound_store_has_no_problems(store: SnapshotStore) -> None:
    assert check_store(store) == []


def _truncate(store: SnapshotStore) -> None:
    file = store.snapshot_path(store.records()[0])
    file.write_bytes(file.read_bytes()[:-7])


def _swap(store: SnapshotStore) -> None:
    one, two = (store.snapshot_path(r) for r in store.records()[:2])
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def _lose(store: SnapshotStore) -> None:
    store.snapshot_path(store.records()[0]).unlink()


def _orphan(store: SnapshotStore) -> None:
    (store.path / "records" / "a-2.json").unlink()


def _edit(store: SnapshotStore) -> None:
    file = store.path / "records" / "a-1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "n_atoms": 5}))


def _rewrite(store: SnapshotStore, changed: Snapshot) -> None:
    record = store.records()[0]
    store.snapshot_path(record).unlink()
    (store.path / "records" / "a-1.json").unlink()
    store.add(changed, task="a-1", batch="a", role="train", subsets=("bulk",))


def _charge(store: SnapshotStore) -> None:
    good = snapshot(1)
    _rewrite(store, replace(good, density=replace(good.density, coefficients=good.density.coefficients * 1.001)))


def _nan(store: SnapshotStore) -> None:
    good = snapshot(1)
    broken = good.density.coefficients.copy()
    broken[3] = np.nan
    _rewrite(store, replace(good, density=replace(good.density, coefficients=broken)))


def _electrons(store: SnapshotStore) -> None:
    _rewrite(store, replace(snapshot(1), electrons=11.0))


def _overlap(store: SnapshotStore) -> None:
    good = snapshot(1)
    positions = good.system.positions.copy()
    positions[1] = positions[0] + 0.1
    _rewrite(store, replace(good, system=System(good.system.cell, positions, good.system.species)))


def _unlist(store: SnapshotStore) -> None:
    file = store.path / "dataset.toml"
    text = file.read_text()
    file.write_text(text.replace('"test" = [', '"test" = [\n  "a-1",'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, "not a readable snapshot"),
        (_swap, "damaged or exchanged"),
        (_lose, "not a readable snapshot"),
        (_orphan, "has no record"),
        (_edit, "the record says"),
        (_charge, "integrates to 12.012"),
        (_nan, "not finite"),
        (_electrons, "states 11 electrons where its pseudopotentials count 12"),
        (_overlap, "Bohr apart"),
        (_unlist, "dataset.toml lists a-1 in roles 'test'"),
    ],
)
def test_damage_is_found(store: SnapshotStore, damage: object, message: str) -> None:
    damage(store)  # type: ignore[operator]
    problems = check_store(SnapshotStore.open(store.path))
    assert any(message in problem for problem in problems), problems


def test_folders_that_are_no_data_set_are_refused(store: SnapshotStore, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a readable data set"):
        SnapshotStore.open(tmp_path / "nothing")
    (tmp_path / "dataset.toml").write_text('format = "other"\n')
    with pytest.raises(FormatError, match="has format 'other'"):
        SnapshotStore.open(tmp_path)
    with pytest.raises(DatasetError, match="holds the data set 'set', not 'al'"):
        SnapshotStore.create(store.path, name="al", description="")
    (store.path / "records" / "a-1.json").write_text("{")
    with pytest.raises(FormatError, match=r"a-1.json is not a readable record"):
        store.records()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the data set"):
        SnapshotStore.create(tmp_path / "file" / "set", name="set", description="")


def test_the_smallest_sphere_loses_what_is_allowed_and_no_less() -> None:
    density = (
        SuperpositionEngine(DFTSettings(cutoff=5.0, density_cutoff=20.0), {"Al": 3})
        .ground_state(crystal("fcc", ["Al"], 7.65))
        .density
    )
    whole = density.on_grid((40, 40, 40))
    assert largest_sphere(whole) >= 20.0
    for allowed in (1e-3, 1e-5):
        cutoff = smallest_cutoff(density, allowed)
        assert 1.0 < cutoff < 20.0
        # the loss, measured from the fields themselves
        kept = density.truncated(cutoff).on_grid((40, 40, 40))
        lost = float(np.abs((whole - kept).values).sum()) * whole.grid.volume_element / 12
        assert lost == pytest.approx(loss(density, cutoff), rel=0.05)
        assert loss(density, cutoff) <= allowed < loss(density, 0.97 * cutoff)
