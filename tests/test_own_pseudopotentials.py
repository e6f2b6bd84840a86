"""A user's own UPF files: kept in the data set of their labels, whose promolecule is made of the atoms in them."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.pseudopotentials import PseudopotentialFile, gth_pseudopotential, read_pseudopotential
from rhoscale.errors import FormatError, InputError, ModelError
from rhoscale.formats import write_density_file
from rhoscale.models import load_trained
from rhoscale.recipes.atomic_tables import atomic_tables, known_tables, tables_beside
from rhoscale.recipes.config import config_from
from rhoscale.recipes.data import ImportConfig, import_files
from rhoscale.recipes.evaluate import evaluate
from rhoscale.recipes.generate import engine_of, generate
from rhoscale.recipes.generation_config import EngineConfig, GenerateConfig
from rhoscale.recipes.train import train
from rhoscale.recipes.training_plan import EvaluationConfig, TrainConfig
from rhoscale.system import PseudopotentialIdentity
from toy_model import thermal_aluminium, toy_snapshot

WIDTH = 1.3  # Bohr; no density of an aluminium atom, so that nothing else can be taken for it


def gaussian(r: np.ndarray) -> np.ndarray:
    return np.asarray(3.0 * np.exp(-0.5 * (r / WIDTH) ** 2) / (WIDTH * np.sqrt(2 * np.pi)) ** 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A UPF file that rhoscale did not write: another description, so another hash, and another atom in it."""
    text = gth_pseudopotential("Al").text
    words = re.search(r"<PP_R\b.*?>(.*?)</PP_R>", text, re.DOTALL)
    assert words is not None
    r = np.array([float(word) for word in words[1].split()])
    shell = " ".join(f"{x:.10e}" for x in 4 * np.pi * r**2 * gaussian(r))
    text = re.sub(r"<PP_RHOATOM.*?</PP_RHOATOM>", f"<PP_RHOATOM>\n{shell}\n</PP_RHOATOM>", text, flags=re.DOTALL)
    (tmp_path / "upf").mkdir()
    (tmp_path / "upf" / "Al.own.upf").write_text(text.replace("<PP_INFO>", "<PP_INFO>\nmade by a user"))
    return tmp_path / "upf"


@pytest.fixture
def own(folder: Path) -> dict[str, PseudopotentialIdentity]:
    identity = read_pseudopotential(folder / "Al.own.upf").identity
    assert identity.sha256 != gth_pseudopotential("Al").identity.sha256
    return {"Al": identity}


@pytest.fixture
def data(tmp_path: Path, folder: Path, own: dict[str, PseudopotentialIdentity]) -> Path:
    """Labels of the user's pseudopotential, with its file put beside them."""
    store = SnapshotStore.create(tmp_path / "data", name="data", description="for tests")
    for seed, role in enumerate(("train", "train", "validation", "test")):
        label = replace(toy_snapshot(thermal_aluminium(seed)), pseudopotentials=own, origin={"trajectory": f"t{seed}"})
        store.add(label, task=f"{role}-{seed}", batch=role, role=role)
    shutil.copytree(folder, store.pseudopotential_folder)
    return store.path


def recipe(data: Path, output: Path, prior_mean: str) -> TrainConfig:
    values: dict[str, Any] = {
        "name": "own",
        "output": str(output),
        "data": {"path": str(data), "spacing": 0.9, "validation_spacing": 1.0},
        "descriptor": {"family": "scalar-products", "distances": 20, "angle_atoms": 5},
        "network": {"preset": "quick", "width": 16},
        "fit": {"epochs": 1, "warm_epochs": 1},
        "evaluation": {"points": 200},
        "prior_mean": prior_mean,
    }
    return config_from(values, TrainConfig)


def test_the_table_is_the_atom_in_the_file(folder: Path, own: dict[str, PseudopotentialIdentity]) -> None:
    table = atomic_tables(own, folder)["Al"]
    r = np.linspace(0.0, 5.0, 50)
    np.testing.assert_allclose(table.density(r), gaussian(r), rtol=1e-3, atol=1e-6)
    assert table.pseudopotential == own["Al"]
    solved = atomic_tables({"Al": gth_pseudopotential("Al").identity}, folder)["Al"]
    assert np.abs(solved.density(r) - gaussian(r)).max() > 0.01


def test_a_file_of_another_hash_is_no_table(folder: Path, own: dict[str, PseudopotentialIdentity]) -> None:
    other = {"Al": replace(own["Al"], sha256="b" * 64)}
    with pytest.raises(
        InputError, match=r"no atomic density for own of Al \(b{12}\); expected .* there is own .*; put"
    ):
        atomic_tables(other, folder)
    for missing in (None, folder / "nowhere"):
        with pytest.raises(InputError, match="where there is no UPF file of it; put it there, or use another prior"):
            atomic_tables(own, missing)
        assert known_tables(own, missing) is None
    assert known_tables({"Fr": PseudopotentialIdentity("Fr", "own", 1.0, "b" * 64)}, folder) is None


