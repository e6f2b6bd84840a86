"""docs/new_material.md in short form: all its commands in their order, over shortened recipes of the same names."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import tomllib
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rhoscale.ase_bridge import read_system, to_atoms
from rhoscale.cli.app import app
from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.available import find_engines
from rhoscale.models import load_trained
from rhoscale.models.card import to_toml
from rhoscale.sampling.forces import classical_calculator
from test_readme import code_lines

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "new_material.md"
RECIPES = ("mg-cutoff", "mg-noise", "mg", "mg-pbe", "mg-own")
PICTURES = ("mg-600K.png", "mg-calibration.png")
CRYSTAL = ROOT / "examples" / "mg" / "POSCAR"
ENGINE = next(status.name for status in find_engines() if status.usable)  # the toy, if there is no other
with_dft = pytest.mark.skipif(
    ENGINE == "toy", reason=f"no DFT program here: {'; '.join(s.hint for s in find_engines() if not s.usable)}"
)


def commands() -> list[list[str]]:
    """The page's commands, in its order."""
    return [shlex.split(line) for line in code_lines(PAGE.read_text()) if line.startswith(("rhoscale ", "python "))]


def short(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe of the page that takes seconds: small cells, few snapshots and epochs, a coarse engine."""
    if "descriptor" in recipe:
        recipe["data"] |= {"spacing": 0.8, "fraction": 0.2, "validation_spacing": 1.0}
        recipe["descriptor"] |= {"radial": [{"count": 10, "cutoff": 12.0}], "angular": []}
        recipe["network"] = {"width": 16, "blocks": 1, "layers": 2}
        recipe["fit"] |= {"warm_epochs": 2, "epochs": 2}
        recipe["evaluation"] = {"points": 1000}
        return recipe
    recipe["engine"] |= {"cutoff_ry": 6, "density_cutoff_ry": 12, "program": ENGINE}
    recipe["thermostat"] |= {"equilibration_fs": 200}
    for batch in recipe["batch"]:
        batch["snapshots"] = min(batch["snapshots"], 2 if batch["role"] == "train" else 1)
        batch["structure"]["supercell"] = [2, 1, 1]
        cutoff = batch.get("engine", {}).get("cutoff_ry")
        if cutoff is not None:  # the same order, coarser
            batch["engine"] |= {"cutoff_ry": 0.3 * cutoff, "density_cutoff_ry": 1.2 * cutoff}
        if "ab_initio" in batch:
            batch["ab_initio"] |= {"duration_fs": 8}
            batch["ab_initio"]["engine"] |= {"cutoff_ry": 5}
    return recipe


def expanded(word: str) -> list[str]:
    """A word as a shell takes it: with a star, the paths that there are."""
    return sorted(str(path) for path in Path().glob(word)) if "*" in word else [word]


@dataclass
class Followed:
    """A folder in which the page was followed, and what its commands printed."""

    folder: Path
    printed: dict[str, str] = field(default_factory=dict)

    def said(self, start: str) -> str:
        """Output of the one command that begins so."""
        (found,) = [text for call, text in self.printed.items() if call.startswith(start)]
        return found


def errors_of(table: str) -> list[tuple[str, float]]:
    """Rows of an evaluation: case or baseline, mean L1 in percent."""
    rows = re.findall(r"^│ +([\w -]+?) +│[^│]*│ +([\d.]+) % ", table, re.MULTILINE)
    return [(name, float(error)) for name, error in rows]


def run(words: list[str]) -> str:
    """What a command of the page prints, run in this process with a smaller supercell to predict."""
    whole = [found for word in words for found in expanded(word)]
    if whole[0] == "python":
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
            patch.setattr(sys, "argv", whole[1:])
            runpy.run_path(whole[1], run_name="__main__")
        return printed.getvalue()
    if whole[1] == "build":
        whole[whole.index("--atoms") + 1] = "60"
        whole += ["--equilibration", "40"]
    result = CliRunner().invoke(app, whole[1:])
    assert result.exit_code == 0, f"{' '.join(whole)}\n{result.output}\n{result.exception!r}"
    return result.stdout


def follow(folder: Path) -> Followed:
    """Run the page's commands in a folder with its examples and shortened recipes."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "recipes").mkdir()
    (folder / "out").mkdir()
    for name in RECIPES:
        recipe = tomllib.loads((ROOT / "recipes" / f"{name}.toml").read_text())
        (folder / "recipes" / f"{name}.toml").write_text(to_toml(short(recipe)))
    followed = Followed(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in commands():
            if ENGINE != "toy" or not any("mg-own" in word for word in words):  # the toy leaves no .save folder
                followed.printed[" ".join(words)] = run(words)
    return followed


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """The page, followed with the best engine that is here."""
    return follow(tmp_path_factory.mktemp("magnesium"))


@pytest.mark.dft
def test_the_page_leads_from_a_structure_to_data_model_card_and_prediction(followed: Followed) -> None:
    store = SnapshotStore.open(followed.folder / "runs" / "mg")
    batches = tomllib.loads((ROOT / "recipes" / "mg.toml").read_text())["batch"]
    assert {(r.batch, r.role) for r in store.records()} == {(b["name"], b["role"]) for b in batches}
    assert ENGINE in followed.said("rhoscale engines")
    assert followed.said("python examples/mg/morse.py").strip() in (ROOT / "examples/mg/morse.py").read_text()
    assert "no problems" in followed.said("rhoscale data check runs/mg")
    rows = errors_of(followed.said("rhoscale evaluate models/mg-pbe"))
    tests = {b["name"] for b in batches if b["role"] == "test"}
    assert {name for name, _ in rows} - {"promolecule"} == tests | {"prior mean"}  # the toy's atoms have no promolecule
    assert all(0 < error < 5 for name, error in rows if name != "promolecule")
    assert all(error > 10 for name, error in rows if name == "promolecule")
    assert "mg-pbe" in followed.said("rhoscale models models/mg-pbe")
    assert load_trained(followed.folder / "models" / "mg-pbe").pseudopotentials["Mg"].valence == 2
    assert len(read_system(followed.folder / "out" / "mg-600K.xyz")) > 50
    assert re.search(r"inside|partly|outside", followed.said("rhoscale predict"))
    assert all((followed.folder / "out" / name).stat().st_size > 10_000 for name in PICTURES)


@with_dft
@pytest.mark.dft
def test_the_page_measures_cutoff_and_label_noise(followed: Followed) -> None:
    for name, worst in (("cutoff", "cutoff-10"), ("noise", "gamma")):
        table = followed.said(f"rhoscale data noise runs/mg-{name}")
        rows = {k: float(v) for k, v in re.findall(r"│ ([\w-]+) +│.*?([\d.]+) % │", table)}
        batches = tomllib.loads((followed.folder / "recipes" / f"mg-{name}.toml").read_text())["batch"]
        assert {*rows} == {b["name"] for b in batches if not b["name"].startswith("reference")}
        assert max(rows, key=rows.__getitem__) == worst


@with_dft
@pytest.mark.dft
def test_the_page_leads_from_ones_own_results_to_a_model(followed: Followed) -> None:
    store = SnapshotStore.open(followed.folder / "runs" / "mg-own")
    assert {(r.batch, r.role) for r in store.records()} == {(role, role) for role in ("train", "validation", "test")}
    kelvins = {"a": 300, "b": 600, "c": 900, "d": 600, "e": 300, "f": 900}
    assert {r.trajectory: r.temperature for r in store.records()} == kelvins
    assert {p.name for p in (store.path / "pseudopotentials").glob("*.upf")}
    own, generated = (load_trained(followed.folder / "models" / name) for name in ("mg-own", "mg-pbe"))
    assert own.pseudopotentials == generated.pseudopotentials


@with_dft
@pytest.mark.dft
def test_a_charge_density_of_vasp_is_judged_as_the_same_one_of_quantum_espresso(followed: Followed) -> None:
    by_save, by_chgcar = (
        dict(errors_of(followed.said(f"rhoscale evaluate models/mg-own --data runs/mg-{files}")))
        for files in ("own", "vasp")
    )
    assert by_save["test"] > 0.1
    assert by_chgcar == pytest.approx(by_save, rel=1e-2)


def test_the_page_takes_in_charge_densities_of_vasp(followed: Followed) -> None:
    store = SnapshotStore.open(followed.folder / "runs" / "mg-vasp")
    assert {p.valence for p in store.pseudopotentials().values()} == {2.0}
    assert len(store.records()) == 2


def test_the_pair_potential_has_the_crystal_it_was_fitted_to_and_forces_that_are_its_slopes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    atoms = to_atoms(read_system(CRYSTAL))
    calculator = classical_calculator("examples.mg.morse:Magnesium")
    assert calculator.get_potential_energy(atoms) / 2 == pytest.approx(-1.51, abs=1e-4)
    atoms = atoms.repeat((3, 3, 2))
    atoms.rattle(0.1, seed=0)
    forces, step, moved = calculator.get_forces(atoms), 1e-4, []
    assert np.abs(forces).max() > 0.1
    for sign in (1, -1):
        shifted = atoms.copy()
        shifted.positions[5, 1] += sign * step
        moved.append(calculator.get_potential_energy(shifted))
    assert -(moved[0] - moved[1]) / (2 * step) == pytest.approx(forces[5, 1], rel=1e-5)
    assert np.allclose(forces.sum(axis=0), 0, atol=1e-12)
