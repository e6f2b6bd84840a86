"""``rhoscale compare``: how far a prediction is from a reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from rhoscale.recipes.compare import Comparison


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(run)


def run(
    prediction: Path = typer.Argument(..., help="A prediction (NAME.zarr) or a density file."),
    reference: Path = typer.Argument(..., help="A density file, a snapshot (.safetensors) or a .save folder."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Compare a predicted density with a reference of the same structure, on the reference's grid."""
    from rhoscale.recipes.compare import compare

    found = compare(prediction, reference)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        Console().print(_table(found))


def _table(found: Comparison) -> Table:
    errors = found.errors
    table = Table("quantity", "value", "of", caption=found.note or None)
    table.add_row("L1 per electron", f"{100 * errors.l1:.3f} %", "rescaled field")
    table.add_row("RMSE", f"{errors.rmse:.3e} e/Bohr³", "raw field")
    table.add_row("RMSE / range", f"{100 * errors.rmse_over_range:.3f} %", "raw field")
    table.add_row("largest error", f"{errors.largest:.3e} e/Bohr³", "raw field")
    table.add_row("electrons", f"{errors.electrons:.4f} of {errors.electrons_reference:g}", "raw field")
    if found.calibration is not None:
        for level, share in found.calibration.coverage.items():
            table.add_row(f"inside the {100 * level:g} % interval", f"{100 * share:.1f} %", "rescaled field")
        table.add_row("negative log-likelihood", f"{found.calibration.nll:.3f}", "rescaled field")
    table.add_row("grid", " x ".join(map(str, found.shape)), "reference")
    return table
