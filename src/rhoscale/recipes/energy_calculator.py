"""Energies of a model's predicted densities as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from rhoscale.ase_bridge import from_atoms
from rhoscale.recipes.energy import BUDGET, MEMORY, EnergyReport, compute_energy, prepare_structure
from rhoscale.recipes.energy_cost import GIB, refuse_over_budget
from rhoscale.recipes.energy_settings import EnergyOptions, three
from rhoscale.recipes.public import Model, load_model
from rhoscale.units import EV_PER_HARTREE


class RhoscaleCalculator(Calculator):
    """An ASE calculator: a model's density, one diagonalisation, the Harris-Foulkes free energy to second order.

        atoms.calc = RhoscaleCalculator(model="al-pbe")
        atoms.get_potential_energy()

    ``energy`` and ``free_energy`` are the same number in eV, with the smearing's -TS. Forces and stress are not there:
    that energy is no variational minimum, so its derivative needs the derivative of the predicted density; asking for
    them raises ASE's ``PropertyNotImplementedError``.

    Args:
        model: A bundled model's name, the path of a model's folder, or a loaded model.
        kmesh: Monkhorst-Pack mesh; by default as fine as 5 x 5 x 5 for 32 atoms of aluminium. Energies of cells that
            are compared need one mesh, so name it where the cell changes.
        kshift: Of the mesh, in half steps along each axis: 0, 1 or 1/2.
        cutoff_ry: Cutoff of the orbitals, Ry; 25 by default.
        smearing: ``cold`` (default), ``fermi-dirac``, ``gaussian`` or ``fixed``.
        width_ry: Smearing width, Ry; 0.04 by default.
        pseudopotentials: Folder of UPF files; GTH-PBE by default.
        engine: ``pw.x``, ``qepy`` or ``auto``.
        program: Path of ``pw.x``.
        threads: Of a run.
        budget: Core-minutes that one energy may be estimated to cost.
        memory: GiB that it may be estimated to need.
        second_order: Whether the estimate of what the Harris-Foulkes energy lacks is added; it costs nothing.

    Raises:
        ModelError: There is no such model.
    """

    implemented_properties = ["energy", "free_energy"]  # noqa: RUF012 - ASE's own attribute

    def __init__(
        self,
        model: str | Path | Model = "al-pbe",
        *,
        kmesh: Sequence[int] | None = None,
        kshift: Sequence[float] | None = None,
        cutoff_ry: float | None = None,
        smearing: str | None = None,
        width_ry: float | None = None,
        pseudopotentials: Path | None = None,
        engine: str = "auto",
        program: Path | None = None,
        threads: int = 1,
        budget: float = BUDGET,
        memory: float = MEMORY / GIB,
        second_order: bool = True,
    ) -> None:
        super().__init__()
        self.model = model if isinstance(model, Model) else load_model(model)
        mesh = None if kmesh is None else three(kmesh)
        shift = None if kshift is None else three(kshift)
        self.options = EnergyOptions(
            cutoff_ry, mesh, shift, smearing, width_ry, pseudopotentials, engine, program, threads
        )
        self.budget = budget
        self.memory = memory
        self.second_order = second_order
        self.report: EnergyReport | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute the energy of a structure; ``report`` keeps all terms, the verdict and the cost.

        Raises:
            StructureError: It is not a bulk cell, or atoms overlap.
            ModelError: The model does not know an element.
            InputError: It would cost more than the budget or the memory.
            EngineError: There is no DFT program, or it failed.
        """
        super().calculate(atoms, properties, system_changes)
        prepared = prepare_structure(from_atoms(self.atoms), self.model, self.options)
        refuse_over_budget(prepared.cost, self.budget, self.memory * GIB)
        self.report = compute_energy(prepared)
        found = self.report.found
        energy = (found.corrected if self.second_order else found.energies["total"]) * EV_PER_HARTREE
        self.results: dict[str, Any] = {"energy": energy, "free_energy": energy}
