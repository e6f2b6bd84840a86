"""Ridge regression on features: a prior mean, and a number that every model is judged against."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.errors import InputError, ModelError

FloatArray = NDArray[np.float64]
Batch = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]

ROWS = 65_536  # of features in double precision at a time
ROUNDED = 2.0**-24
"""Largest relative error of a number rounded to float32."""
STRENGTHS = tuple(float(s) for s in 10.0 ** np.arange(-12.0, 0.1, 0.5))


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"})
def _sum_rows(features, coefficients, start, sums):  # type: ignore[no-untyped-def]
    """Sum in double precision without a double copy of the features: that copy cost more than all else."""
    for i in range(len(features)):
        row = features[i]
        total = start
        for j in range(len(coefficients)):
            total += np.float64(row[j]) * coefficients[j]
        sums[i] = total


@dataclass(frozen=True)
class LinearBaseline:
    """A density that is linear in the features,

        rho(r) = b + sum_j a_j (x_j(r) - m_j).

    Attributes:
        coefficients: a [features], electrons per Bohr^3 and unit of the feature.
        centre: m [features], the weighted mean of the training features.
        offset: b, the weighted mean of the training targets, electrons per Bohr^3.
        strength: Ridge strength that the fit chose, for standardised features.
    """

    coefficients: FloatArray
    centre: FloatArray
    offset: float
    strength: float

    def predict(self, features: NDArray[np.floating]) -> FloatArray:
        """Evaluate the density [n], electrons per Bohr^3, at points with the given features [n, features].

        Raises:
            ModelError: The features are not those that the baseline was fitted on.
        """
        if features.ndim != 2 or features.shape[1] != len(self.coefficients):
            raise ModelError(
                f"the linear baseline was fitted on {len(self.coefficients)} features; got shape {features.shape}; "
                f"use the descriptor that the baseline was fitted with"
            )
        density = np.empty(len(features))
        start = self.offset - float(self.coefficients @ self.centre)
        _sum_rows(np.ascontiguousarray(features), self.coefficients, start, density)
        return density

    def to_arrays(self) -> dict[str, FloatArray]:
        """The baseline as named double-precision arrays."""
        return {
            "linear.coefficients": self.coefficients,
            "linear.centre": self.centre,
            "linear.offset_and_strength": np.array([self.offset, self.strength]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]]) -> LinearBaseline:
        """Rebuild from :meth:`to_arrays`.

        Raises:
            ModelError: An array is missing or the sizes contradict each other.
        """
        try:
            coefficients, centre, rest = (
                np.asarray(arrays[f"linear.{name}"], dtype=np.float64)
                for name in ("coefficients", "centre", "offset_and_strength")
            )
        except KeyError as error:
            raise ModelError(f"the linear baseline lacks the array {error}; the model file is damaged") from error
        if coefficients.ndim != 1 or centre.shape != coefficients.shape or rest.shape != (2,):
            raise ModelError(
                f"the arrays of the linear baseline have shapes {coefficients.shape}, {centre.shape}, {rest.shape}; "
                f"expected [features], [features], [2]; the model file is damaged"
            )
        return cls(coefficients, centre, float(rest[0]), float(rest[1]))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over names and numbers."""
        digest = hashlib.sha256()
        for name, array in sorted(self.to_arrays().items()):
            digest.update(name.encode() + np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class NormalEquations:
    """Weighted second moments of features and target about fixed reference values; moments of parts add up.

    Attributes:
        reference: Feature values and, last, the target value that are subtracted [features + 1].
        moments: sum_i w_i z_i z_i^T [features + 2, features + 2], z = (features and target less their references, 1).
    """

    reference: FloatArray
    moments: FloatArray

    @classmethod
    def stream(cls, batches: Iterable[Batch], reference: FloatArray | None = None) -> NormalEquations:
        """Accumulate batches of features [n, d], targets [n] and weights [n] in double precision.

        Without a reference the means of the first rows are taken: sums of squares of large numbers that differ little
        would lose the difference. Batches are taken some rows at a time, as double precision needs three times their
        memory.

        Raises:
            InputError: There is no data, shapes disagree, or a value is not finite.
        """
        moments: FloatArray | None = None
        for features, targets, weights in _pieces(batches):
            table = np.column_stack([features, targets]).astype(np.float64)
            if reference is None:
                reference = table.mean(axis=0)
            if table.shape[1] != len(reference):
                raise InputError(
                    f"a batch has {table.shape[1] - 1} features; expected {len(reference) - 1}, as the ones before it"
                )
            rows = np.column_stack([table - reference, np.ones(len(table))])
            part = (rows * np.asarray(weights, dtype=np.float64)[:, None]).T @ rows
            if not np.isfinite(part).all():
                raise InputError("a batch holds features, targets or weights that are not finite; check the data set")
            moments = part if moments is None else moments + part
        if reference is None or moments is None or moments[-1, -1] <= 0:
            raise InputError("a linear fit needs at least one point of positive weight; got none")
        return cls(reference, moments)

    def __add__(self, other: NormalEquations) -> NormalEquations:
        if not np.array_equal(self.reference, other.reference):
            raise InputError("moments about different reference values cannot be added; give both the same reference")
        return NormalEquations(self.reference, self.moments + other.moments)

    def mean_square_error(self, baseline: LinearBaseline) -> float:
        """Weighted mean square error of a baseline on the accumulated points, without seeing them again."""
        shift = baseline.offset - self.reference[-1] + baseline.coefficients @ (self.reference[:-1] - baseline.centre)
        row = np.concatenate([baseline.coefficients, [-1.0, shift]])
        return float(max(0.0, row @ self.moments @ row / self.moments[-1, -1]))

    def rounding(self, baseline: LinearBaseline) -> float:
        """What rounding of the features, each by itself, does to a baseline over the spread of the target.

        Root mean square over the accumulated points of sum_j a_j e_j with independent e_j of the size of float32's
        rounding of x_j, in standard deviations of the target.
        """
        mean = self.moments[-1, :-1] / self.moments[-1, -1]
        squares = np.diag(self.moments)[:-1] / self.moments[-1, -1]
        sizes = (squares + 2 * mean * self.reference + self.reference**2)[:-1]  # mean squares of the features
        spread = np.sqrt(squares[-1] - mean[-1] ** 2)
        return float(ROUNDED * np.sqrt(baseline.coefficients**2 @ sizes) / spread)


def _pieces(batches: Iterable[Batch]) -> Iterator[Batch]:
    for features, targets, weights in batches:
        if not len(features) == len(targets) == len(weights):
            raise InputError(
                f"a batch has features of {len(features)} points, {len(targets)} targets and {len(weights)} weights; "
                f"expected as many of each"
            )
        for start in range(0, len(targets), ROWS):
            part = slice(start, start + ROWS)
            yield features[part], targets[part], weights[part]


def ridge_path(equations: NormalEquations, strengths: Sequence[float]) -> list[LinearBaseline]:
    """Solve the ridge problem for several strengths from one eigendecomposition.

        min_a  sum_i w_i (y_i - b - a.(x_i - m))^2 / sum_i w_i + strength sum_j (a_j s_j)^2

    with s_j the weighted standard deviation of feature j: the strength acts on standardised features.

    Args:
        equations: Moments of the training points.
        strengths: Ridge strengths, in units of the variance of a standardised feature (1).
    """
    weight = equations.moments[-1, -1]
    means = equations.moments[-1, :-1] / weight
    covariance = equations.moments[:-1, :-1] / weight - np.outer(means, means)
    variances = np.maximum(np.diag(covariance)[:-1], 0.0)
    noise = 1e-13 * np.diag(equations.moments)[:-2] / weight
    scale = np.sqrt(np.where(variances > noise, variances, np.inf))
    values, vectors = np.linalg.eigh(covariance[:-1, :-1] / np.outer(scale, scale))
    projections = vectors.T @ (covariance[:-1, -1] / scale)
    centre = equations.reference[:-1] + means[:-1]
    offset = float(equations.reference[-1] + means[-1])
    return [
        LinearBaseline(vectors @ (projections / (np.maximum(values, 0.0) + s)) / scale, centre, offset, float(s))
        for s in strengths
    ]


def fit_linear(
    batches: Iterable[Batch],
    *,
    validation: Iterable[Batch] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    most_rounding: float = np.inf,
) -> LinearBaseline:
    """Fit a ridge regression in one pass over the data and choose its strength on other trajectories.

    A promolecule or another known part of the density enters as one more feature, or is subtracted from the targets.

    Args:
        batches: Training batches of features [n, d], targets [n] (electrons per Bohr^3) and weights [n].
        validation: Batches from trajectories that are not in training: neighbouring grid points of one snapshot know
            each other, so points held out of it would choose no regularisation at all.
        strengths: Ridge strengths to choose from, positive; one of them needs no validation.
        most_rounding: Strengths are passed over whose coefficients, large and of opposite signs, make more of the
            rounding of float32 features than this (:meth:`NormalEquations.rounding`), the largest excepted.

    Raises:
        InputError: No data, values that are not finite, or several strengths without validation.
    """
    if not strengths or min(strengths) <= 0:
        raise InputError(f"ridge strengths must be positive; got {list(strengths)}")
    if validation is None and len(strengths) > 1:
        raise InputError(
            f"{len(strengths)} ridge strengths need validation batches to choose from; got none; "
            f"give batches of other trajectories or a single strength"
        )
    equations = NormalEquations.stream(batches)
    every = ridge_path(equations, sorted(strengths))
    candidates = every
    if most_rounding < np.inf:
        candidates = [b for b in every if equations.rounding(b) <= most_rounding] or every[-1:]
    if validation is None:
        return candidates[0]
    held_out = NormalEquations.stream(validation, equations.reference)
    errors = [held_out.mean_square_error(candidate) for candidate in candidates]
    return candidates[int(np.argmin(errors))]
