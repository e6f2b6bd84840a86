"""What every engine owes: the contract, run over each engine that can be used here."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rhoscale.cli.app import app
from rhoscale.engines.available import ENGINES, EngineStatus, find_engines, make_engine
from rhoscale.engines.espresso_run import RunStart
from rhoscale.engines.interface import DFTSettings, Engine, GroundState
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.engines.second_order import energy_difference, second_order_energy
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import EngineError, InputError, StructureError
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.system import System

STATUS = {status.name: status for status in find_engines()}
ALUMINIUM = {"Al": gth_pseudopotential("Al")}
HALF = 7.65 / 2
PRIMITIVE = System(np.array([[0, HALF, HALF], [HALF, 0, HALF], [HALF, HALF, 0]]), np.zeros((1, 3)), np.array(["Al"]))
MESH = DFTSettings(cutoff=7.5, kmesh=(2, 2, 2), kshift=(1, 1, 1), smearing="cold", width=0.04, density_cutoff=20.0)


def usable(name: str) -> str:
    """The name of an engine, or a skip that says why it cannot be used."""
    status = STATUS[name]
    if not status.usable:
        pytest.skip(f"engine {name} is not usable here: {status.hint}")
    return name


every_engine = pytest.mark.parametrize(
    "name", [pytest.param("pw.x", marks=pytest.mark.dft), pytest.param("qepy", marks=pytest.mark.dft), "toy"]
)
dft_engines = pytest.mark.parametrize("name", ["pw.x", "qepy"])


def made(name: str, settings: DFTSettings, scratch: Path) -> Engine:
    return make_engine(usable(name), settings, ALUMINIUM, scratch=scratch)


def cubic_aluminium(seed: int = 0) -> System:
    positions = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) * HALF
    shifts = np.random.default_rng(seed).normal(0, 0.2, (4, 3))
    return System(np.diag([7.65, 7.7, 7.6]), positions + shifts, np.array(["Al"] * 4))


def cubic_silicon(seed: int) -> System:
    face = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    positions = 10.33 * np.vstack([face, face + 0.25])
    shifts = np.random.default_rng(seed).normal(0, 0.2, (8, 3))
    return System(10.33 * np.eye(3), positions + shifts, np.array(["Si"] * 8))


@every_engine
def test_contract(name: str, tmp_path: Path) -> None:
    state = made(name, MESH, tmp_path).ground_state(PRIMITIVE)
    assert state.system is PRIMITIVE
    assert state.electrons == 3.0
    assert state.density.electrons == pytest.approx(3.0, abs=1e-9)
    assert state.density.cutoff == 20.0
    assert kinetic_energies(state.density.cell, state.density.millers).max() <= 20.0 * (1 + 1e-12)
    assert np.ptp(state.density.on_grid((12, 12, 12)).values) > 0.01
    assert state.settings == MESH
    assert set(state.pseudopotentials) == {"Al"}
    assert np.isfinite(state.energies["total"])
    assert state.weights.sum() == pytest.approx(1.0)
    assert state.kpoints.shape == (len(state.weights), 3)
    assert state.eigenvalues.shape[0] == len(state.weights)
    assert state.forces.shape == (1, 3)
    assert np.abs(state.forces).max() < 1e-6
    assert state.iterations >= 1
    assert state.wall_seconds > 0
    assert state.cpu_seconds > 0
    assert list(tmp_path.iterdir()) == []


@every_engine
def test_element_without_pseudopotential_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="Cu"):
        made(name, MESH, tmp_path).ground_state(System(PRIMITIVE.cell, PRIMITIVE.positions, np.array(["Cu"])))


@every_engine
def test_moving_the_whole_crystal_moves_the_density_with_it(name: str, tmp_path: Path) -> None:
    engine, system = made(name, MESH, tmp_path), cubic_aluminium()
    grid = np.array([12, 12, 12])
    shift = np.array([3, 5, 2]) / grid @ system.cell
    before = engine.ground_state(system)
    after = engine.ground_state(System(system.cell, system.positions + shift, system.species))
    still = before.density.on_grid((12, 12, 12)).values
    moved = after.density.on_grid((12, 12, 12)).values
    assert np.abs(still - moved).max() > 1e-3
    # the exchange-correlation energy lives on a grid of its own, which does not move along
    assert np.abs(np.roll(still, (3, 5, 2), (0, 1, 2)) - moved).max() < 3e-5
    assert after.energies["total"] == pytest.approx(before.energies["total"], abs=1e-4)


@every_engine
def test_forces_are_minus_the_derivative_of_the_energy(name: str, tmp_path: Path) -> None:
    settings = DFTSettings(cutoff=10.0, smearing="cold", width=0.04, convergence=1e-11)
    engine, system, step = made(name, settings, tmp_path), cubic_aluminium(), 0.02
    forces = engine.ground_state(system).forces
    energies = []
    for sign in (1, -1):
        positions = system.positions.copy()
        positions[1, 0] += sign * step
        energies.append(engine.ground_state(System(system.cell, positions, system.species)).energies["total"])
    assert abs(forces[1, 0]) > 1e-4
    assert forces[1, 0] == pytest.approx((energies[1] - energies[0]) / (2 * step), abs=2e-5)
    assert np.abs(forces.sum(axis=0)).max() < 1e-6


@dft_engines
@pytest.mark.dft
def test_energy_is_the_sum_of_its_terms_and_the_band_energy_that_of_the_eigenvalues(name: str, tmp_path: Path) -> None:
    state = made(name, MESH, tmp_path).ground_state(PRIMITIVE)
    terms = ("one_electron", "hartree", "xc", "ewald", "smearing")
    assert min(abs(state.energies[term]) for term in terms) > 1e-4
    assert sum(state.energies[term] for term in terms) == pytest.approx(state.energies["total"], abs=1e-9)
    assert len(state.weights) == 4  # 2 x 2 x 2, halved by time reversal
    assert state.eigenvalues.min() < state.fermi < state.eigenvalues.max()


@dft_engines
@pytest.mark.dft
def test_hartree_energy_is_that_of_the_coefficients(name: str, tmp_path: Path) -> None:
    """E_H = (Omega / 2) sum_{G != 0} 4 pi |c_G|^2 / G^2: shows unit, volume and both halves of the sphere."""
    settings = DFTSettings(cutoff=7.5, smearing="cold", width=0.04, density_cutoff=40.0, convergence=1e-11)
    state = made(name, settings, tmp_path).ground_state(cubic_aluminium())
    kinetic = kinetic_energies(state.density.cell, state.density.millers)
    waves = kinetic > 0
    squares = np.abs(state.density.coefficients[waves]) ** 2
    hartree = state.system.volume * np.sum(4 * np.pi * squares / (2 * kinetic[waves]))  # the other half: factor 2 / 2
    assert state.energies["hartree"] > 0.01
    assert hartree == pytest.approx(state.energies["hartree"], rel=1e-6)


@pytest.mark.dft
def test_program_and_python_package_agree(tmp_path: Path) -> None:
    states = [made(name, MESH, tmp_path).ground_state(cubic_aluminium()) for name in ("pw.x", "qepy")]
    assert states[0].energies["total"] == pytest.approx(states[1].energies["total"], abs=1e-7)
    assert states[0].fermi == pytest.approx(states[1].fermi, abs=1e-6)
    assert np.abs(states[0].forces).max() > 1e-3
    assert np.abs(states[0].forces - states[1].forces).max() < 1e-5
    a, b = (state.density.on_grid((15, 15, 15)).values for state in states)
    assert np.abs(a - b).sum() / a.sum() < 1e-6


@dft_engines
@pytest.mark.dft
@pytest.mark.parametrize("kmesh", [(1, 1, 1), (2, 2, 2)])
def test_starting_from_the_answer_takes_fewer_cycles_to_the_same_answer(
    name: str, kmesh: tuple[int, int, int], tmp_path: Path
) -> None:
    settings = DFTSettings(cutoff=7.5, kmesh=kmesh, smearing="cold", width=0.04, density_cutoff=40.0)
    engine, system = made(name, settings, tmp_path), cubic_aluminium()
    first = engine.ground_state(system)
    again = engine.ground_state(system, initial_density=first.density)
    assert again.iterations <= first.iterations - 3
    assert again.energies["total"] == pytest.approx(first.energies["total"], abs=1e-7)


def many_atoms(seed: int) -> System:
    """Sixteen atoms, so that a given density is first made use of in fewer waves."""
    cells = np.array([[x, y, 0] for x in (0, 1) for y in (0, 1)])
    sites = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    positions = 7.65 * (cells[:, None] + sites).reshape(-1, 3)
    shifts = np.random.default_rng(seed).normal(0, 0.2, (16, 3))
    return System(np.diag([15.3, 15.3, 7.65]), positions + shifts, np.array(["Al"] * 16))


def diagonalisations(folder: Path) -> list[float]:
    """Average numbers of iterations of the eigensolver that a run's log tells."""
    return [float(n) for n in re.findall(r"avg # of iterations = *(\S+)", (folder / "pw.out").read_text())]


