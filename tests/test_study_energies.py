"""``rhoscale study energies``: its numbers are those of the formulas, and nothing that was computed is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import DatasetError, EngineError, FormatError, InputError, ModelError
from rhoscale.formats.espresso import coefficients_at
from rhoscale.models import load_trained, save_trained
from rhoscale.recipes.energy_fields import ModelFields
from rhoscale.recipes.energy_settings import EnergyOptions
from rhoscale.recipes.study_energies import EnergyStudy, open_study, run_study
from rhoscale.recipes.study_energies_result import CellEnergies, markdown, summarise
from rhoscale.refinement import kinetic_energies
from rhoscale.snapshot import Snapshot
from toy_model import ENGINE, thermal_aluminium

LABEL = {
    "cutoff_hartree": 5.0,
    "kmesh": [1, 1, 1],
    "kshift": [0, 0, 0],
    "smearing": "cold",
    "width_hartree": 0.02,
    "density_cutoff_hartree": 10.0,
}
TOY = EnergyOptions(engine="toy")


def label(seed: int) -> Snapshot:
    system = thermal_aluminium(seed)
    state = ENGINE.ground_state(system)
    return Snapshot(
        system,
        state.density,
        state.electrons,
        state.pseudopotentials,
        energies={**state.energies, "fermi": state.fermi},
        origin={"trajectory": f"t{seed}", "temperature": 300.0 + seed, "kind": "bulk"},
        settings=LABEL,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store = SnapshotStore.create(tmp_path / "data", name="toy", description="for tests")
    for batch, seeds in (("hot", (80, 81)), ("cold", (82,))):
        for seed in seeds:
            store.add(label(seed), task=f"{batch}-{seed}", batch=batch, role="test")
    store.add(label(83), task="train-83", batch="train", role="train")
    return store.path


def study(toy_model: Path, data: Path, tmp_path: Path, **changes: Any) -> EnergyStudy:
    return replace(EnergyStudy(str(toy_model), data, tmp_path / "out", options=TOY), **changes)


def test_the_error_is_what_the_toys_formula_says(toy_model: Path, data: Path, tmp_path: Path) -> None:
    """The toy's energy is off by minus the Hartree energy of the density error."""
    opened = open_study(study(toy_model, data, tmp_path))
    cells = run_study(opened)
    assert [cell.task for cell in cells] == ["cold-82", "hot-80", "hot-81"]
    for cell in cells:
        snapshot = label(int(cell.task[-2:]))
        whole = ModelFields.of(snapshot.system, opened.model.trained).prediction
        waves = kinetic_energies(snapshot.system.cell, snapshot.density.millers)
        off = coefficients_at(whole.fourier, snapshot.density.millers) - snapshot.density.coefficients
        kept = waves > 0
        energy = 2 * np.pi * snapshot.system.volume * np.sum(np.abs(off[kept]) ** 2 / waves[kept])
        assert energy > 1e-5
        assert cell.errors["prediction"].total == pytest.approx(-energy / 4, rel=1e-3)
        assert cell.closure is not None
        assert abs(cell.closure) < 1e-9
        true = snapshot.density.on_grid(whole.raw.grid.shape).values
        l1 = np.abs(whole.rescaled.values - true).sum() / true.sum()
        assert cell.errors["prediction"].l1 == pytest.approx(l1, rel=1e-3)
        assert cell.errors["prediction"].fermi == pytest.approx(0.0, abs=1e-12)
        assert cell.errors["prediction"].over_l1_squared == pytest.approx(-energy / 4 / l1**2, rel=5e-3)


