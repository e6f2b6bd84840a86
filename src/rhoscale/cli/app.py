"""The ``rhoscale`` command: words into recipes, errors into one clear message and exit code 2."""

from __future__ import annotations

import sys

import click
import typer

from rhoscale import __version__
from rhoscale.cli import data, engines, generate, train
from rhoscale.errors import RhoscaleError

app = typer.Typer(
    name="rhoscale",
    help="Predict Kohn-Sham electron densities of bulk materials at any scale, with uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Predict Kohn-Sham electron densities of bulk materials at any scale, with uncertainty."""
    if show:
        typer.echo(f"rhoscale {__version__}")
        raise typer.Exit


# Each command module adds itself here: from rhoscale.cli import <module>; <module>.register(app)
data.register(app)
engines.register(app)
generate.register(app)
train.register(app)


def main() -> None:
    """Run the command line; a refused input ends with exit code 2, an interrupt with 130."""
    try:
        code = app(standalone_mode=False)
    except RhoscaleError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        typer.secho("interrupted; what is finished is kept, the same command goes on from there", err=True)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
