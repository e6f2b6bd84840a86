"""A model against the label of one snapshot, on the model's compute grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.grid import Grid
from rhoscale.metrics import FieldErrors, field_errors
from rhoscale.models import TrainedModel
from rhoscale.recipes.prior import prior_mean
from rhoscale.snapshot import Snapshot
from rhoscale.uncertainty import Uncertainty


@dataclass(frozen=True)
class Judged:
    """One snapshot as a model sees it.

    Attributes:
        errors: Of the point estimate, at all points of the compute grid.
        prior_errors: Of the model's prior mean alone, or None.
        differences: Point estimate minus label at the points where uncertainties were computed [m], e/Bohr^3.
        uncertainty: At the same points.
        sigma_to_l1: Factor from the mean total deviation to the L1 per electron of a Gaussian of that size.
    """

    errors: FieldErrors
    prior_errors: FieldErrors | None
    differences: NDArray[np.float64]
    uncertainty: Uncertainty
    sigma_to_l1: float

    @property
    def expected_l1(self) -> float:
        """L1 per electron that the total deviations lead to expect, sqrt(2 / pi) int sigma dr / N_e."""
        return self.sigma_to_l1 * float(np.mean(self.uncertainty.total, dtype=np.float64))


def judge_snapshot(
    model: TrainedModel, snapshot: Snapshot, *, draws: int, points: int | None = None, seed: int = 0
) -> Judged:
    """Compare a model with the label of a snapshot.

    Args:
        model: The model.
        snapshot: One of its pseudopotentials.
        draws: Weight draws for the uncertainties.
        points: Number of points for the uncertainties, drawn with the seed; None for all.
        seed: Of the points and the draws.
    """
    grid = Grid.from_spacing(snapshot.system.cell, model.compute_spacing)
    positions = grid.points()
    features = describer(snapshot.system, spec_from_dict(model.descriptor_spec))(positions)
    prior = prior_mean(snapshot.system, model)(positions, features)
    reference = snapshot.density.on_grid(grid.shape)
    density, _ = model.point_estimate(features, prior)
    chosen = np.arange(grid.size)
    if points is not None and points < grid.size:
        chosen = np.sort(np.random.default_rng(seed).choice(grid.size, points, replace=False))
    part = None if prior is None else prior[chosen]
    return Judged(
        errors=field_errors(Density(grid, density.reshape(grid.shape)), reference, snapshot.electrons),
        prior_errors=None
        if prior is None
        else field_errors(Density(grid, prior.reshape(grid.shape)), reference, snapshot.electrons),
        differences=density[chosen].astype(np.float64) - reference.values.reshape(-1)[chosen],
        uncertainty=model.uncertainty(features[chosen], part, draws=draws, seed=seed),
        sigma_to_l1=float(np.sqrt(2.0 / np.pi)) * snapshot.system.volume / snapshot.electrons,
    )
