"""Energy over volume: lattice parameter and bulk modulus from the third-order Birch-Murnaghan equation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.eos import EquationOfState, birchmurnaghan
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning

from rhoscale.errors import InputError
from rhoscale.units import GPA_PER_ATOMIC_PRESSURE

FloatArray = NDArray[np.float64]
FEWEST_VOLUMES = 5  # four parameters and at least one value to check them


@dataclass(frozen=True)
class BirchMurnaghan:
    """A third-order Birch-Murnaghan curve (F. Birch, Phys. Rev. 71, 809 (1947)),

        E(V) = E_0 + 9/16 V_0 B_0 (x - 1)^2 [6 + B_0' (x - 1) - 4 x],    x = (V_0 / V)^(2/3)

    Attributes:
        volume: V_0, where the energy is lowest, Bohr^3.
        energy: E_0, Hartree.
        bulk_modulus: B_0 at V_0, Hartree per Bohr^3.
        bulk_modulus_slope: B_0', its derivative with respect to pressure.
        residual: Root mean square of what the fit leaves of the energies, Hartree.
    """

    volume: float
    energy: float
    bulk_modulus: float
    bulk_modulus_slope: float
    residual: float

    @property
    def bulk_modulus_gpa(self) -> float:
        """The bulk modulus in GPa."""
        return self.bulk_modulus * GPA_PER_ATOMIC_PRESSURE

    def lattice_parameter(self, reference: float, reference_volume: float) -> float:
        """The lattice parameter at V_0, from that of a similar cell: a_0 = a_ref (V_0 / V_ref)^(1/3)."""
        return float(reference * (self.volume / reference_volume) ** (1 / 3))

    def __call__(self, volumes: FloatArray) -> FloatArray:
        """Energies at volumes [n], Hartree."""
        parameters = (self.bulk_modulus, self.bulk_modulus_slope, self.volume)
        return np.asarray(birchmurnaghan(volumes, self.energy, *parameters), dtype=np.float64)


def fit_birch_murnaghan(
    volumes: Sequence[float] | FloatArray, energies: Sequence[float] | FloatArray
) -> BirchMurnaghan:
    """Fit the third-order Birch-Murnaghan equation by least squares; ASE does the fit, in the units it is given.

    Args:
        volumes: At least five different ones [n], Bohr^3, for the same atoms as the energies.
        energies: [n], Hartree.

    Raises:
        InputError: There are too few values, they are not finite, or the curve has no lowest point between them.
    """
    v, e = np.asarray(volumes, dtype=np.float64), np.asarray(energies, dtype=np.float64)
    if v.shape != e.shape or v.ndim != 1 or len(np.unique(v)) < FEWEST_VOLUMES:
        raise InputError(
            f"an equation of state from {v.size} volumes ({len(np.unique(v))} different) and {e.size} energies; "
            f"expected as many energies as volumes and at least {FEWEST_VOLUMES} different ones; compute more strains"
        )
    if not (np.isfinite(v).all() and np.isfinite(e).all() and v.min() > 0):
        raise InputError(f"volumes {v.tolist()} and energies {e.tolist()} must be finite, the volumes positive")
    offset = float(e.min())  # totals of -66 Ha would drown differences of 1e-6 Ha in the fit's own tolerances
    fit = EquationOfState(v, e - offset, eos="birchmurnaghan")
    try:
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # a search that leaves V > 0 ends below
            warnings.simplefilter("ignore", OptimizeWarning)  # of a perfect fit, which has no covariance
            fit.fit(warn=False)
    except RuntimeError as error:
        raise InputError(
            f"no equation of state fits the energies ({error}); look for one that is out of line"
        ) from error
    energy, modulus, slope, volume = (float(p) for p in fit.eos_parameters)
    if not (v.min() < volume < v.max() and modulus > 0):
        raise InputError(
            f"the energy is lowest at {volume:.6g} Bohr^3 (bulk modulus {modulus * GPA_PER_ATOMIC_PRESSURE:.3g} GPa), "
            f"outside the volumes {v.min():.6g} to {v.max():.6g} Bohr^3; expected a minimum between them; move the "
            f"range of strains or the lattice constant"
        )
    curve = BirchMurnaghan(volume, energy + offset, modulus, slope, 0.0)
    residual = float(np.sqrt(np.mean((curve(v) - e) ** 2)))
    return BirchMurnaghan(volume, energy + offset, modulus, slope, residual)
