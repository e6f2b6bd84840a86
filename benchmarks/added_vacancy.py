"""What one snapshot with a vacancy adds to a model of bulk cells, for several seeds (paper, figures 7 and 11).

    rhoscale generate recipes/al.toml --only train-vacancy-108
    python benchmarks/added_vacancy.py --fraction 0.15 --seeds 0 1 2
    python benchmarks/added_vacancy.py --fraction 0.15 --seeds 0 4 8 --members 4 --epochs 30  # ensembles

For each seed the recipe is trained as it is and with the added snapshot among its training batches, all else equal,
and both models are judged on cells with a vacancy that neither saw: near the vacant site (within 3 Bohr) and away from
it (beyond 5 Bohr). The epistemic deviation is given as predicted and without its leverage (of the weights alone; that
of an ensemble has none, the seeds of its members follow each other). A model that is in the output folder already is
not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from out_of_distribution import near_and_away

from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.models import TrainedModel
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.config import read_config
from rhoscale.recipes.judge import judge_snapshot
from rhoscale.recipes.train import train
from rhoscale.recipes.training_plan import EvaluationConfig, TrainConfig

PLACES = ("near", "away")
QUANTITIES = (*(f"{what} {place}" for what in ("epistemic", "of weights", "error") for place in PLACES), "L1")
WAYS = ("bulk", "with the added snapshot")


def trained(recipe: TrainConfig, seed: int, added: Sequence[str], folder: Path) -> TrainedModel:
    """The model of a seed, from bulk cells alone or with the added batches; trained where it is not there."""
    name = f"seed-{seed}-{'added' if added else 'bulk'}"
    output = folder / name
    if not (output / "card.toml").exists():
        data = replace(recipe.data, subset=None if added else recipe.data.subset, train=(*recipe.data.train, *added))
        config = replace(
            recipe,
            name=name,
            output=output,
            data=data,
            fit=replace(recipe.fit, seed=seed),
            evaluation=EvaluationConfig(("test-32",)),
        )
        train(config, resume=(output / "work").exists())
    return load_with_hash(str(output))[0]


def judged_near_and_away(model: TrainedModel, store: SnapshotStore, record: Record) -> tuple[float, ...]:
    """``QUANTITIES`` in one cell: medians of the epistemic deviation, root mean square errors, e/Bohr^3; L1."""
    snapshot = store.load(record)
    assert model.recalibration is not None
    judged = of_weights = judge_snapshot(model, snapshot, draws=0)
    if model.recalibration.leverage:
        plain = replace(model, recalibration=replace(model.recalibration, leverage=0.0))
        of_weights = judge_snapshot(plain, snapshot, draws=0)
    *epistemic, near, away = near_and_away(snapshot.system, judged)
    return (*epistemic, *near_and_away(snapshot.system, of_weights)[:2], near, away, judged.errors.l1)


def rows(found: Mapping[tuple[int, str, str], Sequence[float]]) -> Iterator[str]:
    """Table: near over away of the bulk model, and what the added snapshot takes off near the site, for each cell."""
    yield "| seed | cell | near / away: epistemic | of weights | error | added: epistemic | of weights | error | L1 |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for (seed, task, way), before in found.items():
        if way == WAYS[0]:
            after = found[seed, task, WAYS[1]]
            falls = [f"{100 * (b / a - 1):+.0f} %" for a, b in zip(before, after, strict=True)]
            ratios = " | ".join(f"{before[i] / before[i + 1]:.2f}" for i in (0, 2, 4))
            yield f"| {seed} | {task} | {ratios} | {falls[0]} | {falls[2]} | {falls[4]} | {falls[6]} |"


def main() -> None:
    """Train what is missing and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/al-bulk-near.toml"))
    parser.add_argument("--added", nargs="+", default=["train-vacancy-108"], help="batches of the added snapshots")
    parser.add_argument("--test", nargs="+", default=["test-vacancy-32"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fraction", type=float, help="share of the grid points; by default the recipe's")
    parser.add_argument("--members", type=int, default=1, help="networks of an ensemble")
    parser.add_argument("--epochs", type=int, help="of the variational phase; by default the recipe's")
    parser.add_argument("--out", type=Path, default=Path("runs/added-vacancy"))
    options = parser.parse_args()
    recipe = read_config(options.recipe, TrainConfig)
    if options.fraction is not None:
        recipe = replace(recipe, data=replace(recipe.data, fraction=options.fraction))
    if options.epochs is not None:
        recipe = replace(recipe, fit=replace(recipe.fit, epochs=options.epochs))
    recipe = replace(recipe, posterior=replace(recipe.posterior, members=options.members))
    store = SnapshotStore.open(recipe.data.path)
    found: dict[tuple[int, str, str], tuple[float, ...]] = {}
    for seed in options.seeds:
        for way, added in zip(WAYS, ([], options.added), strict=True):
            model = trained(recipe, seed, added, options.out)
            for record in store.select(role="test", batch=options.test):
                values = found[seed, record.task, way] = judged_near_and_away(model, store, record)
                listed = ", ".join(f"{name} {value:.3g}" for name, value in zip(QUANTITIES, values, strict=True))
                print(f"seed {seed}, {way}, {record.task}: {listed}", flush=True)
    print("\n".join(rows(found)))


if __name__ == "__main__":
    main()
