"""Whether predicted standard deviations have the size of the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError
from rhoscale.intervals import half_width

LEVELS = (0.50, 0.68, 0.90, 0.95, 0.997)


@dataclass(frozen=True)
class Calibration:
    """How predicted deviations compare with errors.

    Attributes:
        coverage: For each nominal level the share of points whose error lies inside the interval.
        nll: Mean negative log-likelihood of the errors, with the constant; lower is better.
        sharpness: Root mean square of the predicted deviations, electrons per Bohr^3.
    """

    coverage: dict[float, float]
    nll: float
    sharpness: float

    def to_dict(self) -> dict[str, object]:
        """Plain values; levels in percent as keys."""
        shares = {f"{100 * level:g}": share for level, share in self.coverage.items()}
        return {"coverage": shares, "nll": self.nll, "sharpness": self.sharpness}


def calibration(errors: NDArray[np.floating], sigma: NDArray[np.floating], freedom: float = math.inf) -> Calibration:
    """Summarise coverage, likelihood (Gaussian) and sharpness.

    Args:
        errors: Prediction minus reference, any shape, electrons per Bohr^3.
        sigma: Predicted standard deviation, same shape and unit.
        freedom: Degrees of freedom of the intervals; infinite for Gaussian ones.

    Raises:
        InputError: The shapes differ, or a deviation is not positive.
    """
    return Calibration(
        coverage(errors, sigma, freedom=freedom), negative_log_likelihood(errors, sigma), sharpness(sigma)
    )


def coverage(
    errors: NDArray[np.floating],
    sigma: NDArray[np.floating],
    levels: tuple[float, ...] = LEVELS,
    freedom: float = math.inf,
) -> dict[float, float]:
    """Share of errors inside the central interval of each level (:func:`rhoscale.intervals.half_width`).

    share(p) = mean( |error| <= sigma z_p )
    """
    ratio = np.abs(_checked(errors, sigma))
    return {level: float(np.mean(ratio <= half_width(level, freedom))) for level in levels}


def negative_log_likelihood(errors: NDArray[np.floating], sigma: NDArray[np.floating]) -> float:
    """Mean of -log N(error | 0, sigma^2), constant included (paper, eq. 5, up to sign and constant)."""
    ratio = _checked(errors, sigma)
    logs = np.log(np.asarray(sigma, dtype=np.float64))
    return float(np.mean(0.5 * np.log(2 * np.pi) + logs + 0.5 * ratio**2))


def sharpness(sigma: NDArray[np.floating]) -> float:
    """Root mean square of the predicted deviations; of two calibrated models the sharper one knows more."""
    return float(np.sqrt(np.mean(np.square(sigma, dtype=np.float64))))


def _checked(errors: NDArray[np.floating], sigma: NDArray[np.floating]) -> NDArray[np.float64]:
    deviations = np.asarray(sigma, dtype=np.float64)
    if np.shape(errors) != deviations.shape or deviations.size == 0:
        raise InputError(
            f"errors of shape {np.shape(errors)} and deviations of shape {deviations.shape} do not belong together; "
            f"expected one shape; give both on the same points"
        )
    smallest = float(deviations.min())
    if not smallest > 0:
        raise InputError(
            f"a predicted deviation is {smallest:g}; expected positive numbers; "
            f"leave points without an uncertainty out of the comparison"
        )
    return np.asarray(np.asarray(errors, dtype=np.float64) / deviations)
