"""Decomposition of the predictive variance and its recalibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rhoscale.errors import InputError
from rhoscale.metrics import negative_log_likelihood
from rhoscale.uncertainty import Recalibration, Uncertainty, decompose, fit_recalibration

VALUES = arrays(np.float64, (5, 7), elements=st.floats(-10, 10))


@given(means=VALUES, noise=VALUES)
def test_total_variance_is_aleatoric_plus_epistemic(means: np.ndarray, noise: np.ndarray) -> None:
    result = decompose(means, noise**2 + 1e-3)
    assert (result.aleatoric > 0).all()
    np.testing.assert_allclose(result.total**2, result.aleatoric**2 + result.epistemic**2, rtol=1e-5)


def test_total_is_the_spread_of_what_the_draws_would_generate() -> None:
    """Law of total variance, against samples of rho ~ N(f_j, sigma_j^2) with j at random."""
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(6, 3)), rng.uniform(0.1, 4.0, (6, 3))
    j = rng.integers(6, size=400_000)
    samples = means[j] + np.sqrt(variances[j]) * rng.standard_normal((j.size, 3))
    result = decompose(means, variances)
    np.testing.assert_allclose(result.total, samples.std(axis=0), rtol=0.01)
    np.testing.assert_allclose(result.mean, samples.mean(axis=0), atol=0.02)


def test_equal_draws_have_no_epistemic_part_and_the_mean_of_their_noise() -> None:
    noise = np.array([[1.0], [3.0]])
    result = decompose(np.full((2, 1), 0.25), noise)
    assert result.epistemic[0] == 0
    assert result.aleatoric[0] == pytest.approx(np.sqrt(2.0))


def test_draws_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InputError, match="do not belong together"):
        decompose(np.zeros((3, 4)), np.zeros((2, 4)))


def test_recalibration_finds_the_factors_that_spoiled_the_deviations() -> None:
    rng = np.random.default_rng(1)
    aleatoric, epistemic = rng.uniform(0.5, 2.0, 100_000), rng.exponential(1.0, 100_000)
    errors = rng.standard_normal(100_000) * np.sqrt((0.7 * aleatoric) ** 2 + (2.5 * epistemic) ** 2 + 0.3**2)
    found = fit_recalibration(1e-3 * errors, 1e-3 * aleatoric, 1e-3 * epistemic)
    assert found.epistemic == pytest.approx(2.5, rel=0.05)
    assert np.hypot(0.7, 0.3) == pytest.approx(np.hypot(found.aleatoric, found.floor * 1e3), rel=0.1)


def test_recalibration_never_lowers_the_likelihood_of_what_it_was_fitted_to() -> None:
    rng = np.random.default_rng(2)
    aleatoric, epistemic = rng.uniform(0.1, 1.0, 5000), rng.uniform(0.1, 1.0, 5000)
    errors = 3.0 * aleatoric * rng.standard_t(4, 5000)
    total = np.hypot(aleatoric, epistemic)
    raw = Uncertainty(*(a.astype(np.float32) for a in (np.zeros(5000), aleatoric, epistemic)))
    mended = fit_recalibration(errors, aleatoric, epistemic)(raw)
    assert negative_log_likelihood(errors, mended.total) < negative_log_likelihood(errors, total) - 0.1
    np.testing.assert_allclose(mended.total**2, mended.aleatoric**2 + mended.epistemic**2, rtol=1e-5)


def test_recalibration_never_switches_the_epistemic_part_off() -> None:
    """Even where the errors do not know of it: it is there for other structures."""
    rng = np.random.default_rng(3)
    aleatoric, epistemic = rng.uniform(0.5, 2.0, 20_000), rng.exponential(0.2, 20_000)
    found = fit_recalibration(aleatoric * rng.standard_normal(20_000), aleatoric, epistemic)
    assert found.epistemic >= 1.0
    assert found.aleatoric < 1.0


def test_recalibration_survives_writing_and_reading() -> None:
    values = Recalibration(1.1, 2.2, 3.3e-5)
    assert Recalibration.from_dict(values.to_dict()) == values


def test_recalibration_on_the_training_labels_themselves_is_refused() -> None:
    with pytest.raises(InputError, match="exactly zero"):
        fit_recalibration(np.zeros(20), np.ones(20), np.ones(20))
