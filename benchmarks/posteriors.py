"""Mean-field variational inference, a deep ensemble and a last-layer Laplace posterior on the same data.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/posteriors.py recipes/al-bulk.toml --steps 400
    python benchmarks/posteriors.py recipes/al-bulk.toml --steps 5 --fraction 0.02 --seeds 0 --members 2  # a trial

All see the points, features, linear prior mean, scaling and network of the recipe, its Gaussian likelihood with learned
noise, its prior N(0, sigma_p^2) and effective number of data N, its epochs (of ``--steps`` minibatches) and its rates,
and keep the epoch of the lowest validation error. They differ in what they know of the weights:

    VI        q(w) of the package, from its own ``fit``; its spread to first order in the weights (as predictions take
              it), or from draws
    member    the mode of the posterior alone: no epistemic part
    ensemble  several members from different seeds, equally weighted (B. Lakshminarayanan, A. Pritzel and C. Blundell,
              NeurIPS 2017)
    Laplace   the first member, with a Gaussian of the Gauss-Newton matrix for its output layer (D. J. C. MacKay,
              Neural Computation 4, 448, 1992; last layer: A. Kristiadi, M. Hein and P. Hennig, ICML 2020)

Each is recalibrated on the same cells by the package's ``fit_recalibration``, without and with the leverage l h(x),
which is one for all, as it is that of the features and the linear fit. Errors are those of the raw field at all points
of a grid, L1 per electron that of the rescaled one. Rank: Spearman correlation of sigma and |error| over that with
errors drawn from N(0, sigma^2). Vacant site: median epistemic deviation within 3 Bohr over that beyond 5 in each cell.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from out_of_distribution import AWAY, NEAR, distances, vacant_site
from posterior_methods import Features, Method, Problem, methods

from rhoscale.baselines.linear import LinearBaseline
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import spec_from_dict
from rhoscale.grid import Grid
from rhoscale.metrics import calibration, l1_per_electron
from rhoscale.metrics.reliability import rank_correlation, rank_correlation_ceiling
from rhoscale.models import MeanField, Scaling, TrainedModel
from rhoscale.models.posterior import normal_prior
from rhoscale.recipes import training_data as data
from rhoscale.recipes.config import read_config
from rhoscale.recipes.feature_range import feature_range
from rhoscale.recipes.training_plan import TrainConfig
from rhoscale.snapshot import Snapshot
from rhoscale.uncertainty import Recalibration, Uncertainty, fit_recalibration
from rhoscale.uncertainty.leverage import Leverage

CALIBRATION, TESTS = "calibration-32", ("test-32", "test-vacancy-32", "test-strain-32")
TIMED = 12_288  # points
COLUMNS = ("method", "seed", "leverage", "cells", "L1, %", "NLL", "68 %", "95 %", "rank", "vacant site", "a, e, 10^4 f")


@dataclass(frozen=True)
class Cell:
    """All points of the grid of one snapshot.

    Attributes:
        points: Features, labels and prior mean.
        volume_element: Bohr^3.
        electrons: Valence electrons.
        leverage: h [n].
        far: Distance from the vacant site [n], Bohr; None in cells without a vacancy.
    """

    points: data.PointSet
    volume_element: float
    electrons: float
    leverage: NDArray[np.float32]
    far: NDArray[np.float64] | None


def prepared(
    config: TrainConfig, store: SnapshotStore, spacing: float
) -> tuple[Problem, data.Labelled, LinearBaseline]:
    """Points, prior mean and scaling, as ``rhoscale train`` makes them."""
    labelled = data.select(store, "train", config.data.train, config.data.subset)
    validation = data.select(store, "validation", config.data.validation, config.data.subset)
    spec = data.specification(dict(config.descriptor), labelled)
    points = data.training_points(labelled, spec, config.data, config.fit.seed)
    held_out = [data.grid_points(s, spec, config.data.validation_spacing) for s in validation.snapshots]
    baseline = data.linear_prior(points, held_out)
    points = data.with_linear_prior(points, baseline)
    held_out = [data.with_linear_prior(p, baseline) for p in held_out]
    scaling, network = Scaling.of(points.features, points.residual), config.network.network(spec.size)
    start = network.initial(torch.Generator().manual_seed(config.fit.seed))
    model = TrainedModel(
        name=config.name,
        network=network,
        posterior=MeanField(start, {}),
        scaling=scaling,
        descriptor_spec=spec.to_dict(),
        pseudopotentials=labelled.pseudopotentials,
        functional=labelled.functional,
        compute_spacing=spacing,
        prior_mean="linear",
        prior_arrays=baseline.to_arrays(),
    )
    problem = Problem(
        model=model,
        prior=normal_prior(start, config.posterior.prior_deviation),
        tensors=data.tensors(points, scaling),
        data_count=data.effective_data(config.posterior, labelled, points, config.data.spacing),
        settings=config.fit,
        batch=config.batch,
        steps=config.steps_per_epoch,
        validate=data.validation_error(network, scaling, held_out, validation.snapshots),
        initial_deviation=config.posterior.initial_deviation,
    )
    return problem, labelled, baseline


def described(snapshot: Snapshot, model: TrainedModel, baseline: LinearBaseline, h: Leverage, *, vacancy: bool) -> Cell:
    """One snapshot on the compute grid."""
    spec = spec_from_dict(model.descriptor_spec)
    points = data.with_linear_prior(data.grid_points(snapshot, spec, model.compute_spacing), baseline)
    grid = Grid.from_spacing(snapshot.system.cell, model.compute_spacing).points()
    far = distances(snapshot.system, grid, vacant_site(snapshot.system, grid)) if vacancy else None
    return Cell(points, snapshot.system.volume / len(points), snapshot.electrons, h(points.features), far)


def judge(
    method: Method, seed: int, scale: float, held_out: Sequence[Cell], tests: Mapping[str, Sequence[Cell]]
) -> None:
    """Print the rows of one method, without and with the leverage."""
    raw = [method.predict(c.points.features) for c in held_out]
    arrays = [(_errors(u, c), u.aleatoric, u.epistemic, c.leverage) for u, c in zip(raw, held_out, strict=True)]
    errors, noise, spread, leverage = (np.concatenate(a) for a in zip(*arrays, strict=True))
    without, with_leverage = (
        fit_recalibration(errors, noise, spread),
        fit_recalibration(errors, noise, spread, leverage, scale),
    )
    for batch, cells in tests.items():
        raw = [method.predict(c.points.features) for c in cells]
        for used, correction in (("no", without), ("yes", with_leverage)):
            print(f"| {method.name} | {seed} | {used} | {batch} | {row(raw, cells, correction)} |", flush=True)


def row(raw: Sequence[Uncertainty], cells: Sequence[Cell], correction: Recalibration) -> str:
    """L1, NLL, coverages, rank, ratios of the vacant sites and the factors of the recalibration."""
    found = [correction(u, c.leverage) for u, c in zip(raw, cells, strict=True)]
    errors = np.concatenate([_errors(u, c) for u, c in zip(found, cells, strict=True)])
    sigma = np.concatenate([u.total for u in found]).astype(np.float64)
    report = calibration(errors, sigma)
    rank = rank_correlation(errors, sigma) / rank_correlation_ceiling(sigma)
    l1 = np.mean([100 * l1_of(u.mean, c) for u, c in zip(found, cells, strict=True)])
    shares = f"{100 * report.coverage[0.68]:.1f} | {100 * report.coverage[0.95]:.1f}"
    sites = [site_ratio(u.epistemic, c.far, np.median) for u, c in zip(found, cells, strict=True) if c.far is not None]
    factors = f"{correction.aleatoric:.2f}, {correction.epistemic:.2f}, {1e4 * correction.floor:.2f}"
    return f"{l1:.3f} | {report.nll:.2f} | {shares} | {rank:.2f} | {', '.join(sites)} | {factors}"


def _errors(found: Uncertainty, cell: Cell) -> NDArray[np.float64]:
    return np.asarray(found.mean - cell.points.residual)


def site_ratio(values: NDArray[np.floating], far: NDArray[np.float64], mean: Callable[..., np.floating]) -> str:
    """Some mean near the vacant site over that away from it."""
    rest = float(mean(values[far > AWAY]))
    return f"{float(mean(values[far < NEAR])) / rest:.1f}" if rest > 0 else "-"


def l1_of(residual: NDArray[np.floating], cell: Cell) -> float:
    """L1 per electron of prior mean plus residual, rescaled to the electron count."""
    assert cell.points.prior is not None
    return l1_per_electron(residual + cell.points.prior, cell.points.density, cell.volume_element, cell.electrons)


def print_linear(tests: Mapping[str, Sequence[Cell]]) -> None:
    """What the prior mean alone does."""
    for batch, cells in tests.items():
        errors = [c.points.residual for c in cells]
        l1 = np.mean([100 * l1_of(np.zeros(len(e)), c) for e, c in zip(errors, cells, strict=True)])
        sites = [site_ratio(e, c.far, _rms) for e, c in zip(errors, cells, strict=True) if c.far is not None]
        print(f"linear fit, {batch}: L1 {l1:.3f} %" + (f"; error at vacant sites {', '.join(sites)}" if sites else ""))


def _rms(values: NDArray[np.floating]) -> np.floating:
    return np.sqrt(np.mean(np.square(values)))


def microseconds(predict: Callable[[Features], object], features: Features) -> float:
    """Processor time for each point, the best of three."""
    times = []
    for _ in range(3):
        started = time.process_time()
        predict(features)
        times.append(time.process_time() - started)
    return 1e6 * min(times) / len(features)


def print_costs(trained: Sequence[tuple[int, Method]], model: TrainedModel, features: Features) -> None:
    """What training and prediction cost, without features and linear fit.

    Predictions use the package's packed kernels to first order and PyTorch (float32) otherwise, so the last line tells
    what one evaluation takes in those kernels.
    """
    print(
        "\n| method | seed | training, processor s | evaluations of the network | µs a point |\n|---|---|---|---|---|"
    )
    for seed, method in trained:
        spent = microseconds(method.predict, features)
        print(f"| {method.name} | {seed} | {method.seconds:.0f} | {method.evaluations} | {spent:.2f} |", flush=True)
    packed = (microseconds(call, features) for call in (model.predictor.residual, model.predictor.uncertainty))
    print("\nPacked, one evaluation: {:.2f} µs a point; with its spread to first order: {:.2f}".format(*packed))


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line."""
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, help="minibatches of an epoch; by default those of the recipe")
    parser.add_argument("--fraction", type=float, help="share of the grid points to train on; by default the recipe's")
    parser.add_argument("--spacing", type=float, default=0.64, help="of the grid to judge on, Bohr")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--draws", type=int, default=20)
    return parser.parse_args()


