"""Wrong structures, options, references and stores of predict, compare, plot and energy: one message, exit code 2."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import rhoscale
from rhoscale.ase_bridge import read_system, to_atoms
from rhoscale.cli.app import main
from rhoscale.density import Density
from rhoscale.errors import FormatError, InputError, StructureError
from rhoscale.formats import write_density_file
from rhoscale.grid import Grid
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.compare import compare, refuse_other_electrons
from rhoscale.recipes.energy import EnergyConfig
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System
from toy_model import thermal_aluminium, toy_snapshot

CELL = thermal_aluminium(50)
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Exit code and error text of the command line; the text as it was written."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rhoscale", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().err

    return call


@pytest.fixture(scope="session")
def finished(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finished") / "al.zarr"
    rhoscale.predict_to_store(to_atoms(CELL), rhoscale.load_model(toy_model), place, uncertainty=False)
    return place


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished prediction of CELL, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "al.zarr"))


def reference(place: Path, factor: float = 1.0) -> Path:
    density = toy_snapshot(CELL).density.on_grid((18, 18, 18))
    write_density_file(place, CELL, Density(density.grid, density.values * factor))
    return place


def snapshot(place: Path, sha256: str | None = None) -> Path:
    """The toy engine's density of CELL, as of its pseudopotential or of another."""
    known = toy_snapshot(CELL)
    other = {"Al": PseudopotentialIdentity("Al", "other", 3.0, sha256 or known.pseudopotentials["Al"].sha256)}
    Snapshot(CELL, known.density, known.electrons, other).write(place)
    return place


def largest_chunk(store: Path, array: str) -> Path:
    return max((f for f in (store / array / "c").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def test_a_reference_of_another_pseudopotential_is_refused(store: Path, tmp_path: Path, command: Command) -> None:
    own = snapshot(tmp_path / "own.safetensors")
    other = snapshot(tmp_path / "other.safetensors", "b" * 64)
    picture = ("--out", tmp_path / "a.png")
    assert command("compare", store, own)[0] == 0
    for words in (("compare", store, other), ("compare", own, other), ("plot", store, other, *picture)):
        code, text = command(*words)
        assert code == 2, text
        assert "the reference is of pseudopotential other (valence 3, bbbbbbbbbbbb)" in text
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0, 1.02])
def test_a_reference_of_another_electron_count_is_refused(
    store: Path, tmp_path: Path, command: Command, factor: float
) -> None:
    file = reference(tmp_path / "bad.npz", factor)
    for words in (("compare", store, file), ("plot", store, file, "--out", tmp_path / "a.png")):
        code, text = command(*words)
        assert (code, "expected the valence electrons" in text) == (2, True), text


def test_density_files_are_held_to_each_other(tmp_path: Path) -> None:
    good = reference(tmp_path / "good.npz")
    assert compare(reference(tmp_path / "raw.npz", 0.97), good).errors.l1 < 1e-6
    for factor in (0.0, 0.5, -1.0):
        with pytest.raises(InputError, match="expected the valence electrons"):
            compare(reference(tmp_path / f"{factor}.npz", factor), good)
    with pytest.raises(InputError, match="holds nan electrons"):
        refuse_other_electrons(float("nan"), 12.0)


def garbage(file: Path) -> None:
    file.write_bytes(np.random.default_rng(0).bytes(file.stat().st_size))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-64])


