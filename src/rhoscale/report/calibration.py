"""Pictures of calibration: coverage against the nominal level, deciles, blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

UNIT = "10⁻⁴ e/Bohr³"
SCALE = 1e4
SHOWN_BLOCKS = 1500  # of a case


@dataclass(frozen=True)
class CalibrationCurves:
    """What is drawn of one case.

    Attributes:
        name: Of the case.
        levels: Nominal levels [k].
        coverage: Shares found [k].
        interval: Ends of their intervals [2, k], or None.
        decile_sigma: Root mean square deviation in each decile [10], electrons per Bohr^3.
        decile_error: Root mean square error in the same deciles.
        block_sigma: Root mean square deviation in each block [b].
        block_error: Root mean square error in the same blocks.
    """

    name: str
    levels: NDArray[np.float64]
    coverage: NDArray[np.float64]
    interval: NDArray[np.float64] | None
    decile_sigma: NDArray[np.float64]
    decile_error: NDArray[np.float64]
    block_sigma: NDArray[np.float64]
    block_error: NDArray[np.float64]


def draw_calibration(file: BinaryIO, cases: Sequence[CalibrationCurves], title: str) -> None:
    """Draw coverage, deciles and blocks of some cases as PNG; on the diagonals predictions are calibrated."""
    figure = Figure(figsize=(13.5, 4.6), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=10)
    coverage, tenths, blocks = figure.subplots(1, 3)
    for number, case in enumerate(cases):
        colour = f"C{number % 10}"
        ends = None if case.interval is None else np.abs(case.interval - case.coverage)
        coverage.errorbar(
            100 * case.levels, 100 * case.coverage, None if ends is None else 100 * ends,
            marker="o", markersize=4, linewidth=1, capsize=2, color=colour, label=case.name,
        )  # fmt: skip
        tenths.plot(
            SCALE * case.decile_sigma, SCALE * case.decile_error, marker="o", markersize=4, linewidth=1, color=colour
        )
        step = max(1, len(case.block_sigma) // SHOWN_BLOCKS)
        blocks.scatter(
            SCALE * case.block_sigma[::step], SCALE * case.block_error[::step], s=3, alpha=0.35, linewidths=0,
            color=colour, rasterized=True,
        )  # fmt: skip
    coverage.plot([0, 100], [0, 100], color="0.6", linewidth=0.8, zorder=0)
    coverage.set(xlabel="nominal level (%)", ylabel="errors inside (%)", title="Coverage")
    coverage.set(
        xlim=(40, 101), ylim=(10, 101), xticks=[50, 68, 90, 95, 99.7], xticklabels=["50", "68", "90", "95", ""]
    )
    coverage.legend(fontsize=8, loc="lower right")
    _equal_scales(tenths, "deciles of σ")
    _equal_scales(blocks, "blocks of 2 Bohr")
    figure.savefig(file, format="png")


def _equal_scales(axes: Axes, title: str) -> None:
    """Logarithmic axes of one range, from a tenth of the smallest deviation at most, with their diagonal."""
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    low = min(axes.get_xlim()[0], max(axes.get_ylim()[0], 0.1 * axes.get_xlim()[0]))
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=f"Root mean squares, {title}")
    axes.set(xlabel=f"predicted σ ({UNIT})", ylabel=f"error ({UNIT})")
