"""The data commands: what they show, what they find, what they take in and what they refuse."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.cli.app import main
from rhoscale.datasets.check import check_store
from rhoscale.datasets.store import SnapshotStore
from rhoscale.density import Density
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import DatasetError, InputError
from rhoscale.formats import read_density_file, write_density_file
from rhoscale.recipes.data import ImportConfig, import_files, label_noise
from rhoscale.sampling.schedule import snapshot_of
from rhoscale.snapshot import Snapshot
from rhoscale.structures.crystal import crystal
from rhoscale.system import System

Run = Callable[..., tuple[int, str, str]]


def toy_snapshot(seed: int, **origin: Any) -> Snapshot:
    engine = SuperpositionEngine(DFTSettings(cutoff=5.0, density_cutoff=10.0), {"Al": 3})
    cell = crystal("fcc", ["Al"], 7.65)
    moved = System(cell.cell, cell.positions + np.random.default_rng(seed).normal(0, 0.1, (4, 3)), cell.species)
    return snapshot_of(
        engine.ground_state(moved), {"trajectory": f"t{seed}", "kind": "bulk", "temperature": 300.0, **origin}
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rhoscale", "data", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = SnapshotStore.create(tmp_path / "data" / "toy", name="toy", description="two cells")
    store.add(toy_snapshot(1), task="a-1", batch="a", role="train", subsets=("bulk",))
    store.add(toy_snapshot(2), task="b-2", batch="b", role="test")
    store.freeze()
    return store.path


def test_list_and_show_say_what_is_there(folder: Path, run: Run) -> None:
    code, out, _ = run("list", folder.parent, "--json")
    (row,) = json.loads(out)
    assert (code, row["name"], row["roles"]) == (0, "toy", {"train": 1, "validation": 0, "test": 1})
    assert "two cells" in run("list", folder.parent)[1]
    rows = json.loads(run("list", folder, "--json")[1])
    assert [r["task"] for r in rows] == ["a-1", "b-2"]
    assert "a-1" in run("list", folder)[1]
    shown = json.loads(run("show", folder, "b", "--json")[1])
    assert shown["origin"]["trajectory"] == "t2"
    assert shown["electrons"] == 12
    assert shown["settings"]["engine"] == "toy"
    assert "settings.engine" in run("show", folder, "b-2")[1]
    assert "bulk" in run("show", folder)[1]
    code, _, err = run("show", folder, "c")
    assert code == 2
    assert "names 0 snapshots" in err


def test_check_ends_with_code_2_when_something_is_wrong(folder: Path, run: Run) -> None:
    code, out, _ = run("check", folder.parent)
    assert (code, "2 snapshots, no problems" in out) == (0, True)
    store = SnapshotStore.open(folder)
    store.snapshot_path(store.records()[0]).write_bytes(b"damaged")
    code, _, err = run("check", folder)
    assert code == 2
    assert "1 problems" in err
    assert run("check", folder.parent / "nothing")[0] == 2


@pytest.mark.parametrize(("name", "tolerance"), [("one.cube", 1e-4), ("CHGCAR_one", 1e-4)])
def test_a_density_file_becomes_a_snapshot_of_the_same_density(
    tmp_path: Path, run: Run, name: str, tolerance: float
) -> None:
    snapshot = toy_snapshot(3)
    shape = (32, 32, 32)
    density = snapshot.density.on_grid(shape)
    write_density_file(tmp_path / name, snapshot.system, density)
    code, out, err = run(
        "import", tmp_path / "mine", tmp_path / name, "--role", "test", "--pseudo", "Al=gth-pbe:3", "--temperature", 300
    )
    assert (code, err) == (0, "")
    assert "lost by the kept sphere" in out
    store = SnapshotStore.open(tmp_path / "mine")
    assert check_store(store) == []
    (record,) = store.records()
    kept = store.load(record)
    assert (record.role, record.temperature, record.formula) == ("test", 300.0, "Al4")
    assert kept.pseudopotentials["Al"] == gth_pseudopotential("Al", 3).identity
    difference = np.abs((kept.density.on_grid(shape) - density).values).sum() * density.grid.volume_element / 12
    assert difference < 2e-4 + tolerance
    assert kept.density.cutoff < 10.0 + 1e-9
    # a second time, nothing changes
    run(
        "import", tmp_path / "mine", tmp_path / name, "--role", "test", "--pseudo", "Al=gth-pbe:3", "--temperature", 300
    )
    assert len(SnapshotStore.open(tmp_path / "mine").records()) == 1


def test_a_save_folder_becomes_a_snapshot(tmp_path: Path, run: Run) -> None:
    save = Path(__file__).parent / "data" / "formats" / "alsi.save"
    pseudo = ("--pseudo", "Al=gth-pbe:3", "--pseudo", "Si=gth-pbe:4")
    code, _, err = run("import", tmp_path / "mine", save, "--role", "train", *pseudo)
    assert (code, err) == (0, "")
    store = SnapshotStore.open(tmp_path / "mine")
    assert check_store(store) == []
    kept = store.load(store.records()[0])
    whole = read_density_file(save)
    assert kept.system.content_hash() == whole.system.content_hash()
    difference = (kept.density.on_grid(whole.density.grid.shape) - whole.density).values
    assert np.abs(difference).sum() * whole.density.grid.volume_element / kept.electrons < 2.5e-4
    assert len(kept.density.coefficients) < 0.9 * np.prod(whole.density.grid.shape)


def test_frames_of_one_run_stay_on_one_side(tmp_path: Path) -> None:
    files = []
    for seed in (4, 5):
        snapshot = toy_snapshot(seed)
        files.append(tmp_path / f"{seed}.cube")
        write_density_file(files[-1], snapshot.system, snapshot.density.on_grid((24, 24, 24)))
    frames = ImportConfig(role="train", trajectory="my-run", pseudopotentials={"Al": "PAW_PBE Al:3"})
    (one, two) = import_files(tmp_path / "mine", files, frames)
    assert one.record.trajectory == two.record.trajectory == "my-run"
    with pytest.raises(DatasetError, match="one role a trajectory"):
        import_files(tmp_path / "mine", files[:1], replace(frames, role="test", batch="other"))


def test_electrons_and_pseudopotentials_are_never_guessed(tmp_path: Path) -> None:
    snapshot = toy_snapshot(6)
    file = tmp_path / "one.cube"
    write_density_file(file, snapshot.system, snapshot.density.on_grid((24, 24, 24)))
    for given, message in (
        (None, "no pseudopotential named for Al"),
        ({"Al": "PAW:11"}, "integrates to 12.0000 electrons"),
        ({"Al": "PAW"}, "expected FILE.upf, gth-pbe:VALENCE or NAME:VALENCE"),
        ({"Al": "PAW:-3"}, "with a number"),
    ):
        with pytest.raises(InputError, match=message):
            import_files(tmp_path / "mine", [file], ImportConfig(role="test", pseudopotentials=given))
    assert not (tmp_path / "mine").exists()


def test_bad_imports_end_with_a_message_and_code_2(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty.cube").write_text("")
    for words, message in (
        ((tmp_path / "missing.cube", "--role", "test"), "missing.cube"),
        ((tmp_path / "empty.cube", "--role", "test"), "empty.cube"),
        ((tmp_path / "empty.cube", "--role", "exam"), "role is 'exam'; expected one of 'train', 'validation', 'test'"),
        ((tmp_path / "empty.cube", "--role", "test", "--pseudo", "Al"), "expected ELEMENT=FILE.upf"),
    ):
        code, _, err = run("import", tmp_path / "mine", *words)
        assert code == 2
        assert message in err
        assert "Traceback" not in err


def test_label_noise_is_the_l1_between_labels_of_one_structure(tmp_path: Path, run: Run) -> None:
    store = SnapshotStore.create(tmp_path / "noise", name="noise", description="")
    best = toy_snapshot(7, trajectory="same")
    grid = best.density.on_grid((40, 40, 40))
    wave = 0.001 * np.cos(2 * np.pi * np.arange(40) / 40)[:, None, None] * np.ones((40, 40, 40))
    noisy = type(best.density).from_density(Density(grid.grid, grid.values + wave), 10.0)
    store.add(best, task="best-1", batch="best", role="test")
    store.add(replace(best, density=noisy), task="cheap-1", batch="cheap", role="test")
    store.add(toy_snapshot(8, trajectory="same"), task="cheap-2", batch="cheap", role="test")
    (row,) = label_noise(store, "best")
    expected = np.abs(wave).sum() * grid.grid.volume_element / 12
    assert expected > 1e-3
    assert row.l1 == pytest.approx(expected, rel=0.01)
    assert "cheap" in run("noise", store.path, "--reference", "best")[1]
    assert json.loads(run("noise", store.path, "--reference", "best", "--json")[1])[0]["batch"] == "cheap"
    store.add(toy_snapshot(9), task="lone-1", batch="lone", role="train")
    with pytest.raises(DatasetError, match="no batch of"):
        label_noise(store, "lone")
