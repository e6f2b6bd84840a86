"""The response of the electron gas and its gap: limits, and levels whose gap is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from rhoscale.engines.response import (
    density_response,
    exchange_correlation_kernel,
    mean_gap,
    screened_interaction,
)

DENSITY = 0.0268  # aluminium
FERMI = (3 * np.pi**2 * DENSITY) ** (1 / 3)
STATES = FERMI / np.pi**2  # at the Fermi level, per volume and Hartree


def test_long_waves_are_screened_by_the_states_at_the_fermi_level() -> None:
    assert density_response(np.array([1e-3]), DENSITY)[0] == pytest.approx(-STATES, rel=1e-5)
    assert screened_interaction(np.array([1e-3]), DENSITY)[0] == pytest.approx(1 / STATES, rel=1e-5)


def test_short_waves_are_not_screened() -> None:
    waves = np.array([60.0])
    assert density_response(waves, DENSITY)[0] == pytest.approx(-4 * DENSITY / waves[0] ** 2, rel=1e-2)
    bare = 4 * np.pi / waves**2 + exchange_correlation_kernel(DENSITY)
    assert screened_interaction(waves, DENSITY) == pytest.approx(bare, rel=1e-3)


def test_the_response_has_half_its_strength_at_twice_the_fermi_wave_number() -> None:
    near = density_response(2 * FERMI * np.array([1 - 1e-6, 1.0, 1 + 1e-6]), DENSITY)
    assert near == pytest.approx(-STATES / 2, rel=1e-4)


def test_exchange_alone_at_high_density() -> None:
    """- (3 / pi)^(1/3) n^(-2/3) / 3, and correlation less and less beside it."""
    n = 1e5
    assert exchange_correlation_kernel(n) == pytest.approx(-((3 / np.pi) ** (1 / 3)) * n ** (-2 / 3) / 3, rel=0.01)


@pytest.mark.parametrize("wave", [0.3, 1.2, 2.5])
def test_a_gap_moves_the_excitations_of_the_gas(wave: float) -> None:
    """chi_0(q; gap) = 2 / pi int dw w Im chi_L(q, w) / (w^2 + gap^2), with Lindhard's Im chi_L at real frequencies."""
    gap = 0.12

    def pairs(energy: float) -> float:
        """- Im chi_L: q / (2 pi) int dk over filled states whose final state is empty, in closed form."""
        limits = [(energy / wave + sign * wave / 2) / FERMI for sign in (-1, 1)]
        below, above = (max(0.0, 1 - limit**2) for limit in limits)
        return FERMI**2 / (4 * np.pi * wave) * (below - above)

    top = wave**2 / 2 + wave * FERMI
    kinks = [abs(wave**2 / 2 - wave * FERMI)]
    expected = -2 / np.pi * quad(lambda w: w * pairs(w) / (w**2 + gap**2), 0, top, points=kinks, limit=200)[0]
    assert density_response(np.array([wave]), DENSITY, gap)[0] == pytest.approx(expected, rel=1e-6)


def test_long_waves_see_a_semiconductor_as_a_dielectric() -> None:
    waves, gap = np.array([1e-3]), 0.15
    plasma = np.sqrt(4 * np.pi * DENSITY)
    dielectric = 1 - 4 * np.pi / waves**2 * density_response(waves, DENSITY, gap)
    assert dielectric[0] == pytest.approx(1 + (plasma / gap) ** 2, rel=1e-3)


def gas_levels(electrons: int, volume: float, gap: float) -> np.ndarray:
    """Levels of a gas, two electrons each, half as many again as are filled, opened at the Fermi level by the gap."""
    level = 2 * (np.arange(3 * electrons // 4) + 0.5) / electrons
    fermi = 0.5 * (3 * np.pi**2 * electrons / volume) ** (2 / 3)
    from_fermi = fermi * (level ** (2 / 3) - 1)
    return fermi + np.sign(from_fermi) * np.hypot(from_fermi, gap / 2)


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.15])
def test_the_gap_of_a_gas_is_found_again(gap: float) -> None:
    electrons, volume = 4000, 4000 / DENSITY
    levels = gas_levels(electrons, volume, gap)
    shuffled = np.random.default_rng(0).permutation(levels)
    assert mean_gap(shuffled[None], np.ones(1), electrons, volume) == pytest.approx(gap, abs=2e-4)
    assert mean_gap(levels.reshape(2, -1) + 0.3, np.full(2, 0.5), electrons / 2, volume / 2) == pytest.approx(
        gap, abs=2e-4
    )


def test_no_gap_without_empty_bands_or_between_closer_levels() -> None:
    electrons, volume = 400, 400 / DENSITY
    levels = gas_levels(electrons, volume, 0.1)
    assert mean_gap(levels[None, :200], np.ones(1), electrons, volume) == 0.0
    assert mean_gap(0.5 * gas_levels(electrons, volume, 0.0)[None], np.ones(1), electrons, volume) == 0.0
    assert mean_gap(np.zeros((1, 0)), np.ones(1), electrons, volume) == 0.0
