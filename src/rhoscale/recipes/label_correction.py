"""What the labels of training are off by, learned from structures that have better ones too.

Few k-points and a wide smearing shift every density a little, the same way in like surroundings: a network learns that
with the rest. The difference of two labels of one structure holds no error of a model, so that few structures tell
what is common to all (R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, J. Chem. Theory Comput. 11, 2087
(2015), of energies).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from rhoscale.baselines.linear import STRENGTHS, LinearBaseline, NormalEquations, ridge_path
from rhoscale.datasets.points import PointSet
from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.descriptors import DescriptorSpec, describer
from rhoscale.errors import DatasetError
from rhoscale.grid import Grid
from rhoscale.recipes.training_data import Labelled
from rhoscale.snapshot import Snapshot


@dataclass(frozen=True)
class LabelCorrection:
    """Label minus better label, as a linear function of the features.

    Both labels hold the same electrons. So do corrected ones; and that function is fitted to have no mean over a cell,
    for what is free in small cells is a long wave in large ones.

    Attributes:
        off_by: That function.
        better: Records of the better labels.
        difference: Root mean square of label minus better label over the structures that have both, e/Bohr^3.
        left: Of what remains of it on trajectories that had no part in the fit, e/Bohr^3.
    """

    off_by: LinearBaseline
    better: tuple[Record, ...]
    difference: float
    left: float

    def corrected(self, points: PointSet) -> PointSet:
        """The same points, labels (e/Bohr^3) less what they are off by; its mean over each snapshot is left out."""
        off = self.off_by.predict(points.features)
        totals = (np.bincount(points.snapshot, points.weights * values) for values in (off, np.ones(len(points))))
        mean = np.divide(*totals)
        return replace(points, density=points.density - (off - mean[points.snapshot]))

    def about(self) -> dict[str, Any]:
        """What the card says of it."""
        return {
            "tasks": [record.task for record in self.better],
            "strength": self.off_by.strength,
            "rms_difference": self.difference,
            "rms_left": self.left,
        }


def label_correction(
    store: SnapshotStore, batches: Sequence[str], labelled: Labelled, spec: DescriptorSpec, spacing: float
) -> LabelCorrection:
    """Fit what the labels of training are off by; each trajectory in turn chooses the strength that serves it.

    Args:
        store: The data set.
        batches: Of better labels of structures that are among the training snapshots.
        labelled: The training snapshots.
        spec: The descriptor.
        spacing: Of the grid of points, Bohr.

    Raises:
        DatasetError: A batch is not there, one of its structures has no other label, or all are of one trajectory.
    """
    pairs = _pairs(store, batches, labelled)
    reference = None
    by_trajectory: dict[str, NormalEquations] = {}
    for record, label, better in pairs:
        grid = Grid.from_spacing(label.system.cell, spacing)
        described = describer(label.system, spec)(grid.points())
        difference = (label.density.on_grid(grid.shape).values - better.density.on_grid(grid.shape).values).reshape(-1)
        equations = NormalEquations.stream([(described, difference, np.ones(grid.size))], reference)
        reference = equations.reference
        before = by_trajectory.get(record.trajectory)
        by_trajectory[record.trajectory] = equations if before is None else before + equations
    parts = list(by_trajectory.values())
    if len(parts) < 2:
        raise DatasetError(
            f"data.converged names batches of one trajectory ({', '.join(by_trajectory)}); expected at least two, as "
            f"one judges what the others say; label more structures"
        )
    errors = sum(_errors_without(parts, left_out) for left_out in range(len(parts)))
    whole = reduce(add, parts)
    weight = float(whole.moments[-1, -1])
    features = len(whole.reference) - 1
    nothing = LinearBaseline(np.zeros(features), np.zeros(features), offset=0.0, strength=0.0)
    return LabelCorrection(
        off_by=ridge_path(whole, STRENGTHS)[int(np.argmin(errors))],
        better=tuple(record for record, _, _ in pairs),
        difference=float(np.sqrt(whole.mean_square_error(nothing))),
        left=float(np.sqrt(np.min(errors) / weight)),
    )


def _errors_without(parts: Sequence[NormalEquations], left_out: int) -> np.ndarray:
    """Sums of squared errors on one part of fits to the others, for each strength."""
    rest = reduce(add, (part for number, part in enumerate(parts) if number != left_out))
    judged = parts[left_out]
    weight = float(judged.moments[-1, -1])
    return np.array([weight * judged.mean_square_error(fit) for fit in ridge_path(rest, STRENGTHS)])


def _pairs(store: SnapshotStore, batches: Sequence[str], labelled: Labelled) -> list[tuple[Record, Snapshot, Snapshot]]:
    """Better records, the labels of training of the same structures, and the better labels."""
    known = {s.system.content_hash(): s for s in labelled.snapshots}
    there = {r.batch for r in store.records()}
    if unknown := sorted(set(batches) - there):
        raise DatasetError(
            f"data.converged names {', '.join(unknown)}; {store.path} has {', '.join(sorted(there))}; name batches "
            f"that are there, or generate them"
        )
    pairs = []
    for record in store.select(role="train", batch=batches):
        better = store.load(record)
        label = known.get(better.system.content_hash())
        if label is None or record in labelled.records:
            what = "has the structure of no training snapshot" if label is None else "is a training snapshot itself"
            raise DatasetError(
                f"{record.task} of data.converged {what}; expected other labels of training structures; choose another "
                f"batch, or train on the one that it repeats"
            )
        pairs.append((record, label, better))
    if not pairs:
        raise DatasetError(f"no snapshot of {', '.join(batches)} has the role train; expected some; change the recipe")
    return pairs