@dft_engines
@pytest.mark.dft
def test_a_given_density_is_first_made_use_of_in_fewer_waves(name: str, tmp_path: Path) -> None:
    """Orbitals and change of the density bring the run itself nearer to its end, which is the same."""
    settings = replace(MESH, cutoff=10.0, kmesh=(1, 1, 2), density_cutoff=40.0, convergence=1e-9)
    run = made(name, settings, tmp_path)._run  # type: ignore[attr-defined]
    system = many_atoms(0)
    right, folder = run.kept_ground_state(system, RunStart())
    wrong = run.ground_state(many_atoms(1), None).density
    part = right.density.coefficients + 0.03 * (wrong.coefficients - right.density.coefficients)
    given = replace(right.density, coefficients=part)
    alone, plain = run.kept_ground_state(system, RunStart(given))
    first, start, _ = run._nearer_start(system, given)
    assert start.density is not given
    nearer, after = run.kept_ground_state(system, start)
    assert nearer.energies["total"] == pytest.approx(right.energies["total"], abs=1e-7)
    assert nearer.iterations < alone.iterations
    assert sum(diagonalisations(after)) < 0.8 * sum(diagonalisations(plain))
    assert len({folder, plain, first, after}) == 4
    whole = run.ground_state(system, given)
    assert whole.iterations == nearer.iterations
    assert whole.energies["total"] == pytest.approx(nearer.energies["total"], abs=1e-10)
    assert set(tmp_path.iterdir()) == {folder, plain, first, after}

    _, start, _ = run._nearer_start(system, right.density)
    assert start.density is right.density  # nearer than fewer waves can tell


