"""Aleatoric, epistemic and total uncertainty, its recalibration on validation trajectories, and intervals."""

from rhoscale.uncertainty.decomposition import Uncertainty, decompose
from rhoscale.uncertainty.intervals import fit_freedom, half_width
from rhoscale.uncertainty.linearisation import LayerSpread, linearised_variance, variance_factors
from rhoscale.uncertainty.recalibration import Recalibration, fit_recalibration

__all__ = [
    "LayerSpread",
    "Recalibration",
    "Uncertainty",
    "decompose",
    "fit_freedom",
    "fit_recalibration",
    "half_width",
    "linearised_variance",
    "variance_factors",
]
