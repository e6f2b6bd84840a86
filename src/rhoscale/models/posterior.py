"""Gaussian mean-field distributions over the parameters of a network.

    q(w | theta) = prod_i N(w_i | mu_i, s_i^2),    P(w) = prod_i N(w_i | m_i, p_i^2)

(paper, IV.E). Parameters outside the posterior's ``log_deviations`` are plain numbers: they have no spread and
do not enter the divergence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rhoscale.errors import InputError
from rhoscale.models.dense_network import DenseNet, Parameters

STOCHASTIC = ("all", "linear", "last")
ESTIMATORS = ("local", "weights")


@dataclass(frozen=True)
class MeanField:
    """A diagonal Gaussian over parameters.

    Attributes:
        means: Mean of every parameter; kept in alphabetical order, so that a seed and a sum of terms give the
            same bits after reading from a file.
        log_deviations: Logarithm of the standard deviation, for the parameters that have one; same order.
    """

    means: dict[str, Tensor]
    log_deviations: dict[str, Tensor]

    def __post_init__(self) -> None:
        object.__setattr__(self, "means", dict(sorted(self.means.items())))
        object.__setattr__(self, "log_deviations", dict(sorted(self.log_deviations.items())))

    @property
    def points(self) -> tuple[dict[str, Tensor], ...]:
        """The parameters whose densities the point estimate is the mean of: the means alone."""
        return (self.means,)

    def deviations(self) -> dict[str, Tensor]:
        """Standard deviation of the stochastic parameters."""
        return {name: torch.exp(value) for name, value in self.log_deviations.items()}

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw one set of parameters, w = mu + s * epsilon (gradients flow to both)."""
        drawn = dict(self.means)
        for name, value in self.log_deviations.items():
            noise = torch.randn(value.shape, generator=generator, device=value.device)
            drawn[name] = torch.addcmul(self.means[name], torch.exp(value), noise)
        return drawn

    def detached(self) -> MeanField:
        """A copy without gradients."""
        return MeanField(
            {name: value.detach().clone() for name, value in self.means.items()},
            {name: value.detach().clone() for name, value in self.log_deviations.items()},
        )

    def to(self, device: torch.device | str) -> MeanField:
        """The same distribution on another device."""
        return MeanField(
            {name: value.to(device) for name, value in self.means.items()},
            {name: value.to(device) for name, value in self.log_deviations.items()},
        )


def stochastic_names(network: DenseNet, which: str) -> frozenset[str]:
    """Parameters that get a spread: ``all``, ``linear`` (weights and biases, not skips) or ``last`` (output layer).

    Raises:
        InputError: Another word.
    """
    if which not in STOCHASTIC:
        raise InputError(
            f"stochastic parameters {which!r} are unknown; expected one of {', '.join(STOCHASTIC)}; choose one"
        )
    names = frozenset(network.parameter_shapes)
    if which == "last":
        return frozenset(name for name in names if name.startswith("output."))
    return names if which == "all" else frozenset(name for name in names if not name.endswith(".skip"))


def mean_field(means: Parameters, stochastic: frozenset[str], deviation: float) -> MeanField:
    """Start a posterior at given means with one standard deviation for all stochastic parameters."""
    return MeanField(
        {name: value.detach().clone() for name, value in means.items()},
        {name: torch.full_like(value, math.log(deviation)) for name, value in means.items() if name in stochastic},
    )


def normal_prior(means: Parameters, deviation: float) -> MeanField:
    """The prior N(0, sigma_p^2) over all parameters; skip coefficients lie around their neutral 1 / sqrt(terms)."""
    centres = {
        name: torch.full_like(value, 1.0 / math.sqrt(len(value)) if name.endswith(".skip") else 0.0)
        for name, value in means.items()
    }
    return MeanField(centres, {name: torch.full_like(value, math.log(deviation)) for name, value in means.items()})


def divergence(posterior: MeanField, prior: MeanField) -> Tensor:
    """Kullback-Leibler divergence of the posterior from the prior, in nats (paper, eq. 3, first term).

    KL[q || P] = sum_i  log(p_i / s_i) + (s_i^2 + (mu_i - m_i)^2) / (2 p_i^2) - 1/2
    """
    total = torch.zeros((), dtype=torch.float32, device=next(iter(posterior.means.values())).device)
    for name, log_s in posterior.log_deviations.items():
        log_p = prior.log_deviations[name]
        shift = (posterior.means[name] - prior.means[name]) * torch.exp(-log_p)
        total = total + torch.sum(log_p - log_s + 0.5 * (torch.exp(2 * (log_s - log_p)) + shift**2 - 1.0))
    return total


def stochastic_forward(
    network: DenseNet, posterior: MeanField, features: Tensor, generator: torch.Generator, estimator: str = "local"
) -> Tensor:
    """Evaluate the network with random parameters, so that gradients with respect to the posterior are unbiased.

    ``weights`` draws one set of parameters for the batch. ``local`` draws, for every point on its own, the
    pre-activations that random weights would give (local reparameterisation, Kingma, Salimans and Welling 2015),

        z = u mu_W^T + mu_b + sqrt(u^2 (s_W^2)^T + s_b^2) * epsilon,

    and skip coefficients for each point. Each parameter enters once between features and outputs, skips
    included, so a point's output has the same distribution either way; only points become independent.

    Args:
        network: The network.
        posterior: Distribution of its parameters.
        features: Standardised features [n, inputs].
        generator: Source of the random numbers, on the device of the features.
        estimator: ``local`` or ``weights``.
    """
    if estimator == "weights":
        return network.forward(posterior.draw(generator), features)
    deviations = posterior.deviations()
    parameters = dict(posterior.means)
    for name in deviations:
        if name.endswith(".skip"):
            shape = (len(features), len(deviations[name]))
            noise = torch.randn(shape, generator=generator, device=features.device)
            parameters[name] = torch.addcmul(posterior.means[name], deviations[name], noise)

    def linear(name: str, u: Tensor) -> Tensor:
        weight, bias = f"{name}.weight", f"{name}.bias"
        z = functional.linear(u, parameters[weight], parameters[bias])
        if weight not in deviations:
            return z
        variance = functional.linear(u * u, deviations[weight] ** 2, deviations[bias] ** 2)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        return torch.addcmul(z, torch.sqrt(variance + 1e-20), noise)

    return network.forward(parameters, features, linear)
