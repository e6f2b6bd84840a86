"""Energies of densities: from files, from a model, from its weight draws, through the command and through ASE."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from typer.testing import CliRunner

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.cli.app import app
from rhoscale.density import Density
from rhoscale.engines.available import find_engines
from rhoscale.engines.interface import DFTSettings, Engine
from rhoscale.errors import FormatError, InputError, ModelError, RhoscaleError
from rhoscale.formats import write_density_file
from rhoscale.models import load_trained
from rhoscale.recipes.energy_fields import ModelFields
from rhoscale.recipes.energy_runs import EnergyRuns, energies_from_dict, energies_to_dict, run_key
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import System
from rhoscale.uncertainty import Recalibration
from rhoscale.units import EV_PER_HARTREE
from toy_model import ENGINE, thermal_aluminium, toy_snapshot

CELL = thermal_aluminium(70)
PROGRAM = next(status for status in find_engines() if status.name == "pw.x")
SMALL = ("--kmesh", "2", "2", "2", "--cutoff", "15")


def energy(*words: str | Path) -> dict[str, Any]:
    """The JSON of one command; its errors are raised."""
    done = CliRunner().invoke(app, ["energy", *map(str, words), "--json"])
    if done.exception is not None:
        raise done.exception
    return dict(json.loads(done.stdout))


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    path = tmp_path / "cell.extxyz"
    to_atoms(CELL).write(path)
    return path


def written(path: Path, system: System, density: FourierDensity, factor: float = 1.0) -> Path:
    values = density.on_grid((24, 24, 24))
    write_density_file(path, system, Density(values.grid, values.values * factor))
    return path


def test_a_density_has_one_energy_in_every_format(structure: Path, tmp_path: Path) -> None:
    snapshot = toy_snapshot(thermal_aluminium(71))  # another structure's density, so that its energy is not the lowest
    density = replace(snapshot.density, coefficients=snapshot.density.coefficients)
    files = [written(tmp_path / name, CELL, density) for name in ("rho.npz", "rho.xsf", "rho.cube")]
    found = [energy(structure, "--density", file, "--engine", "toy") for file in files]
    own = energy(
        structure, "--density", written(tmp_path / "own.npz", CELL, toy_snapshot(CELL).density), "--engine", "toy"
    )
    assert own["energies_hartree"]["total"] - found[0]["energies_hartree"]["total"] > 1e-4
    for one in found:
        assert one["energies_hartree"]["total"] == pytest.approx(found[0]["energies_hartree"]["total"], abs=1e-7)
        assert one["electrons_given"] == pytest.approx(12.0, abs=1e-4)
    assert found[0]["per_atom_hartree"]["total"] == pytest.approx(found[0]["energies_hartree"]["total"] / 4)


def test_a_models_energy_is_that_of_the_density_that_it_predicts(
    toy_model: Path, structure: Path, tmp_path: Path
) -> None:
    model = rhoscale.load_model(toy_model)
    rhoscale.predict_to_store(to_atoms(CELL), model, tmp_path / "rho.zarr", spacing=0.5, uncertainty=False)
    direct = energy(structure, "--model", toy_model, "--engine", "toy")
    stored = energy(structure, "--density", tmp_path / "rho.zarr", "--engine", "toy")
    with pytest.raises(InputError, match=r"rho\.zarr has \d+ points.*raise --memory"):
        energy(structure, "--density", tmp_path / "rho.zarr", "--engine", "toy", "--memory", "1e-5")
    lowest = ENGINE.ground_state(CELL).energies["total"]
    assert lowest - direct["energies_hartree"]["total"] > 1e-5
    assert stored["energies_hartree"]["total"] == pytest.approx(direct["energies_hartree"]["total"], abs=1e-7)
    assert stored["electrons_given"] == pytest.approx(12.0, abs=1e-5)
    assert abs(direct["electrons_given"] - 12.0) > 1e-4  # the raw count, before the rescaling
    assert direct["verdict"]["range"] in ("inside", "partly", "outside")


def test_draws_give_the_spread_of_energy_and_electrons(toy_model: Path, structure: Path) -> None:
    found = energy(structure, "--model", toy_model, "--engine", "toy", "--draws", "4")["spread"]
    assert found["draws"] == 4
    assert found["deviation"] > 0
    assert found["electrons_deviation"] > 0
    assert found == energy(structure, "--model", toy_model, "--engine", "toy", "--draws", "4")["spread"]
    other = energy(structure, "--model", toy_model, "--engine", "toy", "--draws", "4", "--seed", "1")["spread"]
    assert found["mean"] != other["mean"]


@pytest.mark.parametrize("factor", [None, 2.5])
def test_whole_field_draws_scatter_as_the_epistemic_map_says(toy_model: Path, factor: float | None) -> None:
    recalibration = None if factor is None else Recalibration(1.0, factor, 0.0)
    model = replace(load_trained(toy_model), recalibration=recalibration)
    fields = ModelFields.of(CELL, model)
    drawn = list(fields.drawn(6, 3))
    spread = np.stack([whole.raw.values for whole in drawn]).std(axis=0)
    expected = model.uncertainty(fields.features, fields.prior, draws=6, seed=3).epistemic.reshape(fields.grid.shape)
    assert expected.min() > 0
    np.testing.assert_allclose(spread, expected, rtol=1e-3)
    for whole in drawn:
        assert abs(whole.raw.integral() - 12.0) > 1e-6
        assert whole.rescaled.integral() == pytest.approx(12.0, abs=1e-9)
        assert whole.fourier.electrons == pytest.approx(12.0, abs=1e-9)


def test_the_whole_field_is_that_of_a_tiled_prediction(toy_model: Path) -> None:
    model = rhoscale.load_model(toy_model)
    fields = ModelFields.of(CELL, model.trained)
    tiled = model.predict(to_atoms(CELL))
    assert fields.grid.shape == tiled.density.shape
    np.testing.assert_allclose(fields.prediction.rescaled.values, tiled.density, atol=1e-6)
    assert fields.verdict.range == tiled.verdict.range  # type: ignore[union-attr]
    assert fields.verdict.expected_l1 == pytest.approx(tiled.verdict.expected_l1, rel=1e-3)  # type: ignore[union-attr]


def test_what_makes_no_energy_is_refused(toy_model: Path, structure: Path, tmp_path: Path) -> None:
    good = written(tmp_path / "good.npz", CELL, toy_snapshot(CELL).density)
    with pytest.raises(InputError, match="neither is given; expected one"):
        energy(structure)
    with pytest.raises(InputError, match="both are given"):
        energy(structure, "--density", good, "--model", toy_model)
    with pytest.raises(InputError, match="weight draws"):
        energy(structure, "--density", good, "--draws", "3")
    with pytest.raises(InputError, match="no spread"):
        energy(structure, "--model", toy_model, "--draws", "1")
    other = written(tmp_path / "other.npz", thermal_aluminium(71), toy_snapshot(CELL).density)
    with pytest.raises(InputError, match=r"other\.npz does not hold a density of .*cell\.extxyz"):
        energy(structure, "--density", other, "--engine", "toy")
    with pytest.raises(FormatError, match="no file"):
        energy(structure, "--density", tmp_path / "missing.cube", "--engine", "toy")


@pytest.mark.parametrize("factor", [1.1, 13 / 3, 0.98])
def test_another_electron_count_is_refused(factor: float, structure: Path, tmp_path: Path) -> None:
    wrong = written(tmp_path / "wrong.npz", CELL, toy_snapshot(CELL).density, factor)
    with pytest.raises(InputError, match=rf"holds {12 * factor:.4f} electrons but the pseudopotentials leave 12"):
        energy(structure, "--density", wrong, "--engine", "toy")
    almost = written(tmp_path / "almost.npz", CELL, toy_snapshot(CELL).density, 1.004)
    right = written(tmp_path / "right.npz", CELL, toy_snapshot(CELL).density)
    two = [energy(structure, "--density", file, "--engine", "toy") for file in (almost, right)]
    assert two[0]["electrons_given"] == pytest.approx(12.048, abs=1e-4)
    assert two[0]["energies_hartree"]["total"] == pytest.approx(two[1]["energies_hartree"]["total"], abs=1e-9)


@pytest.mark.skipif(not PROGRAM.usable, reason=f"no pw.x here: {PROGRAM.hint}")
def test_a_density_of_other_pseudopotentials_is_refused(toy_model: Path, structure: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"GTH-PBE-q3.*is not that of model \"toy\""):
        energy(structure, "--model", toy_model, "--engine", "pw.x", "--dry-run")
    snapshot = tmp_path / "toy.safetensors"
    toy_snapshot(CELL).write(snapshot)
    with pytest.raises(ModelError, match="its density is another quantity"):
        energy(structure, "--density", snapshot, "--engine", "pw.x", "--dry-run")


def test_cost_is_said_and_a_budget_is_kept(toy_model: Path, structure: Path) -> None:
    plan = energy(structure, "--model", toy_model, "--engine", "toy", "--dry-run", "--draws", "9", *SMALL)
    assert plan["estimate"]["runs"] == 1  # draws cost no runs
    assert plan["estimate"]["kpoints"] == 8
    assert plan["settings"] == {
        "cutoff_ry": 15.0, "kmesh": [2, 2, 2], "kshift": [0, 0, 0], "smearing": "cold", "width_ry": 0.04,
    }  # fmt: skip
    assert "energies_hartree" not in plan
    with pytest.raises(InputError, match="raise --budget"):
        energy(structure, "--model", toy_model, "--engine", "toy", "--budget", "0.001")
    with pytest.raises(InputError, match="raise --memory"):
        energy(structure, "--model", toy_model, "--engine", "toy", "--memory", "0.01")
    told = CliRunner().invoke(
        app, ["energy", str(structure), "--model", str(toy_model), "--engine", "toy", "--dry-run"]
    )
    assert "10 x 10 x 10" in told.stdout
    assert "core-minutes" in told.stdout
    assert "total" not in told.stdout


def test_a_snapshots_label_says_the_settings_and_options_go_before(toy_model: Path, tmp_path: Path) -> None:
    settings = {
        "cutoff_hartree": 9.0, "kmesh": [3, 1, 2], "kshift": [1, 0, 0], "smearing": "gaussian", "width_hartree": 0.01,
        "density_cutoff_hartree": 20.0,
    }  # fmt: skip
    file = tmp_path / "one.safetensors"
    replace(toy_snapshot(CELL), settings=settings).write(file)
    found = energy(file, "--model", toy_model, "--engine", "toy", "--dry-run")
    assert found["settings"] == {
        "cutoff_ry": 18.0, "kmesh": [3, 1, 2], "kshift": [1, 0, 0], "smearing": "gaussian", "width_ry": 0.02,
    }  # fmt: skip
    assert "label" in found["settings_from"]
    changed = energy(
        file, "--density", file, "--engine", "toy", "--dry-run", "--kmesh", "2", "2", "2", "--width", "0.1"
    )
    assert changed["settings"]["kmesh"] == [2, 2, 2]
    assert changed["settings"]["kshift"] == [0, 0, 0]
    assert changed["settings"]["width_ry"] == pytest.approx(0.1)


class Counting:
    """An engine that counts what it computes."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.settings, self.pseudopotentials = engine, engine.settings, engine.pseudopotentials
        self.computed = 0
        self.ground_state, self.continuation = engine.ground_state, engine.continuation

    def energies_from_density(self, system: System, density: FourierDensity) -> Any:
        self.computed += 1
        return self.engine.energies_from_density(system, density)