def lose_key(key: str, array: str = "", instead: object = None) -> Callable[[Path], None]:
    def lose(store: Path) -> None:
        file = store / array / "zarr.json"
        header = json.loads(file.read_text())
        del header["attributes"][key]
        if instead is not None:
            header["attributes"][key] = instead
        file.write_text(json.dumps(header))

    return lose


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no density chunks": lambda store: shutil.rmtree(store / "density" / "c"),
    "no density": lambda store: shutil.rmtree(store / "density"),
    "no positions": lambda store: shutil.rmtree(store / "positions"),
    "garbage density": lambda store: garbage(largest_chunk(store, "density")),
    "truncated density": lambda store: truncate(largest_chunk(store, "density")),
    "garbage positions": lambda store: garbage(largest_chunk(store, "positions")),
    "truncated positions": lambda store: truncate(largest_chunk(store, "positions")),
    "header of density": lambda store: (store / "density" / "zarr.json").write_text("{"),
    "half a header": lambda store: truncate(store / "zarr.json"),
    "header of another kind": lambda store: (store / "zarr.json").write_text("[1, 2]"),
    "positions without a chunk": lambda store: largest_chunk(store, "positions").unlink(),
    "no scale_factor": lose_key("scale_factor", "density"),
    "a word as scale_factor": lose_key("scale_factor", "density", "one"),
    "no plan": lose_key("plan"),
    "no elements": lose_key("elements"),
    "no factor": lose_key("charge_factor"),
    "no electrons": lose_key("electrons"),
    "no pseudopotentials": lose_key("pseudopotentials"),
    "no words": lose_key("what"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_store_is_refused(store: Path, tmp_path: Path, command: Command, kind: str) -> None:
    DAMAGES[kind](store)
    write(tmp_path / "al.extxyz", to_atoms(CELL))
    picture = tmp_path / "a.png"
    for words in (
        ("compare", store, reference(tmp_path / "r.npz")),
        ("plot", store, "--out", picture),
        ("energy", tmp_path / "al.extxyz", "--density", store, "--engine", "toy"),
    ):
        code, text = command(*words)
        assert code == 2, text
        assert "expected the whole store as it was written; copy it again or predict again" in text
    assert not picture.exists()


def test_a_damaged_pseudopotential_of_a_store_is_refused(store: Path, tmp_path: Path, command: Command) -> None:
    lose_key("pseudopotentials", instead={"Al": {"element": "Al"}})(store)
    code, text = command("compare", store, reference(tmp_path / "r.npz"))
    assert (code, "its pseudopotentials are damaged ('name'); expected the whole store" in text) == (2, True), text


def test_a_store_of_another_format_says_what_to_do(store: Path) -> None:
    lose_key("format")(store)
    with pytest.raises(FormatError, match=r"has format None; expected .*; predict again"):
        PredictionStore.open(store)


@pytest.mark.parametrize("change", [{"tile_shape": None}, {"halo": ...}, {"colour": "blue"}])
def test_a_plan_with_a_key_too_few_or_too_many_is_refused(store: Path, change: dict[str, object]) -> None:
    values = {**PredictionStore.open(store).plan.to_dict(), **change}
    kept = {key: value for key, value in values.items() if value is not ...}
    with pytest.raises(FormatError, match=r"the plan in plan.json is damaged \(.*\); expected .*; copy it again"):
        PredictionPlan.from_dict(kept, "plan.json")


OVERLAP = Atoms("Al2", [[0, 0, 0], [0.2, 0, 0]], cell=[4, 4, 4], pbc=True)


def test_overlapping_atoms_are_refused_with_a_given_density_too(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "al.extxyz", OVERLAP)
    system = read_system(tmp_path / "al.extxyz")
    grid = Grid(system.cell, (9, 9, 9))
    write_density_file(tmp_path / "r.npz", system, Density(grid, np.full(grid.shape, 6.0 / grid.volume)))
    code, text = command("energy", tmp_path / "al.extxyz", "--density", tmp_path / "r.npz", "--engine", "toy")
    assert (code, "0.378 Bohr apart" in text) == (2, True), text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": float("nan")}, "a budget of nan core-minutes; expected a positive number; change --budget"),
        ({"memory": float("nan")}, "a memory of nan GiB; expected a positive number; change --memory"),
        ({"draws": 2, "seed": -1}, "seed -1 of the draws; expected 0 or more; change --seed"),
    ],
)
def test_impossible_options_of_energy_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        EnergyConfig(Path("al.extxyz"), model="al-pbe", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["predict", "energy"])
@pytest.mark.parametrize("words", [("--seed", "-1"), ("--draws", "-2")])
def test_draws_and_seeds_count_from_zero(
    toy_model: Path, tmp_path: Path, command: Command, name: str, words: tuple[str, str]
) -> None:
    write(tmp_path / "al.extxyz", to_atoms(CELL))
    out = ("--out", tmp_path / "a.zarr") if name == "predict" else ()
    code, text = command(name, tmp_path / "al.extxyz", "--model", toy_model, *out, *words)
    assert (code, words[0] in text) == (2, True), text
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("spacing", [0.0, -1.0, 1e-9, float("nan"), float("inf")])
def test_an_impossible_spacing_says_what_is_possible(spacing: float) -> None:
    with pytest.raises(InputError, match=r"spacing of .* Bohr; expected a positive number of Bohr, at least 0.02 .*;"):
        Grid.from_spacing(CELL.cell, spacing)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize("out", ["a.zarr", "a.cube"])
