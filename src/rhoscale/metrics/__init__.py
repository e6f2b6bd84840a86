"""Errors of predicted fields and calibration of predicted deviations."""

from rhoscale.metrics.calibration import Calibration, calibration, coverage, negative_log_likelihood, sharpness
from rhoscale.metrics.field import FieldErrors, field_errors, l1_per_electron

__all__ = [
    "Calibration",
    "FieldErrors",
    "calibration",
    "coverage",
    "field_errors",
    "l1_per_electron",
    "negative_log_likelihood",
    "sharpness",
]
