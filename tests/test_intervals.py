"""Intervals with the tails that errors have."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rhoscale.errors import InputError
from rhoscale.intervals import fit_freedom, half_width
from rhoscale.metrics import calibration, coverage
from rhoscale.metrics.calibration import LEVELS
from rhoscale.metrics.reliability import reliability
from rhoscale.uncertainty import Recalibration, fit_recalibration


@pytest.mark.parametrize("freedom", [2.5, 4.0, 15.0, 300.0])
@pytest.mark.parametrize("level", LEVELS)
def test_half_width_is_that_of_students_distribution_of_unit_deviation(level: float, freedom: float) -> None:
    unit = stats.t(freedom, scale=math.sqrt((freedom - 2.0) / freedom))
    assert unit.std() == pytest.approx(1.0)
    assert half_width(level, freedom) == pytest.approx(unit.ppf(0.5 + 0.5 * level), rel=1e-10)


@pytest.mark.parametrize("level", LEVELS)
def test_without_tails_it_is_the_gaussian_one_and_the_limit_of_the_others(level: float) -> None:
    assert half_width(level) == pytest.approx(stats.norm.ppf(0.5 + 0.5 * level), rel=1e-12)
    assert half_width(level, 1e7) == pytest.approx(half_width(level), rel=1e-5)


@given(freedom=st.floats(2.2, 900), low=st.floats(0.01, 0.98))
def test_more_of_the_errors_need_a_wider_interval(freedom: float, low: float) -> None:
    assert 0 < half_width(low, freedom) < half_width(low + 0.01, freedom)


@pytest.mark.parametrize(("level", "freedom"), [(0.0, 5.0), (1.0, 5.0), (68.0, 5.0), (math.nan, 5.0)])
def test_a_level_that_is_no_share_is_refused(level: float, freedom: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        half_width(level, freedom)


@pytest.mark.parametrize("freedom", [2.0, 0.0, -1.0, math.nan])
def test_tails_without_a_deviation_are_refused(freedom: float) -> None:
    with pytest.raises(InputError, match="degrees of freedom"):
        half_width(0.95, freedom)


@pytest.mark.parametrize("freedom", [3.0, 8.0, 30.0])
def test_the_tails_of_errors_are_found(freedom: float) -> None:
    ratios = np.random.default_rng(0).standard_t(freedom, 400_000) * math.sqrt((freedom - 2.0) / freedom)
    assert 1.0 / fit_freedom(ratios) == pytest.approx(1.0 / freedom, abs=0.005)


def test_gaussian_errors_have_hardly_any_tails() -> None:
    assert fit_freedom(np.random.default_rng(1).standard_normal(400_000)) > 150
    assert math.isinf(fit_freedom(np.random.default_rng(1).uniform(-1.7, 1.7, 10_000)))


def test_recalibrated_intervals_hold_the_share_that_they_name() -> None:
    """Deviations that are themselves uncertain by a factor: too small now and then, so that tails are heavy."""
    rng = np.random.default_rng(2)
    count, freedom = 200_000, 6.0
    aleatoric, epistemic, leverage = rng.uniform(0.5, 2.0, count), rng.exponential(0.3, count), np.ones(count)
    true = np.hypot(1.3 * aleatoric, 2.0 * epistemic) * np.sqrt((freedom - 2.0) / rng.chisquare(freedom, count))
    errors = true * rng.standard_normal(count)
    half = count // 2
    found = fit_recalibration(errors[:half], aleatoric[:half], epistemic[:half], leverage[:half], scale=0.1)
    assert found.freedom == pytest.approx(freedom, rel=0.15)
    sigma = np.hypot(found.aleatoric * aleatoric, found.epistemic * epistemic)[half:]
    for level, share in coverage(errors[half:], sigma, freedom=found.freedom).items():
        assert share == pytest.approx(level, abs=0.006 if level < 0.99 else 0.001)
        assert found.half_width(level) == half_width(level, found.freedom)
    gaussian = coverage(errors[half:], sigma)
    assert gaussian[0.5] > 0.54
    assert gaussian[0.997] < 0.992


def test_three_numbers_are_fitted_at_most() -> None:
    rng = np.random.default_rng(3)
    errors = rng.standard_t(3.0, 20_000)
    with_floor = fit_recalibration(errors, np.full(20_000, 0.5), np.full(20_000, 0.1))
    assert with_floor.floor > 0
    assert math.isinf(with_floor.freedom)


def test_tails_survive_writing_and_reading_and_cards_of_before_have_none() -> None:
    values = Recalibration(1.1, 2.2, 0.0, 3.3e-5, 1.0, 15.0)
    assert Recalibration.from_dict(values.to_dict()) == values
    before = Recalibration(1.1, 2.2, 0.0, 3.3e-5)
    assert "freedom" not in before.to_dict()
    assert Recalibration.from_dict(before.to_dict()) == before


def test_summaries_count_with_the_same_intervals() -> None:
    errors, sigma = np.random.default_rng(4).standard_t(4.0, 5000), np.full(5000, math.sqrt(2.0))
    whole = calibration(errors, sigma, 4.0).coverage
    parts = reliability([errors[:2000], errors[2000:]], [sigma[:2000], sigma[2000:]], freedom=4.0)
    assert parts is not None
    assert parts.coverage == pytest.approx(whole)
    assert whole != calibration(errors, sigma).coverage
