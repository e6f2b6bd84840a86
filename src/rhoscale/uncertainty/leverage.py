"""How far the features of a point are from those of training: the leverage of a linear fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import ModelError

FloatArray = NDArray[np.float32]

SHRINKAGE = 1e-2  # lambda, in variances of a standardised feature; what varies less does not say where a point is
SHARE = 0.5  # of the trace, from the leading directions that count: they tell errors as well as all do, for less
DIRECTIONS = 64  # that count at least
_ROWS = 4096  # at a time: what the product writes stays in the cache


@dataclass(frozen=True)
class Leverage:
    """The leverage of points under the features of training, over its mean there,

        h(x) = (x - m)^T (C + lambda D)^-1 (x - m) / tr[C (C + lambda D)^-1] = |W^T (x - m)|^2,

    with mean m and covariance C of the training features and D the diagonal of C, in the leading directions of
    D^-1/2 C D^-1/2 alone. With all of them it is the diagonal of the hat matrix of ridge regression up to a factor
    (D. C. Hoaglin and R. E. Welsch, Am. Stat. 32, 17, 1978), the posterior variance of a linear model in units of its
    mean over training, and a Mahalanobis distance squared.

    Attributes:
        centre: m [d].
        whitening: W [d, r], leading directions first.
    """

    centre: FloatArray
    whitening: FloatArray

    @classmethod
    def of(cls, centre: NDArray[np.float64], covariance: NDArray[np.float64]) -> Leverage:
        """Prepare from mean [d] and covariance [d, d] of the training features; constant features do not count."""
        variances = np.diag(covariance)
        varies = variances > 1e-13 * (variances + np.square(centre))
        scale = np.sqrt(np.where(varies, variances, np.inf))
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        varying = int(np.count_nonzero(values > 0.01 * SHRINKAGE))
        values, vectors = values[::-1][:varying], vectors[:, ::-1][:, :varying]
        trace = np.cumsum(values / (values + SHRINKAGE))
        kept = min(varying, max(DIRECTIONS, int(np.searchsorted(trace, SHARE * trace[-1])) + 1))
        values, vectors, mean = values[:kept], vectors[:, :kept], float(trace[kept - 1])
        whitening = vectors / scale[:, None] / np.sqrt((values + SHRINKAGE) * mean)
        return cls(centre.astype(np.float32), whitening.astype(np.float32))

    def __call__(self, features: NDArray[np.floating]) -> FloatArray:
        """Evaluate h [n] at points with the given features [n, d]; 1 on average in training.

        Raises:
            ModelError: The features are not those of training.
        """
        if features.ndim != 2 or features.shape[1] != len(self.centre):
            raise ModelError(
                f"the model's range is that of {len(self.centre)} features; got shape {features.shape}; "
                f"compute them with the model's own descriptor_spec"
            )
        found = np.empty(len(features), dtype=np.float32)
        for start in range(0, len(features), _ROWS):
            rows = np.asarray(features[start : start + _ROWS], dtype=np.float32) - self.centre
            found[start : start + _ROWS] = np.square(rows @ self.whitening).sum(axis=1)
        return found

    def to_arrays(self) -> dict[str, FloatArray]:
        """Both arrays by name."""
        return {"centre": self.centre, "whitening": self.whitening}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Leverage:
        """Rebuild from :meth:`to_arrays`.

        Raises:
            ModelError: An array is missing or the sizes contradict each other.
        """
        try:
            centre, whitening = (np.asarray(arrays[name], dtype=np.float32) for name in ("centre", "whitening"))
        except KeyError as error:
            raise ModelError(f"the model's range lacks the array {error}; copy the whole model again") from error
        if centre.ndim != 1 or whitening.ndim != 2 or len(centre) != len(whitening):
            raise ModelError(
                f"the arrays of the model's range have shapes {centre.shape} and {whitening.shape}; expected "
                f"[features] and [features, directions]; copy the whole model again"
            )
        return cls(centre, whitening)


def excess_leverage(leverage: NDArray[np.floating], beyond: float = 1.0) -> FloatArray:
    """How far a leverage h lies beyond that of training, sqrt(max(0, h^2 - b^2)), no unit.

    Args:
        leverage: h [n].
        beyond: b, up to which it counts as that of training.
    """
    return np.asarray(np.sqrt(np.maximum(np.square(leverage) - np.float32(beyond**2), np.float32(0.0))))
