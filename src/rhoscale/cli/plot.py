"""``rhoscale plot``: a plane of a prediction as a picture."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plot")(run)


def run(
    prediction: Path = typer.Argument(..., help="A prediction, NAME.zarr."),
    reference: Path | None = typer.Argument(None, help="A density file, snapshot or .save folder to set beside it."),
    out: Path = typer.Option(..., "--out", "-o", help="Picture to write, NAME.png."),
    axis: int = typer.Option(3, min=1, max=3, help="Cell vector that the plane cuts."),
    position: float | None = typer.Option(None, help="Where, as a fraction of it; by default through a middle atom."),
    force: bool = typer.Option(False, "--force", help="Replace an existing picture."),
) -> None:
    """Draw a plane through prediction and uncertainty, and with a reference also that and the error."""
    from rhoscale.recipes.plot import plot

    plane = plot(prediction, out, reference=reference, axis=axis - 1, position=position, force=force)
    typer.echo(f"wrote {out}: plane at {plane.position:.4f} a{axis}")
