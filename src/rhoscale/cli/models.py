"""``rhoscale models``: which models come with the package, and what their cards say."""

from __future__ import annotations

import json
from typing import Any

import typer

from rhoscale.recipes.bundled import bundled_models, model_folder, read_card


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(run)


def run(
    name: str | None = typer.Argument(None, help="A bundled model, or the path of a model's folder; else all bundled."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the models that come with the package, or show the card of one."""
    if name is not None:
        card = read_card(name)
        typer.echo(json.dumps(card, indent=2) if as_json else "\n".join(_lines(card)))
        return
    cards = {known: read_card(known) for known in bundled_models()}
    if as_json:
        typer.echo(json.dumps({known: {**card, "folder": str(model_folder(known))} for known, card in cards.items()}))
        return
    for known, card in cards.items():
        potentials = ", ".join(p["name"] for p in card["pseudopotentials"].values())
        elements = ", ".join(card["pseudopotentials"])
        summary = card.get("card", {}).get("summary", "")
        typer.echo(f"{known:16s} {elements} ({potentials}, {card['functional']})  {summary}".rstrip())
    if not cards:
        typer.echo("no model comes with this installation; train one with `rhoscale train` and give its folder")


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    """Nested plain values as indented text; long tables of numbers shortened."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            text = str(value)
            lines.append(f"{indent}{key:20s} {text if len(text) <= 200 else text[:197] + '...'}")
    return lines
