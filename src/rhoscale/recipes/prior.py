"""The prior mean of a model, at any points of a structure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rhoscale.baselines.linear import LinearBaseline
from rhoscale.errors import ModelError
from rhoscale.models import TrainedModel
from rhoscale.system import System

PriorMean = Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.floating] | None]


def prior_mean(system: System, model: TrainedModel) -> PriorMean:
    """What the network's output is added to: points [n, 3] in Bohr and their features -> values [n], or None.

    Raises:
        ModelError: The model's tables do not make its prior mean.
    """
    if model.prior_mean == "none":
        return lambda _points, _features: None
    if model.prior_mean == "linear":
        baseline = LinearBaseline.from_arrays(model.prior_arrays)  # type: ignore[arg-type]
        return lambda _points, features: baseline.predict(features)
    raise ModelError(f'model "{model.name}" has the prior mean {model.prior_mean!r}; expected none or linear')