@dft_engines
@pytest.mark.dft
@pytest.mark.parametrize(("cutoff", "runs"), [(5.0, 1), (10.0, 2)])
def test_few_waves_are_not_made_fewer(name: str, cutoff: float, runs: int, tmp_path: Path) -> None:
    settings = replace(MESH, cutoff=cutoff, kmesh=(1, 1, 2), density_cutoff=4 * cutoff)
    run = replace(made(name, settings, tmp_path)._run, keep_files=True)  # type: ignore[attr-defined]
    given = run.ground_state(many_atoms(1), None).density
    before = len(list(tmp_path.iterdir()))
    run.ground_state(many_atoms(0), given)
    assert len(list(tmp_path.iterdir())) == before + runs


TIGHT = DFTSettings(cutoff=7.5, smearing="cold", width=0.04, density_cutoff=40.0, convergence=1e-13)


@every_engine
@pytest.mark.parametrize("kmesh", [(1, 1, 1), (2, 1, 1)])
def test_the_converged_density_gives_the_energy_back(name: str, kmesh: tuple[int, int, int], tmp_path: Path) -> None:
    engine, system = made(name, replace(TIGHT, kmesh=kmesh), tmp_path), cubic_aluminium()
    state = engine.ground_state(system)
    given = engine.energies_from_density(system, state.density)
    assert abs(given.energies["total"] - state.energies["total"]) < 1e-8 * len(system)
    assert given.fermi == pytest.approx(state.fermi, abs=1e-6)
    assert given.electrons_given == pytest.approx(12.0, abs=1e-9)
    assert abs(given.energies["second_order"]) < 1e-8 * len(system)
    assert list(tmp_path.iterdir()) == []
    if name != "toy":
        parts = given.energies
        double_counting = parts["xc"] - parts["xc_potential"] - parts["hartree"]
        total = parts["band"] + double_counting + parts["ewald"] + parts["smearing"]
        assert total == pytest.approx(parts["total"], abs=1e-9)
        assert given.eigenvalues.shape == state.eigenvalues.shape
        for term in ("band", "hartree", "xc", "ewald", "smearing", "one_electron"):
            assert given.energies[term] == pytest.approx(state.energies[term], abs=1e-5)


