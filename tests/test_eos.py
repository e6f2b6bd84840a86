"""Laws of the equation of state: the engine's minimum, nothing is computed twice, both sides have one setting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from rhoscale.cli.app import main
from rhoscale.descriptors import spec_from_dict
from rhoscale.engines.available import find_engines
from rhoscale.engines.interface import DFTSettings, Energies, GroundState
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import FormatError, InputError, ModelError
from rhoscale.models import DenseNet, Scaling, TrainedModel, load_trained, save_trained
from rhoscale.models.posterior import mean_field, stochastic_names
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.recipes.energy_settings import EnergyOptions
from rhoscale.recipes.eos import DFT, PREDICTION, PROMOLECULE, EosConfig, EosResult, equation_of_state
from rhoscale.recipes.eos_command import EosRequest, paper_protocol, prepare_eos, run_eos
from rhoscale.recipes.ground_state_runs import GroundStateRuns
from rhoscale.recipes.prior import promolecule_arrays
from rhoscale.refinement import FourierDensity
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM
from toy_model import ENGINE, SPEC

PROGRAM = next(status for status in find_engines() if status.name == "pw.x")
STRAINS = (-0.04, -0.02, 0.0, 0.02, 0.04)
ALUMINIUM = crystal("fcc", ["Al"], 7.0)  # near the toy's minimum
WIDTH = 0.65 * 1.21 * BOHR_PER_ANGSTROM * 0.95  # of the toy's atoms, contracted by their neighbours


class Counting(SuperpositionEngine):
    """The toy engine, which counts its runs and is interrupted at one of them."""

    def __init__(self, stop_at: int = -1) -> None:
        super().__init__(ENGINE.settings, {"Al": 3.0})
        self.runs = 0
        self.stop_at = stop_at

    def _count(self) -> None:
        if self.runs == self.stop_at:
            raise KeyboardInterrupt
        self.runs += 1

    def ground_state(self, system: System, *, initial_density: FourierDensity | None = None) -> GroundState:
        self._count()
        return ENGINE.ground_state(system, initial_density=initial_density)

    def energies_from_density(self, system: System, density: FourierDensity) -> Energies:
        self._count()
        return ENGINE.energies_from_density(system, density)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without training, good at perfect crystals: Gaussian atoms, and a network whose mean adds nothing."""
    identity = ENGINE.pseudopotentials["Al"]
    table = AtomicDensityTable.tabulate(
        identity, lambda r: 3.0 * np.exp(-0.5 * (r / WIDTH) ** 2) / (2 * np.pi * WIDTH**2) ** 1.5
    )
    spec = spec_from_dict(SPEC)
    network = DenseNet(inputs=spec.size, width=4, blocks=1, layers=1)
    zeros = {name: torch.zeros_like(v) for name, v in network.initial(torch.Generator().manual_seed(0)).items()}
    ones = torch.ones(spec.size)
    model = TrainedModel(
        name="gaussians",
        network=network,
        posterior=mean_field(zeros, stochastic_names(network, "all"), 0.3),
        scaling=Scaling(10.0 * ones, 5.0 * ones, 0.0, 1e-3),
        descriptor_spec=SPEC,
        pseudopotentials=ENGINE.pseudopotentials,
        functional="none",
        compute_spacing=0.7,
        prior_mean="promolecule",
        prior_arrays=promolecule_arrays({"Al": table}),
        card={"summary": "for tests"},
    )
    return save_trained(model, tmp_path_factory.mktemp("models") / "gaussians")


@pytest.fixture(scope="module")
def model(folder: Path) -> TrainedModel:
    return load_trained(folder)


def config(folder: Path, **changes: Any) -> EosConfig:
    return replace(EosConfig(ALUMINIUM, 7.0, folder, STRAINS), **changes)


def compute(folder: Path, model: TrainedModel, engine: SuperpositionEngine = ENGINE, **changes: Any) -> EosResult:
    return equation_of_state(config(folder, **changes), model, engine, None)


def test_the_dft_column_has_the_minimum_of_the_engine(tmp_path: Path, model: TrainedModel) -> None:
    found = compute(tmp_path, model)

    def energy(length: float) -> float:
        return ENGINE.ground_state(crystal("fcc", ["Al"], length)).energies["total"]

    lowest = minimize_scalar(energy, bounds=(6.8, 7.3), method="bounded").x
    assert abs(lowest - 7.0) > 0.01  # not where the strains are centred
    assert found.lattice_parameter(found.columns[DFT]) == pytest.approx(lowest, abs=2e-3)
    assert found.columns[DFT].energies[2] == pytest.approx(energy(7.0) / 4, abs=1e-12)


