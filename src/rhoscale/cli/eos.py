"""``rhoscale eos``: lattice parameter and bulk modulus from predicted, promolecule and self-consistent densities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.errors import InputError

if TYPE_CHECKING:
    from rhoscale.recipes.eos import EosResult
    from rhoscale.recipes.eos_plan import EosPlan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eos")(run)


def run(
    structure: Path | None = typer.Argument(None, help="Structure file of the crystal; or give --lattice."),
    model: str = typer.Option(..., "--model", "-m", help="A bundled model or the path of a model's folder."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of results, kept as they come: the same call goes on."),
    lattice: str | None = typer.Option(None, help="fcc, bcc, sc, diamond, zincblende, rocksalt or cesium-chloride."),
    element: list[str] = typer.Option([], "--element", help="Element of a sublattice; give one for each."),
    constant: float | None = typer.Option(None, help="Lattice constant at strain zero, Bohr."),
    supercell: tuple[int, int, int] = typer.Option((1, 1, 1), help="Repeats along each cell vector."),
    strains: tuple[float, float] = typer.Option((-0.03, 0.03), "--range", help="Lowest and highest strain."),
    points: int = typer.Option(7, help="Strains between them, these included; at least 5."),
    draws: int = typer.Option(0, min=0, help="Weight draws for error bars (8 or more)."),
    seed: int = typer.Option(0, min=0, help="Of the draws."),
    gamma: bool = typer.Option(False, "--gamma", help="The paper's protocol: Gamma point, Fermi-Dirac 631.554 K."),
    cutoff: float | None = typer.Option(None, help="Cutoff of the orbitals, Ry; by default 25."),
    kmesh: tuple[int, int, int] | None = typer.Option(None, help="Mesh; at most 0.0825 / Bohr between its points."),
    kshift: tuple[float, float, float] | None = typer.Option(None, help="Of the mesh, in half steps: 0, 1 or 0.5."),
    smearing: str | None = typer.Option(None, help="cold (default), fermi-dirac, gaussian or fixed."),
    width: float | None = typer.Option(None, help="Smearing width, Ry; by default 0.04."),
    pseudopotentials: Path | None = typer.Option(None, help="Folder of UPF files; else GTH-PBE, made by rhoscale."),
    engine: str = typer.Option("auto", help="pw.x, qepy or auto (`rhoscale engines` lists what is there)."),
    program: Path | None = typer.Option(None, help="Path of pw.x; found on PATH if not given."),
    threads: int = typer.Option(1, help="Threads of a run."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, show the plan and its cost."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of the table."),
) -> None:
    """Fit energies over isotropic strains: prediction, promolecule and DFT side by side; safe to interrupt."""
    from rhoscale.recipes.energy_settings import EnergyOptions
    from rhoscale.recipes.eos_command import EosRequest, paper_protocol, prepare_eos, run_eos

    options = EnergyOptions(cutoff, kmesh, kshift, smearing, width, pseudopotentials, engine, program, threads)
    if gamma:
        given = {"--kmesh": kmesh, "--kshift": kshift, "--smearing": smearing, "--width": width}
        refused = [name for name, value in given.items() if value is not None]
        if refused:
            raise InputError(f"--gamma sets {', '.join(refused)} itself; expected one or the other; leave one out")
        options = paper_protocol(options)
    request = EosRequest(
        structure, lattice, tuple(element), constant, supercell, strains, points, model, out, options, draws, seed
    )
    prepared = prepare_eos(request)
    if dry_run:
        typer.echo(json.dumps(prepared.plan.to_dict(), indent=2) if as_json else _plan_text(prepared.plan))
        return
    typer.echo(_plan_text(prepared.plan), err=True)
    result = run_eos(prepared, report=lambda text: typer.echo(text, err=True))
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
        return
    console = wide_console()
    console.print(_table(result))
    for name, column in result.columns.items():
        if column.problem:
            typer.echo(f"{name}: {column.problem}", err=True)
    typer.echo(f"wrote {out / 'eos.json'} and {out / 'eos.png'}")


def _plan_text(plan: EosPlan) -> str:
    return (
        f"{plan.strains} strains: {plan.single}, and {plan.ground_states} self-consistent runs; "
        f"all together about {plan.core_seconds / 60:.2g} core-minutes, less what is kept already"
    )


def _table(result: EosResult) -> Table:
    settings = result.settings
    table = Table(
        *(
            "energies of",
            "a0 (Bohr)",
            "a0 (Å)",
            "B0 (GPa)",
            "B0'",
            "− DFT (Bohr)",
            "B0 / DFT − 1",
            "rms of fit (Ha/atom)",
        ),
        title=f"{result.config.crystal.formula}, model {result.model}, {settings.sampling}, {settings.smearing}",
        caption=_spread_text(result),
    )
    facts = result.to_dict()
    rows = []
    for name, found in facts["columns"].items():
        rows.append((name, found))
        if name in facts["harris_foulkes"]:
            rows.append(("  Harris-Foulkes alone", facts["harris_foulkes"][name]))
    for name, found in rows:
        if found.get("problem"):
            table.add_row(name, *["–"] * 7)
            continue
        change = found["lattice_parameter_minus_dft_bohr"], found["bulk_modulus_over_dft_minus_one"]
        table.add_row(
            name,
            f"{found['lattice_parameter_bohr']:.5f}",
            f"{found['lattice_parameter_angstrom']:.5f}",
            f"{found['bulk_modulus_gpa']:.3f}",
            f"{found['bulk_modulus_slope']:.2f}",
            "" if change[0] is None else f"{change[0]:+.1e}",
            "" if change[1] is None else f"{100 * change[1]:+.3f} %",
            f"{found['residual_hartree']:.1e}",
        )
    return table


def _spread_text(result: EosResult) -> str | None:
    spread = result.spread()
    if spread is None:
        return None
    return (
        f"standard deviation over {spread['draws']:.0f} weight draws: {spread['lattice_parameter_bohr']:.1e} Bohr, "
        f"{spread['bulk_modulus_gpa']:.2g} GPa"
    )
