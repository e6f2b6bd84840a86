"""The calibration report: how far the predicted deviations of one case can be trusted, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.datasets.split import Record
from rhoscale.errors import OutputError
from rhoscale.formats.whole_file import refuse_existing, whole_file
from rhoscale.metrics import negative_log_likelihood
from rhoscale.metrics.regions import REGIONS
from rhoscale.metrics.reliability import (
    Reliability,
    block_numbers,
    block_rms,
    constant_by_group,
    deciles,
    rank_correlation,
    rank_correlation_ceiling,
    reliability,
)
from rhoscale.recipes.judge import Judged, counted_alike
from rhoscale.report.calibration import CalibrationCurves, draw_calibration

BLOCK = 2.0  # Bohr


@dataclass(frozen=True)
class CalibrationReport:
    """Calibration of the total deviations in one case.

    Attributes:
        snapshots: Their number.
        overall: As many points of each snapshot (``judge.counted_alike``), as everything but the blocks.
        groups: Kind of group (``region``, ``temperature``, ``decile`` of sigma) -> name -> its points.
        nll: Mean negative log-likelihood, Gaussian.
        nll_constant: The same of one deviation for each region, the one that is best for these very errors.
        sharpness: Mean deviation, electrons per Bohr^3.
        sharpness_constant: The same of the constants.
        spearman: Rank correlation of deviation and absolute error.
        spearman_ceiling: The same with errors drawn from the deviations.
        block_sigma: Root mean square deviation in each block of 2 Bohr, all snapshots.
        block_error: Root mean square error in the same blocks.
    """

    snapshots: int
    overall: Reliability
    groups: Mapping[str, Mapping[str, Reliability]]
    nll: float
    nll_constant: float
    sharpness: float
    sharpness_constant: float
    spearman: float
    spearman_ceiling: float
    block_sigma: NDArray[np.float64] = field(repr=False)
    block_error: NDArray[np.float64] = field(repr=False)

    @property
    def block_correlation(self) -> float:
        """Pearson correlation of deviation and error over the blocks."""
        return float(np.corrcoef(self.block_sigma, self.block_error)[0, 1])

    @property
    def beats_constants(self) -> bool:
        """Whether likelihood and sharpness are both better than those of one deviation for each region."""
        return self.nll < self.nll_constant and self.sharpness < self.sharpness_constant

    def condensed(self) -> dict[str, Any]:
        """The numbers that a card keeps."""
        return {
            "nll": self.nll,
            "nll_constant_by_region": self.nll_constant,
            "mean_sigma": self.sharpness,
            "mean_sigma_constant_by_region": self.sharpness_constant,
            "spearman": self.spearman,
            "spearman_ceiling": self.spearman_ceiling,
            "block_correlation": self.block_correlation,
            "coverage_68": {
                kind: {name: found.coverage[0.68] for name, found in groups.items()}
                for kind, groups in self.groups.items()
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """All numbers as plain values, without the blocks."""
        return {
            "snapshots": self.snapshots,
            "overall": self.overall.to_dict(),
            **{kind: {name: found.to_dict() for name, found in groups.items()} for kind, groups in self.groups.items()},
            **{key: value for key, value in self.condensed().items() if key != "coverage_68"},
        }


def calibration_report(records: Sequence[Record], judged: Sequence[Judged]) -> CalibrationReport:
    """Examine the total deviations of some snapshots, each of which counts alike; in blocks at all judged points."""
    alike = counted_alike(judged)
    errors = [j.differences for j in alike]
    sigma = [j.uncertainty.total.astype(np.float64) for j in alike]
    region = [j.region for j in alike]
    all_errors, all_sigma = np.concatenate(errors), np.concatenate(sigma)
    constant = constant_by_group(all_errors, np.concatenate(region))
    freedom = judged[0].freedom
    overall = reliability(errors, sigma, freedom=freedom)
    if overall is None:
        raise AssertionError("a judged snapshot has points")
    blocks = [block_numbers(j.chosen, j.grid.shape, np.linalg.norm(j.grid.cell, axis=1), BLOCK) for j in judged]
    tenths = np.split(deciles(all_sigma), np.cumsum([len(s) for s in sigma])[:-1])
    kelvin = [
        np.full(len(e), -1.0 if r.temperature is None else r.temperature) for r, e in zip(records, errors, strict=True)
    ]
    temperatures = sorted({r.temperature for r in records if r.temperature is not None})
    return CalibrationReport(
        snapshots=len(judged),
        overall=overall,
        groups={
            "region": _groups(errors, sigma, freedom, region, {name: i for i, name in enumerate(REGIONS)}),
            "temperature": _groups(errors, sigma, freedom, kelvin, {f"{t:g}": t for t in temperatures}),
            "decile": _groups(errors, sigma, freedom, tenths, {str(i + 1): i for i in range(10)}),
        },
        nll=negative_log_likelihood(all_errors, all_sigma),
        nll_constant=negative_log_likelihood(all_errors, constant),
        sharpness=float(all_sigma.mean()),
        sharpness_constant=float(constant.mean()),
        spearman=rank_correlation(all_errors, all_sigma),
        spearman_ceiling=rank_correlation_ceiling(all_sigma),
        block_sigma=np.concatenate([block_rms(j.uncertainty.total, b) for j, b in zip(judged, blocks, strict=True)]),
        block_error=np.concatenate([block_rms(j.differences, b) for j, b in zip(judged, blocks, strict=True)]),
    )


def refuse_picture(path: Path, *, force: bool = False) -> None:
    """Refuse a place where no picture can be written, before anything is computed for it.

    Raises:
        OutputError: The name does not end in .png, its folder is missing, or it is taken and ``force`` is not given.
    """
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path} is no name of a picture; expected one that ends in .png; choose such a name")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written; expected a folder that exists; make {path.parent} first")
    refuse_existing(path, force=force)


def draw_reports(reports: Mapping[str, CalibrationReport], path: Path, title: str, *, force: bool = False) -> None:
    """Draw coverage, deciles and blocks of some cases into a PNG file, which appears whole or not at all.

    Raises:
        OutputError: The file cannot be written; see :func:`refuse_picture`.
    """
    refuse_picture(path, force=force)
    with whole_file(path, force=force) as file:
        draw_calibration(file, [_curves(name, report) for name, report in reports.items() if name != "all"], title)


def _curves(name: str, report: CalibrationReport) -> CalibrationCurves:
    found, tenths = report.overall, report.groups["decile"].values()
    return CalibrationCurves(
        name=name,
        levels=np.array(list(found.coverage)),
        coverage=np.array(list(found.coverage.values())),
        interval=None if found.interval is None else np.array(list(found.interval.values())).T,
        decile_sigma=np.array([t.rms_sigma for t in tenths]),
        decile_error=np.array([t.rms_error for t in tenths]),
        block_sigma=report.block_sigma,
        block_error=report.block_error,
    )


def _groups(
    errors: Sequence[NDArray[np.float64]],
    sigma: Sequence[NDArray[np.float64]],
    freedom: float,
    labels: Sequence[NDArray[Any]],
    names: Mapping[str, float],
) -> dict[str, Reliability]:
    found = {}
    for name, value in names.items():
        chosen = [label == value for label in labels]
        group = reliability(
            [e[c] for e, c in zip(errors, chosen, strict=True)],
            [s[c] for s, c in zip(sigma, chosen, strict=True)],
            freedom=freedom,
        )
        if group is not None:
            found[name] = group
    return found
