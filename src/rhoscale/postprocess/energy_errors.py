"""How far the energies of a predicted density are from those of the self-consistent one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class EnergyErrors:
    """One line of the paper's tables IV and V, with its sign: predicted minus self-consistent, Hartree.

    Attributes:
        l1: Of the rescaled density, per electron; 0.01 is 1 %.
        total: Of the Harris-Foulkes total free energy, per atom.
        corrected: Of that with the estimate of what it lacks (``second_order``), per atom; None where there is none.
        xc: Of the exchange-correlation energy, per atom; None where the engine gives none.
        fermi: Of the Fermi level.
        eigenvalue_occupied: Largest absolute error of an eigenvalue at or below the true Fermi level; None without.
        eigenvalue_all: The same over all bands that were computed, the empty ones too.
    """

    l1: float
    total: float
    corrected: float | None
    xc: float | None
    fermi: float
    eigenvalue_occupied: float | None
    eigenvalue_all: float | None

    @property
    def over_l1_squared(self) -> float:
        """Total energy error over L1 squared, Ha/atom: nearly a constant of the material, as the error is of second
        order; NaN for a density without error."""
        return self.total / self.l1**2 if self.l1 > 0 else float("nan")

    def to_dict(self) -> dict[str, float | None]:
        """The fields and the ratio as plain values."""
        return {**asdict(self), "over_l1_squared": self.over_l1_squared}


def energy_errors(
    found: Mapping[str, float],
    reference: Mapping[str, float],
    *,
    l1: float,
    atoms: int,
    eigenvalues: FloatArray,
    reference_eigenvalues: FloatArray | None = None,
) -> EnergyErrors:
    """Compare energies, Fermi levels and eigenvalues of two densities of one structure, computed alike.

    Args:
        found: ``total``, ``fermi`` and perhaps ``second_order`` and ``xc``, Hartree, of the density in question.
        reference: The same of the self-consistent density.
        l1: Error of the density, per electron.
        atoms: Number of atoms in the cell.
        eigenvalues: [k-points, bands], Hartree.
        reference_eigenvalues: At the same k-points; None if they are not known.

    Raises:
        InputError: The two were computed with other k-points or bands.
    """
    if reference_eigenvalues is not None and eigenvalues.shape != reference_eigenvalues.shape:
        raise InputError(
            f"eigenvalues at {eigenvalues.shape} (k-points, bands) cannot be compared with "
            f"{reference_eigenvalues.shape}; expected one k-mesh and as many bands; compute both alike"
        )
    both_xc = "xc" in found and "xc" in reference
    off = occupied = np.empty(0)
    if reference_eigenvalues is not None:
        off = np.abs(eigenvalues - reference_eigenvalues)
        occupied = off[reference_eigenvalues <= reference["fermi"]]
    total = found["total"] - reference["total"]
    return EnergyErrors(
        l1=l1,
        total=total / atoms,
        corrected=(total + found["second_order"]) / atoms if "second_order" in found else None,
        xc=(found["xc"] - reference["xc"]) / atoms if both_xc else None,
        fermi=found["fermi"] - reference["fermi"],
        eigenvalue_occupied=float(occupied.max()) if occupied.size else None,
        eigenvalue_all=float(off.max()) if off.size else None,
    )