def test_what_was_computed_once_is_read_back_the_same(tmp_path: Path) -> None:
    engine, density = Counting(ENGINE), toy_snapshot(thermal_aluminium(71)).density
    runs = EnergyRuns(tmp_path / "runs")
    first, new = runs.energies(engine, CELL, density)
    again, second_new = runs.energies(engine, CELL, density)
    assert (new, second_new, engine.computed) == (True, False, 1)
    assert again.energies == first.energies
    assert again.electrons_given == first.electrons_given
    np.testing.assert_array_equal(again.kpoints, first.kpoints)
    assert again.eigenvalues.shape == first.eigenvalues.shape
    np.testing.assert_array_equal(again.change.coefficients, first.change.coefficients)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_damaged_run_is_refused(suffix: str, tmp_path: Path) -> None:
    engine, density = Counting(ENGINE), toy_snapshot(thermal_aluminium(71)).density
    runs = EnergyRuns(tmp_path / "runs")
    runs.energies(engine, CELL, density)
    (file,) = (tmp_path / "runs").glob(f"*{suffix}")
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(FormatError, match="delete both"):
        runs.energies(engine, CELL, density)


def test_runs_are_told_apart_by_all_that_decides_the_result() -> None:
    density = toy_snapshot(CELL).density
    moved = System(CELL.cell, CELL.positions + 1e-6, CELL.species)
    nudged = replace(density, coefficients=density.coefficients * (1 + 1e-9))
    finer = type(ENGINE)(replace(ENGINE.settings, kmesh=(2, 1, 1)), {"Al": 3.0})
    looser = type(ENGINE)(replace(ENGINE.settings, convergence=1e-3, max_iterations=3), {"Al": 3.0})
    other = type(ENGINE)(ENGINE.settings, {"Al": 5.0})
    keys = [run_key(e, s, d) for e, s, d in [
        (ENGINE, CELL, density), (ENGINE, moved, density), (ENGINE, CELL, nudged), (finer, CELL, density),
        (other, CELL, density),
    ]]  # fmt: skip
    assert len(set(keys)) == 5
    assert run_key(looser, CELL, density) == keys[0]  # how a cycle converges is no part of one diagonalisation


