"""``rhoscale study transfer``: what training on small cells first buys on large ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.recipes.config import config_from, read_config

if TYPE_CHECKING:  # torch takes a second to import; only these commands need it
    from rhoscale.recipes.study_transfer import DryRun
    from rhoscale.recipes.study_transfer_plan import TransferStudyConfig
    from rhoscale.training import EpochReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("transfer")(run)


def run(
    recipe: Path = typer.Argument(..., help="TOML recipe, for example recipes/study-transfer-gamma.toml."),
    out: Path | None = typer.Option(None, "--out", help="Folder of the study, instead of the recipe's."),
    only: list[str] = typer.Option([], "--only", help="Arm to train, for example transfer-33; may be given again."),
    limit: int | None = typer.Option(None, "--limit", min=0, help="At most so many trainings in this call."),
    preset: str | None = typer.Option(None, "--preset", help="Network of another size: paper (3 x 3 x 250) or quick."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show arms, snapshots, costs and time; train nothing."),
) -> None:
    """Compare transfer, joint training, single sizes at equal DFT time; after a kill the same command goes on."""
    from rhoscale.recipes import study_transfer as study
    from rhoscale.recipes.study_transfer_plan import TransferStudyConfig
    from rhoscale.recipes.training_plan import NetworkConfig

    config = read_config(recipe, TransferStudyConfig)
    config = config if out is None else replace(config, output=out)
    if preset is not None:
        network = config_from({"preset": preset}, NetworkConfig, "--preset")
        config = replace(config, model=replace(config.model, network=network))
    if dry_run:
        _show_plan(config, study.dry_run(config, only))
        return
    log = _Log(config)
    with log.progress:
        done = study.study_transfer(config, only=only, limit=limit, report=log.tell)
    typer.echo(done.table)
    typer.echo(
        f"{done.trained} trainings made, {done.remaining} still to do; transfer.md, .png, .json in {config.output}"
    )


def _show_plan(config: TransferStudyConfig, plan: DryRun) -> None:
    table = Table(
        "budget", "arm", "subset", "small cells", "large cells", "DFT s", "of", "steps", "to train", "core-min"
    )
    for unit, trainings, seconds in zip(plan.plan.units, plan.trainings, plan.seconds, strict=True):
        temperatures = sorted({f"{r.temperature:g} K" for r in unit.selection.large if r.temperature is not None})
        table.add_row(
            str(unit.budget),
            unit.arm.name,
            str(unit.subset),
            str(len(unit.selection.small)),
            f"{len(unit.selection.large)} {', '.join(temperatures)}",
            f"{unit.selection.seconds:.0f}",
            f"{unit.target:.0f}",
            str(config.steps),
            f"lacks {unit.lacking:.0f} s of small cells" if unit.lacking > 0 else str(trainings),
            f"{seconds / 60:.1f}",
        )
    console = wide_console()
    console.print(table)
    console.print(
        f"{sum(plan.trainings)} trainings of {config.steps} steps, about {sum(plan.seconds) / 60:.0f} core-minutes "
        f"(a first stage that transfer arms share counts once; judging does not count); the validation cells, the same "
        f"for all arms, cost {plan.validation_seconds:.0f} core-seconds of DFT"
    )


class _Log:
    """A bar over the epochs of the current training, and a line for each training."""

    def __init__(self, config: TransferStudyConfig) -> None:
        self.progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=wide_console(),
        )
        self._bar = self.progress.add_task("", total=config.fit.warm_epochs + config.fit.epochs)
        self._words, self._done = "", 0

    def tell(self, text: str, epoch: EpochReport | None) -> None:
        """Show one report; epochs of a first stage count before those of the second."""
        if epoch is None:
            self._words, self._done = text, 0
            self.progress.console.print(text, markup=False, highlight=False)
            return
        self._done += 1
        error = "" if epoch.validation is None else f", validation L1 {100 * epoch.validation:.3f} %"
        self.progress.update(self._bar, completed=self._done, description=f"{self._words}, {epoch.phase}{error}")
