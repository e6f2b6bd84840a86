"""``rhoscale build``: thermal supercells of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rhoscale.errors import InputError

if TYPE_CHECKING:
    from rhoscale.recipes.build_plan import BuildConfig


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build")(run)


def run(
    structure: Path | None = typer.Argument(
        None, help="Structure file with the perfect crystal's cell, of any shape; or give --lattice."
    ),
    lattice: str | None = typer.Option(None, help="sc, bcc, fcc, diamond, zincblende, rocksalt or cesium-chloride."),
    constant: float | None = typer.Option(None, help="Edge of the conventional cell, Bohr."),
    temperature: float = typer.Option(..., help="Kelvin."),
    out: Path = typer.Option(
        ..., "--out", "-o", help="NAME.xyz (extended XYZ) or NAME.npz; NAME.xyz.json says whence."
    ),
    elements: str | None = typer.Option(None, help="One for each sublattice: Al, or Si,Ge for zincblende."),
    alloy: str | None = typer.Option(None, help="Or a random alloy, with fractions: Si=0.5,Ge=0.5."),
    atoms: int | None = typer.Option(None, min=1, help="About how many atoms, in about a cube."),
    supercell: tuple[int, int, int] | None = typer.Option(None, help="Or cells along each axis."),
    vacancies: float = typer.Option(0.0, help="Fraction of the sites that stay empty."),
    seed: int = typer.Option(0, min=0, help="Of momenta, decoration, vacancies and the places of blocks."),
    blocks: int = typer.Option(4, help="Trajectories to tile from, if the supercell is larger than all of them."),
    block_atoms: int = typer.Option(2000, min=1, help="Least number of atoms of a block."),
    equilibration: float = typer.Option(1000.0, help="Length of the dynamics of a block, fs."),
    timestep: float = typer.Option(1.0, help="Of the dynamics, fs."),
    settling: float | None = typer.Option(
        None,
        help="Dynamics of the tiled supercell, fs; 0 for none; by default 100 for emt and tersoff to 250,000 sites.",
    ),
    forces: str | None = typer.Option(
        None, help="emt, tersoff, or an ASE calculator as package.module:Class; by default what knows the elements."
    ),
    folder: Path | None = typer.Option(
        None, help="Where blocks are kept; by default thermal-blocks beside the output."
    ),
    force: bool = typer.Option(False, "--force", help="Replace an existing output."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, show the plan, compute nothing."),
) -> None:
    """Build a thermal supercell of any size from blocks of molecular dynamics; safe to interrupt."""
    from rhoscale.recipes.build_plan import BuildConfig

    config = BuildConfig(
        lattice=lattice,
        lattice_constant_bohr=constant,
        temperature=temperature,
        output=out,
        elements=tuple(elements.split(",")) if elements else (),
        alloy=_fractions(alloy) if alloy else {},
        structure=structure,
        supercell=supercell,
        atoms=atoms,
        blocks=blocks,
        block_atoms=block_atoms,
        vacancies=vacancies,
        seed=seed,
        forces=forces,
        equilibration_fs=equilibration,
        timestep_fs=timestep,
        settling_fs=settling,
        folder=folder,
        force=force,
    )
    _build(config, dry_run=dry_run)


def _build(config: BuildConfig, *, dry_run: bool) -> None:
    from rhoscale.recipes.build import build
    from rhoscale.recipes.build_plan import plan_build

    plan = plan_build(config)
    typer.echo(str(plan))
    if dry_run:
        typer.echo(f"time          about {_duration(plan.estimated_seconds())} for the dynamics that are not there")
        return
    with _bar() as progress:
        report = build(config, progress=progress)
    if report.likeness is not None:
        typer.echo(str(report.likeness))
    typer.echo(f"wrote {config.output} in {_duration(report.seconds)}: {report.system.formula}")


def _fractions(text: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {element: float(fraction) for element, fraction in pairs}
    except ValueError as error:
        raise InputError(f"--alloy {text}; expected elements with fractions, like Si=0.5,Ge=0.5; mend it") from error


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Steps of dynamics on the error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} steps"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("dynamics", total=1, visible=False)

        def show(done: int, whole: int) -> None:
            progress.update(task, completed=done, total=whole, visible=True)

        yield show


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
