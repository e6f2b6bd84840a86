"""What is damaged, foreign or impossible ends with one message and exit code 2, never with a traceback."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.datasets.store import SnapshotStore
from rhoscale.density import Density
from rhoscale.errors import FormatError
from rhoscale.formats import write_density_file
from rhoscale.snapshot import Snapshot
from toy_model import thermal_aluminium, toy_snapshot

CELL = thermal_aluminium(50)
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def store(toy_model: Path, tmp_path: Path) -> Path:
    """A finished prediction of CELL."""
    place = tmp_path / "al.zarr"
    rhoscale.predict_to_store(to_atoms(CELL), rhoscale.load_model(toy_model), place, uncertainty=False)
    return place


def written(place: Path, factor: float = 1.0, *, flat: bool = False) -> Path:
    density = toy_snapshot(CELL).density.on_grid((18, 18, 18))
    values = np.full(density.grid.shape, 12.0 / density.grid.volume) if flat else density.values * factor
    write_density_file(place, CELL, Density(density.grid, values))
    return place


@pytest.mark.parametrize(
    ("factor", "flat", "message"),
    [(2.0, False, "holds 24"), (-1.0, False, "holds -12"), (1.0, True, "expected a density that varies")],
)
def test_a_reference_of_something_else_is_refused(
    store: Path, tmp_path: Path, command: Command, factor: float, flat: bool, message: str
) -> None:
    assert command("compare", store, written(tmp_path / "good.npz"))[0] == 0
    code, text = command("compare", store, written(tmp_path / "bad.npz", factor, flat=flat))
    assert (code, message in text) == (2, True), text


def lose_chunks(store: Path) -> None:
    shutil.rmtree(store / "density" / "c")


def lose_array(store: Path) -> None:
    shutil.rmtree(store / "density")


def truncate_chunk(store: Path) -> None:
    chunk = max((f for f in (store / "density" / "c").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-64])


def lose_a_key_of_the_plan(store: Path) -> None:
    file = store / "zarr.json"
    content = json.loads(file.read_text())
    del content["attributes"]["plan"]["tile_shape"]
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("damage", [lose_chunks, lose_array, truncate_chunk, lose_a_key_of_the_plan])
def test_a_damaged_store_is_refused(
    store: Path, tmp_path: Path, command: Command, damage: Callable[[Path], None]
) -> None:
    reference = written(tmp_path / "good.npz")
    damage(store)
    for words in (("compare", store, reference), ("plot", store, "--out", tmp_path / "a.png")):
        code, text = command(*words)
        assert code == 2, text
        assert "copy it again or predict again" in text


def flip(file: Path, name: str) -> None:
    """Turn one bit of an array of a snapshot file."""
    size = int.from_bytes(file.read_bytes()[:8], "little")
    header = json.loads(file.read_bytes()[8 : 8 + size])
    content = bytearray(file.read_bytes())
    content[8 + size + header[name]["data_offsets"][0] + 5] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("array", ["coefficients", "waves_kept", "positions"])
def test_one_wrong_bit_of_a_snapshot_is_noticed(tmp_path: Path, array: str) -> None:
    data = SnapshotStore.create(tmp_path / "set", name="set", description="")
    record = data.add(toy_snapshot(CELL), task="a", batch="a", role="train")
    assert data.load(record).electrons == 12.0
    flip(data.snapshot_path(record), array)
    with pytest.raises(FormatError, match="copy it again"):
        data.load(record)


def test_a_damaged_data_set_is_refused(tmp_path: Path, command: Command) -> None:
    data = SnapshotStore.create(tmp_path / "set", name="set", description="")
    data.add(toy_snapshot(CELL), task="a", batch="a", role="train")
    record = tmp_path / "set" / "records" / "a.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps({**values, "n_atoms": "four"}))
    assert command("data", "check", tmp_path / "set")[0] == 2
    (tmp_path / "set" / "dataset.toml").write_bytes(b"\xff\xfe\x00binary")
    code, text = command("data", "check", tmp_path / "set")
    assert code == 2
    assert "restore that file" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pseudo", "Al=foo:inf"), "with a number"),
        (("--pseudo", "Al=foo:3", "--temperature", "-5"), "expected a positive number"),
        (("--pseudo", "Al=foo:3", "--density-cutoff-ry", "0"), "expected a positive number"),
    ],
)
def test_impossible_words_about_an_imported_density_are_refused(
    tmp_path: Path, command: Command, options: tuple[str, ...], message: str
) -> None:
    file = written(tmp_path / "rho.npz")
    code, text = command("data", "import", tmp_path / "set", file, "--role", "train", *options)
    assert (code, message in text) == (2, True), text
    known = tmp_path / "set" / "dataset.toml"
    assert not known.exists() or tomllib.loads(known.read_text())


RECIPE = """
name = "t"
output = "{out}"
[pseudopotentials]
family = "gth-pbe"
valence = {{ {element} = {valence} }}
[engine]
program = "toy"
cutoff_ry = 10
density_cutoff_ry = 20
width_ry = 0.02
[thermostat]
equilibration_fs = 20
[[batch]]
name = "a"
role = "train"
snapshots = 1
seed = 1
temperatures = [300]
structure = {{ lattice = "fcc", elements = ["{element}"], lattice_constant_bohr = 7.65 }}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 1", "seed = -1", "expected 0 or more"),
        ("[300]", "[-300]", "expected positive Kelvin"),
        ("equilibration_fs = 20", "equilibration_fs = nan", "expected a time"),
        ("equilibration_fs = 20", "timestep_fs = 0", "expected a positive number"),
        ("equilibration_fs = 20", "melt_kelvin = -1", "expected a positive temperature"),
        ("equilibration_fs = 20", "snapshots_per_trajectory = 0", "expected a positive number"),
        ("snapshots = 1", "snapshots = 1\nstrains = [-1.0]", "leaves no volume"),
        ("density_cutoff_ry = 20", "density_cutoff_ry = 5", "expected at least as much"),
        ("width_ry = 0.02", "width_ry = 0", "expected a positive number"),
        ("cutoff_ry = 10\n", "cutoff_ry = -10\n", "expected a positive number"),
    ],
)
def test_impossible_recipes_of_data_are_refused(
    tmp_path: Path, command: Command, old: str, new: str, message: str
) -> None:
    recipe = tmp_path / "t.toml"
    text = RECIPE.format(out=tmp_path / "set", element="Al", valence=3)
    assert text.count(old) >= 1
    recipe.write_text(text.replace(old, new, 1))
    code, text = command("generate", recipe, "--dry-run")
    assert (code, message in text) == (2, True), text


