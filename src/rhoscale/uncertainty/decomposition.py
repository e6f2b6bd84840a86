"""From draws of a posterior to the aleatoric, epistemic and total standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError


@dataclass(frozen=True)
class Uncertainty:
    """Predictive mean and standard deviations, all of one shape and in one unit (electrons per Bohr^3).

    Attributes:
        mean: Average over the draws.
        aleatoric: Noise that the model sees in the labels; no further data removes it.
        epistemic: Spread of the draws; grows where data are missing.
    """

    mean: NDArray[np.float32]
    aleatoric: NDArray[np.float32]
    epistemic: NDArray[np.float32]

    @property
    def total(self) -> NDArray[np.float32]:
        """sqrt(aleatoric^2 + epistemic^2)."""
        return np.asarray(np.hypot(self.aleatoric, self.epistemic))


def decompose(means: NDArray[np.floating], noise_variances: NDArray[np.floating]) -> Uncertainty:
    """Split the predictive variance into label noise and spread of the draws.

        var(rho) = E_w[sigma_w^2] + E_w[rho_w^2] - E_w[rho_w]^2        (paper, eq. 4, by the law of total variance)

    The paper prints sigma^2 for the first term; sigma depends on the drawn weights, so its mean over the draws is
    taken. The second term is the plain mean of squares over the N_s draws, as in eq. 4.

    Args:
        means: Predicted values of each draw [draws, ...].
        noise_variances: Predicted noise variance of each draw, same shape, square of the unit of ``means``.

    Raises:
        InputError: The shapes differ, or there is no draw.
    """
    if means.shape != noise_variances.shape or means.ndim == 0 or len(means) == 0:
        raise InputError(
            f"means {means.shape} and noise variances {noise_variances.shape} do not belong together; "
            f"expected one shape [draws, ...] with at least one draw; pass both from the same draws"
        )
    return Uncertainty(
        mean=means.mean(axis=0, dtype=np.float64).astype(np.float32),
        aleatoric=np.sqrt(noise_variances.mean(axis=0, dtype=np.float64)).astype(np.float32),
        epistemic=means.std(axis=0, dtype=np.float64).astype(np.float32),
    )
