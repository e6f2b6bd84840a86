"""``rhoscale study``: measurements of models against DFT, one subcommand a file."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from rhoscale.cli.app import Later

# name: (module in this folder whose register(app) adds it, its line in the overview)
STUDIES = {
    "energies": ("study_energies", "Energies of predicted densities against DFT (the paper's tables IV and V)."),
    "scf-start": ("study_start", "What a predicted density saves as the start of self-consistent runs."),
    "transfer": ("study_transfer", "What training on small cells first buys on large ones, at equal DFT time."),
}


class LaterStudy(Later):
    """A study whose module is imported only when it is called."""

    table = STUDIES


class Studies(TyperGroup):
    """All studies, none of them imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in STUDIES.items():
            self.add_command(LaterStudy(name, help=line))


study = typer.Typer(cls=Studies, help="Measure models against DFT.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(study, name="study")
