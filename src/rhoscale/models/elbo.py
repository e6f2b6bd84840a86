"""The loss of a Bayesian network, and how many data the grid points of a band-limited field are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rhoscale.models.dense_network import DenseNet
from rhoscale.models.likelihood import negative_log_likelihood
from rhoscale.models.posterior import MeanField, divergence, stochastic_forward


@dataclass(frozen=True)
class LossTerms:
    """Terms of the loss for each effective datum; ``total`` carries the gradient.

    Attributes:
        total: ``data`` + ``complexity``.
        data: Expected negative log-likelihood of a point.
        complexity: Divergence from the prior, divided by the effective number of data.
    """

    total: Tensor
    data: Tensor
    complexity: Tensor


def negative_elbo(
    network: DenseNet,
    posterior: MeanField,
    prior: MeanField,
    features: Tensor,
    targets: Tensor,
    weights: Tensor,
    generator: torch.Generator,
    *,
    data_count: float,
    beta: float = 0.0,
    estimator: str = "local",
) -> LossTerms:
    """Estimate the loss of eq. 3, divided by the effective number of data N, from one minibatch.

        F / N = KL[q || P] / N + 1/B sum_i v_i E_q[-log P(rho_i | x_i, w)]            (paper, eq. 3)

    Dividing eq. 3 by the number of grid points instead would count each independent value of a band-limited
    field many times; the divergence, and with it the epistemic part, would vanish.

    Args:
        network: The network.
        posterior: Distribution q of its parameters.
        prior: Distribution P.
        features: Standardised features [B, d].
        targets: Scaled densities [B].
        weights: Importance weights v_i, mean 1 over the data set [B].
        generator: Source of the draws.
        data_count: Effective number of data N.
        beta: See :func:`rhoscale.models.likelihood.negative_log_likelihood`.
        estimator: See :func:`rhoscale.models.posterior.stochastic_forward`.
    """
    outputs = stochastic_forward(network, posterior, features, generator, estimator)
    data = torch.mean(weights * negative_log_likelihood(outputs, targets, beta))
    complexity = divergence(posterior, prior) / data_count
    return LossTerms(data + complexity, data, complexity)


def fourier_modes(volume: float, spacing: float) -> float:
    """Independent values of a field in a volume that a grid of a given spacing can hold without direction.

        N = V k^3 / (6 pi^2),    k = pi / spacing

    counts the reciprocal lattice vectors in the largest sphere of waves that the grid holds; each stands for
    one real number of a real field.

    Args:
        volume: Of the cell, Bohr^3.
        spacing: Of the grid that resolves the density, Bohr.
    """
    return volume * (math.pi / spacing) ** 3 / (6.0 * math.pi**2)
