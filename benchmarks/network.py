"""Network and sigmas of a model: cost a point, and how far they are from exact arithmetic and from explicit draws.

    OMP_NUM_THREADS=1 python benchmarks/network.py                 # speed
    OMP_NUM_THREADS=1 python benchmarks/network.py --data data/al  # and accuracy on the test cells of a data set
    OMP_NUM_THREADS=1 python benchmarks/network.py --run 8         # and a whole prediction of 8 x 2,048 atoms

Speed is that at points of thermal aluminium, with ``--data`` at those of its first test cell, which models of other
elements need. Processor time of one thread; the ways to do the same thing take turns, and each keeps the best of its
rounds, so that other load on the machine hits all alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rhoscale.datasets.store import SnapshotStore
from rhoscale.density import Density
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.grid import Grid
from rhoscale.metrics import field_errors
from rhoscale.models import Ensemble, TrainedModel
from rhoscale.models.inference import EnsemblePredictor, Predictor, has_bfloat16
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.bench import thermal_aluminium
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.field import Request, about, plan_field, predict_field
from rhoscale.recipes.machine import measure_ceilings
from rhoscale.recipes.operations import network_elementwise, network_products, spread_elementwise, spread_products
from rhoscale.recipes.prior import prior_mean
from rhoscale.snapshot import Snapshot
from rhoscale.structures.crystal import supercell
from rhoscale.system import System

POINTS = 4096  # a block of a prediction
ROUNDS = 7
SAMPLE = 1500  # points of a cell for the draws
MEMBERS = (2, 4)  # of ensembles, all with the weights of the model


def described(model: TrainedModel, system: System) -> tuple[np.ndarray, np.ndarray]:
    """Features and prior mean on the model's own grid."""
    points = Grid.from_spacing(system.cell, model.compute_spacing).points()
    features = describer(system, spec_from_dict(model.descriptor_spec))(points, threads=1)
    prior = prior_mean(system, model)(points, features)
    return features, np.zeros(len(features)) if prior is None else np.asarray(prior)


