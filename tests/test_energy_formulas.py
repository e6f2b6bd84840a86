"""Errors of energies and the spread of draws: the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from rhoscale.errors import InputError
from rhoscale.postprocess.energy_errors import energy_errors
from rhoscale.postprocess.energy_spread import EnergySpread

LEVELS = np.array([[-0.2, 0.1, 0.4], [-0.1, 0.2, 0.5]])
TRUE = {"total": -8.0, "xc": -3.0, "fermi": 0.15}


def test_errors_are_signed_and_per_atom_where_they_are_extensive() -> None:
    found = {"total": -8.4, "xc": -2.8, "fermi": 0.16}
    errors = energy_errors(found, TRUE, l1=0.1, atoms=4, eigenvalues=LEVELS, reference_eigenvalues=LEVELS)
    assert errors.total == pytest.approx(-0.1)
    assert errors.xc == pytest.approx(0.05)
    assert errors.fermi == pytest.approx(0.01)
    assert errors.over_l1_squared == pytest.approx(-10.0)
    assert errors.eigenvalue_all == 0.0


def test_only_levels_up_to_the_true_fermi_level_count_as_occupied() -> None:
    moved = LEVELS + np.array([[0.001, -0.002, 0.05], [0.0, 0.03, 0.0]])
    errors = energy_errors(TRUE, TRUE, l1=0.1, atoms=4, eigenvalues=moved, reference_eigenvalues=LEVELS)
    assert errors.eigenvalue_occupied == pytest.approx(0.002)
    assert errors.eigenvalue_all == pytest.approx(0.05)


def test_levels_of_another_mesh_are_refused_and_missing_terms_stay_missing() -> None:
    with pytest.raises(InputError, match="k-points"):
        energy_errors(TRUE, TRUE, l1=0.1, atoms=4, eigenvalues=LEVELS[:1], reference_eigenvalues=LEVELS)
    without = {"total": -8.0, "fermi": 0.1}
    none = np.zeros((1, 0))
    errors = energy_errors(without, TRUE, l1=0.1, atoms=4, eigenvalues=none, reference_eigenvalues=none)
    assert errors.xc is errors.eigenvalue_occupied is errors.eigenvalue_all is None


def test_draws_of_a_quadratic_energy_tell_its_error() -> None:
    """If the mean is off from the truth as the draws are off from the mean, mean(D) estimates E[mean] - E_0."""
    rng = np.random.default_rng(0)
    curvature = rng.normal(size=(6, 6))
    curvature = -curvature @ curvature.T  # E[rho] = E_0 + d K d / 2
    away = []
    for _ in range(400):
        centre = rng.normal(size=6)
        draws = centre + rng.normal(size=(40, 6))
        energies = [0.5 * d @ curvature @ d for d in draws]
        error = 0.5 * centre @ curvature @ centre
        away.append(error - EnergySpread.of(np.array(energies) - error, [1.0] * 40).mean)
    typical = abs(0.5 * np.trace(curvature))
    assert typical > 1.0
    assert abs(np.mean(away)) < 0.2 * typical


def test_spread_is_the_sample_deviation_about_the_mean_field() -> None:
    spread = EnergySpread.of([-1.0, 1.0, 3.0], [10.0, 11.0, 12.0])
    assert spread.mean == pytest.approx(1.0)
    assert spread.deviation == pytest.approx(2.0)
    assert spread.electrons_mean == pytest.approx(11.0)
    assert spread.electrons_deviation == pytest.approx(1.0)
    assert spread.standardised(3.0) == pytest.approx(1.0)
    with pytest.raises(InputError, match="two or more"):
        EnergySpread.of([1.0], [10.0])
