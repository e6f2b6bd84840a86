"""Bayesian dense network: shape, posterior, likelihood, loss, and the trained model as a folder."""

from rhoscale.models.checkpoint import load_trained, save_trained
from rhoscale.models.dense_network import DenseNet
from rhoscale.models.ensemble import Ensemble
from rhoscale.models.posterior import MeanField
from rhoscale.models.scaling import Scaling
from rhoscale.models.trained import DrawnNetwork, TrainedModel

__all__ = [
    "DenseNet",
    "DrawnNetwork",
    "Ensemble",
    "MeanField",
    "Scaling",
    "TrainedModel",
    "load_trained",
    "save_trained",
]
