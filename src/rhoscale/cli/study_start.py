"""``rhoscale study scf-start``: self-consistent runs started from predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.errors import InputError

if TYPE_CHECKING:
    from rhoscale.recipes.study_start import StartStudy


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("scf-start")(run)


def run(
    model: str = typer.Option(..., "--model", "-m", help="A bundled model or the path of a model's folder."),
    data: Path = typer.Option(..., "--data", help="Folder of a data set."),
    batch: list[str] = typer.Option([], "--batch", help="Batch to study; may be given several times; else all tests."),
    out: Path = typer.Option(Path("out/study-scf-start"), "--out", "-o", help="Folder of results, kept as they come."),
    limit: int | None = typer.Option(None, "--limit", help="At most the first so many snapshots."),
    engine: str = typer.Option("auto", help="pw.x, qepy or auto (`rhoscale engines` lists what is there)."),
    program: Path | None = typer.Option(None, help="Path of pw.x; found on PATH if not given."),
    threads: int = typer.Option(1, help="Threads of a run."),
    pseudopotentials: Path | None = typer.Option(None, help="Folder of UPF files; else GTH-PBE, made by rhoscale."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of the tables."),
) -> None:
    """Measure the cycles and time that a predicted start saves, beside the exact density's; safe to interrupt."""
    from rhoscale.datasets.store import SnapshotStore
    from rhoscale.recipes.energy_settings import EnergyOptions
    from rhoscale.recipes.study_start import study_starts

    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}; expected at least 1; leave it out for all snapshots")
    options = EnergyOptions(pseudopotentials=pseudopotentials, engine=engine, program=program, threads=threads)
    store = SnapshotStore.open(data)
    study = study_starts(
        model, store, out, options, batches=batch, limit=limit, report=lambda text: typer.echo(text, err=True)
    )
    if as_json:
        typer.echo(json.dumps(study.to_dict(), indent=2))
        return
    console = wide_console()
    console.print(_cells_table(study))
    console.print(_summary_table(study))


def _cells_table(study: StartStudy) -> Table:
    table = Table(
        *("cell", "k-mesh", "cycles", "core-s", "wall s", "predicting", "saved", "bound"),
        caption=f"atomic / prediction / exact start, the time of predicting counted; model {study.model}",
    )
    for cell in study.cells:
        runs = (cell.atomic, cell.prediction, cell.exact)
        seconds = [run.whole_cpu_seconds for run in runs]
        table.add_row(
            cell.task,
            "Gamma" if cell.gamma_only else "x".join(map(str, cell.kmesh)),
            " / ".join(str(run.iterations) for run in runs),
            " / ".join(f"{s:.1f}" for s in seconds),
            " / ".join(f"{run.whole_wall_seconds:.1f}" for run in runs),
            f"{cell.prediction.start_cpu_seconds:.2f} s",
            f"{100 * (1 - seconds[1] / seconds[0]):+.0f} %",
            f"{100 * (1 - seconds[2] / seconds[0]):+.0f} %",
        )
    return table


def _summary_table(study: StartStudy) -> Table:
    table = Table(
        *("cells", "number", "cycles", "core-s", "predicting", "saved", "bound", "slower", "energies differ by"),
        caption=f"means; {len(study.refused)} structures refused by the model" if study.refused else "means",
    )
    for name, found in study.summaries().items():
        table.add_row(
            name,
            str(found.cells),
            " / ".join(f"{x:.1f}" for x in found.iterations.values()),
            " / ".join(f"{x:.1f}" for x in found.seconds.values()),
            f"{found.prediction_seconds:.2f} s",
            f"{100 * found.saved:+.0f} %",
            f"{100 * found.bound:+.0f} %",
            f"{100 * found.slower:.0f} %",
            f"{found.disagreement:.1e} Ha/atom",
        )
    return table
