"""``rhoscale train`` and ``rhoscale evaluate``: recipes into models, models against test data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.recipes.config import read_config

if TYPE_CHECKING:  # torch takes a second to import; only these commands need it
    from rhoscale.recipes.evaluate import CaseErrors
    from rhoscale.recipes.training_plan import TrainConfig
    from rhoscale.training import EpochReport


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train_command)
    app.command("evaluate")(evaluate_command)


def train_command(
    recipe: Path = typer.Argument(..., help="TOML recipe, for example recipes/al-quick.toml."),
    out: Path | None = typer.Option(None, "--out", help="Folder of the model, instead of the recipe's."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an unfinished run of this recipe."),
    force: bool = typer.Option(False, "--force", help="Replace a model, or throw an unfinished run away."),
) -> None:
    """Train a model from a recipe, judge it on the test batches, and save it with its card."""
    from rhoscale.recipes.train import train
    from rhoscale.recipes.training_plan import TrainConfig

    config = read_config(recipe, TrainConfig)
    config = config if out is None else replace(config, output=out)
    log = _Log(config)
    with log.progress:
        done = train(config, resume=resume, force=force, report=log.tell)
    console = wide_console()
    console.print(errors_table(done.cases))
    console.print(f"{done.folder} in {done.seconds:.0f} s")


def evaluate_command(
    model: str = typer.Argument(..., help="A bundled model or the path of a model's folder."),
    data: Path = typer.Option(..., "--data", help="Folder of a data set."),
    batch: list[str] = typer.Option([], "--batch", help="Batch to judge on; may be given several times."),
    draws: int = typer.Option(
        0,
        "--draws",
        min=0,
        help="Draws of the weights for the uncertainties; 0: first order in the weights, as predict takes it.",
    ),
    points: int = typer.Option(20_000, "--points", min=1, help="Points of a snapshot where uncertainties are judged."),
    calibration: bool = typer.Option(False, "--calibration", help="Report on the uncertainties, group by group."),
    figure: Path | None = typer.Option(None, "--figure", help="Draw the calibration into this PNG file."),
    force: bool = typer.Option(False, "--force", help="Replace an existing figure."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Judge a model on the test batches of a data set: errors, coverage, and a baseline beside them."""
    from rhoscale.cli.calibration import coverage_table, summary_table
    from rhoscale.datasets.store import SnapshotStore
    from rhoscale.recipes.bundled import load_with_hash
    from rhoscale.recipes.calibration_report import draw_reports, refuse_picture
    from rhoscale.recipes.evaluate import calibration_reports, cases_to_card, evaluate
    from rhoscale.recipes.torch_threads import torch_threads
    from rhoscale.recipes.training_plan import EvaluationConfig

    if figure is not None:
        refuse_picture(figure, force=force)
    trained, _ = load_with_hash(model)
    config = EvaluationConfig(test=tuple(batch), draws=draws, points=points)
    with torch_threads(1):
        cases = evaluate(trained, SnapshotStore.open(data), config, report=lambda text: typer.echo(text, err=True))
    reports = calibration_reports(cases) if calibration or figure is not None else {}
    if figure is not None:
        draw_reports(reports, figure, f"{trained.name} on {data.name}", force=force)
    if as_json:
        found = cases_to_card(cases)
        if calibration:
            found["calibration"] = {name: report.to_dict() for name, report in reports.items()}
        typer.echo(json.dumps(found, indent=2))
        return
    console = wide_console()
    console.print(errors_table(cases))
    if calibration:
        console.print(summary_table(reports))
        for name, report in reports.items():
            console.print(coverage_table(name, report))


def errors_table(cases: list[CaseErrors]) -> Table:
    """One line a case, and below it one for each baseline."""
    table = Table(
        *("case", "snapshots", "L1 mean", "L1 worst", "RMSE", "RMSE/range", "largest", "electrons off", "energy"),
        *("50 %", "68 %", "90 %", "95 %", "99.7 %", "NLL"),
        caption="L1 per electron of the rescaled field; RMSE and largest error of the raw one, electrons per Bohr^3; "
        "energy: largest error of the Harris-Foulkes energy, estimated from that of the density, mHa per atom",
    )
    for case in cases:
        found = case.calibration
        shares = [f"{100 * share:.1f}" for share in found.coverage.values()]
        table.add_row(case.case, str(len(case.errors)), *_numbers(case.summary), *shares, f"{found.nll:.2f}")
        for name, values in case.baseline_summaries.items():
            table.add_row(f"  {name.replace('_', ' ')}", "", *_numbers(values))
    return table


def _numbers(values: dict[str, float]) -> list[str]:
    percent = [f"{100 * values[k]:.3f} %" for k in ("l1_mean", "l1_worst")]
    return [
        *percent,
        f"{values['rmse']:.2e}",
        f"{100 * values['rmse_over_range']:.2f} %",
        f"{values['largest']:.1e}",
        f"{100 * values['electrons_off_worst']:.2f} %",
        f"{1e3 * values['energy_worst']:.2g}",
    ]


class _Log:
    """A bar over the epochs with the terms of the loss and the validation error; a line for everything else."""

    def __init__(self, config: TrainConfig) -> None:
        stages = {"stage 1": config.fit.warm_epochs + config.fit.epochs}
        if config.transfer is not None:
            stages["stage 2"] = int(config.transfer.fit.get("epochs", config.fit.epochs))
        self._before: dict[str, int] = {}  # epochs before each stage of each member
        epochs = 0
        for number in range(config.posterior.members):
            for stage, count in stages.items():
                self._before[config.posterior.named(stage, number)] = epochs
                epochs += count
        self.progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=wide_console(),
        )
        self._bar = self.progress.add_task("", total=epochs)

    def tell(self, text: str, epoch: EpochReport | None) -> None:
        """Show one report."""
        if epoch is None:
            self.progress.console.print(text, markup=False, highlight=False)
            return
        error = "" if epoch.validation is None else f", validation L1 {100 * epoch.validation:.3f} %"
        terms = f"squared error {epoch.data:.2e}" if epoch.phase == "warm" else f"-log likelihood {epoch.data:.3f}"
        words = f"{text}, {epoch.phase}: {terms}, divergence {epoch.complexity:.3f}{error}"
        self.progress.update(self._bar, completed=self._before[text] + epoch.epoch + 1, description=words)
        if not self.progress.console.is_terminal or epoch.epoch % 10 == 9:
            self.progress.console.print(f"epoch {epoch.epoch:4d} {words}", markup=False, highlight=False)
