"""Laws of the baselines: ridge regression from streamed moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rhoscale.baselines.linear import Batch, LinearBaseline, NormalEquations, fit_linear, ridge_path
from rhoscale.errors import InputError, ModelError

FloatArray = NDArray[np.float64]


def data(seed: int, count: int = 500, size: int = 6, noise: float = 0.1) -> Batch:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(size, size))
    features = rng.normal(size=(count, size)) @ mixing + np.arange(size) * 10.0
    targets = features @ np.linspace(-1, 1, size) + 0.3 + noise * rng.normal(size=count)
    return features, targets, rng.uniform(0.5, 2.0, count)


def in_parts(batch: Batch, parts: int) -> Iterator[Batch]:
    yield from zip(*(np.array_split(array, parts) for array in batch), strict=True)


def test_weak_ridge_is_weighted_least_squares() -> None:
    features, targets, weights = data(0)
    design = np.column_stack([features, np.ones(len(features))])
    root = np.sqrt(weights)
    solution = np.linalg.lstsq(design * root[:, None], targets * root, rcond=None)[0]
    fit = fit_linear([(features, targets, weights)], strengths=[1e-12])
    np.testing.assert_allclose(fit.coefficients, solution[:-1], rtol=1e-7)
    np.testing.assert_allclose(fit.predict(features), design @ solution, rtol=1e-9)


def test_ridge_minimises_its_objective() -> None:
    features, targets, weights = data(1, count=40)
    strength = 0.07
    fit = fit_linear([(features, targets, weights)], strengths=[strength])
    means = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - means) ** 2, axis=0, weights=weights))

    def objective(coefficients: FloatArray, offset: float) -> float:
        residual = targets - offset - (features - means) @ coefficients
        return float(np.average(residual**2, weights=weights) + strength * np.sum((coefficients * spread) ** 2))

    least = objective(fit.coefficients, fit.offset)
    assert least > 1e-3
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert objective(fit.coefficients + 1e-3 * rng.normal(size=6), fit.offset) > least
    assert objective(fit.coefficients, fit.offset + 1e-3) > least


@settings(max_examples=20, deadline=None)
@given(parts=st.integers(1, 9), scale=st.floats(1e-4, 1e4), shift=st.floats(-1e3, 1e3))
def test_predictions_do_not_depend_on_batching_nor_on_units_of_the_features(
    parts: int, scale: float, shift: float
) -> None:
    features, targets, weights = data(2)
    expected = fit_linear([(features, targets, weights)], strengths=[1e-3]).predict(features)
    changed = features * scale + shift
    fit = fit_linear(in_parts((changed, targets, weights), parts), strengths=[1e-3])
    assert np.std(expected) > 1
    np.testing.assert_allclose(fit.predict(changed), expected, rtol=1e-6, atol=1e-6)


def test_features_with_tiny_spread_about_large_means_are_resolved() -> None:
    features, targets, weights = data(3, noise=0.0)
    fit = fit_linear(in_parts((1e6 + 1e-3 * features, targets, weights), 5), strengths=[1e-12])
    np.testing.assert_allclose(fit.predict(1e6 + 1e-3 * features), targets, atol=1e-3 * np.std(targets))


def test_three_hundred_nearly_dependent_single_precision_features_are_harmless() -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, (4000, 1))
    features = np.cos(np.arange(1, 331) * np.arccos(x * 0.2 + 0.7)).astype(np.float32)  # smooth on a short interval
    targets = np.exp(-3 * x[:, 0])
    fit = fit_linear(in_parts((features[:2000], targets[:2000], np.ones(2000)), 3), strengths=[1e-10])
    assert np.abs(fit.predict(features[2000:]) - targets[2000:]).max() < 1e-3


def test_constant_features_are_ignored() -> None:
    features, targets, weights = data(5)
    widened = np.column_stack([features, np.full(len(features), 7.0), np.zeros(len(features))])
    fit = fit_linear([(widened, targets, weights)], strengths=[1e-6])
    assert (fit.coefficients[-2:] == 0).all()
    plain = fit_linear([(features, targets, weights)], strengths=[1e-6])
    np.testing.assert_allclose(fit.predict(widened), plain.predict(features), rtol=1e-9)


def test_moments_give_the_error_that_predictions_have() -> None:
    train, held_out = data(6), data(7)
    fit = fit_linear([train], strengths=[1e-2])
    features, targets, weights = held_out
    direct = np.average((fit.predict(features) - targets) ** 2, weights=weights)
    assert direct > 1e-3
    equations = NormalEquations.stream(in_parts(held_out, 4))
    assert equations.mean_square_error(fit) == pytest.approx(direct, rel=1e-9)


def test_moments_of_parts_add_up() -> None:
    whole = data(8)
    reference = np.append(whole[0].mean(axis=0), whole[1].mean())
    first, second = (NormalEquations.stream([part], reference) for part in in_parts(whole, 2))
    together = NormalEquations.stream([whole], reference)
    assert np.abs(together.moments).max() > 1
    np.testing.assert_allclose((first + second).moments, together.moments, rtol=1e-9, atol=1e-9)


def test_strength_is_the_one_that_serves_the_validation_data_best() -> None:
    train, validation = data(9, count=12, noise=3.0), data(10)
    strengths = [1e-8, 1e-4, 1e-2, 1e-1, 1.0, 100.0]
    fit = fit_linear([train], validation=[validation], strengths=strengths)
    errors = {
        s: np.average((b.predict(validation[0]) - validation[1]) ** 2, weights=validation[2])
        for s, b in zip(strengths, ridge_path(NormalEquations.stream([train]), strengths), strict=True)
    }
    assert fit.strength == min(errors, key=lambda s: errors[s])
    assert fit.strength not in (strengths[0], strengths[-1])


def nearly_dependent(seed: int, count: int = 3000) -> Batch:
    """Smooth functions of one coordinate on a short interval: only large coefficients tell them apart."""
    x = np.random.default_rng(seed).uniform(-1, 1, (count, 1))
    features = np.cos(np.arange(1, 41) * np.arccos(x * 0.2 + 0.7)) + 2.0
    return features, np.exp(-3 * x[:, 0]) + 0.01 * np.random.default_rng(seed + 1).normal(size=count), np.ones(count)


def test_rounding_is_what_single_precision_features_do_to_predictions() -> None:
    batch = nearly_dependent(12)
    equations = NormalEquations.stream(in_parts(batch, 3))
    rng = np.random.default_rng(13)
    for fit in ridge_path(equations, [1e-12, 1e-8, 1e-4]):
        off = batch[0] * rng.choice([-(2.0**-24), 2.0**-24], batch[0].shape)
        measured = np.std(off @ fit.coefficients) / np.std(batch[1])
        assert equations.rounding(fit) == pytest.approx(measured, rel=0.1)


def test_of_strengths_that_round_too_much_none_is_taken() -> None:
    train, validation = nearly_dependent(14), nearly_dependent(16)
    equations = NormalEquations.stream([train])
    strengths = [1e-4, 1e-8, 1e-12, 1e-6, 1e-10]  # in no order
    roundings = {b.strength: equations.rounding(b) for b in ridge_path(equations, strengths)}
    free = fit_linear([train], validation=[validation], strengths=strengths)
    limit = 0.5 * roundings[free.strength]
    held = fit_linear([train], validation=[validation], strengths=strengths, most_rounding=limit)
    assert roundings[held.strength] <= limit
    assert held.strength > free.strength
    none_fits = fit_linear([train], validation=[validation], strengths=strengths, most_rounding=0.0)
    assert none_fits.strength == max(strengths)


def test_arrays_give_the_same_baseline_and_the_hash_sees_a_changed_number() -> None:
    fit = fit_linear([data(11)], strengths=[1e-3])
    again = LinearBaseline.from_arrays(fit.to_arrays())
    np.testing.assert_array_equal(again.coefficients, fit.coefficients)
    assert (again.offset, again.strength) == (fit.offset, fit.strength)
    assert again.content_hash == fit.content_hash
    arrays = fit.to_arrays()
    arrays["linear.centre"] = arrays["linear.centre"].copy()
    arrays["linear.centre"][2] = np.nextafter(arrays["linear.centre"][2], np.inf)
    assert LinearBaseline.from_arrays(arrays).content_hash != fit.content_hash


def test_damaged_arrays_and_other_features_are_refused() -> None:
    fit = fit_linear([data(12)], strengths=[1e-3])
    with pytest.raises(ModelError, match=r"fitted on 6 features; got shape \(3, 5\)"):
        fit.predict(np.zeros((3, 5)))
    arrays = fit.to_arrays()
    with pytest.raises(ModelError, match="lacks the array"):
        LinearBaseline.from_arrays({k: v for k, v in arrays.items() if k != "linear.centre"})
    with pytest.raises(ModelError, match="shapes"):
        LinearBaseline.from_arrays(arrays | {"linear.centre": np.zeros(3)})


@pytest.mark.parametrize(
    "fit",
    [
        lambda: fit_linear([], strengths=[1e-3]),
        lambda: fit_linear([data(0)]),
        lambda: fit_linear([data(0)], strengths=[0.0]),
        lambda: fit_linear([data(0), data(0, size=5)], strengths=[1e-3]),
        lambda: fit_linear([(np.full((3, 2), np.nan), np.ones(3), np.ones(3))], strengths=[1e-3]),
        lambda: fit_linear([(np.ones((3, 2)), np.ones(3), np.zeros(3))], strengths=[1e-3]),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(fit: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        fit()
