"""What predictions cost beside DFT as cells grow, and how their values are distributed (paper: figures 13, 18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rhoscale.units import SECONDS_PER_YEAR

DRAWN_FROM, DRAWN_TO = 2e-6, 0.2  # e/Bohr^3: what histograms show


@dataclass(frozen=True)
class PredictedSize:
    """Predictions of one number of atoms.

    Attributes:
        atoms: Their number.
        seconds: Of processor time.
        gibibytes: Peak memory.
        counts: Quantity -> points in each bin [bins].
    """

    atoms: int
    seconds: float
    gibibytes: float
    counts: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class DFTCosts:
    """Core-seconds of labels, and the power law through them.

    Attributes:
        atoms: Numbers of atoms [n].
        seconds: Mean core-seconds [n].
        power: Of the number of atoms.
        factor: Core-seconds = factor * atoms^power.
    """

    atoms: NDArray[np.integer]
    seconds: NDArray[np.floating]
    power: float
    factor: float

    def at(self, atoms: float) -> float:
        """Core-seconds of so many atoms by the power law."""
        return float(self.factor * atoms**self.power)


def draw_scaling(
    file: BinaryIO, sizes: Sequence[PredictedSize], dft: DFTCosts, edges: NDArray[np.floating], title: str
) -> None:
    """Draw time, memory and distributions against the number of atoms as PNG.

    Args:
        file: Where the picture goes.
        sizes: Predictions, smallest first.
        dft: What DFT costs.
        edges: Of the bins of the distributions [bins + 1], e/Bohr^3.
        title: Line above all.
    """
    figure = Figure(figsize=(11.5, 3.6), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=11)
    time, memory, distributions = figure.subplots(1, 3)
    atoms = np.array([size.atoms for size in sizes])
    _draw_time(time, atoms, np.array([size.seconds for size in sizes]), dft)
    memory.plot(atoms, [size.gibibytes for size in sizes], "o-", markersize=4)
    memory.set(xscale="log", xlabel="atoms", ylabel="peak memory (GiB)", title="memory")
    memory.set_ylim(bottom=0)
    _draw_distributions(distributions, sizes, edges)
    for axes in (time, memory, distributions):
        axes.title.set_fontsize(10)
    figure.savefig(file, format="png")


def _draw_time(axes: Axes, atoms: NDArray[np.integer], seconds: NDArray[np.floating], dft: DFTCosts) -> None:
    axes.plot(dft.atoms, dft.seconds, "s", color="C3", markersize=4, label="DFT labels")
    line = np.array([dft.atoms.min(), atoms.max()])
    axes.plot(line, [dft.at(n) for n in line], "--", color="C3", linewidth=1, label=f"atoms^{dft.power:.2f}")
    axes.plot(atoms, seconds, "o-", color="C0", markersize=4, label="prediction with uncertainty")
    axes.axhline(SECONDS_PER_YEAR, color="0.7", linewidth=0.8, zorder=0)
    axes.annotate("a year", (atoms.max(), 1.3 * SECONDS_PER_YEAR), fontsize=7, color="0.5", ha="right")
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="processor seconds", title="time")
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def _draw_distributions(axes: Axes, sizes: Sequence[PredictedSize], edges: NDArray[np.floating]) -> None:
    """Share of the points for a unit of the logarithm; sizes above one another, one colour a quantity."""
    middles, widths = np.sqrt(edges[1:] * edges[:-1]), np.diff(np.log(edges))
    for size in sizes:
        for number, (name, counts) in enumerate(size.counts.items()):
            label = name if size is sizes[-1] else None
            axes.plot(middles, counts / counts.sum() / widths, color=f"C{number}", linewidth=0.7, label=label)
    axes.set(xscale="log", xlim=(DRAWN_FROM, DRAWN_TO), ylim=(0, None), xlabel="e/Bohr³", ylabel="share per e-fold")
    axes.set_title(f"distributions, all {len(sizes)} sizes")
    axes.legend(fontsize=7, frameon=False)
