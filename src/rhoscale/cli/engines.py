"""``rhoscale engines``: which DFT engines can be used here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from rhoscale.engines.available import EngineStatus, find_engines


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("engines")(engines)


def engines(
    program: Path | None = typer.Option(None, help="Path of pw.x; found on PATH if not given."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say which DFT engines can be used, their versions, and how to get the missing ones."""
    found = find_engines(program)
    if as_json:
        typer.echo(json.dumps([asdict(status) for status in found], indent=2))
    else:
        Console().print(_table(found))


def _table(found: list[EngineStatus]) -> Table:
    table = Table(Column("engine", no_wrap=True), "usable", "version", Column("where", overflow="fold"), "note")
    for status in found:
        usable = "[green]yes[/]" if status.usable else "[red]no[/]"
        table.add_row(status.name, usable, status.version, status.where, escape(status.hint))
    return table
