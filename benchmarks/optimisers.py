"""What the optimiser does to a recipe: validation error and time with the paper's Adam and with SOAP, all else equal.

    python benchmarks/optimisers.py recipes/sige-pbe.toml --fraction 0.06 --epochs 6 --test test-x50

Every combination is a training of its own, kept in the output folder; one that is there already is not repeated.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.config import read_config
from rhoscale.recipes.train import train
from rhoscale.recipes.training_plan import EvaluationConfig, TrainConfig


def history(recipe: TrainConfig, optimiser: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """What the card says of the training, trained if it is not there."""
    output = options.out / f"{recipe.name}-{options.fraction}-{options.epochs}-{optimiser}-{rate:g}-{options.seed}"
    if not (output / "card.toml").exists():
        fit = replace(recipe.fit, optimiser=optimiser, learning_rate=rate, epochs=options.epochs, seed=options.seed)
        data = replace(recipe.data, fraction=options.fraction)
        config = replace(
            recipe, output=output, data=data, fit=fit, recalibrate=False, evaluation=EvaluationConfig((options.test,))
        )
        train(config, resume=(output / "work").exists())
    stage: dict[str, Any] = load_with_hash(str(output))[0].card["training"]["stage_1"]
    return stage


def main() -> None:
    """Print one row for each optimiser and learning rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--fraction", type=float, default=0.06, help="share of the grid points")
    parser.add_argument("--epochs", type=int, default=6, help="of the variational phase")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3], help="learning rates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", default="test-32", help="batch of the recipe's data for the card")
    parser.add_argument("--out", type=Path, default=Path("runs/optimisers"))
    options = parser.parse_args()
    recipe = read_config(options.recipe, TrainConfig)
    print("| optimiser | rate | validation L1, last epoch | -log likelihood | s an epoch |\n|---|---|---|---|---|")
    for optimiser in ("adam", "soap"):
        for rate in options.rates:
            found = history(recipe, optimiser, rate, options)
            error, seconds = found["validation_l1"][-1], found["seconds"] / found["epochs"]
            print(f"| {optimiser} | {rate:g} | {100 * error:.3f} % | {found['data_term'][-1]:.3f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
