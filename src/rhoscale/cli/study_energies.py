"""``rhoscale study energies``: energies of predicted densities against DFT."""

from __future__ import annotations

import json
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("energies")(run)


def run(
    model: str = typer.Option(..., "--model", "-m", help="A bundled model or the path of a model's folder."),
    data: Path = typer.Option(..., "--data", help="Folder of a data set."),
    batch: list[str] = typer.Option([], "--batch", help="Batch to study; may be given several times; else all tests."),
    out: Path = typer.Option(Path("out/study-energies"), "--out", "-o", help="Folder of results, kept as they come."),
    limit: int | None = typer.Option(None, "--limit", help="At most so many snapshots in this call."),
    draws: int = typer.Option(0, help="Weight draws for error bars."),
    seed: int = typer.Option(0, help="Of the draws."),
    baselines: bool = typer.Option(
        True, help="Run prior mean, sum of atoms and the label's own density too: four runs a snapshot in place of one."
    ),
    engine: str = typer.Option("auto", help="pw.x, qepy or auto (`rhoscale engines` lists what is there)."),
    program: Path | None = typer.Option(None, help="Path of pw.x; found on PATH if not given."),
    threads: int = typer.Option(1, help="Threads of a run."),
    pseudopotentials: Path | None = typer.Option(None, help="Folder of UPF files; else GTH-PBE, made by rhoscale."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what is open and its cost; compute nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of the tables."),
) -> None:
    """Compare energies, Fermi levels and eigenvalues of predictions and baselines with DFT; safe to interrupt."""
    from rhoscale.recipes.energy_settings import EnergyOptions
    from rhoscale.recipes.study_energies import EnergyStudy, open_study, run_study, write_tables
    from rhoscale.recipes.study_energies_result import markdown, summarise

    options = EnergyOptions(pseudopotentials=pseudopotentials, engine=engine, program=program, threads=threads)
    opened = open_study(EnergyStudy(model, data, out, tuple(batch), limit, draws, seed, baselines, options))
    costs = list(opened.costs())
    minutes = sum(cost.core_seconds for cost in costs) / 60
    largest = max((cost.memory for cost in costs), default=0.0) / 2**30
    words = (
        f"{len(costs)} of {len(opened.records)} snapshots to do, {sum(cost.runs for cost in costs)} runs: about "
        f"{minutes:.0f} core-minutes, {largest:.2g} GiB"
    )
    typer.echo(words, err=True)
    if dry_run:
        return
    cells = run_study(opened, report=lambda text: typer.echo(text, err=True))
    if not cells:
        return
    typer.echo(json.dumps(summarise(cells), indent=1) if as_json else markdown(cells))
    for path in write_tables(opened, cells):
        typer.echo(f"wrote {path}", err=True)
