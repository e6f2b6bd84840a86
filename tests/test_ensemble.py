"""Deep ensembles: the mean, noise and spread of their members, by every way to ask for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rhoscale.errors import InputError, ModelError
from rhoscale.models import (
    DenseNet,
    DrawnNetwork,
    Ensemble,
    MeanField,
    Scaling,
    TrainedModel,
    load_trained,
    save_trained,
)
from rhoscale.models.inference import EnsemblePredictor, has_bfloat16
from rhoscale.models.posterior import mean_field, stochastic_names
from rhoscale.processor import Registers
from rhoscale.system import PseudopotentialIdentity
from rhoscale.uncertainty import Recalibration, decompose
from rhoscale.uncertainty.leverage import Leverage, excess_leverage

MEMBERS = 3
INPUTS = 21
PRECISIONS = [False, pytest.param(True, marks=pytest.mark.skipif(not has_bfloat16(), reason="no AVX512-BF16"))]


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(333, INPUTS)) @ rng.normal(size=(INPUTS, INPUTS)) + 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def model(features: np.ndarray) -> TrainedModel:
    network = DenseNet(inputs=INPUTS, width=24, blocks=2, layers=2)
    starts = [network.initial(torch.Generator().manual_seed(seed)) for seed in range(MEMBERS)]
    noisy = [{**start, "output.bias": torch.tensor([0.0, -2.0 - seed])} for seed, start in enumerate(starts)]
    return TrainedModel(
        name="three",
        network=network,
        posterior=Ensemble(tuple(noisy)),
        scaling=Scaling.of(features, 0.03 + 1e-4 * features[:, 0]),
        descriptor_spec={"family": "scalar-products", "distances": 60, "species": ["Al"]},
        pseudopotentials={"Al": PseudopotentialIdentity("Al", "GTH-PBE-q3", 3.0, "ab" * 32)},
        functional="PBE",
        compute_spacing=0.5,
        recalibration=Recalibration(1.2, 2.0, 0.0, 1e-4),
        leverage=Leverage.of(features.mean(axis=0, dtype=np.float64), np.cov(features.T.astype(np.float64))),
    )


@pytest.mark.parametrize("bfloat16", PRECISIONS)
def test_an_ensemble_says_what_its_members_say(model: TrainedModel, features: np.ndarray, bfloat16: bool) -> None:
    assert isinstance(model.posterior, Ensemble)
    found, leverage = model.predictor_in(bfloat16=bfloat16).uncertainty_and_leverage(features)
    alone = [DrawnNetwork(model.network, member, model.scaling)(features) for member in model.posterior.members]
    expected = decompose(*(np.stack(part) for part in zip(*alone, strict=True)))
    scale = model.scaling.scale
    assert np.median(expected.epistemic) > 0.1 * scale
    assert np.ptp(expected.aleatoric) > 0.01 * scale
    tolerance = (0.05 if bfloat16 else 1e-3) * scale
    for name in ("mean", "aleatoric", "epistemic", "total"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=tolerance, rtol=0)
    assert model.leverage is not None
    np.testing.assert_allclose(leverage, model.leverage(features), rtol=0.05 if bfloat16 else 1e-3, atol=1e-3)


def test_a_point_does_not_depend_on_its_company(model: TrainedModel, features: np.ndarray) -> None:
    whole, part = model.predictor.uncertainty(features), model.predictor.uncertainty(features[100:217])
    for name in ("mean", "aleatoric", "epistemic"):
        np.testing.assert_array_equal(getattr(whole, name)[100:217], getattr(part, name))
    np.testing.assert_array_equal(model.density(features), whole.mean)


def test_estimate_draws_and_point_estimate_agree(model: TrainedModel, features: np.ndarray) -> None:
    """Draws of an ensemble are its members in turn, twice as many the same mixture; the seed does not matter."""
    exact = replace(model, recalibration=None)
    drawn = exact.uncertainty(features, draws=2 * MEMBERS, seed=5)
    np.testing.assert_array_equal(drawn.mean, exact.uncertainty(features, draws=2 * MEMBERS, seed=6).mean)
    fast = exact.predictor_in(bfloat16=False).uncertainty(features)
    tolerance = 1e-3 * model.scaling.scale
    for name in ("mean", "aleatoric", "epistemic"):
        np.testing.assert_allclose(getattr(fast, name), getattr(drawn, name), atol=tolerance, rtol=0)
    density, noise = exact.point_estimate(features)
    np.testing.assert_allclose(density, drawn.mean, atol=tolerance, rtol=0)
    np.testing.assert_allclose(noise, drawn.aleatoric, atol=tolerance, rtol=0)
    wide = model.estimate(features)
    assert model.leverage is not None
    raw, leverage = model.predictor.uncertainty_and_leverage(features)
    expected = np.hypot(2.0 * raw.epistemic, 1e-4 * excess_leverage(leverage))
    np.testing.assert_allclose(wide.epistemic, expected, rtol=1e-5)


def test_an_ensemble_comes_back_the_same_and_a_lost_member_is_noticed(
    model: TrainedModel, features: np.ndarray, tmp_path: Path
) -> None:
    folder = save_trained(model, tmp_path / "three")
    card = (folder / "card.toml").read_text()
    assert 'format = "rhoscale-model-7"' in card
    again = load_trained(folder)
    np.testing.assert_array_equal(again.density(features), model.density(features))
    np.testing.assert_array_equal(again.estimate(features).total, model.estimate(features).total)
    (folder / "card.toml").write_text(card.replace("members = 3", "members = 2"))
    with pytest.raises(ModelError, match="edited"):
        load_trained(folder)


def test_what_needs_one_network_says_so(model: TrainedModel) -> None:
    with pytest.raises(ModelError, match="ensemble of 3 networks"):
        _ = model.variational
    start = mean_field(model.network.initial(torch.Generator()), stochastic_names(model.network, "all"), 0.1)
    with pytest.raises(InputError, match="two members"):
        Ensemble.of([start])
    assert Ensemble.of([start, MeanField(start.means, {})]).members[1].keys() == start.means.keys()


def test_its_predictor_is_for_one_kind_of_processor(model: TrainedModel, features: np.ndarray) -> None:
    assert isinstance(model.predictor, EnsemblePredictor)
    made_elsewhere = replace(model.predictor, registers=Registers(4, 32))
    with pytest.raises(ModelError, match="registers of 4 numbers"):
        made_elsewhere.residual(features)
