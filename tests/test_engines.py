"""What every engine owes: the contract, run over each engine that can be used here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from real_engines import ALUMINIUM, MESH, PRIMITIVE, STATUS, cubic_aluminium, dft_engines, every_engine, made
from rhoscale.cli.app import app
from rhoscale.engines.available import ENGINES, EngineStatus, find_engines, make_engine
from rhoscale.engines.interface import DFTSettings, GroundState
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import EngineError, InputError, StructureError
from rhoscale.refinement import kinetic_energies
from rhoscale.system import System


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
