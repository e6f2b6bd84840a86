"""Recalibration of a model on validation snapshots, and the thresholds that verdicts are judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rhoscale.models import TrainedModel
from rhoscale.prediction.refusals import closest_pair
from rhoscale.recipes.judge import judge_snapshot
from rhoscale.recipes.training_data import Labelled
from rhoscale.uncertainty import fit_recalibration

FARTHEST_PAIR = 20.0  # Bohr; beyond the nearest-neighbour distance of any bulk material


def calibrated(
    model: TrainedModel, validation: Labelled, training: Labelled, draws: int, *, recalibrate: bool = True
) -> TrainedModel:
    """The model with its recalibration and its range, both from trajectories that the weights were not fitted to.

    ``range`` holds ``largest_total`` and ``largest_epistemic`` (electrons per Bohr^3, over all points of the
    validation snapshots), ``l1_ratio_low`` and ``l1_ratio_high`` (smallest and largest ratio of true to expected L1
    over the snapshots), ``largest_electrons_off`` (of the raw electron count, relative) and ``smallest_distance`` (of
    two atoms in training, Bohr).
    """
    raw = replace(model, recalibration=None)
    judged = [judge_snapshot(raw, s, draws=draws) for s in validation.snapshots]
    found = raw
    if recalibrate:
        parts = [(j.differences, j.uncertainty.aleatoric, j.uncertainty.epistemic) for j in judged]
        errors, aleatoric, epistemic = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        found = replace(raw, recalibration=fit_recalibration(errors, aleatoric, epistemic))
    if found.recalibration is not None:
        judged = [replace(j, uncertainty=found.recalibration(j.uncertainty)) for j in judged]
    ratios = [j.errors.l1 / j.expected_l1 for j in judged]
    pairs = [closest_pair(s.system, FARTHEST_PAIR) for s in training.snapshots]
    return replace(
        found,
        range={
            "largest_total": max(float(j.uncertainty.total.max()) for j in judged),
            "largest_epistemic": max(float(j.uncertainty.epistemic.max()) for j in judged),
            "l1_ratio_low": min(ratios),
            "l1_ratio_high": max(ratios),
            "largest_electrons_off": max(abs(j.errors.electrons / j.errors.electrons_reference - 1.0) for j in judged),
            "smallest_distance": min(pair[0] for pair in pairs if pair is not None),
        },
    )
