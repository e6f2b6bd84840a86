"""Whether a prediction stays inside what its model was validated on, and the error to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import fsum, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.prediction.statistics import STATISTICS

INSIDE_SHARE = 1e-3  # a single validation maximum is itself uncertain; a few points beyond it mean nothing
OUTSIDE_SHARE = 5e-2  # one vacancy in 32 atoms touches about this much of the cell
FAR_SHARE = 0.5  # of the points with features that training hardly knew: all of the structure is another one
FAR_OFF = 2.0  # times the largest electron count error of validation
MEAN_ABSOLUTE = sqrt(2.0 / pi)  # E|x| of a Gaussian of unit width


@dataclass(frozen=True)
class FieldTotals:
    """Sums over all points of a compute grid, of the model's raw values.

    Attributes:
        points: Number of points.
        electrons: Integral of the density.
        density_min: Smallest density, electrons per Bohr^3.
        density_max: Largest density, electrons per Bohr^3.
        sigma_mean: Mean total standard deviation, electrons per Bohr^3.
        sigma_max: Largest total standard deviation, electrons per Bohr^3.
        beyond: Points whose total standard deviation is larger than any met in validation.
    """

    points: int
    electrons: float
    density_min: float
    density_max: float
    sigma_mean: float
    sigma_max: float
    beyond: int

    @classmethod
    def from_tiles(cls, statistics: NDArray[np.float64], volume_element: float) -> FieldTotals:
        """Sum the rows of all tiles; the exact sum does not depend on their order."""
        column = dict(zip(STATISTICS, statistics.T, strict=True))
        points = int(column["points"].sum())
        return cls(
            points=points,
            electrons=fsum(column["density_sum"]) * volume_element,
            density_min=float(column["density_min"].min()),
            density_max=float(column["density_max"].max()),
            sigma_mean=fsum(column["total_sum"]) / points,
            sigma_max=float(column["total_max"].max()),
            beyond=int(column["beyond"].sum()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """What a user may expect of a predicted density.

    Attributes:
        range: ``inside``, ``partly`` or ``outside`` the model's range; ``unknown`` if the model does not say.
        electrons_off: Raw electrons over expected ones, less one.
        electrons_off_known: Largest of these in validation, without sign; None if the model does not say.
        share_beyond: Share of points whose total standard deviation is beyond the largest met in validation.
        expected_l1: Expected L1 per electron; 0.01 is 1 %.
        expected_l1_low: Lower end of its interval, from how such expectations held in validation.
        expected_l1_high: Upper end of its interval.
        share_far: Share of points with features rarer than 99 % of those of training, where that is more than in any
            training snapshot; else None.
    """

    range: str
    electrons_off: float
    electrons_off_known: float | None
    share_beyond: float | None
    expected_l1: float
    expected_l1_low: float | None
    expected_l1_high: float | None
    share_far: float | None = None

    @property
    def largest_electrons_off(self) -> float:
        """What the electron count may be off by: the largest met in validation and the largest expected L1."""
        expected = self.expected_l1 if self.expected_l1_high is None else self.expected_l1_high
        return expected if self.electrons_off_known is None else min(expected, self.electrons_off_known)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        where = {
            "inside": "inside the model's range",
            "partly": "partly outside the model's range",
            "outside": "outside the model's range: do not rely on it without a check",
            "unknown": "the model's card has no validation range, so it is not known whether this is inside it",
        }[self.range]
        share = ""
        if self.share_beyond is not None:
            share = f"; {100 * self.share_beyond:.3g} % of the points are less certain than any point in validation"
        if self.share_far is not None:
            share += f"; {100 * self.share_far:.3g} % of the points have features rarer than 99 % of those of training"
        count = ""
        if abs(self.electrons_off) > self.largest_electrons_off:
            count = f"; the raw electron count is off by {100 * self.electrons_off:+.2f} %, more than it should be"
        interval = ""
        if self.expected_l1_low is not None and self.expected_l1_high is not None:
            interval = f" ({100 * self.expected_l1_low:.2f} to {100 * self.expected_l1_high:.2f} %)"
        return f"{where}{share}{count}; expected L1 error {100 * self.expected_l1:.2f} % per electron{interval}"


def judge(
    totals: FieldTotals,
    volume: float,
    electrons: float,
    limits: Mapping[str, float],
    share_far: float | None = None,
) -> Verdict:
    """Judge a prediction by its own uncertainty, its electron count and what the model met in validation.

        E[L1] = sqrt(2 / pi) int sigma dr / int rho dr      (mean absolute value of a Gaussian)

    The raw electron count checks the model without a reference, as int |error| dr >= |int error dr|. Where it is off by
    more than in any validation snapshot, or by more than the largest L1 to expect, the prediction is at least partly
    outside, and outside at twice that, whatever its uncertainty says. The same holds where more points than in any
    training snapshot have features rarer than 99 % of those of training, and for half of the points.

    Args:
        totals: Sums over the compute grid.
        volume: Of the cell, Bohr^3.
        electrons: Valence electrons in the cell.
        limits: The model's ``range``: ``largest_total`` (electrons per Bohr^3), ``l1_ratio_low`` and
            ``l1_ratio_high``, between which the ratio of true to expected L1 lay in validation, and
            ``largest_electrons_off``, the largest relative error of the electron count there; ``leverage_share``, the
            largest share of points with such rare features in a training snapshot.
        share_far: Share of such points here, or None if it is not known.
    """
    expected = MEAN_ABSOLUTE * totals.sigma_mean * volume / totals.electrons
    share = totals.beyond / totals.points if "largest_total" in limits else None
    low, high = limits.get("l1_ratio_low"), limits.get("l1_ratio_high")
    verdict = Verdict(
        range=_range(share),
        electrons_off=totals.electrons / electrons - 1.0,
        electrons_off_known=limits.get("largest_electrons_off"),
        share_beyond=share,
        expected_l1=expected,
        expected_l1_low=None if low is None else expected * low,
        expected_l1_high=None if high is None else expected * high,
    )
    strange = share_far is not None and share_far > limits.get("leverage_share", 1.0)
    verdict = replace(verdict, share_far=share_far if strange else None)
    off = abs(verdict.electrons_off)
    if off > FAR_OFF * verdict.largest_electrons_off or (verdict.share_far or 0.0) > FAR_SHARE:
        return replace(verdict, range="outside")
    too_far = (off > verdict.largest_electrons_off or strange) and verdict.range != "outside"
    return replace(verdict, range="partly") if too_far else verdict


def _range(share: float | None) -> str:
    if share is None:
        return "unknown"
    if share <= INSIDE_SHARE:
        return "inside"
    return "partly" if share <= OUTSIDE_SHARE else "outside"
