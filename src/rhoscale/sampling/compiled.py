"""What ASE calculators with a compiled kernel share: element codes, lists of near pairs, results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from numpy.typing import NDArray

from rhoscale.errors import StructureError
from rhoscale.sampling.verlet_list import NearPairs, VerletList

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class CompiledCalculator(Calculator, ABC):
    """Energies (eV) and forces (eV per Angstrom) of atoms in a cell of any size.

    Args:
        elements: That the potential knows.
        near: Finds the pairs that it acts between.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 - as ASE's base class has it

    def __init__(self, elements: Sequence[str], near: VerletList) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self._near = near
        self._codes = np.full(len(atomic_numbers), -1)
        self._codes[[atomic_numbers[e] for e in elements]] = np.arange(len(elements))

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:  # noqa: ARG002 - as in ASE
        """What changed since the last evaluation."""
        return changes(self.atoms, atoms)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate energy and forces.

        Raises:
            StructureError: An element has no parameters.
        """
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        codes = self._codes[atoms.numbers]
        if codes.min() < 0:
            strange = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
            raise StructureError(
                f"{type(self).__name__} does not know {', '.join(strange)}; expected {', '.join(self.elements)}; name "
                f"another potential as forces"
            )
        energy, forces = self.evaluate(atoms.positions, codes, self._near.pairs(atoms))
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    @abstractmethod
    def evaluate(self, positions: FloatArray, codes: IntArray, near: NearPairs) -> tuple[float, FloatArray]:
        """Energy and forces [n, 3] of atoms at ``positions`` [n, 3] with the elements ``codes`` [n]."""


def changes(before: Atoms | None, after: Atoms) -> list[str]:
    """Names of what an energy may depend on and differs in any bit; ASE checks for longer than small cells take."""
    if before is None:
        return list(all_changes)
    found = [name for name in ("cell", "pbc") if (np.asarray(getattr(before, name)) != getattr(after, name)).any()]
    arrays = [name for name in all_changes if name in before.arrays or name in after.arrays]
    return found + [n for n in arrays if not np.array_equal(before.arrays.get(n, ()), after.arrays.get(n, ()))]
