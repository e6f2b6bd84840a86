"""Distributions over parameters: divergence, draws, local reparameterisation."""

import math

import pytest
import torch

from rhoscale.errors import InputError
from rhoscale.models.dense_network import DenseNet
from rhoscale.models.elbo import negative_elbo
from rhoscale.models.posterior import (
    MeanField,
    divergence,
    mean_field,
    normal_prior,
    stochastic_forward,
    stochastic_names,
)

NETWORK = DenseNet(inputs=4, width=6, blocks=2, layers=2)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _posterior(deviation: float = 0.2, stochastic: str = "all") -> MeanField:
    return mean_field(NETWORK.initial(_generator(0)), stochastic_names(NETWORK, stochastic), deviation)


def test_the_divergence_of_a_prior_from_itself_is_zero_and_else_positive() -> None:
    prior = normal_prior(NETWORK.initial(_generator(0)), 0.3)
    assert divergence(prior, prior).item() == pytest.approx(0.0, abs=1e-4)
    assert divergence(_posterior(), prior).item() > 1.0
    wider = MeanField(prior.means, {k: v + 0.1 for k, v in prior.log_deviations.items()})
    assert divergence(wider, prior).item() > 0.1


def test_the_divergence_is_the_mean_log_ratio_of_the_densities() -> None:
    """Monte-Carlo estimate of E_q[log q - log P]."""
    posterior = MeanField({"w": torch.tensor([0.3, -0.2])}, {"w": torch.log(torch.tensor([0.5, 0.1]))})
    prior = MeanField({"w": torch.tensor([0.0, 0.1])}, {"w": torch.log(torch.tensor([0.7, 0.4]))})
    q, p = (torch.distributions.Normal(d.means["w"], d.deviations()["w"]) for d in (posterior, prior))
    torch.manual_seed(0)
    w = q.sample((400_000,))
    estimate = (q.log_prob(w) - p.log_prob(w)).sum(dim=1).mean()
    assert divergence(posterior, prior).item() == pytest.approx(estimate.item(), rel=0.01)


def test_draws_repeat_with_their_seed_and_differ_without() -> None:
    posterior = _posterior()
    first, again, other = (posterior.draw(_generator(s)) for s in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(not torch.equal(first[name], other[name]) for name in first)


def test_draws_have_the_mean_and_deviation_of_the_posterior() -> None:
    posterior, generator = _posterior(0.2), _generator(1)
    weights = torch.stack([posterior.draw(generator)["hidden.1.weight"] for _ in range(20_000)])
    torch.testing.assert_close(weights.mean(0), posterior.means["hidden.1.weight"], atol=0.01, rtol=0)
    torch.testing.assert_close(weights.std(0), torch.full((6, 6), 0.2), atol=0.006, rtol=0)


@pytest.mark.parametrize("stochastic", ["all", "linear", "last"])
def test_local_reparameterisation_gives_each_point_the_distribution_of_weight_draws(stochastic: str) -> None:
    """Mean, variance and covariance of the two outputs, skips included."""
    posterior, draws = _posterior(0.15, stochastic), 60_000
    x = torch.randn((1, 4), generator=_generator(2))
    generator = _generator(3)
    local = stochastic_forward(NETWORK, posterior, x.expand(draws, -1), generator, "local")
    many = torch.cat([stochastic_forward(NETWORK, posterior, x, generator, "weights") for _ in range(draws // 4)])
    assert many.std(dim=0).min() > 0.05
    torch.testing.assert_close(local.mean(0), many.mean(0), atol=4 * many.std().item() / math.sqrt(len(many)), rtol=0)
    torch.testing.assert_close(local.T.cov(), many.T.cov(), atol=0.04 * many.T.cov().max().item(), rtol=0)


def test_points_are_independent_under_the_local_estimator_only() -> None:
    posterior, x = _posterior(), torch.ones((2, 4))
    local = stochastic_forward(NETWORK, posterior, x, _generator(0), "local")
    shared = stochastic_forward(NETWORK, posterior, x, _generator(0), "weights")
    assert not torch.equal(local[0], local[1])
    torch.testing.assert_close(shared[0], shared[1])


def test_parameters_without_spread_stay_at_their_means() -> None:
    posterior = _posterior(stochastic="last")
    drawn = posterior.draw(_generator(0))
    changed = {name for name in drawn if not torch.equal(drawn[name], posterior.means[name])}
    assert changed == {"output.weight", "output.bias", "output.skip"}


@pytest.mark.parametrize("estimator", ["local", "weights"])
def test_gradients_of_the_loss_are_finite_even_where_the_network_gets_zeros(estimator: str) -> None:
    posterior = _posterior(1e-4)
    leaves = [*posterior.means.values(), *posterior.log_deviations.values()]
    for leaf in leaves:
        leaf.requires_grad_()
    prior = normal_prior(posterior.detached().means, 0.1)
    x = torch.cat([torch.zeros((3, 4)), torch.randn((3, 4), generator=_generator(1))])
    terms = negative_elbo(
        NETWORK, posterior, prior, x, torch.ones(6), torch.ones(6), _generator(2), data_count=100.0, estimator=estimator
    )
    terms.total.backward()
    assert terms.total.item() == pytest.approx(terms.data.item() + terms.complexity.item())
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_the_complexity_term_falls_with_the_effective_number_of_data() -> None:
    posterior = _posterior()
    prior = normal_prior(posterior.means, 0.1)
    x, ones = torch.ones((3, 4)), torch.ones(3)

    def complexity(count: float) -> float:
        terms = negative_elbo(NETWORK, posterior, prior, x, ones, ones, _generator(0), data_count=count)
        return terms.complexity.item()

    assert complexity(10.0) > 0
    assert complexity(10.0) == pytest.approx(100 * complexity(1000.0))


def test_an_unknown_choice_of_stochastic_parameters_is_refused() -> None:
    with pytest.raises(InputError, match="linear"):
        stochastic_names(NETWORK, "some")
