"""``rhoscale energy``: the Harris-Foulkes energy of a density or of a model's prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rhoscale.recipes.energy import EnergyReport, PreparedEnergy

TERMS = ("second_order", "one_electron", "hartree", "xc", "ewald", "smearing")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("energy")(run)


def run(
    structure: Path = typer.Argument(..., help="Structure file that ASE reads, or a density file or snapshot."),
    density: Path | None = typer.Option(
        None, "--density", help="Its density: cube, CHGCAR, .xsf, .dens, .npz, a snapshot, .save or .zarr folder."
    ),
    model: str | None = typer.Option(None, "--model", "-m", help="Or the model that predicts it."),
    cutoff: float | None = typer.Option(None, help="Cutoff of the orbitals, Ry; 25, or that of the snapshot's label."),
    kmesh: tuple[int, int, int] | None = typer.Option(
        None, help="Monkhorst-Pack mesh; at most 0.0825 / Bohr between its points, or that of the snapshot's label."
    ),
    kshift: tuple[float, float, float] | None = typer.Option(None, help="Of the mesh, in half steps: 0, 1 or 0.5."),
    smearing: str | None = typer.Option(None, help="cold (default), fermi-dirac, gaussian or fixed."),
    width: float | None = typer.Option(None, help="Smearing width, Ry; 0.04, or that of the snapshot's label."),
    pseudopotentials: Path | None = typer.Option(None, help="Folder of UPF files; else GTH-PBE, made by rhoscale."),
    draws: int = typer.Option(0, min=0, help="Weight draws of the model, for an error bar."),
    seed: int = typer.Option(0, min=0, help="Of the draws."),
    budget: float = typer.Option(60.0, help="Core-minutes that may be estimated for all runs."),
    memory: float = typer.Option(4.0, help="GiB that a run may be estimated to need."),
    engine: str = typer.Option("auto", help="pw.x, qepy or auto (`rhoscale engines` lists what is there)."),
    program: Path | None = typer.Option(None, help="Path of pw.x; found on PATH if not given."),
    threads: int = typer.Option(1, help="Threads of a run."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything, show cost and memory, compute nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, eigenvalues included."),
) -> None:
    """Compute the total free energy of a density from one diagonalisation: no self-consistency, cost cubic."""
    from rhoscale.recipes.energy import EnergyConfig, compute_energy, prepare_energy
    from rhoscale.recipes.energy_cost import GIB, refuse_over_budget
    from rhoscale.recipes.energy_settings import EnergyOptions

    options = EnergyOptions(cutoff, kmesh, kshift, smearing, width, pseudopotentials, engine, program, threads)
    config = EnergyConfig(structure, density, model, options, draws, seed, budget, memory * GIB)
    prepared = prepare_energy(config)
    if not as_json or not dry_run:
        typer.echo(_plan_text(prepared), err=as_json)
    if dry_run:
        if as_json:
            typer.echo(json.dumps(prepared.to_dict(), indent=2))
        return
    refuse_over_budget(prepared.cost, config.budget, config.memory)
    report = compute_energy(prepared, report=lambda text: typer.echo(text, err=True))
    typer.echo(json.dumps(report.to_dict()) if as_json else _report_text(report))


def _plan_text(prepared: PreparedEnergy) -> str:
    facts = prepared.to_dict()
    chosen = facts["settings"]
    mesh = " x ".join(str(n) for n in chosen["kmesh"])
    shift = "" if not any(chosen["kshift"]) else f" shifted by {chosen['kshift']} half steps"
    width = "" if chosen["smearing"] == "fixed" else f" {chosen['width_ry']:g} Ry"
    return (
        f"structure    {facts['formula']}, {facts['electrons']:g} electrons, {facts['volume_bohr3']:.2f} Bohr^3\n"
        f"density      {facts['density']}{f' ({prepared.note})' if prepared.note else ''}\n"
        f"settings     {chosen['cutoff_ry']:g} Ry, k-mesh {mesh}{shift}, {chosen['smearing']} smearing{width}; from "
        f"{facts['settings_from']}\n"
        f"estimate     {prepared.cost}"
    )


def _report_text(report: EnergyReport) -> str:
    found, system = report.found, report.prepared.system
    atoms, expected = len(system), system.electrons(report.prepared.engine.pseudopotentials)
    lines = [
        f"electrons    {found.electrons_given:.4f} given, {expected:g} expected "
        f"({100 * (found.electrons_given / expected - 1):+.3f} %), rescaled",
        f"total        {found.corrected:.8f} Ha, {report.per_atom:.8f} Ha/atom (free energy, second order included)",
        f"             standard deviation {found.deviation:.1e} Ha, {found.deviation / atoms:.1e} Ha/atom (for an "
        f"error of the density)",
    ]
    known = {k: found.energies[k] for k in TERMS if k in found.energies}
    for term, value in {"Harris-Foulkes": found.energies["total"], **known}.items():
        lines.append(f"  {term.replace('_', ' '):14s} {value:16.8f} Ha  {value / atoms:14.8f} Ha/atom")
    lines.append(f"Fermi level  {found.fermi:.6f} Ha, mean gap about it {found.gap:.6f} Ha")
    if report.spread is not None:
        spread = report.spread
        lines += [
            f"draws        E[draw] - E[mean]: {1000 * spread.mean / atoms:+.5f} mHa/atom on average, "
            f"standard deviation {1000 * spread.deviation / atoms:.5f} mHa/atom, {spread.draws} draws",
            f"             electrons {spread.electrons_mean:.4f} on average, standard deviation "
            f"{spread.electrons_deviation:.4f}",
        ]
    if report.verdict is not None:
        lines.append(f"verdict      {report.verdict}")
    lines.append(f"cost         {found.cpu_seconds / 60:.2g} core-minutes for the first run, {found.engine}")
    return "\n".join(lines)
