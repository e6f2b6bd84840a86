"""Aleatoric, epistemic and total uncertainty, and its recalibration on validation trajectories."""

from rhoscale.uncertainty.decomposition import Uncertainty, decompose
from rhoscale.uncertainty.recalibration import Recalibration, fit_recalibration

__all__ = ["Recalibration", "Uncertainty", "decompose", "fit_recalibration"]
