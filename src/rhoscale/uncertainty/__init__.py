"""Aleatoric, epistemic and total uncertainty, and its recalibration on validation trajectories."""

from rhoscale.uncertainty.decomposition import Uncertainty, decompose
from rhoscale.uncertainty.linearisation import LayerSpread, linearised_variance, variance_factors
from rhoscale.uncertainty.recalibration import Recalibration, fit_recalibration

__all__ = [
    "LayerSpread",
    "Recalibration",
    "Uncertainty",
    "decompose",
    "fit_recalibration",
    "linearised_variance",
    "variance_factors",
]