def test_the_prediction_is_judged_by_the_energy_of_its_density(tmp_path: Path, model: TrainedModel) -> None:
    """The toy's energy of a wrong density is too low by the Hartree energy of what is wrong."""
    found = compute(tmp_path, model)
    alone = found.harris_foulkes[PREDICTION]
    below = np.array(found.columns[DFT].energies) - np.array(alone.energies)
    assert (below > 1e-9).all()
    assert (below < 1e-2).all()
    difference = found.differences(alone)
    assert difference is not None
    assert 0 < abs(difference[0]) < 0.2
    assert found.differences(found.columns[DFT]) == (0.0, 0.0)
    # what the toy lacks it estimates exactly
    assert found.columns[PREDICTION].energies == pytest.approx(found.columns[DFT].energies, abs=1e-12)


def test_a_supercell_has_the_same_curve_as_its_cell(tmp_path: Path, model: TrainedModel) -> None:
    small = compute(tmp_path / "1", model)
    large = compute(tmp_path / "2", model, crystal=supercell(ALUMINIUM, (2, 1, 1)))
    a, b = (r.lattice_parameter(r.columns[DFT]) for r in (small, large))
    assert a == pytest.approx(b, abs=1e-7)
    assert small.columns[DFT].energies == pytest.approx(large.columns[DFT].energies, abs=1e-12)


def test_nothing_is_computed_twice_and_a_killed_run_goes_on(tmp_path: Path, model: TrainedModel) -> None:
    whole = compute(tmp_path / "whole", model)
    killed = Counting(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "a", model, killed)
    assert killed.runs == 5
    rest = Counting()
    resumed = compute(tmp_path / "a", model, rest)
    assert rest.runs == 2 * len(STRAINS) - 5
    again = Counting()
    assert compute(tmp_path / "a", model, again).columns.keys() == whole.columns.keys()
    assert again.runs == 0
    for name, column in whole.columns.items():
        assert resumed.columns[name].energies == column.energies
        assert resumed.columns[name].curve == column.curve


def test_other_settings_are_other_runs(tmp_path: Path, model: TrainedModel) -> None:
    compute(tmp_path, model)
    other = Counting()
    other.settings = replace(ENGINE.settings, cutoff=6.0)
    compute(tmp_path, model, other)
    assert other.runs == 2 * len(STRAINS)


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, model: TrainedModel) -> None:
    compute(tmp_path, model)
    file = next((tmp_path / "ground-states").iterdir())
    file.write_text(file.read_text()[:40])
    with pytest.raises(FormatError, match=file.name):
        compute(tmp_path, model)


def test_draws_are_curves_of_one_set_of_weights(tmp_path: Path, model: TrainedModel) -> None:
    found = compute(tmp_path, model, draws=3, seed=1)
    spread = found.spread()
    assert spread is not None
    assert len(found.draws) == 3
    assert spread["bulk_modulus_gpa"] > 0
    assert spread["lattice_parameter_bohr"] > 0
    engine = Counting()
    more = compute(tmp_path, model, engine, draws=4, seed=1)  # the first three draws are the same weights
    assert engine.runs == 0  # their energies follow from the prediction's
    assert [d.energies for d in more.draws[:3]] == [d.energies for d in found.draws]
    assert more.columns[PREDICTION].energies == found.columns[PREDICTION].energies
    assert compute(tmp_path, model).spread() is None


