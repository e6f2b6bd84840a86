"""What the Harris-Foulkes energy lacks: sums over waves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rhoscale.density import Density
from rhoscale.engines.response import bare_interaction, density_response, screened_interaction
from rhoscale.engines.second_order import (
    LOCAL_FIELDS,
    energy_difference,
    energy_of_error,
    nearer_density,
    second_order_energy,
)
from rhoscale.grid import Grid
from rhoscale.refinement import FourierDensity, kinetic_energies

DENSITY = 0.0268  # aluminium


def test_one_wave_has_the_energy_of_its_amplitude() -> None:
    """rho = 2 a cos(G.r): 1/2 int int rho W rho = Omega a^2 W(G)."""
    cell = np.array([[7.0, 0, 0], [1.0, 8.0, 0], [0, 0.5, 9.0]])
    grid = Grid(cell, (12, 12, 12))
    wave = np.array([1, -1, 2]) @ (2 * np.pi * np.linalg.inv(cell).T)
    values = 2e-3 * np.cos(grid.points() @ wave).reshape(grid.shape) + 0.5  # the mean has no energy
    change = FourierDensity.from_density(Density(grid, values), 50.0)
    electrons = DENSITY * abs(np.linalg.det(cell))
    expected = abs(np.linalg.det(cell)) * 1e-6 * screened_interaction(np.array([np.linalg.norm(wave)]), DENSITY)[0]
    assert second_order_energy(change, electrons) == pytest.approx(LOCAL_FIELDS * expected, rel=1e-10)


def test_the_energy_of_a_density_near_by_continues_that_of_the_one_at_hand() -> None:
    """With delta off the truth, R = -(1 - chi_0 K) delta: the way to delta = 0 gains what the energy lacks."""
    rng = np.random.default_rng(1)
    cell = np.array([[7.0, 0, 0], [1.0, 8.0, 0], [0, 0.5, 9.0]])
    grid, electrons = Grid(cell, (9, 10, 12)), DENSITY * abs(np.linalg.det(cell))
    delta = FourierDensity.from_density(Density(grid, rng.normal(size=grid.shape)), 6.0)
    waves = np.sqrt(2 * kinetic_energies(cell, delta.millers))
    moving = waves > 0
    delta = replace(delta, coefficients=np.where(moving, delta.coefficients, 0.0))
    stiffness = np.ones(len(waves))
    stiffness[moving] -= density_response(waves[moving], DENSITY) * bare_interaction(waves[moving], DENSITY)
    change = replace(delta, coefficients=-stiffness * delta.coefficients)

    def on_the_way(share: float) -> float:
        return energy_difference(change, replace(delta, coefficients=-share * delta.coefficients), electrons)

    assert on_the_way(1.0) == pytest.approx(second_order_energy(change, electrons) / LOCAL_FIELDS, rel=1e-10)
    assert on_the_way(1.0) == pytest.approx(-energy_of_error(delta, electrons), rel=1e-10)
    assert on_the_way(0.5) == pytest.approx(0.75 * on_the_way(1.0), rel=1e-10)  # a quarter is left
    assert on_the_way(2.0) == pytest.approx(0.0, abs=1e-10 * abs(on_the_way(1.0)))  # as far off on the other side


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_the_density_that_a_change_points_to_is_the_true_one_of_a_gas(gap: float) -> None:
    """Waves up to twice the Fermi wave number; shorter ones stay as they are given, and so does the charge."""
    rng = np.random.default_rng(2)
    cell = np.array([[7.0, 0, 0], [1.0, 8.0, 0], [0, 0.5, 9.0]])
    grid, electrons = Grid(cell, (9, 10, 12)), DENSITY * abs(np.linalg.det(cell))
    true, delta = (FourierDensity.from_density(Density(grid, rng.normal(size=grid.shape)), 6.0) for _ in range(2))
    waves = np.sqrt(2 * kinetic_energies(cell, delta.millers))
    moving = waves > 0
    stiffness = np.zeros(len(waves))
    stiffness[moving] = 1 - density_response(waves[moving], DENSITY, gap) * bare_interaction(waves[moving], DENSITY)
    given = replace(true, coefficients=true.coefficients + delta.coefficients)
    found = nearer_density(given, replace(delta, coefficients=-stiffness * delta.coefficients), electrons, gap)
    longest = moving & (waves < 2 * (3 * np.pi**2 * DENSITY) ** (1 / 3))
    assert 20 < np.count_nonzero(longest) < len(waves) - 20
    assert np.abs(found.coefficients - true.coefficients)[longest].max() < 1e-12
    assert np.array_equal(found.coefficients[~longest], given.coefficients[~longest])


def test_coefficients_of_waves_that_a_density_lacks_are_zero() -> None:
    rng = np.random.default_rng(0)
    grid = Grid(np.diag([6.0, 7.0, 8.0]), (9, 10, 12))
    whole = FourierDensity.from_density(Density(grid, rng.normal(size=grid.shape)), 4.0)
    part = whole.truncated(2.0)
    assert 0 < len(part.millers) < len(whole.millers)
    found = part.coefficients_of(whole.millers)
    kept = kinetic_energies(grid.cell, whole.millers) <= 2.0
    assert np.array_equal(found[kept], part.coefficients)
    assert not found[~kept].any()
    assert np.array_equal(whole.coefficients_of(part.millers), part.coefficients)
