"""Data sets and recipes that cannot be: one message that says what to do and exit code 2, before anything is made."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.datasets import store as store_module
from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError, FormatError, InputError, OutputError, StructureError
from rhoscale.formats import write_density_file
from rhoscale.recipes.build_plan import BuildConfig, plan_build
from rhoscale.recipes.calibration_report import draw_reports, refuse_picture
from rhoscale.recipes.config import config_from
from rhoscale.recipes.evaluate import test_records as records_to_judge
from rhoscale.recipes.generate import generate, open_tasks
from rhoscale.recipes.generation_config import GenerateConfig
from rhoscale.recipes.generation_plan import plan_generation
from rhoscale.recipes.selection_plan import SelectConfig
from rhoscale.recipes.training_data import Labelled, specification
from rhoscale.recipes.training_plan import DataConfig, EvaluationConfig, TrainConfig
from rhoscale.sampling.forces import classical_calculator
from rhoscale.structures.alloy import composition_counts
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.structures.distances import refuse_close_atoms
from rhoscale.structures.vacancy import vacancies
from toy_model import thermal_aluminium, toy_snapshot

CELL = thermal_aluminium(50)
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    data = SnapshotStore.create(tmp_path / "set", name="set", description="")
    data.add(toy_snapshot(CELL), task="a-1", batch="a", role="train", subsets=("bulk",))
    data.freeze()
    return data


def three_parts(error: BaseException) -> str:
    """The message, which says what is wrong, what was expected and what to do."""
    text = str(error)
    assert text.count(";") >= 2, text
    return text


@pytest.mark.parametrize("changed", [{"role": "test"}, {"batch": "b"}, {"subsets": ()}])
def test_a_kept_task_serves_no_other_purpose(store: SnapshotStore, changed: dict[str, Any]) -> None:
    use = {"batch": "a", "role": "train", "subsets": ("bulk",)}
    assert store.add(toy_snapshot(CELL), task="a-1", **use) == store.record("a-1")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match="splits are fixed") as caught:
        store.add(toy_snapshot(CELL), task="a-1", **{**use, **changed})  # type: ignore[arg-type]
    three_parts(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("temperature", "hot"), ("temperature", []), ("core_seconds", None), ("subsets", [1]), ("role", ["train"])],
)
def test_a_record_of_other_types_is_refused(store: SnapshotStore, key: str, value: object) -> None:
    file = store.path / "records" / "a-1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(FormatError, match=f"not a readable record.*{key}") as caught:
        SnapshotStore.open(store.path)
    three_parts(caught.value)


def test_a_damaged_header_of_the_mask_is_noticed(store: SnapshotStore) -> None:
    file = store.snapshot_path(store.records()[0])
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[:8], "little")
    begin = 8 + size + json.loads(content[8 : 8 + size])["waves_limits"]["data_offsets"][0]
    for bit, byte in ((1, 0), (0x40, 3), (0x80, 3)):  # one more, a billion more, negative
        broken = content.copy()
        broken[begin + byte] ^= bit
        file.write_bytes(bytes(broken))
        with pytest.raises(FormatError, match="copy it again"):
            store.load(store.records()[0])


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_at_the_end_says_what_is_kept(store: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (store.path / "dataset.toml").read_bytes()
    monkeypatch.setattr(store_module, "_write", full)
    with pytest.raises(OutputError, match="every finished snapshot is kept"):
        store.freeze()
    assert (store.path / "dataset.toml").read_bytes() == before


@pytest.mark.parametrize("part", ["records", "snapshots"])
def test_a_data_set_without_one_of_its_folders_is_refused(store: SnapshotStore, command: Command, part: str) -> None:
    (store.path / part).rename(store.path.parent / "elsewhere")
    for folder in (store.path, store.path.parent):
        code, text = command("data", "list", folder)
        assert (code, f"no folder {part}" in text) == (2, True), text


def test_a_data_set_is_not_made_among_other_files(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "home" / "rho.npz"
    file.parent.mkdir()
    write_density_file(file, CELL, toy_snapshot(CELL).density.on_grid((18, 18, 18)))
    pseudo = ("--role", "train", "--pseudo", "Al=foo:3")
    code, text = command("data", "import", file.parent, file, *pseudo)
    assert (code, "holds rho.npz" in text) == (2, True), text
    assert [f.name for f in file.parent.iterdir()] == ["rho.npz"]
    killed = tmp_path / "killed"  # what a killed call left is no obstacle
    (killed / "records").mkdir(parents=True)
    (killed / ".dataset.toml.1.1.part").write_text("")
    assert command("data", "import", killed, file, *pseudo) == (0, "")
    code, text = command("data", "import", killed, file, "--role", "test", "--pseudo", "Al=foo:3")
    assert (code, "splits are fixed" in text) == (2, True), text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch", "a/b"), "expected letters"),
        (("--density-cutoff-ry", "nan"), "expected a positive number"),
        (("--density-cutoff-ry", "-4"), "expected a positive number"),
        (("--temperature", "inf"), "expected a positive number"),
        (("--pseudo", "Al=foo:nan"), "with a number above 0"),
        (("--pseudo", "Al=gth-pbe:inf"), "with a number above 0"),
    ],
)
def test_an_import_of_the_impossible_leaves_nothing(
    tmp_path: Path, command: Command, words: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "rho.npz"
    write_density_file(file, CELL, toy_snapshot(CELL).density.on_grid((18, 18, 18)))
    code, text = command("data", "import", tmp_path / "new", file, "--role", "train", "--pseudo", "Al=foo:3", *words)
    assert (code, message in text) == (2, True), text
    assert not (tmp_path / "new").exists()


def test_words_of_any_script_keep_the_lists_readable(tmp_path: Path) -> None:
    data = SnapshotStore.create(tmp_path / "set", name="set", description="")
    data.add(toy_snapshot(CELL), task="a-1", batch="a", role="train", subsets=("Größe \U0001f600",))
    data.freeze()
    assert tomllib.loads((data.path / "dataset.toml").read_text(encoding="utf-8"))["subsets"]


STRUCTURE = {"lattice": "fcc", "elements": ["Al"], "lattice_constant_bohr": 7.65}
ENGINE = {"program": "toy", "cutoff_ry": 10, "density_cutoff_ry": 15, "width_ry": 0.08}


def recipe(output: Path, **changes: Any) -> GenerateConfig:
    batch = {"name": "a", "role": "train", "snapshots": 1, "seed": 1, "temperatures": [300], "structure": STRUCTURE}
    top = {"engine", "thermostat", "pseudopotentials"}
    values = {
        "name": "toy",
        "output": output,
        "pseudopotentials": {"family": "gth-pbe", "valence": {"Al": 3}},
        "engine": ENGINE,
        "thermostat": {"equilibration_fs": 20},
        **{k: v for k, v in changes.items() if k in top},
        "batch": [{**batch, **{k: v for k, v in changes.items() if k not in top}}],
    }
    return config_from(values, GenerateConfig)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": {**ENGINE, "kmesh": [0, 1, 1]}}, "kmesh = .0, 1, 1."),
        ({"engine": {**ENGINE, "kshift": [2, 0, 0]}}, "kshift = .2.0, 0.0, 0.0."),
        ({"engine": {**ENGINE, "kshift": [float("nan"), 0, 0]}}, "kshift = .nan, 0.0, 0.0."),
        ({"engine": {**ENGINE, "cutoff_ry": float("nan")}}, "cutoff_ry = nan"),
        ({"engine": {**ENGINE, "max_iterations": 0}}, "max_iterations = 0"),
        ({"engine": {**ENGINE, "convergence_ry_per_electron": -1}}, "convergence_ry_per_electron = -1"),
        ({"engine": {**ENGINE, "smearing": "fixed"}}, "leave the other out"),
        ({"engine": {**ENGINE, "smearing": "gaussian", "width_ry": 0}}, "width_ry = 0"),
        ({"ab_initio": {"duration_fs": -5}}, "duration_fs = -5"),
        ({"thermostat": {"spacing_fs": float("inf")}}, "spacing_fs = inf"),
        ({"thermostat": {"equilibration_fs": -1}}, "equilibration_fs = -1"),
        ({"strains": [float("nan")]}, "leaves no volume"),
        ({"strains": [-0.9]}, "Bohr apart"),
        ({"structure": {**STRUCTURE, "lattice_constant_bohr": 1.0}}, "Bohr apart"),
        ({"structure": {**STRUCTURE, "vacancies": 1, "divacancy": True}}, "leave one out"),
        ({"structure": {"lattice": "fcc"}}, "add what is missing"),
        ({"snapshots": 0}, "one or more of each"),
        ({"name": "a/b"}, "rename it"),
        ({"pseudopotentials": {}}, "give one, not both"),
    ],
)
def test_a_recipe_of_impossible_data_is_refused_when_it_is_read(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        plan_generation(recipe(tmp_path / "set", **changes))
    three_parts(caught.value)
    assert "Settings" not in str(caught.value)


def test_what_dynamics_cannot_do_is_said_before_any_task(tmp_path: Path) -> None:
    silicon = {"lattice": "diamond", "elements": ["Si"], "lattice_constant_bohr": 10.2}
    config = recipe(tmp_path / "set", structure=silicon, pseudopotentials={"family": "gth-pbe", "valence": {"Si": 4}})
    told: list[object] = []
    with pytest.raises(StructureError, match="EMT does not know Si") as caught:
        generate(config, on_event=told.append)
    three_parts(caught.value)
    assert told == []
    with pytest.raises(InputError, match="limit is 0"):
        open_tasks(config, limit=0)
    with pytest.raises(InputError, match="jobs is 0"):
        generate(config, jobs=0)
    for name in (":EMT", "ase.calculators.emt:Nothing"):
        with pytest.raises(InputError, match="cannot be made"):
            classical_calculator(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atoms": -1}, "expected 1 or more"),
        ({"atoms": None, "supercell": (2, 0, 2)}, "expected 1 or more"),
        ({"equilibration_fs": float("inf")}, "equilibration_fs is inf"),
        ({"seed": -1}, "seed -1"),
        ({"lattice_constant_bohr": 1e-3}, "Bohr apart"),
        ({"elements": ("Si",), "lattice": "diamond", "forces": "emt"}, "does not know Si"),
        ({"elements": ("Al",), "forces": "tersoff"}, "does not know Al"),
    ],
)
def test_a_supercell_that_cannot_be_built_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    values = {"lattice": "fcc", "lattice_constant_bohr": 7.65, "temperature": 300.0, "elements": ("Al",), "atoms": 32}
    assert plan_build(BuildConfig(**values, output=tmp_path / "a.xyz")).sites == 32  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message) as caught:
        plan_build(BuildConfig(**{**values, **changes}, output=tmp_path / "a.xyz"))  # type: ignore[arg-type]
    three_parts(caught.value)


@pytest.mark.parametrize(
    "cannot",
    [
        lambda: crystal("fcc", ["Al"], -1.0),
        lambda: crystal("cubic", ["Al"], 7.65),
        lambda: supercell(CELL, (1, 0, 1)),
        lambda: composition_counts({"Si": 0.5, "Ge": 0.6}, 8),
        lambda: composition_counts({"Si": float("nan"), "Ge": 1.0}, 8),
        lambda: vacancies(CELL, 4, np.random.default_rng(0)),
        lambda: refuse_close_atoms(crystal("sc", ["Al"], 1.0)),
    ],
)
def test_structures_that_cannot_be_say_what_to_change(cannot: Callable[[], object]) -> None:
    with pytest.raises(StructureError) as caught:
        cannot()
    three_parts(caught.value)


def test_settings_of_training_are_refused_when_they_are_read(tmp_path: Path, store: SnapshotStore) -> None:
    for spacing in (1e9, 0.0, -1.0, float("nan")):
        for key in ("spacing", "validation_spacing"):
            with pytest.raises(InputError, match=f"{key} is .*expected 0.05 to 3.0; change"):
                config_from({"path": str(tmp_path), key: spacing}, DataConfig)
    for values in ({"points": 0}, {"draws": -1}):
        with pytest.raises(InputError, match="expected points of 1 or more"):
            config_from(values, EvaluationConfig)
    base = {"name": "t", "output": str(tmp_path), "data": {"path": str(tmp_path)}, "descriptor": {}}
    for values in ({"device": "toaster"}, {"compute_spacing": 1e9}):
        with pytest.raises(InputError, match="change the recipe"):
            config_from({**base, **values}, TrainConfig)
    labelled = Labelled(tuple(store.records()), (toy_snapshot(CELL),))
    family = {"family": "scalar-products"}
    assert specification({**family, "distances": 400}, labelled).size >= 400
    with pytest.raises(InputError, match="expected at most 400"):
        specification({**family, "distances": 100_000}, labelled)
    search = {"name": "s", "output": str(tmp_path), "data": {"path": str(tmp_path)}}
    with pytest.raises(InputError, match="expected at most 400"):
        config_from({**search, "scalar_products": {"largest_distances": 100_000}}, SelectConfig)


def test_batches_to_judge_on_are_looked_for_before_the_training(
    tmp_path: Path, store: SnapshotStore, command: Command
) -> None:
    with pytest.raises(DatasetError, match="no test snapshot"):
        records_to_judge(store, EvaluationConfig())
    with pytest.raises(DatasetError, match="'b'; there are a; name one"):
        records_to_judge(store, EvaluationConfig(test=("b",)))
    file = tmp_path / "t.toml"
    file.write_text(
        f'name = "t"\noutput = "{tmp_path / "model"}"\n[data]\npath = "{store.path}"\n[descriptor]\nfamily = "smooth"\n'
        f'[evaluation]\ntest = ["b"]\n'
    )
    code, text = command("train", file)
    assert (code, "there are a" in text) == (2, True), text
    assert not (tmp_path / "model").exists()


def test_a_figure_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a.png"
    place.write_bytes(b"mine")
    for path, message in (
        (place, "--force"),
        (tmp_path / "a.txt", "ends in .png"),
        (tmp_path / "no" / "a.png", "exists; make"),
    ):
        with pytest.raises(OutputError, match=message) as caught:
            refuse_picture(path)
        three_parts(caught.value)
    refuse_picture(place, force=True)
    monkeypatch.setattr("rhoscale.recipes.calibration_report.draw_calibration", full)
    with pytest.raises(OutputError, match="No space left"):
        draw_reports({}, place, "t", force=True)
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("a.png", b"mine")]


@pytest.mark.parametrize("words", [("--points", "-5"), ("--points", "0"), ("--draws", "-1")])
def test_evaluate_refuses_impossible_counts(tmp_path: Path, command: Command, words: tuple[str, str]) -> None:
    code, text = command("evaluate", "al-pbe", "--data", tmp_path, *words)
    assert code == 2
    assert f"Invalid value for '{words[0]}'" in text


def test_the_same_density_with_other_coefficients_is_another(store: SnapshotStore) -> None:
    good = toy_snapshot(CELL)
    other = replace(good, density=replace(good.density, coefficients=good.density.coefficients * 1.0001))
    record = store.records()[0]
    assert store.load(record).content_hash == record.snapshot
    store.snapshot_path(record).write_bytes(other.to_bytes())
    with pytest.raises(FormatError, match="damaged or exchanged") as caught:
        store.load(record)
    three_parts(caught.value)
