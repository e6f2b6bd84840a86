"""Fast evaluation of a trained network and its uncertainty."""

from rhoscale.models.inference.ensemble import EnsemblePredictor
from rhoscale.models.inference.predictor import Predictor
from rhoscale.models.inference.product import has_bfloat16

__all__ = ["EnsemblePredictor", "Predictor", "has_bfloat16"]
