"""How much smooth features, points and snapshots matter: a linear fit, and a small network on what it leaves.

    python benchmarks/feature_choice.py data/sige --test test-x50 test-x60 test-vacancy test-216
    python benchmarks/feature_choice.py data/sige --test test-x50 --features wide --points 1500 5000 15000
    python benchmarks/feature_choice.py data/sige --test test-x50 --features degree-9 --every 1 2 4
    python benchmarks/feature_choice.py data/al --test validation-32 --features degree-4 --surroundings none 5,8,3,9
    python benchmarks/feature_choice.py data/al --test validation-32 --features degree-3 --surroundings 8,11,4,12,10

Every model sees the same points of the same training snapshots; the network (64 wide, 6 layers, squared error, no
noise, no posterior) has the same number of updates for each. Errors are L1 per electron on random points of the judged
snapshots, a few thousand each: good to compare features, while `rhoscale evaluate` judges models. A choice of features
is made on validation batches; tests are for the model that is chosen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rhoscale.baselines.linear import LinearBaseline, fit_linear
from rhoscale.datasets.points import Draw, PointSet, points_of
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import describer
from rhoscale.descriptors.smooth import AngularSet, Smooth, SurroundingsSet, contracted
from rhoscale.snapshot import Snapshot

SPACING = 0.5  # Bohr
BATCH, UPDATES, RATE, LAYERS = 2048, 3000, 4e-3, 6
ANGULAR = {  # numbers of radial functions for the degrees 0, 1, ... and cutoff of each set
    "default": (((8, 8, 6, 4, 3), 9.0),),
    "wide-to-9": (((10,) * 5, 9.0),),
    "wide": (((10,) * 5, 11.0),),
    "wide-14-functions": (((14,) * 5, 11.0),),
    "degree-3": (((8, 8, 6, 4), 11.0),),
    "degree-4": (((10, 10, 10, 9, 8), 11.0),),
    "degree-4-falling": (((10, 10, 8, 6, 4), 11.0),),
    "degree-4-small": (((8, 8, 6, 4, 3), 11.0),),
    "degree-7": (((10, 10, 10, 10, 10, 8, 8, 8), 11.0),),
    "degree-9": (((10, 10, 10, 9, 8, 7, 6, 5, 4, 4), 11.0),),
    "degree-9-to-13.5": (((8, 8, 8, 8, 8, 6, 6, 6, 4, 4), 13.5),),
    "two-reaches-7.5": (((10, 10, 10, 9, 8), 11.0), ((0, 0, 0, 0, 0, 7, 6, 5, 4, 4), 7.5)),
    "two-reaches-9": (((10, 10, 10, 9, 8), 11.0), ((0, 0, 0, 0, 0, 7, 6, 5, 4, 4), 9.0)),
}
Prediction = Callable[[NDArray[np.float32]], NDArray[np.floating]]


@dataclass(frozen=True)
class Cell:
    """Some points of one snapshot."""

    points: PointSet
    electrons_per_volume: float

    def error(self, predict: Prediction) -> float:
        """L1 per electron, percent."""
        difference = np.abs(predict(self.points.features) - self.points.density)
        return float(100.0 * np.mean(difference) / self.electrons_per_volume)


def described(snapshots: Sequence[Snapshot], spec: Smooth, count: int, seed: int) -> list[Cell]:
    """About ``count`` points of each snapshot."""
    cells = []
    for number, snapshot in enumerate(snapshots):
        draw = Draw(SPACING, min(1.0, count * SPACING**3 / snapshot.system.volume), None, seed=seed + number)
        points = points_of([snapshot], lambda system, at: describer(system, spec)(at), draw)
        cells.append(Cell(points, snapshot.electrons / snapshot.system.volume))
    return cells


def small_network(cells: Sequence[Cell], prior: LinearBaseline, width: int = 64, seed: int = 0) -> Prediction:
    """Train on what the linear fit leaves over."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    features = np.concatenate([c.points.features for c in cells])
    target = np.concatenate([c.points.density for c in cells]) - prior.predict(features)
    centre, deviation, unit = features.mean(axis=0), features.std(axis=0) + 1e-9, float(target.std())
    x = torch.from_numpy((features - centre) / deviation).float()
    y = torch.from_numpy(target / unit).float()
    layers: list[nn.Module] = [nn.Linear(x.shape[1], width), nn.GELU()]
    for _ in range(LAYERS - 1):
        layers += [_Skip(nn.Linear(width, width))]
    network = nn.Sequential(*layers, nn.Linear(width, 1))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=UPDATES, pct_start=0.1)
    for _ in range(UPDATES):
        batch = torch.randint(len(x), (BATCH,), generator=generator)
        optimiser.zero_grad()
        loss = ((network(x[batch])[:, 0] - y[batch]) ** 2).mean()
        loss.backward()
        optimiser.step()
        schedule.step()

    def predict(features: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.inference_mode():
            scaled = torch.from_numpy((features - centre) / deviation).float()
            return np.asarray(prior.predict(features) + unit * network(scaled)[:, 0].numpy())

    return predict


class _Skip(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + nn.functional.gelu(self.layer(x))) * 0.5**0.5


def parsed_surroundings(text: str) -> SurroundingsSet | None:
    """``5,8,3,9``: functions of the point, their cutoff, functions of the neighbours, their cutoff; ``none``.

    A fifth number is that of the primitives of which the functions of the neighbours are made.
    """
    if text == "none":
        return None
    count, cutoff, neighbours, neighbour_cutoff, *primitives = text.split(",")
    made_of = int(primitives[0]) if primitives else 0
    return SurroundingsSet(int(count), float(cutoff), int(neighbours), float(neighbour_cutoff), primitives=made_of)


def errors_of(
    train: Sequence[Snapshot],
    judged: Mapping[str, Sequence[Snapshot]],
    spec: Smooth,
    count: int,
    width: int,
    seeds: int,
) -> list[float]:
    """L1 of each judged batch, percent: of the linear fit, then of the network, a mean over ``seeds``."""
    cells = described(train, spec, count, seed=0)
    points = [described(snapshots, spec, 3000, seed=1000) for snapshots in judged.values()]
    batches = [(c.points.features, c.points.density, c.points.weights) for c in cells]
    prior = fit_linear([b for i, b in enumerate(batches) if i % 5], validation=batches[::5])
    networks = [small_network(cells, prior, width, seed) for seed in range(seeds)]
    return [
        float(np.mean([c.error(predict) for predict in predictions for c in batch]))
        for predictions in ([prior.predict], networks)
        for batch in points
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", nargs="+", help="batches; by default all with the role train")
    parser.add_argument("--test", nargs="+", required=True, help="batches to judge on")
    parser.add_argument("--features", nargs="+", choices=list(ANGULAR), default=list(ANGULAR))
    parser.add_argument("--surroundings", nargs="+", type=parsed_surroundings, default=[None], metavar="N,C,M,D")
    parser.add_argument("--points", type=int, nargs="+", default=[5000], help="of each training snapshot")
    parser.add_argument("--every", type=int, nargs="+", default=[1], help="take every n-th training snapshot")
    parser.add_argument("--width", type=int, default=64, help="nodes a layer of the network")
    parser.add_argument("--seeds", type=int, default=1, help="networks whose errors are averaged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = SnapshotStore.open(options.data)
    train = [store.load(r) for r in store.select(role="train", batch=options.train)]
    judged = {name: [store.load(r) for r in store.select(batch=[name])] for name in options.test}
    elements = tuple(sorted({e for s in train for e in s.system.elements}))
    errors = [f"{model} {name}" for model in ("linear", "network") for name in judged]
    print(
        f"| angular functions | surroundings | features | snapshots | points each | {' | '.join(errors)} | processor |"
    )
    for name, around, every, count in product(options.features, options.surroundings, options.every, options.points):
        start = time.process_time()
        angular = tuple(AngularSet(counts, cutoff) for counts, cutoff in ANGULAR[name])
        systems = [s.system for s in train[::every]]
        spec = contracted(Smooth(elements, angular=angular, surroundings=around), systems)
        row = [name, _named(around), str(spec.size), str(len(train[::every])), str(count)]
        row += [f"{e:.4f}" for e in errors_of(train[::every], judged, spec, count, options.width, options.seeds)]
        print(f"| {' | '.join(row)} | {time.process_time() - start:.0f} s |", flush=True)


def _named(around: SurroundingsSet | None) -> str:
    if around is None:
        return "none"
    made = f" of {around.primitives}" if around.primitives else ""
    return f"{around.count} to {around.cutoff:g}, {around.neighbours}{made} to {around.neighbour_cutoff:g}"


if __name__ == "__main__":
    main()
