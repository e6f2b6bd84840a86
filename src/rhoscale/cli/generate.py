"""``rhoscale generate``: a data recipe into snapshots."""

from __future__ import annotations

import time
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.errors import EngineError
from rhoscale.recipes.config import read_config
from rhoscale.recipes.generate import Event, generate, open_tasks, pseudopotential_files
from rhoscale.recipes.generation_config import GenerateConfig
from rhoscale.recipes.generation_plan import Task, estimated_core_seconds
from rhoscale.recipes.start import PredictedStart


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(run)


def run(
    recipe: Path = typer.Argument(..., help="TOML recipe, for example recipes/al.toml."),
    jobs: int = typer.Option(1, "--jobs", "-j", min=1, help="DFT runs side by side, one thread each."),
    only: list[str] = typer.Option([], "--only", help="Batch to make; may be given several times."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="At most so many snapshots in this call."),
    start_from: str | None = typer.Option(
        None, "--start-from", help="Model whose prediction starts each self-consistent cycle: cheaper, same labels."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan and its estimated cost; compute nothing."),
) -> None:
    """Make the snapshots of a recipe that are not there yet; safe to interrupt, the same command goes on."""
    config = read_config(recipe, GenerateConfig)
    console = wide_console()
    _, tasks, todo = open_tasks(config, only=only, limit=limit)
    atoms = {b.name: len(b.structure.build(b.seed, 0.0)) for b in config.batch}
    if dry_run:
        console.print(_plan_table(tasks, todo, atoms))
        return
    cost = {t.name: estimated_core_seconds(t, atoms[t.batch.name]) for t in todo}
    start = None if start_from is None else _predicted_start(config, start_from)
    log = _Log(console, cost, jobs)
    with log.progress:
        outcome = generate(config, jobs=jobs, only=only, limit=limit, start=start, on_event=log.tell)
    seconds = sum(r.core_seconds + r.sampling_core_seconds for r in outcome.done)
    console.print(
        f"{len(outcome.done)} snapshots made ({seconds / 3600:.2f} DFT core-hours), {len(outcome.failed)} failed, "
        f"{outcome.remaining} of the chosen tasks still open in {config.output}"
    )
    if outcome.failed:
        messages = "\n".join(f"{task.name}: {message}" for task, message in outcome.failed)
        raise EngineError(
            f"{len(outcome.failed)} of {len(todo)} tasks failed; nothing of them became data, the same command tries "
            f"them again\n{messages}"
        )


def _predicted_start(config: GenerateConfig, model: str) -> PredictedStart:
    return PredictedStart.load(model, {e: file.identity for e, file in pseudopotential_files(config).items()})


class _Log:
    """Progress on the terminal: a line for each finished snapshot, a bar with the expected end."""

    def __init__(self, console: Console, cost: dict[str, float], jobs: int) -> None:
        self.progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
        )
        self._bar = self.progress.add_task("", total=len(cost))
        self._cost, self._jobs = cost, jobs
        self._structure: dict[str, str] = {}
        self._running: dict[str, str] = {}
        self._estimated_done = self._measured_done = 0.0

    def tell(self, event: Event) -> None:
        """Show one event."""
        name = event.task.name
        if event.state in ("thermalising", "labelling"):
            self._running[name] = event.state
            self._structure[name] = event.text
            self._describe(0)
            return
        self._running.pop(name, None)
        estimate = self._cost.pop(name, 0.0)
        if event.record is not None:
            self._estimated_done += estimate
            self._measured_done += event.record.core_seconds
        shown = f"{event.text.splitlines()[0] if event.text else ''}  {self._structure.pop(name, '')}"
        self.progress.console.print(
            f"{time.strftime('%H:%M:%S')} {event.state:6s} {name}  {event.task.temperature:g} K  {shown}", markup=False
        )
        self._describe(1)

    def _describe(self, advance: int) -> None:
        factor = self._measured_done / self._estimated_done if self._estimated_done else 1.0
        left = factor * sum(self._cost.values()) / self._jobs
        at_work = ", ".join(f"{name.rsplit('-', 1)[0]} {state}" for name, state in self._running.items())
        self.progress.update(self._bar, advance=advance, description=f"about {_duration(left)} left; {at_work}")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _plan_table(tasks: list[Task], todo: list[Task], atoms: dict[str, int]) -> Table:
    table = Table(
        "batch",
        "role",
        "subsets",
        "atoms",
        "kind",
        "snapshots",
        "open",
        "temperatures (K)",
        "k-mesh",
        "smearing",
        "open core-h",
    )
    hours = 0.0
    for name in dict.fromkeys(t.batch.name for t in tasks):
        mine = [t for t in tasks if t.batch.name == name]
        still = [t for t in todo if t.batch.name == name]
        cost = sum(estimated_core_seconds(t, atoms[name]) for t in still) / 3600
        hours += cost
        first = mine[0]
        engine = first.engine
        width = f"{engine.width_kelvin:g} K" if engine.width_ry is None else f"{engine.width_ry:g} Ry"
        table.add_row(
            name,
            first.batch.role,
            ", ".join(first.batch.subsets),
            str(atoms[name]),
            ", ".join(dict.fromkeys(t.kind for t in mine)),
            str(len(mine)),
            str(len(still)),
            ", ".join(f"{t:g}" for t in sorted({t.temperature for t in mine})),
            first.sampling,
            f"{engine.smearing} {width}",
            f"{cost:.2f}",
        )
    table.caption = f"{len(todo)} open, about {hours:.1f} core-hours for labels (ab-initio dynamics not counted)"
    return table
