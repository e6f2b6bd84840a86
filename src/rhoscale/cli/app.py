"""The ``rhoscale`` command: words into recipes, errors into one clear message and exit code 2."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rhoscale import __version__
from rhoscale.errors import RhoscaleError

INTERRUPTED = 130

# name: (module in this folder whose register(app) adds it, its line in the overview)
COMMANDS = {
    "predict": ("predict", "Predict the electron density of a structure, with a map of its uncertainty."),
    "compare": ("compare", "Compare a predicted density with a reference of the same structure."),
    "plot": ("plot", "Draw a plane through a prediction."),
    "models": ("models", "List the models that come with the package, or show the card of one."),
    "data": ("data", "Data sets: list, show, check, import, label noise."),
    "generate": ("generate", "Make the snapshots of a data recipe."),
    "train": ("train", "Train a model from a recipe and judge it."),
    "evaluate": ("train", "Judge a model on test data."),
    "select": ("select", "Search how large a descriptor pays, by its error on validation snapshots."),
    "energy": ("energy", "Compute the energy of a density, or of the density that a model predicts."),
    "eos": ("eos", "Lattice parameter and bulk modulus from predictions, beside DFT."),
    "study": ("study", "Measure models against DFT: energies, SCF starts, transfer."),
    "build": ("build", "Build a thermal supercell of any size, with vacancies or as an alloy."),
    "bench": ("bench", "Measure each stage of a prediction against what this machine can do."),
    "engines": ("engines", "Say which DFT engines can be used."),
}


class Later(TyperCommand):
    """A command whose module is imported only when it is called: the numerical libraries take seconds."""

    table = COMMANDS

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Hand over to the real command."""
        name = str(self.name)
        module = typer.Typer()
        import_module(f"rhoscale.cli.{self.table[name][0]}").register(module)
        command = typer.main.get_group(module).commands[name]
        return command.make_context(info_name, args, parent=parent, **extra)


class Commands(TyperGroup):
    """All commands, none of them imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in COMMANDS.items():
            self.add_command(Later(name, help=line))


app = typer.Typer(
    name="rhoscale",
    cls=Commands,
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


def main() -> None:
    """Run the command line; a refused input ends with exit code 2, an interrupt with 130."""
    try:
        app()
    except RhoscaleError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            typer.secho("interrupted; what is finished is kept, the same command goes on from there", err=True)
        raise