def test_a_grid_finer_than_any_density_is_refused_before_anything_is_written(
    toy_model: Path, tmp_path: Path, command: Command, out: str, dry: tuple[str, ...]
) -> None:
    write(tmp_path / "al.extxyz", to_atoms(CELL))
    words = ("predict", tmp_path / "al.extxyz", "--model", toy_model, "--out", tmp_path / out, *dry)
    code, text = command(*words, "--shape", 100000, 100000, 100000)
    assert (code, "Bohr apart; expected at least 0.02 Bohr" in text) == (2, True), text
    assert [file.name for file in tmp_path.iterdir()] == ["al.extxyz"]


@pytest.mark.parametrize("shape", [(0, 9, 9), (9, -1, 9)])
def test_an_empty_grid_says_what_to_do(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="expected three positive numbers; give at least one"):
        Grid(CELL.cell, shape)


@pytest.mark.parametrize(
    ("cell", "positions", "species", "message"),
    [
        (
            np.full((3, 3), np.nan),
            np.zeros((1, 3)),
            ["Al"],
            "expected three finite vectors .*; give the structure a cell",
        ),
        (np.eye(3), np.zeros((0, 3)), [], "expected .* n > 0; give three coordinates"),
        (np.eye(3), np.zeros((1, 3)), ["Al", "Al"], "expected as many species; name one"),
        (np.eye(3), np.full((1, 3), np.nan), ["Al"], "expected three finite coordinates for each; mend"),
    ],
)
def test_an_impossible_structure_says_what_to_do(
    cell: np.ndarray, positions: np.ndarray, species: list[str], message: str
) -> None:
    with pytest.raises(StructureError, match=message):
        System(cell, positions, np.array(species))


POSCAR = "al\n1.0\n4 0 0\n0 4 0\n0 0 4\nAl\n1\nCartesian\n{x} 0 0\n"


def test_an_unreadable_structure_is_named_with_what_to_do(tmp_path: Path, finished: Path) -> None:
    (tmp_path / "POSCAR").write_text(POSCAR.format(x="nan"))
    with pytest.raises(StructureError, match=r"POSCAR: 1 atoms have .*; expected three finite coordinates"):
        read_system(tmp_path / "POSCAR")
    (tmp_path / "noise.cif").write_text("no crystal\n")
    with pytest.raises(FormatError, match=r"noise.cif could not be read .*[^:\s]\); expected .*; rename it"):
        read_system(tmp_path / "noise.cif")
    with pytest.raises(FormatError, match=r"is a folder; expected a structure file .*; check the path"):
        read_system(tmp_path)
    with pytest.raises(FormatError, match="is a Zarr store, which holds a prediction; expected a structure file"):
        read_system(finished)


def test_a_refused_prediction_shows_no_progress_bar(toy_model: Path, tmp_path: Path, command: Command) -> None:
    write(tmp_path / "al.extxyz", to_atoms(CELL))
    words = ("predict", tmp_path / "al.extxyz", "--model", toy_model, "--out", tmp_path / "a.zarr")
    code, text = command(*words, "--spacing", "-1")
    assert code == 2
    assert text.startswith("error: a grid spacing")
    code, text = command(*words, "--no-uncertainty")
    assert (code, "100 %" in text) == (0, True), text