@every_engine
def test_harris_foulkes_error_is_of_second_order_in_the_density_error(name: str, tmp_path: Path) -> None:
    """Halve the density's error and a quarter of the energy's remains; a wrong electron count alone changes nothing."""
    engine, system = made(name, TIGHT, tmp_path), cubic_aluminium()
    state = engine.ground_state(system)
    wrong = engine.ground_state(cubic_aluminium(seed=1)).density  # the same cell, other atoms
    change = wrong.coefficients - state.density.coefficients
    errors, corrected = [], []
    for share in (0.1, 0.05):
        density = replace(state.density, coefficients=(state.density.coefficients + share * change) * 1.01)
        given = engine.energies_from_density(system, density)
        assert given.electrons_given == pytest.approx(12.12, abs=1e-6)
        errors.append(given.energies["total"] - state.energies["total"])
        corrected.append(errors[-1] + given.energies["second_order"])
    assert abs(errors[0]) > 1e-6
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert max(np.abs(corrected) / np.abs(errors)) < 0.3  # what the response of an electron gas leaves, even of 4 atoms


@pytest.mark.dft
def test_the_gap_of_a_semiconductor_enters_the_estimate_of_what_an_energy_lacks(tmp_path: Path) -> None:
    settings = replace(TIGHT, cutoff=3.0, kmesh=(2, 2, 2), kshift=(1, 1, 1), width=0.02, density_cutoff=12.0)
    engine = make_engine(usable("pw.x"), settings, {"Si": gth_pseudopotential("Si")}, scratch=tmp_path)
    state, wrong = engine.ground_state(cubic_silicon(0)), engine.ground_state(cubic_silicon(1)).density
    part = state.density.coefficients + 0.05 * (wrong.coefficients - state.density.coefficients)
    given = engine.energies_from_density(state.system, replace(state.density, coefficients=part))
    error = given.energies["total"] - state.energies["total"]
    left = abs(error + given.energies["second_order"])
    left_by_a_metal = abs(error + second_order_energy(given.change, 32.0))
    assert 0.02 < given.gap < 0.12
    assert left < 0.15 * abs(error)
    assert left < 0.7 * left_by_a_metal


@pytest.mark.dft
def test_energies_of_densities_near_by_follow_from_one_diagonalisation(tmp_path: Path) -> None:
    engine, system = made("pw.x", TIGHT, tmp_path), cubic_aluminium()
    state = engine.ground_state(system)
    wrong = engine.ground_state(cubic_aluminium(seed=1)).density  # the same cell, other atoms
    change = replace(state.density, coefficients=wrong.coefficients - state.density.coefficients)

    def moved(share: float) -> FourierDensity:
        return replace(state.density, coefficients=state.density.coefficients + share * change.coefficients)

    here = engine.energies_from_density(system, moved(0.1))
    for share in (-0.05, 0.05):
        there = engine.energies_from_density(system, moved(0.1 + share))
        way = replace(change, coefficients=share * change.coefficients)
        expected = there.energies["total"] - here.energies["total"]
        assert abs(expected) > 1e-6
        assert energy_difference(here.change, way, 12.0) == pytest.approx(expected, rel=0.3)  # 4 atoms are no gas


@pytest.mark.dft
def test_program_and_python_package_agree_on_the_energy_of_a_density(tmp_path: Path) -> None:
    system = cubic_aluminium()
    density = SuperpositionEngine(TIGHT, {"Al": 3.0}).ground_state(system).density
    one, two = (made(name, TIGHT, tmp_path).energies_from_density(system, density) for name in ("pw.x", "qepy"))
    assert one.energies["total"] == pytest.approx(two.energies["total"], abs=1e-8)
    assert one.energies["xc"] == pytest.approx(two.energies["xc"], abs=1e-9)
    waves = kinetic_energies(density.cell, density.millers)
    inside = (waves > 0) & (waves <= 4 * TIGHT.cutoff)
    hartree = 2 * np.pi * system.volume * np.sum(np.abs(density.coefficients[inside]) ** 2 / waves[inside])
    assert one.energies["hartree"] == pytest.approx(hartree, rel=1e-7)  # of the given density, not of the new one
    assert np.abs(one.eigenvalues - two.eigenvalues)[:, :7].max() < 1e-7  # the occupied ones


@dft_engines
@pytest.mark.dft
def test_too_few_cycles_are_an_error(name: str, tmp_path: Path) -> None:
    settings = DFTSettings(cutoff=7.5, smearing="cold", width=0.04, max_iterations=2)
    with pytest.raises(EngineError, match="did not reach self-consistency") as caught:
        made(name, settings, tmp_path).ground_state(cubic_aluminium())
    (folder,) = tmp_path.iterdir()
    assert str(folder) in str(caught.value)
    assert (folder / "pw.out").read_text()


