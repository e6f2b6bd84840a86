"""Errors of descriptors on validation snapshots, from points that were described once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from rhoscale.baselines.linear import STRENGTHS, Batch, NormalEquations, ridge_path
from rhoscale.datasets.points import PointSet
from rhoscale.descriptors import DescriptorSpec
from rhoscale.models import Scaling
from rhoscale.models.dense_network import DenseNet, Parameters
from rhoscale.models.posterior import mean_field, normal_prior, stochastic_names
from rhoscale.recipes import training_data as data
from rhoscale.recipes.selection_plan import SelectConfig
from rhoscale.selection import columns_within
from rhoscale.selection.columns import Columns
from rhoscale.training import ShuffledBatches, fit

SpecScore = Callable[[DescriptorSpec], float]

ROWS = 4096


def ridge_score(
    config: SelectConfig, train: data.Labelled, validation: data.Labelled, largest: DescriptorSpec
) -> SpecScore:
    """Score by the root mean square error of ridge regression on the validation points, electrons per Bohr^3.

    Second moments of the largest descriptor are taken once; those of a smaller one are a block of them. The
    strength is the best one for the same validation points.
    """
    points = data.training_points(train, largest, config.data, config.fit.seed)
    equations = NormalEquations.stream(_batches([points]))
    grids = (data.grid_points(s, largest, config.data.validation_spacing) for s in validation.snapshots)
    held_out = NormalEquations.stream(_batches(grids), equations.reference)

    def score(spec: DescriptorSpec) -> float:
        columns = columns_within(spec, largest)
        known, unseen = _block(equations, columns), _block(held_out, columns)
        return float(np.sqrt(min(unseen.mean_square_error(fitted) for fitted in ridge_path(known, STRENGTHS))))

    return score


def network_score(
    config: SelectConfig, train: data.Labelled, validation: data.Labelled, largest: DescriptorSpec
) -> SpecScore:
    """Score by the lowest root mean square error of a short fit on the validation points, electrons per Bohr^3.

    With several seeds it is their median; the points are the same for all.
    """
    points = data.training_points(train, largest, config.data, config.fit.seed)
    grids = [data.grid_points(s, largest, config.data.validation_spacing) for s in validation.snapshots]
    count = data.effective_data(config.posterior, train, points, config.data.spacing)

    def score(spec: DescriptorSpec) -> float:
        columns = columns_within(spec, largest)
        chosen, held_out = with_columns(points, columns), [with_columns(g, columns) for g in grids]
        seeds = range(config.fit.seed, config.fit.seed + config.repeats)
        each = (replace(config, fit=replace(config.fit, seed=seed)) for seed in seeds)
        return float(np.median([short_fit_error(seeded, chosen, held_out, count) for seeded in each]))

    return score


def with_columns(points: PointSet, columns: Columns) -> PointSet:
    """The same points with some of their features."""
    return replace(points, features=points.features[:, columns])


def short_fit_error(config: SelectConfig, points: PointSet, grids: Sequence[PointSet], effective_data: float) -> float:
    """Fit a network to points; the lowest root mean square error on validation points after an epoch, e/Bohr^3.

    Args:
        config: Network, posterior and fit.
        points: To train on.
        grids: Validation points of each snapshot.
        effective_data: Number of data that the divergence is weighed against.
    """
    scaling = Scaling.of(points.features, points.residual)
    network = config.network.network(points.features.shape[1])
    start = network.initial(torch.Generator().manual_seed(config.fit.seed))
    posterior = mean_field(
        start, stochastic_names(network, config.posterior.stochastic), config.posterior.initial_deviation
    )
    found = fit(
        network,
        posterior,
        ShuffledBatches(*data.tensors(points, scaling), min(config.batch, len(points)), config.fit.seed),
        prior=normal_prior(posterior.means, config.posterior.prior_deviation),
        data_count=effective_data,
        settings=config.fit,
        validate=_root_mean_square(network, scaling, grids),
    )
    error = found.history[found.best_epoch].validation
    assert error is not None
    return error


def _root_mean_square(network: DenseNet, scaling: Scaling, grids: Sequence[PointSet]) -> Callable[[Parameters], float]:
    """Parameters -> root mean square error over all points of all snapshots, electrons per Bohr^3."""
    features = scaling.features(torch.from_numpy(np.concatenate([g.features for g in grids])))
    truth = np.concatenate([g.density for g in grids])

    def error(parameters: Parameters) -> float:
        with torch.inference_mode():
            parts = [network.forward(parameters, part)[:, 0] for part in features.split(4096)]
        return float(np.sqrt(np.mean((scaling.residual(torch.cat(parts)).numpy() - truth) ** 2)))

    return error


def _batches(sets: Iterable[PointSet]) -> Iterator[Batch]:
    """Some thousand points at a time: moments are taken in double precision."""
    for points in sets:
        for start in range(0, len(points), ROWS):
            part = slice(start, start + ROWS)
            yield points.features[part], points.density[part], points.weights[part]


def _block(equations: NormalEquations, columns: Columns) -> NormalEquations:
    """The moments of some features, the target and the constant."""
    features = len(equations.reference) - 1
    kept = np.concatenate([columns, [features, features + 1]])
    return NormalEquations(equations.reference[kept[:-1]], equations.moments[np.ix_(kept, kept)])
