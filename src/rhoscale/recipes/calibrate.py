"""Recalibration of a model on held-out snapshots, and the thresholds that verdicts are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError
from rhoscale.models import TrainedModel
from rhoscale.prediction.refusals import closest_pair
from rhoscale.recipes.feature_range import feature_range
from rhoscale.recipes.judge import Judged, judge_snapshot
from rhoscale.recipes.training_data import Labelled, select
from rhoscale.recipes.training_plan import DataConfig
from rhoscale.uncertainty import Recalibration, fit_recalibration

FARTHEST_PAIR = 20.0  # Bohr; beyond the nearest-neighbour distance of any bulk material


def training_batches(store: SnapshotStore, config: DataConfig) -> tuple[str, ...]:
    """Batches to train on: those named, or all of role ``train`` that are no better labels of others.

    Raises:
        DatasetError: None is left.
    """
    if config.train or not config.converged:
        return config.train
    return _left(store, config, "train", "converged", config.converged, "train on")


def validation_batches(store: SnapshotStore, config: DataConfig) -> tuple[str, ...]:
    """Batches that training is followed on: those named, or all of role ``validation`` kept for no calibration.

    Raises:
        DatasetError: Calibration leaves none.
    """
    if config.validation or not config.calibration:
        return config.validation
    return _left(store, config, "validation", "calibration", config.calibration, "follow the training on")


def _left(
    store: SnapshotStore, config: DataConfig, role: str, key: str, taken: Sequence[str], purpose: str
) -> tuple[str, ...]:
    """Batches of a role that another key does not take."""
    there = dict.fromkeys(r.batch for r in store.select(role=role, subset=config.subset))
    rest = tuple(batch for batch in there if batch not in taken)
    if not rest:
        raise DatasetError(
            f"data.{key} takes all {role} batches of {store.path} ({', '.join(there)}); expected one that is left to "
            f"{purpose}; name it as data.{role} too, or take fewer"
        )
    return rest


def calibration_snapshots(store: SnapshotStore, config: DataConfig) -> Labelled | None:
    """Snapshots of the batches named for calibration, or None if none are.

    Raises:
        DatasetError: A batch has another role than ``validation``, or nothing in the subset.
    """
    if not config.calibration:
        return None
    for batch in config.calibration:
        roles = {r.role for r in store.select(batch=batch)}
        if roles != {"validation"}:
            raise DatasetError(
                f"data.calibration names {batch!r}, which has the role {', '.join(sorted(roles))}; expected a batch of "
                f"role validation: deviations fitted to training or test snapshots prove nothing; name another"
            )
    found = select(store, "validation", config.calibration, config.subset)
    missing = sorted(set(config.calibration) - {r.batch for r in found.records})
    if missing:
        raise DatasetError(
            f"data.calibration names {', '.join(missing)}, of which nothing is in the subset {config.subset!r}; "
            f"expected batches of the subset; leave them out or name another subset"
        )
    return found


def calibrated(
    model: TrainedModel, held_out: Labelled, training: Labelled, draws: int, *, recalibrate: bool = True
) -> TrainedModel:
    """The model with its recalibration and its range, from trajectories that the weights were not fitted to.

    ``range`` holds ``largest_total`` and ``largest_epistemic`` (electrons per Bohr^3, over all points of the
    held-out snapshots), ``l1_ratio_low`` and ``l1_ratio_high`` (smallest and largest ratio of true to expected L1
    over the snapshots), ``largest_electrons_off`` (of the raw electron count, relative) and, of the training snapshots,
    ``smallest_distance`` (of two atoms, Bohr) and ``leverage_quantile`` (that a hundredth of the points exceeds) and
    ``leverage_share`` (the largest share of points of one snapshot that do).
    """
    known = feature_range(model, training)
    raw = replace(model, recalibration=None, leverage=known.leverage)
    judged = [judge_snapshot(raw, s, draws=draws) for s in held_out.snapshots]
    found = raw
    if recalibrate:
        found = replace(raw, recalibration=_recalibration(judged, known.scale))
    if found.recalibration is not None:
        judged = [replace(j, uncertainty=found.recalibration(j.uncertainty, j.leverage)) for j in judged]
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
            "leverage_quantile": known.quantile,
            "leverage_share": known.share,
        },
    )


def _recalibration(judged: Sequence[Judged], scale: float) -> Recalibration:
    parts = [(j.differences, j.uncertainty.aleatoric, j.uncertainty.epistemic) for j in judged]
    errors, aleatoric, epistemic = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    far = np.concatenate([j.leverage for j in judged if j.leverage is not None])
    return fit_recalibration(errors, aleatoric, epistemic, far, scale)
