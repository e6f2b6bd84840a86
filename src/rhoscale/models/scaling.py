"""Between physical values and the numbers of size one that a network sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rhoscale.errors import InputError

ROWS = 65_536  # of features in double precision at a time


@dataclass(frozen=True)
class Scaling:
    """Standardisation of features and density.

    Attributes:
        feature_mean: Over the training points [d].
        feature_deviation: Over the training points [d]; 1 where a feature is constant.
        shift: Mean of the target (density minus prior mean), electrons per Bohr^3.
        scale: Standard deviation of the target, electrons per Bohr^3.
    """

    feature_mean: Tensor
    feature_deviation: Tensor
    shift: float
    scale: float

    @classmethod
    def of(cls, features: NDArray[np.float32], residuals: NDArray[np.floating]) -> Scaling:
        """Measure the scaling of a set of training points.

        Args:
            features: [n, d].
            residuals: Density minus prior mean [n], electrons per Bohr^3.

        Raises:
            InputError: The residuals are all equal, or something is not finite.
        """
        mean = features.mean(axis=0, dtype=np.float64)
        squares = sum(
            np.square(part - mean).sum(axis=0) for part in np.array_split(features, len(features) // ROWS + 1)
        )
        deviation = np.sqrt(squares / max(len(features), 1))
        scale = float(np.std(residuals, dtype=np.float64))
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and np.isfinite(scale) and scale > 0):
            raise InputError(
                f"training points cannot be scaled (deviation of the density {scale:.3g}); expected finite features "
                f"and densities that differ from point to point; check the snapshots"
            )
        deviation[deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-30)] = 1.0
        as_tensor = [torch.from_numpy(values.astype(np.float32)) for values in (mean, deviation)]
        return cls(as_tensor[0], as_tensor[1], float(np.mean(residuals, dtype=np.float64)), scale)

    def features(self, raw: Tensor) -> Tensor:
        """Standardise features [n, d]."""
        return (raw - self.feature_mean.to(raw.device)) / self.feature_deviation.to(raw.device)

    def target(self, residual: Tensor) -> Tensor:
        """Scale densities minus prior mean [n]."""
        return (residual - self.shift) / self.scale

    def residual(self, scaled: Tensor) -> Tensor:
        """Undo :meth:`target`; electrons per Bohr^3."""
        return scaled * self.scale + self.shift
