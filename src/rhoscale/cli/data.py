"""``rhoscale data``: list, show, check, import, noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from rhoscale.cli.console import wide_console
from rhoscale.datasets.check import check_store
from rhoscale.datasets.split import ROLES, Record
from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError, InputError
from rhoscale.recipes.config import config_from
from rhoscale.recipes.data import ImportConfig, find_record, find_stores, import_files, label_noise

data = typer.Typer(help="Data sets: list, show, check, import, label noise.", no_args_is_help=True)
JSON = typer.Option(False, "--json", help="Print JSON.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(data, name="data")


@data.command("list")
def list_data(
    folder: Path = typer.Argument(Path("data"), help="A data set, or a folder of data sets."), as_json: bool = JSON
) -> None:
    """List the data sets of a folder, or the snapshots of one data set."""
    stores = find_stores(folder)
    if (folder / "dataset.toml").exists():
        _show(_record_table(stores[0].records()), [asdict(r) for r in stores[0].records()], as_json)
        return
    rows = [_summary(store) for store in stores]
    table = Table("data set", *ROLES, "core-hours", "MB", "description")
    for row in rows:
        counts = [str(row["roles"][role]) for role in ROLES]
        table.add_row(
            row["path"], *counts, f"{row['core_hours']:.2f}", f"{row['megabytes']:.2f}", escape(row["description"])
        )
    _show(table, rows, as_json)


@data.command("show")
def show_data(
    folder: Path = typer.Argument(..., help="A data set."),
    snapshot: str | None = typer.Argument(
        None, help="Start of a task's name or of a content hash; else the whole set."
    ),
    as_json: bool = JSON,
) -> None:
    """Show a data set batch by batch, or all that is known about one snapshot."""
    store = SnapshotStore.open(folder)
    if snapshot is None:
        _show(_batch_table(store), _summary(store), as_json)
        return
    record = find_record(store, snapshot)
    kept = store.load(record)
    facts = {
        **asdict(record),
        "cell_bohr": kept.system.cell.tolist(),
        "electrons": kept.electrons,
        "coefficients": len(kept.density.coefficients),
        "density_cutoff_hartree": kept.density.cutoff,
        "pseudopotentials": {k: v.to_dict() for k, v in kept.pseudopotentials.items()},
        "energies_hartree": dict(kept.energies),
        "largest_force": None if kept.forces is None else float(np.abs(kept.forces).max()),
        "origin": dict(kept.origin),
        "settings": dict(kept.settings),
    }
    table = Table("", "", show_header=False)
    for key, value in _flat(facts):
        table.add_row(key, escape(value))
    _show(table, facts, as_json)


@data.command("check")
def check_data(folder: Path = typer.Argument(Path("data"), help="A data set, or a folder of data sets.")) -> None:
    """Read every snapshot: hashes, electrons, splits by trajectory, finite numbers; exit code 2 if any is wrong."""
    problems = []
    for store in find_stores(folder):
        found = check_store(store)
        problems += [f"{store.path}: {problem}" for problem in found]
        typer.echo(f"{store.path}: {len(store.records())} snapshots, {len(found) or 'no'} problems")
    if problems:
        lines = "\n".join(problems)
        raise DatasetError(f"{len(problems)} problems; expected none; mend or delete the files they name\n{lines}")


@data.command("import")
def import_data(
    folder: Path = typer.Argument(..., help="Data set to add to; it is made if needed."),
    files: list[Path] = typer.Argument(..., help="cube, CHGCAR, .xsf, SPARC .dens files or .save folders."),
    role: str = typer.Option(..., help="train, validation or test."),
    pseudo: list[str] = typer.Option([], help="Al=FILE.upf, Al=gth-pbe:3 or Al=NAME:3; once for each element."),
    batch: str = typer.Option("imported", help="Name under which these files are kept together."),
    subset: list[str] = typer.Option([], help="Named selection that they are part of."),
    trajectory: str | None = typer.Option(None, help="Name shared by frames of one molecular dynamics run."),
    temperature: float | None = typer.Option(None, help="Kelvin."),
    density_cutoff_ry: float | None = typer.Option(
        None, help="Sphere of coefficients to keep; else 0.02 % may be lost."
    ),
) -> None:
    """Take densities of your own into a data set; frames of one run must share --trajectory, for honest splits."""
    values = {
        "role": role,
        "batch": batch,
        "subsets": subset,
        "trajectory": trajectory,
        "temperature": temperature,
        "pseudopotentials": dict(_pair(p) for p in pseudo),
        "density_cutoff_ry": density_cutoff_ry,
    }
    for item in import_files(folder, files, config_from(values, ImportConfig, "import")):
        typer.echo(f"{item.record.task}: {item.record.formula}, {100 * item.lost:.4f} % lost by the kept sphere")
        if item.note:
            typer.secho(f"  note: {item.note}", fg="yellow")
    if trajectory is None and len(files) > 1:
        typer.echo("each file counts as a trajectory of its own; if they are frames of one run, give --trajectory")


@data.command("noise")
def noise(
    folder: Path = typer.Argument(..., help="A data set with the same structures in several batches."),
    reference: str = typer.Option(..., help="Batch with the best labels."),
    as_json: bool = JSON,
) -> None:
    """Say how far the labels of each batch are from the best ones: label noise."""
    rows = label_noise(SnapshotStore.open(folder), reference)
    temperatures = sorted({r.temperature for r in rows if r.temperature is not None})
    table = Table("batch", *(f"{t:g} K" for t in temperatures), "mean", "core-s", "energy (mHa/atom)")
    for batch in dict.fromkeys(r.batch for r in rows):
        mine = [r for r in rows if r.batch == batch]
        cells = [[r.l1 for r in mine if r.temperature == t] for t in temperatures]
        table.add_row(
            batch,
            *(f"{100 * float(np.mean(c)):.3f} %" if c else "-" for c in cells),
            f"{100 * float(np.mean([r.l1 for r in mine])):.3f} %",
            f"{np.mean([r.core_seconds for r in mine]):.0f}",
            f"{1000 * float(np.mean([r.energy for r in mine])):+.3f}",
        )
    table.caption = f"L1 per electron against {reference}"
    _show(table, [asdict(r) for r in rows], as_json)


def _pair(text: str) -> tuple[str, str]:
    element, separator, rest = text.partition("=")
    if not separator:
        raise InputError(
            f"--pseudo {text!r}; expected ELEMENT=FILE.upf or ELEMENT=NAME:VALENCE, for example Al=gth-pbe:3"
        )
    return element, rest


def _show(table: Table, values: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values, indent=1))
    else:
        wide_console().print(table)


def _summary(store: SnapshotStore) -> dict[str, Any]:
    records = store.records()
    files = [f for part in ("records", "snapshots") for f in (store.path / part).iterdir()]
    return {
        "path": str(store.path),
        "name": store.header.get("name", ""),
        "description": store.header.get("description", ""),
        "snapshots": len(records),
        "roles": {role: sum(r.role == role for r in records) for role in ROLES},
        "batches": {b: sum(r.batch == b for r in records) for b in dict.fromkeys(r.batch for r in records)},
        "core_hours": sum(r.core_seconds + r.sampling_core_seconds for r in records) / 3600,
        "megabytes": sum(f.stat().st_size for f in files) / 1e6,
        "pseudopotentials": [p.to_dict() for p in store.pseudopotentials().values()],
    }


def _record_table(records: Sequence[Record]) -> Table:
    table = Table("task", "snapshot", "role", "subsets", "formula", "kind", "K", "trajectory", "core-s")
    for r in records:
        kelvin = "" if r.temperature is None else f"{r.temperature:g}"
        cost = f"{r.core_seconds + r.sampling_core_seconds:.0f}"
        table.add_row(
            r.task, r.snapshot[:12], r.role, ", ".join(r.subsets), r.formula, r.kind, kelvin, r.trajectory, cost
        )
    return table


def _batch_table(store: SnapshotStore) -> Table:
    records = store.records()
    table = Table(
        "batch", "role", "subsets", "snapshots", "formula", "kind", "temperatures (K)", "waited", "core-hours"
    )
    for batch in dict.fromkeys(r.batch for r in records):
        mine = [r for r in records if r.batch == batch]
        table.add_row(
            batch,
            ", ".join(dict.fromkeys(r.role for r in mine)),
            ", ".join(dict.fromkeys(s for r in mine for s in r.subsets)),
            str(len(mine)),
            ", ".join(dict.fromkeys(r.formula for r in mine)),
            ", ".join(dict.fromkeys(r.kind for r in mine)),
            ", ".join(f"{t:g}" for t in sorted({r.temperature for r in mine if r.temperature is not None})),
            _least_wait(store, mine),
            f"{sum(r.core_seconds + r.sampling_core_seconds for r in mine) / 3600:.2f}",
        )
    table.caption = "waited: least time before a snapshot, in autocorrelation times of its trajectory's structure"
    table.title = escape(str(store.header.get("description", "")))
    return table


def _least_wait(store: SnapshotStore, records: Sequence[Record]) -> str:
    origins = [store.load(r).origin for r in records]
    waits = [o["decorrelation"]["waited_over_time"] for o in origins if "decorrelation" in o]
    return f"{min(waits):.1f}" if waits else "-"


def _flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(values, dict):
        return [
            pair for key, value in values.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    return [(prefix, f"{values:.6g}" if isinstance(values, float) else str(values))]
