"""Gaussian likelihood with a noise variance that depends on the point."""

from __future__ import annotations

import torch
from torch import Tensor

LOG_VARIANCE_LIMITS = (-25.0, 15.0)  # of the scaled target; keeps exp(-log variance) finite in float32


def negative_log_likelihood(outputs: Tensor, targets: Tensor, beta: float = 0.0) -> Tensor:
    """Minus the log-likelihood of each scaled target, without its constant, shape [n].

        -log P(rho_i | x_i, w) = 1/2 log sigma_i^2 + (f(x_i) - rho_i)^2 / (2 sigma_i^2)       (paper, eq. 5)

    With ``beta`` > 0 each term is multiplied by sigma_i^(2 beta) held constant, so that points believed noisy keep
    their weight in the fit of the mean (Seitzer et al. 2022), over its mean, so that the data as a whole keep theirs
    against a prior; 0 is eq. 5, 1 fits the mean by squared error.

    Args:
        outputs: Scaled density and log noise variance [n, 2].
        targets: Scaled density [n].
        beta: Exponent between 0 and 1.
    """
    log_variance = log_noise_variance(outputs)
    terms = 0.5 * (log_variance + (outputs[:, 0] - targets) ** 2 * torch.exp(-log_variance))
    if not beta:
        return terms
    factors = torch.exp(beta * log_variance.detach())
    return terms * (factors / factors.mean())


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the scaled density of each point, shape [n]."""
    return (outputs[:, 0] - targets) ** 2


def log_noise_variance(outputs: Tensor) -> Tensor:
    """The network's second output, kept within limits that float32 bears."""
    return torch.clamp(outputs[:, 1], *LOG_VARIANCE_LIMITS)
