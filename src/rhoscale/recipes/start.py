"""A predicted density as the start of a self-consistent run: it changes the cost of a label, not the label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rhoscale.ase_bridge import to_atoms
from rhoscale.density import Density
from rhoscale.errors import ModelError, StructureError
from rhoscale.prediction.refusals import refuse_other_pseudopotentials
from rhoscale.recipes.public import Model, load_model
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System


@dataclass(frozen=True)
class PredictedStart:
    """The density that a model predicts for a system, as Fourier coefficients.

    Attributes:
        model: What predicts.
        name: Name and hash of the model, for the record of a label.
    """

    model: Model = field(repr=False)
    name: str

    @classmethod
    def load(cls, name_or_path: str | Path, pseudopotentials: Mapping[str, PseudopotentialIdentity]) -> PredictedStart:
        """Load a model for runs with these pseudopotentials.

        Raises:
            ModelError: There is no such model, or it was trained on other pseudopotentials.
            FormatError: A file of it is damaged.
        """
        model = load_model(name_or_path)
        shared = [e for e in model.elements if e in pseudopotentials]
        refuse_other_pseudopotentials(shared, pseudopotentials, model.trained.pseudopotentials, model.name)
        return cls(model, f"{model.name} {model.content_hash[:12]}")

    def __str__(self) -> str:
        return self.name

    def __call__(self, system: System) -> FourierDensity | None:
        """Predict every wave of the model's labels; None for a structure that the model refuses."""
        spacing = self.model.trained.whole_spacing
        try:
            prediction = self.model.predict(to_atoms(system), spacing=spacing, uncertainty=False, threads=1)
        except (ModelError, StructureError):
            return None
        density = Density(grid=prediction.grid, values=np.asarray(prediction.density, dtype=np.float64))
        return FourierDensity.from_density(density, np.inf)