def test_energies_survive_json() -> None:
    found = ENGINE.energies_from_density(CELL, toy_snapshot(CELL).density)
    levels = replace(found, eigenvalues=np.array([[-0.1, 1 / 3]]))
    back = energies_from_dict(json.loads(json.dumps(energies_to_dict(levels))), found.change)
    np.testing.assert_array_equal(back.eigenvalues, levels.eigenvalues)
    assert back.energies == levels.energies


def test_ase_asks_for_the_energy_and_for_nothing_else(toy_model: Path, structure: Path) -> None:
    atoms = to_atoms(CELL)
    atoms.calc = rhoscale.RhoscaleCalculator(model=toy_model, engine="toy")
    found = energy(structure, "--model", toy_model, "--engine", "toy")
    terms = found["energies_hartree"]
    assert terms["second_order"] > 1e-4
    assert found["corrected_hartree"] == pytest.approx(terms["total"] + terms["second_order"], abs=1e-12)
    assert atoms.get_potential_energy() == pytest.approx(found["corrected_hartree"] * EV_PER_HARTREE, abs=1e-6)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert atoms.calc.report.verdict is not None
    plain = rhoscale.RhoscaleCalculator(model=toy_model, engine="toy", second_order=False)
    assert plain.get_potential_energy(to_atoms(CELL)) == pytest.approx(terms["total"] * EV_PER_HARTREE, abs=1e-6)
    for ask in (atoms.get_forces, atoms.get_stress, atoms.get_magnetic_moments):
        with pytest.raises(PropertyNotImplementedError):
            ask()


