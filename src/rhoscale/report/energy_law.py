"""Energy errors against density errors: a second-order law is a straight line of slope two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np
from matplotlib.figure import Figure


def draw_energy_law(file: BinaryIO, points: Mapping[str, Sequence[tuple[float, float]]], title: str) -> None:
    """Draw (L1 per electron, absolute energy error in Ha/atom) of each density as PNG, logarithmic on both axes.

    Args:
        file: Where the picture goes.
        points: Name of a density -> one point for each snapshot; those without error are left out.
        title: Line above all.
    """
    figure = Figure(figsize=(5.2, 4.0), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    shown = {name: np.array([p for p in some if min(p) > 0]).reshape(-1, 2) for name, some in points.items()}
    for name, values in shown.items():
        axes.plot(100 * values[:, 0], 1000 * values[:, 1], "o", markersize=4, label=name)
    everything = np.concatenate(list(shown.values()))
    if len(everything):
        ratio = float(np.exp(np.mean(np.log(everything[:, 1] / everything[:, 0] ** 2))))
        ends = np.array([everything[:, 0].min(), everything[:, 0].max()])
        axes.plot(100 * ends, 1000 * ratio * ends**2, "-", color="0.6", zorder=0, label=f"{ratio:.2g} Ha/atom L1²")
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="L1 per electron (%)", ylabel="|energy error| (mHa/atom)", title=title)
    axes.legend(fontsize=8)
    figure.savefig(file, format="png")
