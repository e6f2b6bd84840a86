"""The error of a descriptor against its length, as in the paper's figure 10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from matplotlib import colormaps
from matplotlib.figure import Figure

MARKERS = "os^Dv<>ph*"


@dataclass(frozen=True)
class Curve:
    """Errors while one thing grew.

    Attributes:
        name: What grew; curves of one name look alike.
        points: Number of features and error, electrons per Bohr^3.
    """

    name: str
    points: Sequence[tuple[int, float]]


def draw_selection(file: BinaryIO, curves: Sequence[Curve], chosen: tuple[int, float], title: str) -> None:
    """Draw the curves of a search and its choice as PNG.

    Args:
        file: Where the picture goes.
        curves: What was tried.
        chosen: Number of features and error of the choice.
        title: Line above the picture.
    """
    figure = Figure(figsize=(7.0, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    errors = [error for curve in curves for _, error in curve.points]
    styles: dict[str, int] = {}
    for curve in curves:
        label = None if curve.name in styles else curve.name
        number = styles.setdefault(curve.name, len(styles))
        sizes, values = zip(*curve.points, strict=True)
        axes.plot(
            sizes, values, color=colormaps["tab10"](number % 10), marker=MARKERS[number % len(MARKERS)], markersize=4,
            linewidth=1.2, label=label,
        )  # fmt: skip
    axes.plot(*chosen, "o", markersize=13, markerfacecolor="none", markeredgecolor="black", label="chosen")
    if max(errors) > 4 * min(errors):
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.set(xlabel="number of features", ylabel="RMSE on validation snapshots (electrons / Bohr³)")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.legend(fontsize=8)
    figure.savefig(file, format="png")
