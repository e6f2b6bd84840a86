"""Tables of a calibration report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rhoscale.metrics.reliability import Reliability
    from rhoscale.recipes.calibration_report import CalibrationReport


def summary_table(reports: Mapping[str, CalibrationReport]) -> Table:
    """One line a case: likelihood, sharpness and correlations beside what they are compared with."""
    table = Table(
        *("case", "snapshots", "NLL", "(constant)", "mean sigma", "(constant)", "better than constant"),
        *("Spearman", "ceiling", "ratio", "block correlation"),
        caption="constant: one deviation a region, chosen with the errors known; ceiling: with errors drawn from sigma",
    )
    for name, report in reports.items():
        table.add_row(
            *(name, str(report.snapshots), f"{report.nll:.3f}", f"{report.nll_constant:.3f}"),
            *(f"{report.sharpness:.2e}", f"{report.sharpness_constant:.2e}", "yes" if report.beats_constants else "no"),
            *(f"{report.spearman:.3f}", f"{report.spearman_ceiling:.3f}"),
            *(f"{report.spearman / report.spearman_ceiling:.2f}", f"{report.block_correlation:.2f}"),
        )
    return table


def coverage_table(name: str, report: CalibrationReport) -> Table:
    """Coverage of all points of a case, of its regions, temperatures and deciles, in percent, with intervals."""
    levels = [f"{100 * level:g} %" for level in report.overall.coverage]
    table = Table(name, "points", *levels, "RMS error", "RMS sigma", caption="[95 % of resampled sets of snapshots]")
    _add(table, "all", report.overall)
    for kind, groups in report.groups.items():
        table.add_section()
        for group, found in groups.items():
            _add(table, f"{kind} {group}{' K' if kind == 'temperature' else ''}", found)
    return table


def _add(table: Table, name: str, found: Reliability) -> None:
    shares = [f"{100 * share:.1f}" for share in found.coverage.values()]
    if found.interval is not None:
        ends = found.interval.values()
        shares = [f"{s} [{100 * low:.0f}-{100 * high:.0f}]" for s, (low, high) in zip(shares, ends, strict=True)]
    table.add_row(name, str(found.points), *shares, f"{found.rms_error:.2e}", f"{found.rms_sigma:.2e}")