def test_ase_computes_anew_only_when_atoms_move(toy_model: Path) -> None:
    atoms = to_atoms(CELL)
    atoms.calc = rhoscale.RhoscaleCalculator(model=rhoscale.load_model(toy_model), engine="toy")
    first = atoms.get_potential_energy()
    report = atoms.calc.report
    assert atoms.get_potential_energy() == first
    assert atoms.calc.report is report
    atoms.positions[0] += 0.1
    assert atoms.get_potential_energy() != first
    assert atoms.calc.report is not report


def test_the_calculator_refuses_what_the_command_refuses(toy_model: Path) -> None:
    atoms = to_atoms(CELL)
    atoms.calc = rhoscale.RhoscaleCalculator(model=toy_model, engine="toy", budget=1e-4)
    with pytest.raises(InputError, match="budget"):
        atoms.get_potential_energy()
    copper = Atoms("Cu", cell=[4, 4, 4], pbc=True)
    copper.calc = rhoscale.RhoscaleCalculator(model=toy_model, engine="toy")
    with pytest.raises(RhoscaleError, match="Cu"):
        copper.get_potential_energy()


@pytest.mark.dft
@pytest.mark.skipif(not PROGRAM.usable, reason=f"no pw.x here: {PROGRAM.hint}")
def test_energy_of_a_prediction_is_off_by_the_square_of_its_error(structure: Path) -> None:
    """Halve the way from the label to the prediction of a real model, and a quarter of the energy error remains."""
    settings = DFTSettings(
        cutoff=7.5, kmesh=(2, 2, 2), smearing="cold", width=0.02, density_cutoff=30.0, convergence=1e-12
    )
    model = rhoscale.load_model("al-pbe")
    engine = EnergyOptions().make(CELL, settings, model.trained.pseudopotentials, "al-pbe")
    state = engine.ground_state(CELL)
    predicted = ModelFields.of(CELL, model.trained).prediction.fourier.on_grid((32, 32, 32))
    true = state.density.on_grid((32, 32, 32))
    errors = []
    for share in (1.0, 0.5, 0.0):
        mixed = FourierDensity.from_density(true + share * (predicted - true), np.inf)
        found = engine.energies_from_density(CELL, mixed)
        errors.append((found.energies["total"] - state.energies["total"]) / 4)
    assert abs(errors[2]) < 1e-7
    assert abs(errors[0]) > 1e-6
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    from_command = energy(structure, "--model", "al-pbe", *SMALL)
    assert from_command["per_atom_hartree"]["total"] - state.energies["total"] / 4 == pytest.approx(errors[0], abs=1e-7)
    assert np.shape(from_command["eigenvalues_hartree"]) == (8, 10)