@dft_engines
@pytest.mark.dft
def test_a_stop_inside_the_program_is_an_error_of_the_caller_only(name: str, tmp_path: Path) -> None:
    lone = System(np.eye(3) * 7.0, np.zeros((1, 3)), np.array(["Al"]))
    settings = DFTSettings(cutoff=5.0, smearing="fixed")  # three electrons cannot fill whole bands
    with pytest.raises(EngineError, match="smearing is needed"):
        made(name, settings, tmp_path).ground_state(lone)


class TestToy:
    settings = DFTSettings(cutoff=12.5)

    def state(self, system: System) -> GroundState:
        return SuperpositionEngine(self.settings, {"Al": 3.0, "Mg": 2.0}).ground_state(system)

    def test_density_is_positive_and_not_flat(self) -> None:
        values = self.state(cubic_aluminium()).density.on_grid((30, 30, 30)).values
        assert values.min() > 0
        assert values.max() > 2 * values.min()

    def test_density_does_not_depend_on_the_order_of_atoms_or_their_images(self) -> None:
        system = cubic_aluminium()
        order = np.array([2, 0, 3, 1])
        lattice = np.array([[1, 0, -2], [0, 0, 0], [3, 1, 1], [0, -1, 0]]) @ system.cell
        other = System(system.cell, (system.positions + lattice)[order], system.species[order])
        one, two = self.state(system).density, self.state(other).density
        assert np.abs(one.coefficients).max() > 1e-3
        assert np.abs(one.coefficients - two.coefficients).max() < 1e-14

    def test_a_supercell_repeats_the_density_of_its_cell(self) -> None:
        system = cubic_aluminium()
        positions = np.concatenate([system.positions, system.positions + system.cell[2]])
        double = System(system.cell * np.array([[1.0], [1.0], [2.0]]), positions, np.array(["Al"] * 8))
        small = self.state(system).density.on_grid((20, 20, 20)).values
        large = self.state(double).density.on_grid((20, 20, 40)).values
        assert np.abs(large[:, :, :20] - large[:, :, 20:]).max() < 1e-12
        assert np.abs(large[:, :, :20] - small).max() < 1e-9

    def test_neighbours_change_an_atoms_density(self) -> None:
        """Else a sum of isolated atoms would be the whole answer, with nothing to learn."""
        system = cubic_aluminium()
        apart = System(system.cell * 4, system.positions[:1], np.array(["Al"]))
        alone = self.state(apart).density.on_grid((80, 80, 80)).values.max()
        crowded = self.state(system).density
        assert crowded.electrons == pytest.approx(12.0, abs=1e-12)
        isolated = System(system.cell * 4, system.positions, system.species)
        cluster = self.state(isolated).density.on_grid((80, 80, 80)).values.max()
        assert cluster > 1.02 * alone

    def test_its_pseudopotential_cannot_be_taken_for_a_real_one(self) -> None:
        engine = SuperpositionEngine(self.settings, {"Al": 3.0, "Mg": 2.0})
        assert engine.pseudopotentials["Al"].name.startswith("toy")
        hashes = {identity.sha256 for identity in engine.pseudopotentials.values()}
        assert len(hashes | {ALUMINIUM["Al"].identity.sha256}) == 3


def test_every_engine_is_listed_with_a_way_to_get_it() -> None:
    assert tuple(STATUS) == ENGINES
    missing = {status.name: status for status in find_engines("/nowhere/pw.x")}["pw.x"]
    assert not missing.usable
    assert "apt install quantum-espresso" in missing.hint


def test_a_program_that_is_not_pw_is_not_usable(tmp_path: Path) -> None:
    (tmp_path / "pw.x").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "pw.x").chmod(0o755)
    status = find_engines(tmp_path / "pw.x")[0]
    assert not status.usable
    assert status.version == ""


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(InputError, match="'vasp' is unknown"):
        make_engine("vasp", MESH, ALUMINIUM)


def test_auto_never_takes_the_toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="no DFT program is usable"):
        make_engine("auto", MESH, ALUMINIUM)


def test_command_line_lists_the_engines() -> None:
    answer = CliRunner().invoke(app, ["engines", "--json"])
    assert answer.exit_code == 0
    listed = [EngineStatus(**entry) for entry in json.loads(answer.stdout)]
    assert listed == list(STATUS.values())
    table = CliRunner().invoke(app, ["engines"]).stdout
    assert all(re.search(rf"\b{re.escape(name)}\b", table) for name in ENGINES)
