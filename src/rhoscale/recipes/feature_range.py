"""The range of a model's features, and how fast errors grow beyond it: both from the training snapshots alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rhoscale.baselines.linear import NormalEquations, ridge_path
from rhoscale.datasets.split import Record
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.metrics.regions import nearest_atom
from rhoscale.models import Ensemble, TrainedModel
from rhoscale.recipes.judge import judged_grid
from rhoscale.recipes.training_data import Labelled
from rhoscale.uncertainty.leverage import Leverage, excess_leverage

POINTS = 4096  # of a snapshot
QUANTILE = 0.99
SHELL = 0.25  # Bohr
RAREST = 2e-3  # share of the points of a shell; rarer ones weigh no more


@dataclass(frozen=True)
class FeatureRange:
    """What training covers.

    Attributes:
        leverage: h of any features.
        quantile: h that a hundredth of the training points exceeds.
        share: Largest share of points of one training snapshot that exceed it.
        scale: l, of what the linear part leaves out, for each unit of leverage far from training, electrons per Bohr^3;
            0 where the model has no linear prior mean, is an ensemble, whose members tell it by their spread, or the
            training snapshots are all of one kind.
    """

    leverage: Leverage
    quantile: float
    share: float
    scale: float


@dataclass(frozen=True)
class _Sample:
    """Some points of one snapshot.

    Attributes:
        features: Of the points [n, d].
        density: Labels [n], electrons per Bohr^3.
        distance: To the nearest atom [n], Bohr.
        equations: Every point counts alike.
    """

    features: NDArray[np.float32]
    density: NDArray[np.float64]
    distance: NDArray[np.float64]
    equations: NormalEquations

    def weighted(self, weights: NDArray[np.float64]) -> NormalEquations:
        """Moments about the same reference with other weights [n]."""
        return NormalEquations.stream([(self.features, self.density, weights)], self.equations.reference)


def feature_range(model: TrainedModel, training: Labelled, *, seed: int = 0) -> FeatureRange:
    """Measure the range of the features and how errors grow beyond it.

    The linear part leaves out terms of second order in the features. As a Gaussian process with the polynomial kernel
    k(x, x') = l^2 ((x - m)^T (C + lambda D)^-1 (x' - m) / tr)^2 they have the deviation l h(x): quadratic in the
    distance from training, while the posterior variance of the linear model itself grows with h only. At h = 1, where
    training is, the noise holds them already. The scale is measured on training snapshots that a linear fit has not
    seen: all of one temperature, kind or formula in turn, and

        l^2 = sum_folds sum_i (error_without^2 - error_with^2) / sum_folds sum_i max(0, h_without^2 - 1).

    In m and C all distances to the nearest atom weigh alike: close to nuclei the features are like nowhere else, and
    counted by volume these few points would seem to be outside.
    """
    samples = _samples(model, training, seed)
    weights = _shell_weights([s.distance for s in samples])
    spreads = [s.weighted(w) for s, w in zip(samples, weights, strict=True)]
    leverage = _leverage(_sum(spreads))
    found = [leverage(s.features) for s in samples]
    quantile = float(np.quantile(np.concatenate(found), QUANTILE))
    share = max(float(np.mean(h > quantile)) for h in found)
    scale = 0.0
    if model.prior_mean == "linear" and not isinstance(model.posterior, Ensemble):
        scale = _scale(samples, spreads, list(_folds(training.records)), _strength(model))
    return FeatureRange(leverage, quantile, share, scale)


def _samples(model: TrainedModel, training: Labelled, seed: int) -> list[_Sample]:
    samples: list[_Sample] = []
    rng = np.random.default_rng(seed)
    spec = spec_from_dict(model.descriptor_spec)
    for snapshot in training.snapshots:
        grid = judged_grid(model, snapshot.system.cell)
        chosen = np.sort(rng.choice(grid.size, min(POINTS, grid.size), replace=False))
        features = describer(snapshot.system, spec)(grid.points()[chosen])
        density = snapshot.density.on_grid(grid.shape).values.reshape(-1)[chosen]
        reference = samples[0].equations.reference if samples else None
        equations = NormalEquations.stream([(features, density, np.ones(len(chosen)))], reference)
        distance = nearest_atom(snapshot.system, grid.points()[chosen])
        samples.append(_Sample(features, np.asarray(density, dtype=np.float64), distance, equations))
    return samples


def _shell_weights(distances: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """One over the share of all points that lie in the same shell around their nearest atoms."""
    shells = [(d / SHELL).astype(np.intp) for d in distances]
    counts = np.bincount(np.concatenate(shells))
    share = np.maximum(counts / counts.sum(), RAREST)
    return [1.0 / share[shell] for shell in shells]


def _folds(records: Sequence[Record]) -> Iterator[frozenset[int]]:
    """Numbers of the snapshots that share a temperature, kind or formula, where at least half are left without them."""
    found: dict[frozenset[int], None] = {}
    for label in ("temperature", "kind", "formula"):
        for value in dict.fromkeys(getattr(r, label) for r in records):
            found[frozenset(i for i, r in enumerate(records) if getattr(r, label) == value)] = None
    yield from (fold for fold in found if 2 * len(fold) <= len(records))


def _scale(
    samples: Sequence[_Sample],
    spreads: Sequence[NormalEquations],
    folds: Sequence[frozenset[int]],
    strength: float,
) -> float:
    equations = [s.equations for s in samples]
    with_all = ridge_path(_sum(equations), [strength])[0]
    excess = squares = 0.0
    for fold in folds:
        without, leverage = ridge_path(_without(equations, fold), [strength])[0], _leverage(_without(spreads, fold))
        for sample in (samples[i] for i in fold):
            unseen = np.square(without.predict(sample.features) - sample.density)
            seen = np.square(with_all.predict(sample.features) - sample.density)
            excess += float(np.sum(unseen - seen))
            squares += float(np.sum(np.square(excess_leverage(leverage(sample.features)), dtype=np.float64)))
    return float(np.sqrt(max(0.0, excess) / squares)) if squares > 0 else 0.0


def _leverage(equations: NormalEquations) -> Leverage:
    weight = equations.moments[-1, -1]
    means = equations.moments[-1, :-2] / weight
    covariance = equations.moments[:-2, :-2] / weight - np.outer(means, means)
    return Leverage.of(equations.reference[:-1] + means, covariance)


def _sum(parts: Sequence[NormalEquations]) -> NormalEquations:
    return replace(parts[0], moments=np.sum([p.moments for p in parts], axis=0))


def _without(parts: Sequence[NormalEquations], fold: frozenset[int]) -> NormalEquations:
    return _sum([part for i, part in enumerate(parts) if i not in fold])


def _strength(model: TrainedModel) -> float:
    return float(model.prior_arrays["linear.offset_and_strength"][1])