@pytest.mark.dft
@pytest.mark.skipif(not PROGRAM.usable, reason=f"no pw.x here: {PROGRAM.hint}")
def test_a_labels_own_density_gives_the_labels_energy(tmp_path: Path) -> None:
    settings = DFTSettings(
        cutoff=7.5, kmesh=(2, 1, 1), kshift=(0, 1, 0), smearing="cold", width=0.02, density_cutoff=27.5
    )
    engine = EnergyOptions().make(CELL, settings, None, "")
    state = engine.ground_state(CELL)
    kept = {
        "cutoff_hartree": 7.5, "kmesh": [2, 1, 1], "kshift": [0, 1, 0], "smearing": "cold", "width_hartree": 0.02,
        "density_cutoff_hartree": 27.5,
    }  # fmt: skip
    file = tmp_path / "label.safetensors"
    Snapshot(CELL, state.density, state.electrons, state.pseudopotentials, settings=kept).write(file)
    found = energy(file, "--density", file)
    assert found["energies_hartree"]["total"] == pytest.approx(state.energies["total"], abs=4e-7)
    assert found["fermi_hartree"] == pytest.approx(state.fermi, abs=1e-5)
    np.testing.assert_allclose(found["eigenvalues_hartree"], state.eigenvalues, atol=5e-5)  # the cycle ends at 1e-8 Ha
    assert found["cpu_seconds"] > 0


def test_a_label_is_judged_with_its_own_mesh_unless_another_is_named() -> None:
    snapshot = toy_snapshot(thermal_aluminium(1))
    values = {"cutoff_hartree": 5.0, "kmesh": [1, 1, 1], "kshift": [0, 0, 0], "smearing": "cold", "width_hartree": 0.02}
    one = replace(snapshot, settings={**values, "density_cutoff_hartree": 10.0, "kshift": [0.5, 0.5, 0.5]})
    gamma = replace(snapshot, settings={**values, "density_cutoff_hartree": 10.0})
    before = replace(gamma, settings={**gamma.settings, "kpoint": [0.25, 0.25, 0.25]})
    label = label_settings(one)
    assert label.kshift == label_settings(before).kshift == (0.5, 0.5, 0.5)
    assert label_settings(gamma).gamma_only
    assert EnergyOptions().settings(snapshot.system, label).kshift == label.kshift
    assert EnergyOptions(kmesh=(2, 2, 2)).settings(snapshot.system, label).kshift == (0, 0, 0)