class FailingAfter:
    """Lets so many diagonalisations through, then fails as a program does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
        self.computed, self.allowed = 0, allowed
        real = SuperpositionEngine.energies_from_density

        def counted(engine: SuperpositionEngine, *arguments: Any) -> Any:
            if self.computed >= self.allowed:
                raise EngineError("pw.x was killed")
            self.computed += 1
            return real(engine, *arguments)

        monkeypatch.setattr(SuperpositionEngine, "energies_from_density", counted)


def test_nothing_is_computed_twice(
    toy_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure loses only what was running; snapshots, runs and limits add up to what one call gives."""
    asked = study(toy_model, data, tmp_path, draws=2)  # prediction and label's own: two runs a snapshot
    counter = FailingAfter(monkeypatch, allowed=3)
    with pytest.raises(EngineError, match="killed"):
        run_study(open_study(asked))
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1
    assert len(list((tmp_path / "out" / "runs").glob("*.json"))) == 3
    counter.allowed = 1000
    assert len(run_study(open_study(replace(asked, limit=1)))) == 2
    assert counter.computed == 4
    cells = run_study(open_study(asked))
    assert counter.computed == 6
    assert run_study(open_study(asked)) == cells
    assert counter.computed == 6
    elsewhere = run_study(open_study(replace(asked, out=tmp_path / "other")))
    assert counter.computed == 12
    assert [cell.errors for cell in elsewhere] == [cell.errors for cell in cells]
    assert len(run_study(open_study(replace(asked, draws=0)))) == 3  # another study, of runs that are all there
    assert counter.computed == 12
    alone = run_study(open_study(replace(asked, draws=0, baselines=False)))
    assert counter.computed == 12
    for cell, whole in zip(alone, cells, strict=True):
        assert cell.errors.keys() == {"prediction"}
        without = {"eigenvalue_occupied": None, "eigenvalue_all": None}
        assert cell.errors["prediction"] == replace(whole.errors["prediction"], **without)
        assert cell.closure is None


