"""Energies of a given density: exact for the right one, of second order in the error of others, which is estimated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from real_engines import cubic_aluminium, every_engine, made, usable
from rhoscale.engines.available import make_engine
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.engines.second_order import energy_difference, second_order_energy
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.system import System


def cubic_silicon(seed: int) -> System:
    face = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    positions = 10.33 * np.vstack([face, face + 0.25])
    shifts = np.random.default_rng(seed).normal(0, 0.2, (8, 3))
    return System(10.33 * np.eye(3), positions + shifts, np.array(["Si"] * 8))


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
