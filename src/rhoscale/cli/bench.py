"""``rhoscale bench``: each stage of a prediction against what this machine can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rhoscale.errors import InputError

if TYPE_CHECKING:
    from rhoscale.recipes.bench import BenchReport

PRECISIONS = {"float32": False, "bfloat16": True}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(run)


def run(
    model: str = typer.Option("al-pbe", "--model", "-m", help="Bundled model, or path of a model's folder."),
    structure: Path | None = typer.Option(None, help="Structure file; by default 2,048 atoms of thermal aluminium."),
    precision: str | None = typer.Option(None, help="Network's products: float32 or bfloat16; by default as used."),
    folder: Path | None = typer.Option(None, help="Whose disk is measured; by default that of temporary files."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Measure speed and ceilings of one core in one run; takes about a minute."""
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"--precision {precision}; expected float32 or bfloat16; leave it out for the usual one")
    from rhoscale.recipes.bench import bench

    report = bench(model, structure, bfloat16=None if precision is None else PRECISIONS[precision], folder=folder)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
        return
    typer.echo("\n".join(_lines(report)))


def _lines(report: BenchReport) -> list[str]:
    ceilings = report.ceilings
    lines = [f"{name:20s} {value / 1e9:8.0f} Gflop/s" for name, value in ceilings.by.items()]
    lines += [
        f"{'memory, copied':20s} {ceilings.memory / 1e9:8.1f} GB/s",
        f"{'disk, flushed':20s} {ceilings.disk / 1e9:8.2f} GB/s",
        "",
    ]
    lines.append(
        f"{report.model} on {report.structure}, grid {report.spacing:.3f} Bohr, products in {report.precision}, "
        f"{report.points:,} points, one core"
    )
    lines.append(
        f"{'stage':36s} {'flop':>8s} {'bytes':>7s} {'ns':>7s} {'points/s':>11s} {'bound ns':>9s} {'of it':>6s}"
    )
    for stage in report.stages:
        flop = "-" if stage.operations is None else f"{stage.products + stage.operations:,.0f}"
        bound = "-" if stage.bound is None else f"{stage.bound * 1e9:.0f}"
        share = "-" if stage.fraction is None else f"{stage.fraction:.0%}"
        lines.append(
            f"{stage.name:36s} {flop:>8s} {stage.memory + stage.disk:7,.0f} {stage.seconds * 1e9:7.0f} "
            f"{1 / stage.seconds:11,.0f} {bound:>9s} {share:>6s} {stage.limit}"
        )
    return lines
