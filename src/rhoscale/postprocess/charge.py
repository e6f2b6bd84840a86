"""Rescaling of a predicted density to the number of electrons."""

from __future__ import annotations

from rhoscale.density import Density
from rhoscale.errors import EmptyDensityError


def rescale_to_charge(density: Density, n_electrons: float) -> Density:
    """Scale a density so that it integrates to the number of electrons.

        rho_scaled(r) = rho(r) N_e / int_Omega rho(r) dr            (paper, eq. 6)

    Args:
        density: Predicted density, electrons per Bohr^3.
        n_electrons: Valence electrons in the cell, as the pseudopotentials count them.

    Raises:
        EmptyDensityError: The density integrates to zero or less.
    """
    return density * charge_factor(density.integral(), n_electrons)


def charge_factor(raw_electrons: float, n_electrons: float) -> float:
    """N_e / int rho dr, the factor of eq. 6, for a field that was integrated elsewhere.

    Args:
        raw_electrons: Integral of the predicted density.
        n_electrons: Valence electrons in the cell, as the pseudopotentials count them.

    Raises:
        EmptyDensityError: The density integrates to zero or less, or not to a number.
    """
    if not raw_electrons > 0:
        raise EmptyDensityError(
            f"cannot rescale a density that integrates to {raw_electrons:.3e} electrons "
            f"(expected about {n_electrons:g}); check the model's output scaling"
        )
    return n_electrons / raw_electrons