def test_a_file_without_an_atom_is_left_out_and_a_damaged_one_is_told(
    folder: Path, own: dict[str, PseudopotentialIdentity]
) -> None:
    file = folder / "Al.own.upf"
    text = file.read_text()
    file.write_text(re.sub(r"<PP_RHOATOM.*?</PP_RHOATOM>", "", text, flags=re.DOTALL))
    assert known_tables(own, folder) is None
    with pytest.raises(FormatError, match="0 values of the atomic density"):
        atomic_tables(own, folder)
    file.write_text(text[:200])
    with pytest.raises(FormatError, match="no whole UPF file"):
        known_tables(own, folder)


def test_a_model_on_the_users_atoms_keeps_them(data: Path, tmp_path: Path) -> None:
    model = load_trained(train(recipe(data, tmp_path / "model", "promolecule")).folder)
    r = np.linspace(0.0, 5.0, 50)
    assert np.abs(tables_beside(model, None)["Al"].density(r) - gaussian(r)).max() < 1e-4  # type: ignore[index]
    shutil.rmtree(data / "pseudopotentials")
    errors = evaluate(model, SnapshotStore.open(data), EvaluationConfig(points=200))[0].baselines
    assert errors["promolecule"][0].l1 == pytest.approx(errors["prior_mean"][0].l1, rel=1e-6)
    with pytest.raises(InputError, match=r"its UPF file in .*pseudopotentials, where there is no UPF file of it"):
        train(recipe(data, tmp_path / "other", "promolecule"))
    with pytest.raises(ModelError, match="lacks the atomic density"):
        tables_beside(replace(model, prior_arrays={}), None)


def test_reports_on_other_models_show_the_promolecule_of_the_data_set(data: Path, tmp_path: Path) -> None:
    report = train(recipe(data, tmp_path / "model", "none"))
    assert set(report.cases[0].baselines) == {"promolecule"}
    shutil.rmtree(data / "pseudopotentials")
    assert not evaluate(report.model, SnapshotStore.open(data), EvaluationConfig(points=200))[0].baselines


def generation(folder: Path, output: Path) -> GenerateConfig:
    structure = {"lattice": "fcc", "elements": ["Al"], "lattice_constant_bohr": 7.65}
    batch = {"name": "a", "role": "train", "snapshots": 1, "seed": 1, "temperatures": [300], "structure": structure}
    values = {
        "name": "toy",
        "output": output,
        "pseudopotentials": {"folder": folder},
        "engine": {"program": "toy", "cutoff_ry": 10, "density_cutoff_ry": 15, "width_ry": 0.08},
        "thermostat": {"equilibration_fs": 20},
        "batch": [batch],
    }
    return config_from(values, GenerateConfig)


def test_generation_keeps_the_files_of_its_labels(folder: Path, tmp_path: Path) -> None:
    def labelling(config: EngineConfig, *, files: Mapping[str, PseudopotentialFile], scratch: Path) -> Any:
        engine = engine_of(config, files=files, scratch=scratch)
        engine.pseudopotentials = {e: file.identity for e, file in files.items()}  # type: ignore[misc]
        return engine

    generate(generation(folder, tmp_path / "own"), engine_maker=labelling)
    kept = SnapshotStore.open(tmp_path / "own").pseudopotential_folder
    assert [file.name for file in kept.iterdir()] == ["Al.own.upf"]
    assert (kept / "Al.own.upf").read_bytes() == (folder / "Al.own.upf").read_bytes()
    shutil.rmtree(kept)
    generate(generation(folder, tmp_path / "own"), engine_maker=labelling)
    assert (kept / "Al.own.upf").exists(), "a finished data set gets them too"
    generate(generation(folder, tmp_path / "toy"))  # the toy's labels are of no UPF file
    assert not SnapshotStore.open(tmp_path / "toy").pseudopotential_folder.exists()


def test_an_import_keeps_the_file_that_was_named(folder: Path, tmp_path: Path) -> None:
    label = toy_snapshot(thermal_aluminium(1))
    write_density_file(tmp_path / "al.npz", label.system, label.density.on_grid((18, 18, 18)))
    for pseudo, kept in ((str(folder / "Al.own.upf"), ["Al.own.upf"]), ("gth-pbe:3", None)):
        output = tmp_path / f"data-{kept is None}"
        import_files(output, [tmp_path / "al.npz"], ImportConfig("train", pseudopotentials={"Al": pseudo}))
        there = SnapshotStore.open(output).pseudopotential_folder
        assert (sorted(f.name for f in there.iterdir()) if there.exists() else None) == kept