def take_turns(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Least processor time of each task over rounds in which all are run."""
    best = dict.fromkeys(tasks, np.inf)
    for task in tasks.values():
        task()
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            start = time.thread_time()
            task()
            best[name] = min(best[name], time.thread_time() - start)
    return best


def speed(model: TrainedModel, system: System) -> None:
    """Print the cost a point of a structure and the share of the ceiling."""
    ceilings = measure_ceilings()
    features, prior = (a[:POINTS] for a in described(model, system))
    given = None if model.prior_mean == "none" else prior
    low = [False, True] if has_bfloat16() else [False]
    names = {False: "float32", True: "bfloat16"}
    network, means = model.network, model.variational.means
    mean = (network_products(network), network_elementwise(network))
    more = (spread_products(network), spread_elementwise(network))
    tasks: dict[str, Callable[[], object]] = {"PyTorch, mean": lambda: model.point_estimate(features, given)}
    tasks["PyTorch, 20 draws"] = lambda: model.uncertainty(features, given, draws=20)
    work = {"PyTorch, mean": mean}
    for b in low:
        fast = Predictor.of(network, model.variational, model.scaling, bfloat16=b)
        tasks[f"{names[b]}, mean"] = lambda fast=fast: fast.residual(features)  # type: ignore[misc]
        tasks[f"{names[b]}, mean and sigmas"] = lambda fast=fast: fast.uncertainty(features)  # type: ignore[misc]
        work |= {f"{names[b]}, mean": mean, f"{names[b]}, mean and sigmas": (mean[0] + more[0], mean[1] + more[1])}
        for m in MEMBERS:
            copies = EnsemblePredictor.of(network, Ensemble((means,) * m), model.scaling, bfloat16=b)
            tasks[f"{names[b]}, {m} members"] = lambda copies=copies: copies.uncertainty(features)  # type: ignore[misc]
            work[f"{names[b]}, {m} members"] = (m * mean[0], m * mean[1])
    found = take_turns(tasks)
    print(f"ceilings: float32 {ceilings.float32 / 1e9:.0f}, bfloat16 {(ceilings.bfloat16 or 0) / 1e9:.0f} Gflop/s")
    for name, seconds in found.items():
        rate = ceilings.bfloat16 if name.startswith("bf") and ceilings.bfloat16 else ceilings.float32
        share = ""
        if name in work:
            products, others = work[name]
            share = f"{(products / rate + others / ceilings.float32) * POINTS / seconds:5.0%}"
        print(f"{name:26s} {seconds / POINTS * 1e9:7.0f} ns a point  {share}")
    for b in low:
        ratio = found[f"{names[b]}, mean and sigmas"] / found[f"{names[b]}, mean"]
        print(f"{names[b]}: mean and sigmas cost {ratio:.2f} times the mean alone")


def precision_cost(
    model: TrainedModel, snapshot: Snapshot, features: np.ndarray, prior: np.ndarray | None
) -> tuple[float, float, float]:
    """L1 per electron, percent: change of the density by low precision, error without it, what it adds to the error."""
    grid = Grid.from_spacing(snapshot.system.cell, model.compute_spacing)
    label = snapshot.density.on_grid(grid.shape)
    exact, fast = model.point_estimate(features, prior)[0], model.density(features, prior)
    change = float(np.mean(np.abs(fast.astype(np.float64) - exact))) * snapshot.system.volume / snapshot.electrons
    before, after = (
        field_errors(Density(grid, field.reshape(grid.shape)), label, snapshot.electrons).l1 for field in (exact, fast)
    )
    return 100 * change, 100 * before, 100 * (after - before)


def differences(model: TrainedModel, store: SnapshotStore, draws: int) -> None:
    """Print what low precision changes in the field and in its error, and sigmas against draws, cell by cell."""
    print(
        f"{'cell, L1 in %':32s} {'changed':>8s} {'error before':>12s} {'more':>8s}   "
        f"sigma against {draws} draws, median / 95th percentile of |ratio - 1|"
    )
    everything: dict[str, list[np.ndarray]] = {}
    costs = []
    for record in store.select(role="test"):
        snapshot = store.load(record)
        features, prior = described(model, snapshot.system)
        given = None if model.prior_mean == "none" else prior
        costs.append(precision_cost(model, snapshot, features, given))
        chosen = np.random.default_rng(0).choice(len(features), min(SAMPLE, len(features)), replace=False)
        part = None if given is None else given[chosen]
        fast = model.estimate(features[chosen], part)
        slow = model.uncertainty(features[chosen], part, draws=draws, seed=1)
        words = []
        for name in ("aleatoric", "epistemic", "total"):
            off = np.abs(getattr(fast, name) / getattr(slow, name) - 1)
            everything.setdefault(name, []).append(off)
            words.append(f"{name} {np.median(off):.3f} / {np.quantile(off, 0.95):.3f}")
        change, before, more = costs[-1]
        print(f"{record.task:32s} {change:8.4f} {before:12.4f} {more:8.4f}   {', '.join(words)}", flush=True)
    pooled = {name: np.concatenate(parts) for name, parts in everything.items()}
    words = [f"{name} {np.median(v):.3f} / {np.quantile(v, 0.95):.3f}" for name, v in pooled.items()]
    change, _, more = np.max(costs, axis=0)
    print(f"{'all (worst)':32s} {change:8.4f} {'':12s} {more:8.4f}   {', '.join(words)}")


def whole_run(model: TrainedModel, model_hash: str, copies: int) -> None:
    """Print processor time a point of a prediction with uncertainty, its store included, on two threads."""
    system = supercell(thermal_aluminium(model), (copies, 1, 1))
    plan = plan_field(system, model, model_hash, Request())
    with tempfile.TemporaryDirectory() as folder:
        store = PredictionStore.create(Path(folder) / "run.zarr", plan, system, about(system, model))
        start, elapsed = time.process_time(), time.perf_counter()
        predict_field(plan, system, model, store, threads=2)
        seconds, elapsed = time.process_time() - start, time.perf_counter() - elapsed
    points = plan.grid.size
    print(
        f"{len(system):,} atoms, {points:,} points with uncertainty and store: {seconds / points * 1e6:.3f} us of "
        f"processor time a point, {2 * points / seconds:,.0f} points/s on two free cores "
        f"({points / elapsed:,.0f} elapsed)"
    )


def main() -> None:
    """Print what was asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="al-pbe")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--run", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    model, model_hash = load_with_hash(words.model)
    store = None if words.data is None else SnapshotStore.open(words.data)
    speed(model, thermal_aluminium(model) if store is None else store.load(store.select(role="test")[0]).system)
    if words.run:
        whole_run(model, model_hash, words.run)
    if store is not None:
        differences(model, store, words.draws)


if __name__ == "__main__":
    main()
