"""Correct the size of predicted standard deviations on trajectories that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rhoscale.errors import InputError
from rhoscale.uncertainty.decomposition import Uncertainty


@dataclass(frozen=True)
class Recalibration:
    """Two factors and a floor,

        sigma_al'^2 = (a sigma_al)^2 + f^2,    sigma_ep' = e sigma_ep.

    Attributes:
        aleatoric: Factor a on the noise.
        epistemic: Factor e on the spread of the draws.
        floor: Noise f below which no point is trusted, electrons per Bohr^3.
    """

    aleatoric: float = 1.0
    epistemic: float = 1.0
    floor: float = 0.0

    def noise(self, aleatoric: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the first line to predicted noise, electrons per Bohr^3."""
        return np.asarray(np.hypot(np.float32(self.aleatoric) * aleatoric, np.float32(self.floor)))

    def __call__(self, raw: Uncertainty) -> Uncertainty:
        """Apply both lines; the mean stays."""
        noise = self.noise(raw.aleatoric)
        spread = np.float32(self.epistemic) * raw.epistemic
        return Uncertainty(raw.mean, noise, spread, np.hypot(noise, spread))

    def to_dict(self) -> dict[str, float]:
        """The three numbers as plain values."""
        return {"aleatoric": self.aleatoric, "epistemic": self.epistemic, "floor": self.floor}

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Recalibration:
        """Rebuild from :meth:`to_dict`."""
        return cls(float(values["aleatoric"]), float(values["epistemic"]), float(values["floor"]))


def fit_recalibration(
    errors: NDArray[np.floating], aleatoric: NDArray[np.floating], epistemic: NDArray[np.floating]
) -> Recalibration:
    """Choose the three numbers that make validation errors most likely.

        maximise  sum_i log N(error_i | 0, a^2 al_i^2 + e^2 ep_i^2 + f^2),    e >= 1

    On trajectories like the training ones the noise explains nearly everything, and an unbounded fit would switch the
    epistemic part off (measured: e = 0), which is there for structures that are not like them. So it is never
    made smaller.

    Args:
        errors: Prediction minus reference on validation snapshots [n], electrons per Bohr^3.
        aleatoric: Predicted noise [n], same unit.
        epistemic: Predicted spread of the draws [n], same unit.

    Raises:
        InputError: Fewer than ten errors, or values that are not finite.
    """
    stacked = np.stack([np.asarray(errors), np.asarray(aleatoric), np.asarray(epistemic)]).astype(np.float64)
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

    def loss(log_squares: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factors = np.exp(log_squares)
        variance = factors[0] * squares[1] + factors[1] * squares[2] + factors[2] + 1e-12
        slope = 0.5 * (1.0 / variance - squares[0] / variance**2)
        gradient = np.array([np.mean(slope * squares[1]), np.mean(slope * squares[2]), np.mean(slope)]) * factors
        return float(np.mean(0.5 * np.log(variance) + 0.5 * squares[0] / variance)), gradient

    starts = ([0.0, 0.0, -8.0], [0.0, 4.0, -8.0], [-4.0, 0.0, -2.0])  # the loss has more than one valley
    bounds = [(-12.0, 12.0), (0.0, 12.0), (-12.0, 12.0)]
    best = min((minimize(loss, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts), key=lambda r: r.fun)
    factor = np.exp(0.5 * best.x)
    return Recalibration(float(factor[0]), float(factor[1]), float(factor[2] * unit))