def main() -> None:
    """Print the rows as they come, then what training and prediction cost."""
    options = options_of(
        argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    )
    torch.set_num_threads(1)
    config = read_config(options.recipe, TrainConfig)
    fraction = config.data.fraction if options.fraction is None else options.fraction
    steps = config.steps_per_epoch if options.steps is None else options.steps
    config = replace(config, data=replace(config.data, fraction=fraction), steps_per_epoch=steps)
    store = SnapshotStore.open(config.data.path)
    problem, labelled, baseline = prepared(config, store, options.spacing)
    known = feature_range(problem.model, labelled)

    def cells(batch: str) -> list[Cell]:
        records = store.select(batch=[batch])
        at = partial(described, model=problem.model, baseline=baseline, h=known.leverage)
        return [at(store.load(r), vacancy=r.kind == "vacancy") for r in records]

    held_out, tests = cells(CALIBRATION), {batch: cells(batch) for batch in TESTS}
    print(
        f"{len(problem.tensors[0])} points of {len(labelled.records)} cells, {problem.data_count:.0f} effective data, "
        f"{config.fit.warm_epochs} + {config.fit.epochs} epochs of {len(problem.batches(0))} steps, "
        f"l = {known.scale:.2e} e/Bohr^3; {time.process_time():.0f} s of processor time so far"
    )
    print_linear(tests)
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    trained = []
    for seed in options.seeds:
        for method in methods(problem, seed, options.members, options.draws):
            judge(method, seed, known.scale, held_out, tests)
            trained.append((seed, method))
    print_costs(trained, problem.model, tests[TESTS[0]][0].points.features[:TIMED])
    print(f"\n{time.process_time():.0f} s of processor time in all")


if __name__ == "__main__":
    main()
