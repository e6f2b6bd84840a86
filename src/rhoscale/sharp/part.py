"""What a model knows of sharp parts: one set of weights for all structures of its elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import ModelError, StructureError
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.promolecule.radial_basis import radial_functions
from rhoscale.sharp.harmonics import DEGREE_OF, DEGREES, HARMONICS
from rhoscale.sharp.surroundings import FUNCTIONS as NEIGHBOURS
from rhoscale.sharp.surroundings import REACH as NEIGHBOURS_REACH
from rhoscale.sharp.surroundings import surroundings
from rhoscale.system import System

FloatArray = NDArray[np.float64]

REACH = 4.5  # Bohr; 4.0 to 6.5 serve alike (Al)
FUNCTIONS = 14  # radial functions


@dataclass(frozen=True)
class SharpPart:
    """Weights of the functions about an atom,

        c_aklm = delta_l0 u_ek + sum_e'n v_ee'nlk g_ae'nlm,    e the element of a,

    with the surroundings g of the atom (``surroundings.py``).

    Attributes:
        elements: Chemical symbols, alphabetical.
        spheres: u [elements, k], electrons per Bohr^3.
        bonds: v [elements, elements' x n, l, k], electrons per Bohr^3.
    """

    elements: tuple[str, ...]
    spheres: FloatArray
    bonds: FloatArray

    def __post_init__(self) -> None:
        n = len(self.elements)
        expected = (n, FUNCTIONS), (n, n * NEIGHBOURS, DEGREES, FUNCTIONS)
        if (self.spheres.shape, self.bonds.shape) != expected:
            raise ModelError(
                f"the sharp part of {n} elements has arrays of shapes {self.spheres.shape} and {self.bonds.shape}; "
                f"expected {expected[0]} and {expected[1]}; copy the whole model again"
            )

    @classmethod
    def of_tables(cls, tables: Mapping[str, AtomicDensityTable]) -> SharpPart:
        """Spheres alone, from tables that are sums of the same functions, as models before format 5 have them."""
        functions, elements = radial_functions(REACH, FUNCTIONS), tuple(sorted(tables))
        values = np.stack([tables[e].values for e in elements])
        spheres = np.asarray(np.linalg.lstsq(functions.T, values.T, rcond=None)[0].T, dtype=np.float64)
        return cls(elements, spheres, np.zeros((len(elements), len(elements) * NEIGHBOURS, DEGREES, FUNCTIONS)))

    @property
    def halo(self) -> float:
        """Distance within which atoms matter to a point, Bohr: those that reach it, and their neighbours."""
        return REACH + NEIGHBOURS_REACH

    def coefficients(self, system: System) -> FloatArray:
        """c [atoms, k, lm] of a structure, electrons per Bohr^3.

        Raises:
            StructureError: An element is not known.
        """
        missing = [e for e in system.elements if e not in self.elements]
        if missing:
            raise StructureError(
                f"no sharp part for {', '.join(missing)}; there are ones for {', '.join(self.elements)}; use a "
                f"structure of these elements"
            )
        around = surroundings(system, self.elements)
        found = np.zeros((len(system), FUNCTIONS, HARMONICS))
        for e, element in enumerate(self.elements):
            mine = system.species == element
            weights = self.bonds[e][:, DEGREE_OF]  # [channels, lm, k]
            found[mine] = np.einsum("acm,cmk->akm", around[mine], weights, optimize=True)
            found[mine, :, 0] += self.spheres[e]
        return found

    def to_arrays(self) -> dict[str, FloatArray]:
        """Both arrays by name."""
        return {"spheres": self.spheres, "bonds": self.bonds}
