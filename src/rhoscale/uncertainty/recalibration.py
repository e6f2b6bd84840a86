"""Correct the size of predicted standard deviations, and learn the errors' tails, on trajectories of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rhoscale.errors import InputError
from rhoscale.intervals import fit_freedom, half_width
from rhoscale.uncertainty.decomposition import Uncertainty
from rhoscale.uncertainty.leverage import excess_leverage

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Recalibration:
    """Two factors, one of two scales, and the tails of the errors,

        sigma_al'^2 = (a sigma_al)^2 + f^2,    sigma_ep'^2 = (e sigma_ep)^2 + l^2 max(0, h^2 - b^2),

    where h is the leverage of the features (1 on average in training). Single networks that know it have f = 0,
    ensembles and others l = 0. Up to the leverage b the noise has seen in training what the linear part leaves out, and
    holds it already. Errors over total deviations follow Student's t distribution (:mod:`rhoscale.intervals`).

    Attributes:
        aleatoric: Factor a on the noise.
        epistemic: Factor e on the spread of the draws.
        floor: Noise f below which no point is trusted, electrons per Bohr^3.
        leverage: l, at leverages far above b the deviation for each unit of leverage, because the linear part leaves
            out its second order, electrons per Bohr^3.
        beyond: b; 1, and 0 in models of before.
        freedom: Degrees of freedom of the errors' distribution; infinite (Gaussian) in models of before and in those
            without a leverage's scale.
    """

    aleatoric: float = 1.0
    epistemic: float = 1.0
    floor: float = 0.0
    leverage: float = 0.0
    beyond: float = 1.0
    freedom: float = math.inf

    def noise(self, aleatoric: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the first line to predicted noise, electrons per Bohr^3."""
        return np.asarray(np.hypot(np.float32(self.aleatoric) * aleatoric, np.float32(self.floor)))

    def __call__(self, raw: Uncertainty, leverage: NDArray[np.float32] | None = None) -> Uncertainty:
        """Apply both lines at points of a leverage [n]; without it l is left out. The mean stays."""
        noise = self.noise(raw.aleatoric)
        spread = np.float32(self.epistemic) * raw.epistemic
        if leverage is not None:
            spread = np.hypot(spread, np.float32(self.leverage) * excess_leverage(leverage, self.beyond))
        return Uncertainty(raw.mean, noise, spread)

    def half_width(self, level: float) -> float:
        """How many total deviations on either side hold a share ``level`` of the errors."""
        return half_width(level, self.freedom)

    def to_dict(self) -> dict[str, float]:
        """The numbers as plain values; an infinite ``freedom`` is left out."""
        numbers = {
            "aleatoric": self.aleatoric,
            "epistemic": self.epistemic,
            "floor": self.floor,
            "leverage": self.leverage,
            "beyond": self.beyond,
        }
        return numbers if math.isinf(self.freedom) else {**numbers, "freedom": self.freedom}

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Recalibration:
        """Rebuild from :meth:`to_dict`; without ``leverage`` or ``beyond`` these are 0."""
        known = {"leverage": 0.0, "beyond": 0.0, "freedom": math.inf, **values}
        names = ("aleatoric", "epistemic", "floor", "leverage", "beyond", "freedom")
        return cls(*(float(known[name]) for name in names))


def fit_recalibration(
    errors: Numbers, aleatoric: Numbers, epistemic: Numbers, leverage: Numbers | None = None, scale: float = 0.0
) -> Recalibration:
    """Choose the numbers that make held-out errors most likely.

        maximise  sum_i log N(error_i | 0, a^2 al_i^2 + e^2 ep_i^2 + l^2 max(0, h_i^2 - 1) + f^2),    e >= 1

    over a, e and f or, where the leverage has a scale l, over a and e with f = 0; these have the degrees of freedom of
    best likelihood then, so that three numbers are fitted in either case. On trajectories like the training ones the
    noise explains nearly everything, and an unbounded fit would switch the epistemic part off (measured: e = 0), which
    is there for structures that are not like them. So it is never made smaller, and l is not chosen here.

    Args:
        errors: Prediction minus reference on held-out snapshots [n], electrons per Bohr^3.
        aleatoric: Predicted noise [n], same unit.
        epistemic: Predicted spread of the draws [n], same unit.
        leverage: h [n], 1 on average in training; None where the model does not know it.
        scale: l, electrons per Bohr^3.

    Raises:
        InputError: Fewer than ten errors, or values that are not finite.
    """
    far = np.zeros(np.shape(errors)) if leverage is None else scale * excess_leverage(np.asarray(leverage))
    stacked = np.stack([np.asarray(errors), np.asarray(aleatoric), np.asarray(epistemic), far]).astype(np.float64)
    if stacked.ndim != 2 or stacked.shape[1] < 10 or not np.isfinite(stacked).all():
        raise InputError(
            f"recalibration got arrays of shape {stacked.shape[1:]}; expected at least ten finite errors with their "
            f"deviations; give whole validation snapshots"
        )
    unit = float(np.sqrt(np.mean(stacked[0] ** 2)))
    if unit == 0.0:
        raise InputError(
            "all validation errors are exactly zero; expected predictions that differ from their labels; "
            "check that validation snapshots are not predicted from themselves"
        )
    squares = (stacked / unit) ** 2
    floor = 0.0 if scale > 0 else 1.0

    def loss(log_squares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factors = np.exp(log_squares) * np.array([1.0, 1.0, floor])
        variance = factors[0] * squares[1] + factors[1] * squares[2] + squares[3] + factors[2] + 1e-12
        slope = 0.5 * (1.0 / variance - squares[0] / variance**2)
        gradient = np.array([np.mean(slope * squares[1]), np.mean(slope * squares[2]), np.mean(slope)]) * factors
        return float(np.mean(0.5 * np.log(variance) + 0.5 * squares[0] / variance)), gradient

    starts = ([0.0, 0.0, -8.0], [0.0, 4.0, -8.0], [-4.0, 0.0, -2.0])  # the loss has more than one valley
    bounds = [(-12.0, 12.0), (0.0, 12.0), (-12.0, 12.0)]
    best = min((minimize(loss, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts), key=lambda r: r.fun)
    factor = np.exp(0.5 * best.x)
    found = Recalibration(float(factor[0]), float(factor[1]), floor * float(factor[2] * unit), float(scale))
    if scale == 0.0:
        return found
    variance = (found.aleatoric * stacked[1]) ** 2 + (found.epistemic * stacked[2]) ** 2 + stacked[3] ** 2
    return replace(found, freedom=fit_freedom(stacked[0] / np.sqrt(variance)))
