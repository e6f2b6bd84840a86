"""``rhoscale predict``: structure in, density and uncertainty out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:  # torch takes a second to import; help and wrong words do without
    from rhoscale.recipes.predict import PredictConfig


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(run)


def run(
    structure: Path = typer.Argument(
        ...,
        help="Structure file (extended XYZ, LAMMPS data or dump, .npz, POSCAR, CIF, whatever ASE reads), or a density "
        "file or snapshot with the structure.",
    ),
    model: str = typer.Option(..., "--model", "-m", help="Name of a bundled model, or path of a model's folder."),
    out: Path = typer.Option(
        ..., "--out", "-o", help="NAME.zarr: density and uncertainties. NAME.cube, CHGCAR, NAME.xsf, ...: density."
    ),
    spacing: float | None = typer.Option(None, help="Largest distance of points of the output grid, Bohr."),
    shape: tuple[int, int, int] | None = typer.Option(None, help="Or its points along each cell vector."),
    uncertainty: bool = typer.Option(True, "--uncertainty/--no-uncertainty", help="Predict standard deviations too."),
    draws: int = typer.Option(0, min=0, help="Draws of the weights for the uncertainty; 0: first order, much faster."),
    seed: int = typer.Option(0, min=0, help="Of the draws."),
    elements: str | None = typer.Option(
        None, help="Elements of the types 1, 2, ... of a LAMMPS file that does not name them: Al,Mg."
    ),
    pseudopotentials: Path | None = typer.Option(
        None, help="Folder of UPF files that the density is for; refused unless they are the model's."
    ),
    threads: int | None = typer.Option(None, help="Tiles at a time; by default all cores."),
    workers: int | None = typer.Option(None, help="Worker processes of this machine (Dask) in place of threads."),
    scheduler: str | None = typer.Option(
        None, help="Address of a Dask scheduler (tcp://host:8786) whose workers take the tiles."
    ),
    retries: int = typer.Option(2, help="How often a tile that fails is tried again."),
    memory: float = typer.Option(1.0, help="GiB that one worker may use for a tile."),
    force: bool = typer.Option(False, "--force", help="Replace an existing output."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, show the plan, write nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON; progress goes to the error stream."),
) -> None:
    """Predict the electron density of a structure, with a map of its uncertainty; safe to interrupt."""
    from rhoscale.prediction.plan import GIB
    from rhoscale.recipes.field import Request
    from rhoscale.recipes.predict import PredictConfig

    request = Request(shape, spacing, uncertainty, draws, seed, memory * GIB)
    types = None if elements is None else tuple(elements.split(","))
    config = PredictConfig(
        structure, model, out, request, pseudopotentials, threads, workers, scheduler, retries, force, types
    )
    (_show_plan if dry_run else _predict)(config, as_json=as_json)


def _show_plan(config: PredictConfig, *, as_json: bool) -> None:
    from rhoscale.recipes.cores import usable_cores
    from rhoscale.recipes.predict import prepare

    plan = prepare(config, with_speed=True).plan
    at_a_time = config.threads or config.workers or usable_cores()
    seconds = plan.estimated_seconds(at_a_time) or 0.0
    if as_json:
        typer.echo(json.dumps({"plan": plan.to_dict(), "estimated_seconds": seconds}, indent=2))
    else:
        typer.echo(f"{plan}\ntime          about {_duration(seconds)} with {at_a_time} tiles at a time")


def _predict(config: PredictConfig, *, as_json: bool) -> None:
    from rhoscale.recipes.predict import predict

    with _bar(config.output.name) as progress:
        report = predict(config, progress=progress)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        typer.echo(
            f"wrote      {report.output} in {_duration(report.seconds)}\n{report.summary}\nthis is a {report.what}"
        )


class _PointsPerSecond(ProgressColumn):
    """Speed of the whole run."""

    def render(self, task: Task) -> Text:
        """Show points a second."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} points/s")


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the error stream, so that the result can be piped; it appears when the work starts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        _PointsPerSecond(),
    )
    progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    task = progress.add_task(name, total=None)

    def show(done: int, whole: int) -> None:
        if progress.tasks[0].total is None:
            progress.reset(task, completed=done, total=whole)  # what an earlier run did is no speed of this one
            progress.start()
        else:
            progress.update(task, completed=done)

    try:
        yield show
    finally:
        if progress.live.is_started:
            progress.stop()


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
