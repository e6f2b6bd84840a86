"""The fused network: the same numbers as the plain one, and the spread that its posterior leaves to first order."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rhoscale.descriptors import describe, spec_from_dict
from rhoscale.errors import InputError, ModelError
from rhoscale.models import DenseNet, MeanField, Scaling, TrainedModel
from rhoscale.models.dense_network import ACTIVATIONS, affine
from rhoscale.models.inference import Predictor, has_bfloat16, predictor
from rhoscale.models.inference.activations import CODES, activate, activate_with_slope
from rhoscale.models.inference.packing import RANK
from rhoscale.models.posterior import mean_field, stochastic_names
from rhoscale.processor import Registers
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.prior import prior_mean
from rhoscale.uncertainty import LayerSpread, Recalibration, linearised_variance, variance_factors
from rhoscale.uncertainty.leverage import Leverage, excess_leverage
from toy_model import thermal_aluminium

PRECISIONS = [False, pytest.param(True, marks=pytest.mark.skipif(not has_bfloat16(), reason="no AVX512-BF16"))]


def test_a_predictor_made_for_other_registers_is_refused() -> None:
    network, posterior, scaling, features = random_network(0)
    made_elsewhere = replace(Predictor.of(network, posterior, scaling, bfloat16=False), registers=Registers(4, 32))
    with pytest.raises(ModelError, match="registers of 4"):
        made_elsewhere.residual(features)


LARGEST = {"gelu": 2.1e-5, "gelu-tanh": 2e-4, "silu": 5e-4, "relu": 1e-30, "tanh": 1e-4}
LARGEST_OF_SLOPE = {"gelu": 3e-4, "gelu-tanh": 1e-3, "silu": 5e-4, "relu": 1e-30, "tanh": 3e-4}


@pytest.mark.parametrize("name", sorted(CODES))
def test_activations_keep_their_stated_errors(name: str) -> None:
    z = np.linspace(-30, 30, 60_001).astype(np.float32)
    h, slope, alone = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    activate_with_slope(CODES[name], z, len(z), h, slope, 0)
    activate(CODES[name], z, len(z), alone, 0)
    exact = torch.from_numpy(z).double().requires_grad_(True)
    value = ACTIVATIONS[name](exact)
    (derivative,) = torch.autograd.grad(value.sum(), exact)
    assert (alone == h).all()
    assert np.abs(h - value.detach().numpy()).max() < LARGEST[name]
    assert np.abs(slope - derivative.numpy()).max() < LARGEST_OF_SLOPE[name]


@pytest.mark.parametrize("name", sorted(CODES))
def test_what_is_not_a_number_stays_none(name: str) -> None:
    z = np.full(40, np.nan, dtype=np.float32)
    h = np.zeros_like(z)
    activate(CODES[name], z, len(z), h, 0)
    assert np.isnan(h).all()


def random_network(seed: int, stochastic: str = "all", deviation: float = 0.02, **shape: object) -> tuple:
    """A network with random parameters and deviations, its scaling, and points."""
    network = DenseNet(**{"inputs": 21, "width": 16, "blocks": 2, "layers": 2, **shape})  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    means = network.initial(generator)
    means = {
        k: v + 0.1 * torch.randn(v.shape, generator=generator) if not k.endswith("weight") else v
        for k, v in means.items()
    }
    start = mean_field(means, stochastic_names(network, stochastic), deviation)
    spread = {k: v + 0.5 * torch.randn(v.shape, generator=generator) for k, v in start.log_deviations.items()}
    features = torch.randn((77, network.inputs), generator=generator) * 3.0 + 1.0
    scaling = Scaling(torch.ones(network.inputs), torch.full((network.inputs,), 3.0), 0.02, 0.3)
    return network, MeanField(start.means, spread), scaling, features.numpy()


def reference_variance(network: DenseNet, posterior: MeanField, x: torch.Tensor) -> np.ndarray:
    """The linearised variance of the first output from gradients of the plain network, double precision."""
    means = {k: v.double() for k, v in posterior.means.items()}
    variances = {k: torch.zeros_like(v) for k, v in means.items()}
    variances |= {k: v.double() ** 2 for k, v in posterior.deviations().items()}
    inputs, outputs = {}, {}

    def linear(name: str, u: torch.Tensor) -> torch.Tensor:
        inputs[name] = u.detach()
        outputs[name] = affine(means, name, u)
        return outputs[name]

    skips = [k for k in means if k.endswith(".skip")]
    per_point = {k: means[k].expand(len(x), -1).clone().requires_grad_(True) for k in skips}
    rows = x.double().requires_grad_(True)
    value = network.forward({**means, **per_point}, rows, linear)[:, 0].sum()
    gradients = torch.autograd.grad(value, [*outputs.values(), *per_point.values()])
    layers = [
        LayerSpread(u.numpy(), g.numpy(), variances[f"{k}.weight"].numpy(), variances[f"{k}.bias"].numpy())
        for (k, u), g in zip(inputs.items(), gradients, strict=False)
    ]
    mixed = [(g.numpy(), variances[k].numpy()) for k, g in zip(skips, gradients[len(outputs) :], strict=True)]
    return np.asarray(linearised_variance(layers, mixed))


SHAPES = [
    {},
    {"inputs": 16, "width": 16, "blocks": 1, "layers": 1},
    {"blocks": 3, "layers": 1, "activation": "silu"},
    {"blocks": 1, "layers": 3, "width": 10, "activation": "tanh"},
    {"blocks": 3, "layers": 3, "width": 16, "activation": "gelu-tanh"},
    {"inputs": 105, "blocks": 2, "layers": 3, "width": 14, "activation": "relu"},
]


def of_rank(posterior: MeanField, rank: int) -> MeanField:
    """The same posterior with variances of every matrix that so many products of a row and a column add up to."""
    rng = np.random.default_rng(rank)
    spread = dict(posterior.log_deviations)
    for name, value in posterior.log_deviations.items():
        if value.ndim == 2:
            rows, columns = (rng.uniform(0.1, 1, (n, rank)) for n in value.shape)
            mean = float(torch.exp(2 * value).mean())
            spread[name] = torch.from_numpy(0.5 * np.log(mean * rows @ columns.T)).float()
    return MeanField(posterior.means, spread)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_the_network_and_its_first_order_spread(shape: dict) -> None:
    network, posterior, scaling, features = random_network(3, **shape)
    posterior = of_rank(posterior, RANK)
    fast = Predictor.of(network, posterior, scaling, bfloat16=False)
    found = fast.uncertainty(features)
    x = scaling.features(torch.from_numpy(features))
    outputs = network.forward(posterior.means, x).detach().numpy()
    assert np.ptp(outputs[:, 0]) > 0.1
    np.testing.assert_allclose(found.mean, outputs[:, 0] * 0.3 + 0.02, atol=2e-4)
    np.testing.assert_allclose(found.aleatoric, np.exp(0.5 * outputs[:, 1]) * 0.3, rtol=1e-3)
    expected = np.sqrt(reference_variance(network, posterior, x)) * 0.3
    np.testing.assert_allclose(found.epistemic, expected, rtol=1e-2 if shape.get("activation") == "relu" else 3e-3)
    np.testing.assert_array_equal(fast.residual(features), found.mean)


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_wide_networks_keep_their_spread_within_what_the_factors_leave_out(bfloat16: bool) -> None:
    network, posterior, scaling, features = random_network(5, width=80)
    found = Predictor.of(network, posterior, scaling, bfloat16=bfloat16).uncertainty(features).epistemic
    x = scaling.features(torch.from_numpy(features))
    expected = np.sqrt(reference_variance(network, posterior, x)) * 0.3
    assert np.median(np.abs(found / expected - 1)) < 0.05


def test_a_spread_of_the_last_layer_alone_is_exact() -> None:
    """The output is linear in the last layer: var = sum_j u_j^2 S_j + s, at any width of the posterior."""
    network, posterior, scaling, features = random_network(7, stochastic="last", deviation=0.5, blocks=1, layers=1)
    found = Predictor.of(network, posterior, scaling, bfloat16=False).uncertainty(features).epistemic
    u = ACTIVATIONS["gelu"](affine(posterior.means, "hidden.0", scaling.features(torch.from_numpy(features)))).numpy()
    deviations = {k: v.numpy() for k, v in posterior.deviations().items()}
    expected = np.sqrt(u**2 @ deviations["output.weight"][0] ** 2 + deviations["output.bias"][0] ** 2) * 0.3
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_without_a_posterior_there_is_no_spread() -> None:
    network, posterior, scaling, features = random_network(1)
    found = Predictor.of(network, MeanField(posterior.means, {}), scaling).uncertainty(features)
    assert (found.epistemic == 0).all()
    assert (found.aleatoric > 0).all()


@given(rows=st.integers(1, 20), columns=st.integers(1, 20), seed=st.integers(0, 99))
def test_factors_of_full_rank_are_exact_and_few_keep_a_product_of_row_and_column(
    rows: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.1, 1, (rows, columns))
    left, right = variance_factors(variances, 20)
    np.testing.assert_allclose(left @ right, variances.T, atol=1e-12)
    outer = np.outer(variances[:, 0], variances[0])
    left, right = variance_factors(outer, 1)
    np.testing.assert_allclose(left @ right, outer.T, atol=1e-12)


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_a_points_bits_depend_on_nothing_but_its_features(bfloat16: bool) -> None:
    network, posterior, scaling, features = random_network(2, width=64)
    fast = Predictor.of(network, posterior, scaling, bfloat16=bfloat16)
    whole = fast.uncertainty(features)
    order = np.random.default_rng(0).permutation(len(features))
    again = pickle.loads(pickle.dumps(fast))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(again.uncertainty, [features[order][s : s + 5] for s in range(0, len(order), 5)]))
    for name in ("mean", "aleatoric", "epistemic", "total"):
        pieces = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(pieces, getattr(whole, name)[order])
    assert np.unique(whole.epistemic).size > 70
    features[0] = np.nan
    beside = fast.uncertainty(features)
    for name in ("mean", "aleatoric", "epistemic"):
        assert np.isnan(getattr(beside, name)[0])
        np.testing.assert_array_equal(getattr(beside, name)[1:], getattr(whole, name)[1:])


def test_bfloat16_is_taken_for_small_residuals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network, posterior, scaling, features = random_network(0)
    monkeypatch.setattr(predictor, "has_bfloat16", lambda: True)
    small = replace(scaling, scale=2e-4)
    assert Predictor.of(network, posterior, small).bfloat16
    assert not Predictor.of(network, posterior, replace(scaling, scale=2e-3)).bfloat16
    made_elsewhere = Predictor.of(network, posterior, small)
    monkeypatch.setattr(predictor, "has_bfloat16", lambda: False)
    assert not Predictor.of(network, posterior, small).bfloat16
    with pytest.raises(ModelError, match="does not know"):
        made_elsewhere.residual(features)


@pytest.fixture(scope="module")
def bundled() -> tuple[TrainedModel, np.ndarray, np.ndarray]:
    """The bundled model, and features and prior of points of a hot cell that it has never seen."""
    model, _ = load_with_hash("al-pbe")
    system = thermal_aluminium(11, 2, amplitude=0.3)
    points = np.random.default_rng(0).uniform(0, 15.3, (600, 3))
    features = describe(points, system, spec_from_dict(model.descriptor_spec))
    prior = prior_mean(system, model)(points, features)
    assert prior is not None
    return model, features, np.asarray(prior)


def test_sigmas_agree_with_a_thousand_draws(bundled: tuple[TrainedModel, np.ndarray, np.ndarray]) -> None:
    trained, features, prior = bundled
    model = replace(
        trained, recalibration=None
    )  # the leverage is the same on both sides and would cover the difference
    fast = model.estimate(features, prior)
    drawn = model.uncertainty(features, prior, draws=1000, seed=5)
    few = model.uncertainty(features, prior, draws=20, seed=5)
    for name in ("aleatoric", "epistemic", "total"):
        off = np.abs(getattr(fast, name) / getattr(drawn, name) - 1)
        assert np.median(off) <= 0.05, name
        assert np.quantile(off, 0.95) <= 0.20, name
    assert np.median(np.abs(few.epistemic / drawn.epistemic - 1)) > 0.05
    model.drawn(0, 2)  # forget the thousand


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_low_precision_costs_less_than_a_fiftieth_of_a_percent(
    bundled: tuple[TrainedModel, np.ndarray, np.ndarray], bfloat16: bool
) -> None:
    model, features, prior = bundled
    exact, _ = model.point_estimate(features, prior)
    fast = Predictor.of(model.network, model.posterior, model.scaling, bfloat16=bfloat16)
    change = fast.residual(features).astype(np.float64) + prior - exact
    assert 0 < np.abs(change).mean() <= 2e-4 * exact.mean()


def test_an_estimate_is_the_density_with_recalibrated_deviations(
    bundled: tuple[TrainedModel, np.ndarray, np.ndarray],
) -> None:
    model, features, prior = bundled
    doubled = replace(model, recalibration=Recalibration(2.0, 3.0, 0.0))
    raw = replace(model, recalibration=None).estimate(features, prior)
    found = doubled.estimate(features, prior)
    np.testing.assert_array_equal(found.mean, model.density(features, prior))
    np.testing.assert_allclose(found.aleatoric, 2 * raw.aleatoric, rtol=1e-6)
    np.testing.assert_allclose(found.epistemic, 3 * raw.epistemic, rtol=1e-6)
    np.testing.assert_allclose(found.total**2, found.aleatoric**2 + found.epistemic**2, rtol=1e-5)
    with pytest.raises(ModelError, match="prior"):
        model.estimate(features)
    assert model.estimate(features[:0], prior[:0]).total.shape == (0,)


def test_explicit_draws_remain_for_who_asks() -> None:
    model, _ = load_with_hash("al-pbe")
    with pytest.raises(InputError, match="1 draws"):
        model.drawn(0, 1)


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_the_leverage_comes_with_the_spread(bfloat16: bool) -> None:
    network, posterior, scaling, features = random_network(4)
    rng = np.random.default_rng(0)
    training = (rng.normal(size=(4000, 21)) @ rng.normal(size=(21, 21)) * 0.7 + 1.0).astype(np.float64)
    leverage = Leverage.of(training.mean(axis=0), np.cov(training.T))
    fast = Predictor.of(network, posterior, scaling, leverage, bfloat16=bfloat16)
    raw, found = fast.uncertainty_and_leverage(features)
    expected = leverage(features)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, rtol=0.05 if bfloat16 else 1e-3)
    plain = Predictor.of(network, posterior, scaling, bfloat16=bfloat16).uncertainty(features)
    np.testing.assert_array_equal(plain.epistemic, raw.epistemic)


def test_a_recalibration_with_leverage_widens_what_is_far_alike_by_both_ways(
    bundled: tuple[TrainedModel, np.ndarray, np.ndarray],
) -> None:
    model, features, prior = bundled
    leverage = Leverage.of(features.mean(axis=0, dtype=np.float64), np.cov(features.T.astype(np.float64)))
    wide = replace(model, leverage=leverage, recalibration=Recalibration(1.0, 1.0, 0.0, 1e-4))
    plain = replace(model, recalibration=Recalibration(1.0, 1.0, 0.0)).estimate(features, prior)
    found = wide.estimate(features, prior)
    added = 1e-4 * excess_leverage(leverage(features))
    assert (found.epistemic > 1.5 * plain.epistemic).any()
    edge = 2e-5 if has_bfloat16() else 0.0  # bfloat16 moves what lies at the edge of training across it
    np.testing.assert_allclose(found.epistemic, np.hypot(plain.epistemic, added), rtol=0.05, atol=edge)
    raw = replace(model, recalibration=None).uncertainty(features, prior, draws=4)
    drawn = wide.uncertainty(features, prior, draws=4)
    np.testing.assert_allclose(drawn.epistemic, np.hypot(raw.epistemic, added), rtol=1e-4)
