"""``rhoscale select``: how large a descriptor pays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.recipes.config import read_config

if TYPE_CHECKING:  # torch takes a second to import; only this command needs it
    from rhoscale.recipes.selection_plan import SelectConfig
    from rhoscale.selection import Search


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("select")(select_command)


def select_command(
    recipe: Path = typer.Argument(..., help="TOML recipe, for example recipes/select-al.toml."),
    out: Path | None = typer.Option(None, "--out", help="Folder of scores and result, instead of the recipe's."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the candidates and stop."),
) -> None:
    """Search how many distances and angles, or which radial functions and degrees, a descriptor needs.

    Scores stay in the output folder: a killed search goes on with the same command.
    """
    from rhoscale.models.card import to_toml
    from rhoscale.recipes.select import select
    from rhoscale.recipes.selection_plan import SelectConfig

    config = read_config(recipe, SelectConfig)
    config = config if out is None else replace(config, output=out)
    console = wide_console()
    if dry_run:
        _show_candidates(config)
        return
    with console.status("searching"):
        done = select(config, report=lambda text: console.print(text, markup=False, highlight=False))
    console.print(trials_table(done.search))
    for name in done.search.limits:
        console.print(f"{name}: fewer than two larger values were left to try; give more and start again")
    console.print("put this into a training recipe:\n", highlight=False)
    values = {k: v for k, v in done.search.chosen.spec.to_dict().items() if k not in ("elements", "reach")}
    console.print(to_toml({"descriptor": values}), markup=False, highlight=False)
    console.print(f"{done.folder}: {done.computed} scores computed in {done.seconds:.0f} s", highlight=False)


def trials_table(search: Search) -> Table:
    """One line a trial; the choice is marked."""
    from rhoscale.recipes.select import in_words

    table = Table("", "growing", "descriptor", "features", "RMSE", caption="RMSE on validation snapshots, e/Bohr^3")
    for trial in search.trials:
        mark = "*" if trial is search.chosen else ""
        table.add_row(mark, trial.series, in_words(trial.spec), str(trial.spec.size), f"{trial.error:.3e}")
    return table


def _show_candidates(config: SelectConfig) -> None:
    from rhoscale.recipes.select import snapshots_of

    train, validation = snapshots_of(config)
    table = Table("growing", "values", "features at most", caption="the search ends where two larger values do not pay")
    for name, values, size in config.candidates(train.elements):
        table.add_row(name, values, str(size))
    console = wide_console()
    console.print(table)
    console.print(
        f"{config.score} scores on {len(train.records)} training and {len(validation.records)} validation snapshots of "
        f"{', '.join(train.elements)}; points are described once, by {config.largest(train.elements).size} features",
        highlight=False,
    )
