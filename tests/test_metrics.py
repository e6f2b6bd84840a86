"""Errors of fields and calibration of deviations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhoscale.density import Density
from rhoscale.errors import EmptyDensityError, InputError
from rhoscale.grid import Grid
from rhoscale.metrics import calibration, coverage, field_errors, negative_log_likelihood, sharpness

GRID = Grid(np.diag([4.0, 5.0, 6.0]), (8, 10, 12))


def _field(seed: int) -> Density:
    return Density(GRID, np.random.default_rng(seed).uniform(0.01, 0.05, GRID.shape))


@given(factor=st.floats(0.5, 2.0))
def test_l1_sees_the_shape_not_the_size_of_a_field_but_rmse_sees_both(factor: float) -> None:
    reference, predicted = _field(0), _field(1)
    errors, scaled = field_errors(predicted, reference), field_errors(predicted * factor, reference)
    assert errors.l1 > 0.1
    assert scaled.l1 == pytest.approx(errors.l1, rel=1e-12)
    assert scaled.electrons == pytest.approx(factor * errors.electrons)
    if abs(factor - 1) > 0.3:
        assert scaled.rmse > errors.rmse


def test_a_known_difference_gives_known_errors() -> None:
    reference = _field(0)
    bump = np.zeros(GRID.shape)
    bump[0, 0, 0], bump[1, 0, 0] = 0.01, -0.01
    errors = field_errors(Density(GRID, reference.values + bump), reference)
    assert errors.l1 == pytest.approx(0.02 * GRID.volume_element / reference.integral())
    assert errors.rmse == pytest.approx(np.sqrt(2e-4 / GRID.size))
    assert errors.rmse_over_range == pytest.approx(errors.rmse / np.ptp(reference.values))
    assert errors.largest == pytest.approx(0.01)


def test_l1_is_bounded_by_rmse_over_the_mean_density() -> None:
    reference, predicted = _field(0), _field(2)
    predicted = predicted * (reference.integral() / predicted.integral())
    errors = field_errors(predicted, reference)
    assert 0 < errors.l1 <= errors.rmse / reference.values.mean()


def test_an_empty_density_cannot_be_compared() -> None:
    with pytest.raises(EmptyDensityError, match="integrates to"):
        field_errors(_field(0) * -1.0, _field(0))


def test_densities_on_two_grids_cannot_be_compared() -> None:
    with pytest.raises(InputError, match=r"\(8, 10, 12\)"):
        field_errors(Density(Grid(GRID.cell, (4, 4, 4)), np.ones((4, 4, 4))), _field(0))


def test_errors_drawn_with_the_predicted_deviations_are_covered_as_often_as_the_levels_say() -> None:
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.1, 3.0, 200_000)
    errors = sigma * rng.standard_normal(sigma.size)
    for level, share in coverage(errors, sigma).items():
        assert share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / sigma.size))
    assert coverage(errors, 0.5 * sigma)[0.95] < 0.75


def test_the_true_deviation_has_the_best_likelihood() -> None:
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.1, 3.0, 50_000)
    errors = sigma * rng.standard_normal(sigma.size)
    best = negative_log_likelihood(errors, sigma)
    constant = np.full_like(sigma, np.sqrt(np.mean(errors**2)))
    assert best < min(negative_log_likelihood(errors, s) for s in (0.8 * sigma, 1.25 * sigma, constant))
    expected = 0.5 * np.log(2 * np.pi) + np.mean(np.log(sigma)) + 0.5
    assert best == pytest.approx(expected, abs=0.02)


def test_sharpness_is_the_root_mean_square_and_a_summary_holds_plain_values() -> None:
    sigma = np.array([3.0, 4.0])
    assert sharpness(sigma) == pytest.approx(np.sqrt(12.5))
    summary = calibration(np.array([0.1, -0.2]), sigma).to_dict()
    assert summary["coverage"] == {"50": 1.0, "68": 1.0, "90": 1.0, "95": 1.0, "99.7": 1.0}


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        coverage(np.ones(3), np.array([1.0, 0.0, 1.0]))
