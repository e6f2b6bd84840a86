"""Descriptor, prior mean and network composed into one function of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rhoscale.cluster import Cluster
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.models import TrainedModel
from rhoscale.prediction.one_tile import PointPrediction, PredictPoints
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.recipes.prior import prior_mean
from rhoscale.system import System


def point_predictor(system: System | Cluster, model: TrainedModel, plan: PredictionPlan) -> PredictPoints:
    """Compose descriptor, prior mean and network: Cartesian points [n, 3] in Bohr -> values at them.

    The density is that of the mean weights (paper, IV.E). The epistemic deviation is that of the posterior to first
    order, or, where the plan asks for draws, that of one set of draws for the whole plan.
    """
    describe = describer(system, spec_from_dict(model.descriptor_spec))
    prior = prior_mean(system, model)
    if plan.uncertainty and plan.draws:
        model.drawn(plan.seed, plan.draws)  # once, before threads share them

    def predict_points(points: NDArray[np.float64]) -> PointPrediction:
        features = describe(points, threads=1)
        mean = prior(points, features)
        if not plan.uncertainty:
            return PointPrediction(model.density(features, mean))
        found = model.estimate(features, mean)
        if plan.draws:
            drawn = model.uncertainty(features, mean, draws=plan.draws, seed=plan.seed)
            return PointPrediction(found.mean, drawn.aleatoric, drawn.epistemic)
        return PointPrediction(found.mean, found.aleatoric, found.epistemic)

    return predict_points
