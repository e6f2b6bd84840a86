"""How far a predicted density is from a reference on the same grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.errors import EmptyDensityError, InputError


@dataclass(frozen=True)
class FieldErrors:
    """Errors of one predicted density.

    Attributes:
        l1: Integral of |difference| per electron, of the field rescaled to the electron count; 0.01 is 1 %.
        rmse: Root of the mean squared difference of the raw field, electrons per Bohr^3.
        rmse_over_range: ``rmse`` divided by (largest minus smallest) reference density.
        largest: Largest absolute difference of the raw field, electrons per Bohr^3.
        electrons: What the raw field integrates to.
        electrons_reference: What it should integrate to.
    """

    l1: float
    rmse: float
    rmse_over_range: float
    largest: float
    electrons: float
    electrons_reference: float

    def to_dict(self) -> dict[str, float]:
        """The fields as plain values."""
        return asdict(self)


def field_errors(predicted: Density, reference: Density, electrons: float | None = None) -> FieldErrors:
    """Compare two densities: L1 on the rescaled field, everything else on the raw one.

        L1 = 1/N_e int |rho s - rho_ref| dr,    s = N_e / int rho dr     (rescaling: paper, eq. 6)

    Args:
        predicted: Raw prediction, before any rescaling.
        reference: Reference density on the same grid.
        electrons: Valence electrons in the cell N_e; by default the integral of the reference.

    Raises:
        InputError: The grids differ.
        EmptyDensityError: The prediction integrates to zero or less.
    """
    if predicted.grid.shape != reference.grid.shape:
        raise InputError(
            f"the prediction is on a grid of {predicted.grid.shape} points, the reference on {reference.grid.shape}; "
            f"expected one grid; bring the prediction to the reference's grid first"
        )
    count = reference.integral() if electrons is None else electrons
    truth = np.asarray(reference.values, dtype=np.float64)
    values = np.asarray(predicted.values, dtype=np.float64)
    span = float(np.ptp(truth))
    if not (span > 0 and np.isfinite(span)):
        raise InputError(
            f"the reference is {truth.flat[0]:g} e/Bohr^3 everywhere or not a number; expected a density that varies; "
            f"check the file"
        )
    difference = values - truth
    rmse = float(np.sqrt(np.mean(difference**2)))
    return FieldErrors(
        l1=l1_per_electron(values.ravel(), truth.ravel(), reference.grid.volume_element, count),
        rmse=rmse,
        rmse_over_range=rmse / span,
        largest=float(np.abs(difference).max()),
        electrons=predicted.integral(),
        electrons_reference=count,
    )


def l1_per_electron(
    predicted: NDArray[np.floating], reference: NDArray[np.floating], volume_element: float, electrons: float
) -> float:
    """L1 per electron of a field given by its values at equally spaced points [n], after rescaling to N_e.

    Raises:
        EmptyDensityError: The prediction integrates to zero or less.
    """
    charge = float(np.sum(predicted, dtype=np.float64)) * volume_element
    if not charge > 0:
        raise EmptyDensityError(
            f"cannot compare a density that integrates to {charge:.3e} electrons; expected about {electrons:g}; "
            f"check the model's output scaling"
        )
    difference = np.asarray(predicted, dtype=np.float64) * (electrons / charge) - reference
    return float(np.sum(np.abs(difference))) * volume_element / electrons