def test_energies_that_no_curve_fits_are_kept_and_said(tmp_path: Path, model: TrainedModel) -> None:
    found = compute(tmp_path, model, strains=(0.05, 0.06, 0.07, 0.08, 0.09))
    column = found.columns[DFT]
    assert column.curve is None
    assert "expected a minimum between" in column.problem
    assert len(column.energies) == 5
    assert found.differences(found.columns[PREDICTION]) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strains": (-0.01, 0.0, 0.01)}, "at least 5"),
        ({"strains": (0.0, 0.0, 0.01, 0.02, 0.03, 0.04)}, "different"),
        ({"strains": (-0.6, 0.0, 0.1, 0.2, 0.3)}, "between -0.5 and 1"),
        ({"draws": 1}, "no spread"),
        ({"draws": -2}, "no spread"),
    ],
)
def test_strains_and_draws_that_make_no_sense_are_refused(
    tmp_path: Path, changes: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        config(tmp_path, **changes)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["rhoscale", "eos", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


CRYSTAL = ("--lattice", "fcc", "--element", "Al", "--constant", "7.0")


def test_the_command_writes_numbers_and_a_picture(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "eos"
    rest = (*CRYSTAL, "--model", str(folder), "--engine", "toy", "--out", str(out), "--range", "-0.04", "0.04")
    assert call(monkeypatch, *rest, "--dry-run") == 0
    assert "7 self-consistent runs" in capsys.readouterr().out
    assert not out.exists()
    assert call(monkeypatch, *rest, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((out / "eos.json").read_text())
    assert kept["columns"] == printed["columns"]
    assert kept["harris_foulkes"]["prediction"]["energies_hartree"] != kept["columns"]["prediction"]["energies_hartree"]
    dft = printed["columns"]["DFT"]
    assert dft["lattice_parameter_angstrom"] == pytest.approx(dft["lattice_parameter_bohr"] * 0.529177210903)
    assert (out / "eos.png").read_bytes().startswith(b"\x89PNG")
    assert call(monkeypatch, *rest, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["self_consistent_runs"] == 0
    assert call(monkeypatch, *rest) == 0
    table = capsys.readouterr().out
    assert f"{dft['bulk_modulus_gpa']:.3f}" in table
    assert "Harris-Foulkes alone" in table


def test_a_structure_file_gives_the_same_crystal(tmp_path: Path, folder: Path) -> None:
    from rhoscale.ase_bridge import to_atoms

    file = tmp_path / "al.cif"
    to_atoms(ALUMINIUM).write(file)
    options = EnergyOptions(engine="toy")
    common = ((2, 1, 1), (-0.04, 0.04), 5, str(folder))
    by_file = EosRequest(file, None, (), None, *common, tmp_path / "1", options)
    by_name = EosRequest(None, "fcc", ("Al",), 7.0, *common, tmp_path / "2", options)
    a, b = (run_eos(prepare_eos(request)) for request in (by_file, by_name))
    assert a.config.crystal.formula == "Al8"
    assert a.lattice_parameter(a.columns[DFT]) == pytest.approx(b.lattice_parameter(b.columns[DFT]), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected a structure file, or all"),
        (("--lattice", "fcc", "--element", "Al"), "--lattice, --element and no file"),
        (("POSCAR", *CRYSTAL), "the file POSCAR"),
        ((*CRYSTAL, "--points", "4"), "at least 5"),
        ((*CRYSTAL, "--range", "0.03", "-0.03"), "lower to a higher"),
        ((*CRYSTAL, "--gamma", "--kmesh", "2", "2", "2"), "--gamma sets --kmesh"),
        (("--lattice", "fcc", "--element", "Si", "--constant", "7.65"), "Si"),
        ((*CRYSTAL, "--supercell", "0", "1", "1"), "three numbers of 1 or more"),
        (("nowhere.cif",), "nowhere.cif"),
    ],
)
def test_bad_input_ends_with_one_message(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    out = tmp_path / "eos"
    end = call(monkeypatch, *arguments, "--model", str(folder), "--engine", "toy", "--out", str(out))
    message = capsys.readouterr().err
    assert end == 2
    assert words in message.replace("\n", " ")
    assert not out.exists()


def test_the_paper_s_protocol_is_the_gamma_point_at_631_kelvin() -> None:
    settings = paper_protocol(EnergyOptions(cutoff_ry=20.0)).settings(ALUMINIUM)
    default = DFTSettings(cutoff=10.0)
    assert settings.gamma_only
    assert (settings.smearing, settings.cutoff) == ("fermi-dirac", default.cutoff)
    assert settings.width == pytest.approx(default.width, rel=1e-12)


@pytest.mark.dft
@pytest.mark.skipif(not PROGRAM.usable, reason=f"no pw.x here: {PROGRAM.hint}")
def test_aluminium_by_pw_x(tmp_path: Path) -> None:
    """The prediction's curve is nearer to the self-consistent one than the promolecule's; both have its settings."""
    options = EnergyOptions(cutoff_ry=12.0, kmesh=(3, 3, 3), width_ry=0.08, engine="pw.x")
    request = EosRequest(None, "fcc", ("Al",), 7.65, (1, 1, 1), (-0.03, 0.03), 5, "al-pbe", tmp_path, options)
    found = run_eos(prepare_eos(request))
    dft = found.columns[DFT]
    assert dft.curve is not None
    assert 50 < dft.curve.bulk_modulus_gpa < 120  # experiment: 76
    errors = {
        name: np.abs(np.array(found.columns[name].energies) - np.array(dft.energies)).max()
        for name in (PREDICTION, PROMOLECULE)
    }
    assert errors[PROMOLECULE] > 1e-5
    assert errors[PREDICTION] < errors[PROMOLECULE] / 5
    near, far = found.differences(found.columns[PREDICTION]), found.differences(found.columns[PROMOLECULE])
    assert near is not None
    assert far is not None
    assert abs(near[0]) < abs(far[0]) / 5
    assert GroundStateRuns(tmp_path / "ground-states").folder.is_dir()


def test_a_model_of_other_pseudopotentials_is_refused(tmp_path: Path, folder: Path) -> None:
    options = EnergyOptions(engine="toy")
    request = EosRequest(None, "fcc", ("Al",), 7.65, (1, 1, 1), (-0.03, 0.03), 5, "al-pbe", tmp_path, options)
    with pytest.raises(ModelError, match="another quantity"):
        prepare_eos(request)
    prepare_eos(replace(request, model=str(folder)))