def test_a_potential_that_does_not_know_the_element_is_refused(tmp_path: Path, command: Command) -> None:
    recipe = tmp_path / "t.toml"
    recipe.write_text(RECIPE.format(out=tmp_path / "set", element="Si", valence=4))
    code, text = command("generate", recipe)
    assert code != 0
    assert "EMT does not know Si" in text


@pytest.mark.parametrize(
    "words",
    [
        ("--draws", "2", "--seed", "-1"),
        ("--memory", "nan"),
    ],
)
def test_impossible_options_of_predict_are_refused(
    tmp_path: Path, toy_model: Path, command: Command, words: tuple[str, ...]
) -> None:
    write(tmp_path / "al.extxyz", to_atoms(CELL))
    out = tmp_path / "al.zarr"
    code, text = command("predict", tmp_path / "al.extxyz", "--model", toy_model, "--out", out, *words)
    assert code == 2, text
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [('device = "toaster"', "expected one that PyTorch has"), ("spacing = 1e9", "expected 0.05 to 3")],
)
def test_impossible_settings_of_training_are_refused(tmp_path: Path, command: Command, line: str, message: str) -> None:
    data = SnapshotStore.create(tmp_path / "set", name="set", description="")
    data.add(toy_snapshot(CELL), task="a", batch="a", role="train")
    top, inside = (line, "") if line.startswith("device") else ("", line)
    recipe = tmp_path / "t.toml"
    recipe.write_text(
        f'name = "t"\noutput = "{tmp_path / "model"}"\n{top}\n[data]\npath = "{tmp_path / "set"}"\n{inside}\n'
        '[descriptor]\nfamily = "smooth"\n'
    )
    code, text = command("train", recipe)
    assert (code, message in text) == (2, True), text


def test_a_finished_task_keeps_its_role(tmp_path: Path) -> None:
    data = SnapshotStore.create(tmp_path / "set", name="set", description="")
    snapshot: Snapshot = toy_snapshot(CELL)
    data.add(snapshot, task="a", batch="a", role="train")
    with pytest.raises(rhoscale.errors.DatasetError, match="splits are fixed"):
        data.add(replace(snapshot), task="a", batch="a", role="test")