def test_another_model_shares_the_labels_runs_and_has_results_of_its_own(
    toy_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = FailingAfter(monkeypatch, allowed=1000)
    first = run_study(open_study(study(toy_model, data, tmp_path, batches=("cold",))))
    trained = load_trained(toy_model)
    moved = {name: value * 1.01 for name, value in trained.posterior.means.items()}
    other = save_trained(
        replace(trained, name="other", posterior=replace(trained.posterior, means=moved)), tmp_path / "other-model"
    )
    second = run_study(open_study(study(other, data, tmp_path, batches=("cold",))))
    assert counter.computed == 3
    assert first[0].errors["prediction"].total != second[0].errors["prediction"].total
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 2


def test_draws_are_recorded_with_their_coverage(toy_model: Path, data: Path, tmp_path: Path) -> None:
    cells = run_study(open_study(study(toy_model, data, tmp_path, draws=3)))
    found = summarise(cells)
    for cell in cells:
        assert cell.spread is not None
        assert cell.spread.draws == 3
        error = cell.errors["prediction"].total * 4
        assert cell.standardised_error == pytest.approx((error - cell.spread.mean) / cell.spread.deviation)
    inside = np.mean([abs(cell.standardised_error or 0.0) <= 1 for cell in cells])
    assert found["coverage"]["snapshots"] == 3
    assert found["coverage"]["within_1"] == pytest.approx(inside)
    assert "Draws: 3 snapshots" in markdown(cells)


def test_corrected_energies_are_judged_by_a_tenth_of_their_correction(
    toy_model: Path, data: Path, tmp_path: Path
) -> None:
    cells = run_study(open_study(study(toy_model, data, tmp_path, batches=("hot",))))
    total = cells[0].errors["prediction"].total
    off = [replace(c, errors={"prediction": replace(c.errors["prediction"], corrected=0.85 * total)}) for c in cells]
    off[0] = replace(off[0], errors={"prediction": replace(off[0].errors["prediction"], corrected=-0.05 * total)})
    assert off[0].corrected_error == pytest.approx(-np.sign(total) * 0.05 / 1.05 / 0.1)
    found = summarise(off)["coverage_corrected"]
    assert found["snapshots"] == 2
    assert found["within_1"] == found["within_2"] == 0.5
    assert "Corrected energies: 2 snapshots, 50 % within one standard deviation" in markdown(off)


def test_tables_give_means_of_each_case_and_of_all(toy_model: Path, data: Path, tmp_path: Path) -> None:
    cells = run_study(open_study(study(toy_model, data, tmp_path)))
    found = summarise(cells)
    hot = [abs(c.errors["prediction"].total) for c in cells if c.case == "hot"]
    assert len(hot) == 2
    assert found["cases"]["hot"]["prediction"]["total"] == pytest.approx(np.mean(hot))
    assert found["cases"]["hot"]["prediction"]["total_worst"] == pytest.approx(max(hot))
    assert found["cases"]["all"]["prediction"]["snapshots"] == 3
    assert found["cases"]["hot"]["prediction"]["xc"] is None
    assert [CellEnergies.from_dict(json.loads(json.dumps(c.to_dict()))) for c in cells] == cells
    table = markdown(cells)
    assert all(f"| {task} |" in table for task in ("hot-80", "hot-81", "cold-82"))
    widths = [{line.count("|") for line in part.splitlines() if line.startswith("|")} for part in table.split("\n\n")]
    assert [len(w) for w in widths if w] == [1, 1]


def test_the_command_prints_tables_and_leaves_files(toy_model: Path, data: Path, tmp_path: Path) -> None:
    words = ["study", "energies", "--model", str(toy_model), "--data", str(data), "--engine", "toy"]
    words += ["--out", str(tmp_path / "out"), "--batch", "hot"]
    planned = CliRunner().invoke(app, [*words, "--dry-run"])
    assert planned.exception is None
    assert "2 of 2 snapshots to do, 4 runs" in planned.stderr
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exception is None
    found = json.loads(done.stdout)
    assert [cell["task"] for cell in found["cells"]] == ["hot-80", "hot-81"]
    assert json.loads((tmp_path / "out" / "toy.json").read_text()) == found
    assert (tmp_path / "out" / "toy.md").read_text().startswith("Energies in Ha/atom")
    assert (tmp_path / "out" / "toy.png").stat().st_size > 5000


def test_what_cannot_be_studied_is_refused(toy_model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lukewarm"):
        open_study(study(toy_model, data, tmp_path, batches=("lukewarm",)))
    with pytest.raises(InputError, match="no spread"):
        study(toy_model, data, tmp_path, draws=1)
    bare = SnapshotStore.create(tmp_path / "bare", name="bare", description="imported")
    bare.add(replace(label(84), settings={}), task="one", batch="hot", role="test")
    with pytest.raises(DatasetError, match="does not say the 'cutoff_hartree' of its label"):
        run_study(open_study(study(toy_model, bare.path, tmp_path)))
    foreign = SnapshotStore.create(tmp_path / "foreign", name="foreign", description="other electrons")
    state = SuperpositionEngine(ENGINE.settings, {"Al": 5.0}).ground_state(thermal_aluminium(85))
    five = replace(label(85), density=state.density, electrons=state.electrons, pseudopotentials=state.pseudopotentials)
    foreign.add(five, task="one", batch="hot", role="test")
    with pytest.raises(ModelError, match='is not that of model "toy"'):
        run_study(open_study(study(toy_model, foreign.path, tmp_path)))


def test_tables_say_which_labels_have_energies_of_fewer_points_than_their_densities(
    toy_model: Path, data: Path, tmp_path: Path
) -> None:
    said = "The labels of 1 snapshots are corrected for k-points"
    assert "corrected for k-points" not in markdown(run_study(open_study(study(toy_model, data, tmp_path))))
    denser = replace(label(86), settings={**LABEL, "kmesh_correction": {"kmesh": [2, 2, 2]}})
    SnapshotStore.open(data).add(denser, task="cold-86", batch="cold", role="test")
    cells = run_study(open_study(study(toy_model, data, tmp_path)))
    assert said in markdown(cells)
    assert said in markdown([CellEnergies.from_dict(cell.to_dict()) for cell in cells])


def test_a_damaged_result_is_named(toy_model: Path, data: Path, tmp_path: Path) -> None:
    opened = open_study(study(toy_model, data, tmp_path, batches=("cold",)))
    run_study(opened)
    (file,) = (tmp_path / "out" / "cells").iterdir()
    file.write_text("{}")
    with pytest.raises(FormatError, match="delete it"):
        run_study(opened)
