"""Kohn-Sham electron densities of bulk materials at any scale, with a map of how far each value can be trusted.

import rhoscale

model = rhoscale.load_model("al-pbe")                    # a bundled name, or a path
prediction = model.predict(atoms, shape=(60, 60, 60))    # ase.Atoms in
prediction.density                                       # [nx, ny, nz], electrons / Bohr^3
rhoscale.predict_to_store(atoms, model, "out.zarr", spacing=0.30)
rhoscale.open_density("out.zarr")[0:64, 0:64, 0:64]      # any block, refined on demand
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rhoscale.prediction.field import StoredField, open_density
    from rhoscale.recipes.energy_calculator import RhoscaleCalculator
    from rhoscale.recipes.public import Model, Prediction, load_model, predict_to_store

_HOMES = {
    "Model": "rhoscale.recipes.public",
    "Prediction": "rhoscale.recipes.public",
    "RhoscaleCalculator": "rhoscale.recipes.energy_calculator",
    "StoredField": "rhoscale.prediction.field",
    "load_model": "rhoscale.recipes.public",
    "open_density": "rhoscale.prediction.field",
    "predict_to_store": "rhoscale.recipes.public",
}

__all__ = [
    "Model",
    "Prediction",
    "RhoscaleCalculator",
    "StoredField",
    "__version__",
    "load_model",
    "open_density",
    "predict_to_store",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: the numerical libraries take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
