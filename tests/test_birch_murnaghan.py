"""The Birch-Murnaghan curve: known ones come back, noise is fitted by least squares, nonsense is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from rhoscale.errors import InputError
from rhoscale.postprocess.equation_of_state import BirchMurnaghan, fit_birch_murnaghan
from rhoscale.units import GPA_PER_ATOMIC_PRESSURE

VOLUMES = 110.0 * (1 + np.linspace(-0.04, 0.04, 7)) ** 3


def curve(volume: float = 111.0, modulus: float = 78.0, slope: float = 4.5, energy: float = -66.3) -> BirchMurnaghan:
    return BirchMurnaghan(volume, energy, modulus / GPA_PER_ATOMIC_PRESSURE, slope, 0.0)


@given(
    volume=st.floats(104.0, 116.0), modulus=st.floats(20.0, 400.0), slope=st.floats(3.0, 6.0), energy=st.floats(-900, 0)
)
def test_a_known_curve_comes_back(volume: float, modulus: float, slope: float, energy: float) -> None:
    truth = curve(volume, modulus, slope, energy)
    energies = truth(VOLUMES)
    assert np.ptp(energies) > 1e-5  # the curve is not flat
    found = fit_birch_murnaghan(VOLUMES, energies)
    assert found.volume == pytest.approx(volume, rel=1e-7)
    assert found.bulk_modulus_gpa == pytest.approx(modulus, rel=1e-5)
    assert found.bulk_modulus_slope == pytest.approx(slope, abs=1e-3)
    assert found.energy == pytest.approx(energy, abs=1e-9)
    assert found.residual < 1e-9


def test_the_bulk_modulus_is_the_curvature_at_the_minimum() -> None:
    """B = V d2E/dV2, and dB/dP = -V (dB/dV) / B, by finite differences."""
    found, h = fit_birch_murnaghan(VOLUMES, curve()(VOLUMES)), 0.05

    def modulus(v: float) -> float:
        e = found(np.array([v - h, v, v + h]))
        return float(v * (e[0] - 2 * e[1] + e[2]) / h**2)

    v0 = found.volume
    assert modulus(v0) == pytest.approx(found.bulk_modulus, rel=1e-4)
    falling = (modulus(v0 + 1) - modulus(v0 - 1)) / 2
    assert -v0 * falling / found.bulk_modulus == pytest.approx(found.bulk_modulus_slope, rel=1e-2)
    before, after = found(np.array([v0 - h, v0 + h])) - found.energy
    assert before > 0
    assert after == pytest.approx(before, rel=0.02)  # flat there


def test_with_noise_it_is_the_least_squares_curve() -> None:
    """The curve is a cubic polynomial in V^(-2/3): its linear least squares fit is another way to the same minimum."""
    noisy = curve()(VOLUMES) + 1e-6 * np.random.default_rng(0).normal(size=len(VOLUMES))
    found = fit_birch_murnaghan(VOLUMES, noisy)
    x = VOLUMES ** (-2 / 3)
    centre, width = x.mean(), np.ptp(x)
    cubic = np.poly1d(np.polyfit((x - centre) / width, noisy - noisy.min(), 3))
    lowest = minimize_scalar(cubic, bounds=(-0.5, 0.5), method="bounded", options={"xatol": 1e-10}).x
    volume = (centre + width * lowest) ** -1.5
    modulus = volume * cubic.deriv(2)(lowest) / width**2 * (2 / 3 * volume ** (-5 / 3)) ** 2
    assert abs(found.bulk_modulus_gpa - 78) > 1e-4  # the noise does something
    assert found.volume == pytest.approx(volume, rel=1e-7)
    assert found.bulk_modulus == pytest.approx(modulus, rel=1e-6)
    assert 0 < found.residual < 2e-6


def test_an_offset_and_a_factor_of_the_energies_move_what_they_must() -> None:
    plain, moved = (fit_birch_murnaghan(VOLUMES, 3.0 * curve()(VOLUMES) + shift) for shift in (0.0, 17.0))
    assert plain.bulk_modulus_gpa == pytest.approx(3 * 78.0, rel=1e-6)
    assert moved.bulk_modulus == pytest.approx(plain.bulk_modulus, rel=1e-6)
    assert moved.energy - plain.energy == pytest.approx(17.0, abs=1e-9)


def test_the_lattice_parameter_is_that_of_the_similar_cell() -> None:
    assert curve(volume=7.6**3 / 4).lattice_parameter(7.65, 7.65**3 / 4) == pytest.approx(7.6, rel=1e-14)


@pytest.mark.parametrize(
    ("volumes", "energies", "words"),
    [
        (VOLUMES[:4], curve()(VOLUMES[:4]), "at least 5"),
        (VOLUMES, curve()(VOLUMES)[:5], "as many energies"),
        (np.full(7, 110.0), np.zeros(7), "1 different"),
        (VOLUMES, np.append(curve()(VOLUMES)[:6], np.nan), "finite"),
        (VOLUMES, curve(volume=140.0)(VOLUMES), "expected a minimum between"),
        (VOLUMES, -curve()(VOLUMES), "expected a minimum between"),
    ],
)
def test_what_has_no_curve_is_refused(volumes: Any, energies: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_birch_murnaghan(volumes, energies)
