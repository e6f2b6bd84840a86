"""``rhoscale predict`` from a structure file to a judged field, and the input that it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.cli.app import main
from rhoscale.errors import InputError, OutputError
from rhoscale.formats import read_density_file
from rhoscale.models import load_trained, save_trained
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.compare import refuse_other_structure
from rhoscale.recipes.predict import PredictConfig, predict, refuse_small_memory
from rhoscale.system import PseudopotentialIdentity
from toy_model import ENGINE, thermal_aluminium, toy_snapshot

CELL = thermal_aluminium(50)


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Exit code of the command line."""
    monkeypatch.setattr(sys, "argv", ["rhoscale", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    place = tmp_path / "al.extxyz"
    write(place, to_atoms(CELL))
    return place


def test_structure_in_density_and_uncertainty_out(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "al.zarr"
    assert command(monkeypatch, "predict", structure, "--model", toy_model, "--out", out, "--spacing", 0.4) == 0
    text = capsys.readouterr().out
    for part in (
        "electrons",
        "12 expected",
        "rescaled by",
        "the model's range",
        "expected L1 error",
        "not all-electron",
    ):
        assert part in text
    density = rhoscale.open_density(out)
    assert max(density.grid.spacings) <= 0.4
    assert density.density().integral() == pytest.approx(12.0, abs=1e-5)
    reference = toy_snapshot(CELL).density.on_grid(density.shape)
    error = np.abs(density[:] - reference.values).mean() / reference.values.mean()
    assert error < 0.04  # a model of a few seconds; a constant density is off by 0.24
    assert np.abs(reference.values - reference.values.mean()).mean() / reference.values.mean() > 0.2
    assert density.total[:].min() > 0
    assert PredictionStore.open(out).attributes["pseudopotentials"]["Al"]["name"] == "toy-q3"


def test_json_says_the_same_as_the_store(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "al.zarr"
    assert command(monkeypatch, "predict", structure, "-m", toy_model, "-o", out, "--json", "--draws", 5) == 0
    report = json.loads(capsys.readouterr().out)
    store = PredictionStore.open(out)
    assert report["electrons"] == 12.0
    assert report["raw_electrons"] * report["charge_factor"] == pytest.approx(12.0)
    assert report["raw_electrons"] != 12.0
    assert report["verdict"]["range"] in ("inside", "partly", "outside")
    assert 0.0 <= report["verdict"]["share_beyond"] <= 1.0
    assert store.attributes["summary"]["verdict"] == report["verdict"]
    assert store.plan.to_dict() == {**report["plan"], "compute_shape": store.plan.compute_shape} | {
        key: tuple(report["plan"][key]) for key in ("compute_shape", "output_shape", "tile_shape", "block_shape")
    } | {"cell": tuple(tuple(row) for row in report["plan"]["cell"])}
    assert store.plan.draws == 5


@pytest.mark.parametrize("name", ["al.cube", "CHGCAR", "al.xsf", "al.npz"])
def test_density_files_hold_the_rescaled_density(
    name: str, structure: Path, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / name
    words = ("predict", structure, "-m", toy_model, "-o", out, "--shape", 20, 18, 16, "--no-uncertainty")
    assert command(monkeypatch, *words) == 0
    found = read_density_file(out)
    assert found.density.grid.shape == (20, 18, 16)
    assert found.density.integral() == pytest.approx(12.0, rel=1e-4)
    refuse_other_structure(found.system, CELL)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "al.extxyz"])


def test_dry_run_shows_the_plan_and_writes_nothing(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("predict", structure, "-m", toy_model, "-o", tmp_path / "a.zarr", "--dry-run")
    assert command(monkeypatch, *words) == 0
    text = capsys.readouterr().out
    for part in ("compute grid", "tiles", "GiB a worker", "before compression", "time          about"):
        assert part in text
    assert command(monkeypatch, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["plan"]["model"] == "toy"
    assert [p.name for p in tmp_path.iterdir()] == ["al.extxyz"]


def test_a_dry_run_refuses_a_disk_that_is_too_small(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: small)
    words = ("predict", structure, "-m", toy_model, "-o", tmp_path / "a.zarr", "--dry-run")
    assert command(monkeypatch, *words) == 2
    assert "GiB are free" in capsys.readouterr().err


def test_statistics_are_shown_and_in_the_json(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("predict", structure, "-m", toy_model, "-o", tmp_path / "a.zarr")
    assert command(monkeypatch, *words) == 0
    text = capsys.readouterr().out
    for part in ("density    ", "aleatoric  mean", "99 % below", "worst      tile", "verdict    "):
        assert part in text
    assert command(monkeypatch, *words, "--force", "--json") == 0
    found = json.loads(capsys.readouterr().out)["statistics"]
    field = rhoscale.open_density(tmp_path / "a.zarr")
    assert found == field.store.attributes["summary"]["statistics"]
    values = field[:]
    assert found["density"]["max"] == pytest.approx(float(values.max()))
    assert found["density"]["mean"] * field.grid.volume == pytest.approx(12.0)
    total = field.total
    i, j, k = found["worst_tiles"][0]["point"]
    assert total[i, j, k] == pytest.approx(float(total[:].max()), rel=2e-3)
    assert found["total"]["quantiles"]["0.5"] == pytest.approx(float(np.median(total[:])), rel=0.05)


def test_a_finished_store_is_replaced_only_with_force_and_foreign_folders_never(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("predict", structure, "-m", toy_model, "-o", tmp_path / "a.zarr", "--no-uncertainty")
    assert command(monkeypatch, *words) == 0
    assert command(monkeypatch, *words) == 2
    assert "use --force to replace it" in capsys.readouterr().err
    assert command(monkeypatch, *words, "--force") == 0
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years")
    assert command(monkeypatch, *words[:5], tmp_path / "mine.zarr", "--force") == 2
    assert "is no prediction of rhoscale" in capsys.readouterr().err
    assert (tmp_path / "mine.zarr" / "thesis.txt").exists()


def test_kill_9_and_the_same_command_end_with_the_unbroken_result(toy_model: Path, tmp_path: Path) -> None:
    write(tmp_path / "big.extxyz", to_atoms(thermal_aluminium(3, repeats=3)))
    words = [str(tmp_path / "big.extxyz"), "-m", str(toy_model), "--draws", "30", "--threads", "2", "-o"]
    start = "from rhoscale.cli.app import main; main()"
    running = subprocess.Popen([sys.executable, "-c", start, "predict", *words, str(tmp_path / "killed.zarr")])
    tiles = tmp_path / "killed.zarr" / "tiles" / "c"
    while running.poll() is None and len(list(tiles.glob("*/0"))) < 3:  # what is being written has another name
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    store = PredictionStore.open(tmp_path / "killed.zarr")
    assert not store.complete
    done = int(store.done().sum())
    assert 3 <= done < store.plan.n_tiles
    for name in ("killed.zarr", "whole.zarr"):
        subprocess.run([sys.executable, "-c", start, "predict", *words, str(tmp_path / name)], check=True)
    whole = PredictionStore.open(tmp_path / "whole.zarr")
    for name in ("density", "aleatoric", "epistemic", "tiles"):
        assert np.array_equal(store.array(name)[:], whole.array(name)[:]), name
    assert PredictionStore.open(tmp_path / "killed.zarr").attributes == whole.attributes


def test_a_full_disk_while_the_file_is_written_leaves_the_tiles_for_the_next_try(
    structure: Path, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PredictConfig(structure, str(toy_model), tmp_path / "al.cube")
    with monkeypatch.context() as patch:
        import rhoscale.recipes.predict as recipe

        def full(*_: object, **__: object) -> None:
            raise OutputError("no space")

        patch.setattr(recipe, "write_density_file", full)
        with pytest.raises(OutputError, match="no space"):
            predict(config)
    assert not (tmp_path / "al.cube").exists()
    assert predict(config).summary.electrons == 12.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["al.cube", "al.extxyz"]


BAD_STRUCTURES = {
    "empty file": (b"", "is empty"),
    "no structure": (b"\x00\x01 nonsense", "could not be read as a structure"),
    "overlapping atoms": (Atoms("Al2", [[0, 0, 0], [0.2, 0, 0]], cell=[4, 4, 4], pbc=True), "0.378 Bohr apart"),
    "unknown element": (
        Atoms("AlC", [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True),
        'model "toy" knows Al; .*holds C',
    ),
    "not periodic": (Atoms("Al", cell=[4, 4, 4], pbc=(True, True, False)), "periodic along"),
    "no volume": (Atoms("Al", cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]], pbc=True), "volume 0"),
    "NaN positions": (Atoms("Al", [[np.nan, 0, 0]], cell=[4, 4, 4], pbc=True), "not finite numbers"),
}


@pytest.mark.parametrize("kind", BAD_STRUCTURES)
def test_a_bad_structure_is_an_error_with_exit_code_2(
    kind: str, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD_STRUCTURES[kind]
    place = tmp_path / ("bad.xyz" if isinstance(content, bytes) else "bad.extxyz")
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        write(place, content)
    assert command(monkeypatch, "predict", place, "-m", toy_model, "-o", tmp_path / "a.zarr") == 2
    refused = capsys.readouterr().err
    assert "Traceback" not in refused
    assert __import__("re").search(message, refused), refused
    assert not (tmp_path / "a.zarr").exists()


BAD_OPTIONS = {
    "no such structure": (["nowhere.xyz"], "no structure file"),
    "no such model": (["-m", "al-nonsense"], 'there is no model "al-nonsense"'),
    "wrong suffix": (["-o", "a.png"], "no format that can be written"),
    "no such folder": (["-o", "nowhere/a.zarr"], "there is no folder"),
    "too fine": (["--spacing", "1e-9"], "at least 0.02"),
    "too many points": (["--shape", "100000", "9", "9"], "at least 0.02"),
    "shape and spacing": (["--shape", "9", "9", "9", "--spacing", "0.5"], "expected one"),
    "negative spacing": (["--spacing", "-1"], "positive number of Bohr"),
    "empty grid": (["--shape", "0", "9", "9"], "three positive numbers"),
    "one draw": (["--draws", "1"], "1 draws have no spread"),
    "no memory": (["--memory", "0.00001"], "GiB a worker but"),
    "no thread": (["--threads", "0"], "expected at least 1"),
    "no worker": (["--workers", "0"], "expected at least 1"),
    "negative retries": (["--retries", "-1"], "expected 0 or more"),
    "two kinds of workers": (["--workers", "2", "--threads", "2"], "more than one of threads, workers and scheduler"),
    "no pseudopotentials": (["--pseudopotentials", "nowhere"], "no pseudopotential folder"),
    "usage": (["--colour", "blue"], "No such option"),
}


def test_a_density_file_must_fit_the_memory() -> None:
    with pytest.raises(InputError, match=r"a.cube needs .* GiB of memory on this grid but the machine has"):
        refuse_small_memory(Path("a.cube"), 2**60)


@pytest.mark.parametrize("kind", BAD_OPTIONS)
def test_a_bad_option_is_an_error_with_exit_code_2(
    kind: str,
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    options, message = BAD_OPTIONS[kind]
    given = [] if kind == "no such structure" else [structure]
    words = [*given, "-m", toy_model, "-o", "a.zarr", *options]
    assert command(monkeypatch, "predict", *words) == 2
    refused = capsys.readouterr().err
    assert "Traceback" not in refused
    assert message in refused
    assert not (tmp_path / "a.zarr").exists()


def test_pseudopotentials_of_another_kind_are_refused(
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rhoscale.engines.pseudopotentials import gth_pseudopotential

    gth_pseudopotential("Al").write(tmp_path / "upf")
    words = ("predict", structure, "-m", toy_model, "-o", tmp_path / "a.zarr", "--pseudopotentials", tmp_path / "upf")
    assert command(monkeypatch, *words) == 2
    assert 'is not that of model "toy", toy-q3' in capsys.readouterr().err


@pytest.mark.parametrize("file", ["card.toml", "weights.safetensors"])
def test_a_truncated_model_is_refused(
    file: str,
    structure: Path,
    toy_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(toy_model, tmp_path / "model")
    whole = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(whole[: len(whole) // 2])
    assert command(monkeypatch, "predict", structure, "-m", tmp_path / "model", "-o", tmp_path / "a.zarr") == 2
    assert "error:" in capsys.readouterr().err


def test_a_model_that_gives_no_number_leaves_no_finished_field(
    structure: Path, toy_model: Path, tmp_path: Path
) -> None:
    model = load_trained(toy_model)
    broken = replace(model, scaling=replace(model.scaling, shift=float("nan")))
    save_trained(broken, tmp_path / "broken")
    with pytest.raises(rhoscale.errors.ModelError, match="not a finite number"):
        predict(PredictConfig(structure, str(tmp_path / "broken"), tmp_path / "a.zarr"))
    assert not PredictionStore.open(tmp_path / "a.zarr").complete


def test_a_prior_mean_of_atomic_densities_is_added(toy_model: Path) -> None:
    from rhoscale.promolecule import AtomicDensityTable, promolecule_on_grid
    from rhoscale.recipes.prior import promolecule_arrays
    from rhoscale.recipes.public import Model

    identity: PseudopotentialIdentity = ENGINE.pseudopotentials["Al"]
    table = AtomicDensityTable.tabulate(identity, lambda r: 3.0 * (2 * np.pi) ** -1.5 * np.exp(-(r**2) / 2))
    plain = load_trained(toy_model)
    shifted = replace(plain, prior_mean="promolecule", prior_arrays=promolecule_arrays({"Al": table}))
    without, added = (
        Model(m, h).predict(to_atoms(CELL), uncertainty=False) for m, h in ((plain, "a" * 64), (shifted, "b" * 64))
    )
    atoms = promolecule_on_grid(CELL, {"Al": table}, without.grid).values
    raw = [p.density / p.summary.charge_factor for p in (without, added)]
    assert np.ptp(atoms) > 0.1
    np.testing.assert_allclose(raw[1] - raw[0], atoms, atol=2e-6)
    assert added.summary.totals.electrons == pytest.approx(without.summary.totals.electrons + 12.0, rel=1e-3)


def test_models_lists_what_is_bundled_and_shows_cards(
    toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rhoscale.recipes import bundled

    monkeypatch.setattr(bundled, "BUNDLED", toy_model.parent)
    assert command(monkeypatch, "models") == 0
    assert capsys.readouterr().out == "toy              Al (toy-q3, none)  a toy for tests\n"
    assert command(monkeypatch, "models", "toy") == 0
    text = capsys.readouterr().out
    for part in ("compute_spacing      0.7", "largest_total        0.002", "toy-q3"):
        assert part in text
    assert command(monkeypatch, "models", "--json") == 0
    assert json.loads(capsys.readouterr().out)["toy"]["descriptor"]["distances"] == 60
    assert command(monkeypatch, "models", "nonsense") == 2
    assert "expected one of toy, or the path of a folder" in capsys.readouterr().err
    monkeypatch.setattr(bundled, "BUNDLED", toy_model)
    assert command(monkeypatch, "models") == 0
    assert "no model comes with this installation" in capsys.readouterr().out
