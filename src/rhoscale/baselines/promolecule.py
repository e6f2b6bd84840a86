"""The sum of atomic densities as a predictor: what a model must beat to have learnt anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import ModelError
from rhoscale.promolecule import AtomicDensityTable, Promolecule
from rhoscale.system import PseudopotentialIdentity, System

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PromoleculeBaseline:
    """Atomic densities that stay with the model whose prior mean or yardstick they are.

    Attributes:
        tables: Atomic density for each element.
    """

    tables: Mapping[str, AtomicDensityTable]

    def predictor(self, system: System) -> Callable[[FloatArray], FloatArray]:
        """Prepare points [n, 3] in Bohr -> density [n], electrons per Bohr^3, in one system.

        Raises:
            StructureError: An element has no table.
        """
        return Promolecule(system, self.tables).at

    def to_arrays(self) -> dict[str, FloatArray]:
        """Values and mesh step for each element as named double-precision arrays."""
        arrays = {}
        for element, table in self.tables.items():
            arrays[f"promolecule.{element}"] = table.values
            arrays[f"promolecule.{element}.step"] = np.array([table.step])
        return arrays

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[np.floating]],
        pseudopotentials: Mapping[str, PseudopotentialIdentity],
    ) -> PromoleculeBaseline:
        """Rebuild from :meth:`to_arrays` the tables of the elements that have a pseudopotential.

        Raises:
            ModelError: The array of an element is missing.
        """
        tables = {}
        for element, identity in pseudopotentials.items():
            try:
                values, step = (arrays[f"promolecule.{element}{end}"] for end in ("", ".step"))
            except KeyError as error:
                raise ModelError(
                    f"the promolecule lacks the array {error}; expected one for each of "
                    f"{', '.join(pseudopotentials)}; the model file is damaged"
                ) from error
            tables[element] = AtomicDensityTable(identity, float(step[0]), np.asarray(values, dtype=np.float64))
        return cls(tables)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the tables' hashes, each with its element and pseudopotential."""
        text = " ".join(f"{e}:{t.content_hash}" for e, t in sorted(self.tables.items()))
        return hashlib.sha256(text.encode()).hexdigest()
