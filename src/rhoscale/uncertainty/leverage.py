"""How far the features of a point are from those of training: the leverage of a linear fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf

from rhoscale.errors import ModelError

FloatArray = NDArray[np.float32]

SHRINKAGE = 1e-2  # lambda, in variances of a standardised feature; what varies less does not say where a point is
LEFT = 0.05  # of the variance of all standardised features, that those which count do not explain
FEATURES = 64  # that count at least
_ROWS = 4096  # at a time: what the product writes stays in the cache


@dataclass(frozen=True)
class Leverage:
    """The leverage of points under the features of training, over its mean there,

        h(x) = (x - m)^T (C + lambda D)^-1 (x - m) / tr[C (C + lambda D)^-1] = |W^T (x - m)|^2,

    with mean m and covariance C of the training features, as they were weighed, and D the diagonal of C. With all
    features it is the diagonal of the hat matrix of ridge regression up to a factor (D. C. Hoaglin and R. E. Welsch,
    Am. Stat. 32, 17, 1978), the posterior variance of a linear model in units of its mean over training, and a
    Mahalanobis distance squared.

    Descriptors repeat themselves, so few features tell nearly all: a Cholesky decomposition of their correlations picks
    as its next pivot the feature that those before explain least (H. Harbrecht, M. Peters and R. Schneider, Appl.
    Numer. Math. 62, 428, 2012), until all explain the rest.

    Attributes:
        centre: m of all features [d].
        chosen: Which features count, ascending [s].
        whitening: W [s, r].
    """

    centre: FloatArray
    chosen: NDArray[np.int64]
    whitening: FloatArray

    @classmethod
    def of(cls, centre: NDArray[np.float64], covariance: NDArray[np.float64]) -> Leverage:
        """Prepare from mean [d] and covariance [d, d] of the training features; constant features do not count."""
        variances = np.diag(covariance)
        varying = np.flatnonzero(variances > 1e-13 * (variances + np.square(centre)))
        scale = np.sqrt(variances[varying])
        correlation = covariance[np.ix_(varying, varying)] / np.outer(scale, scale)
        pivots = _pivots(correlation)
        values, vectors = np.linalg.eigh(correlation[np.ix_(pivots, pivots)])
        told = values > 0.01 * SHRINKAGE
        values, vectors = values[told], vectors[:, told]
        trace = float(np.sum(values / (values + SHRINKAGE)))
        whitening = vectors / scale[pivots, None] / np.sqrt((values + SHRINKAGE) * trace)
        return cls(centre.astype(np.float32), varying[pivots].astype(np.int64), whitening.astype(np.float32))

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
            rows = np.asarray(features[start : start + _ROWS, self.chosen], dtype=np.float32) - self.centre[self.chosen]
            found[start : start + _ROWS] = np.square(rows @ self.whitening).sum(axis=1)
        return found

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by name; without ``chosen`` where all features count, as in models that knew no choice."""
        arrays: dict[str, NDArray[np.generic]] = {"centre": self.centre, "whitening": self.whitening}
        return arrays if self.counts_all else {**arrays, "chosen": self.chosen}

    @property
    def counts_all(self) -> bool:
        """Whether every feature counts."""
        return len(self.chosen) == len(self.centre)

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
        chosen = np.asarray(arrays.get("chosen", np.arange(centre.size)), dtype=np.int64)
        fit = centre.ndim == chosen.ndim == 1 and whitening.ndim == 2 and len(chosen) == len(whitening)
        if not fit or not np.isin(chosen, np.arange(centre.size)).all():
            raise ModelError(
                f"the arrays of the model's range have shapes {centre.shape} and {whitening.shape}, for {chosen.size} "
                f"chosen features; expected [features] and [chosen, directions]; copy the whole model again"
            )
        return cls(centre, chosen, whitening)


def _pivots(correlation: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of a correlation matrix that explain all but LEFT of its trace, FEATURES of them at least, ascending."""
    factor, order, rank, _ = dpstrf(correlation)  # U^T U of the reordered matrix, the largest remainder first
    explained = np.cumsum(np.square(np.triu(factor)[:rank]).sum(axis=1))
    needed = int(np.searchsorted(explained, (1.0 - LEFT) * len(correlation))) + 1
    return np.sort(order[: min(rank, max(FEATURES, needed))].astype(np.intp) - 1)


def excess_leverage(leverage: NDArray[np.floating], beyond: float = 1.0) -> FloatArray:
    """How far a leverage h lies beyond that of training, sqrt(max(0, h^2 - b^2)), no unit.

    Args:
        leverage: h [n].
        beyond: b, up to which it counts as that of training.
    """
    return np.asarray(np.sqrt(np.maximum(np.square(leverage) - np.float32(beyond**2), np.float32(0.0))))
