"""Pictures of planes through a cell: density, error and uncertainty side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray

from rhoscale.system import System

ATOM_DEPTH = 1.0  # Bohr; atoms nearer to the plane than this are marked
COLUMNS = 3
PANEL_WIDTH = 4.2  # inches
SHOWN_DEVIATIONS = 0.995  # share of a plane that the scale of a deviation spans: a few spikes would darken all else
EDGE = 0.05  # of the width, so that atoms on the cell's faces are whole
UNIT = "electrons / Bohr³"
HALO = (withStroke(linewidth=1.5, foreground="white"),)


@dataclass(frozen=True)
class Plane:
    """The points of a cell whose coordinate along one cell vector is fixed.

    Attributes:
        axis: Number of that cell vector, 0 to 2.
        position: The coordinate, a fraction of that vector.
    """

    axis: int
    position: float

    @property
    def within(self) -> tuple[int, int]:
        """The two cell vectors that span the plane."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        return first, second

    def coordinates(
        self, cell: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lengths in the picture, Bohr, of points given by fractions of the two spanning vectors."""
        u, v = cell[self.within[0]], cell[self.within[1]]
        along = u / np.linalg.norm(u)
        across = float(np.linalg.norm(v - (v @ along) * along))
        return first * np.linalg.norm(u) + second * (v @ along), second * across


@dataclass(frozen=True)
class Panel:
    """One picture of the row.

    Attributes:
        title: What it shows.
        values: On the plane [n, m], rows along the first spanning vector, electrons per Bohr^3.
        kind: ``density`` (all share one scale), ``error`` (zero is white) or ``deviation`` (from zero up).
    """

    title: str
    values: NDArray[np.floating]
    kind: str


def draw_slices(file: BinaryIO, system: System, plane: Plane, panels: Sequence[Panel], title: str) -> None:
    """Draw panels of one plane as PNG, with scales in electrons per Bohr^3 and the atoms near the plane.

    Args:
        file: Where the picture goes.
        system: Cell and atoms.
        plane: Which plane.
        panels: What to show.
        title: Line above all.
    """
    columns = min(COLUMNS, len(panels)) if len(panels) != 4 else 2
    rows = -(-len(panels) // columns)
    x, y = _corners(system.cell, plane, panels[0].values.shape)
    ratio = float(np.clip(np.ptp(y) / np.ptp(x), 0.3, 2.0))
    height = 0.72 * PANEL_WIDTH * ratio + 0.45  # beside the picture its scale, above and below title and label
    figure = Figure(figsize=(PANEL_WIDTH * columns, height * rows + 0.6), dpi=150, layout="compressed")
    figure.suptitle(title, fontsize=10)
    limits = [_limits(panel, panels) for panel in panels]
    for number, (panel, (low, high, colours)) in enumerate(zip(panels, limits, strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1)
        image = axes.pcolormesh(
            x, y, _closed(panel.values), vmin=low, vmax=high, cmap=colours, shading="gouraud", rasterized=True
        )
        scale = ScalarFormatter(useMathText=True)
        scale.set_powerlimits((-2, 3))
        beyond = "max" if panel.values.max() > high else "neither"
        figure.colorbar(image, ax=axes, label=UNIT, format=scale, fraction=0.046 * ratio, pad=0.03, extend=beyond)
        _mark_atoms(axes, system, plane)
        axes.set_xlim(x.min() - EDGE * np.ptp(x), x.max() + EDGE * np.ptp(x))
        axes.set_ylim(y.min() - EDGE * np.ptp(y), y.max() + EDGE * np.ptp(y))
        first, second = (f"a{axis + 1}" for axis in plane.within)
        axes.set(title=panel.title, aspect="equal", xlabel=f"along {first} (Bohr)", ylabel=f"towards {second} (Bohr)")
    figure.savefig(file, format="png")


def _closed(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The periodic plane with its first row and column once more at the end."""
    return np.pad(np.asarray(values), ((0, 1), (0, 1)), mode="wrap").T


def _corners(
    cell: NDArray[np.float64], plane: Plane, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = (np.arange(n + 1) / n for n in shape)
    return plane.coordinates(cell, *np.meshgrid(first, second))


def _limits(panel: Panel, panels: Sequence[Panel]) -> tuple[float, float, str]:
    alike = [p.values for p in panels if p.kind == panel.kind]
    if panel.kind == "density":
        return float(min(v.min() for v in alike)), float(max(v.max() for v in alike)), "viridis"
    if panel.kind == "error":
        largest = float(np.abs(panel.values).max())
        return -largest, largest, "RdBu_r"
    return 0.0, float(np.quantile(panel.values, SHOWN_DEVIATIONS)), "magma"


def _mark_atoms(axes: Axes, system: System, plane: Plane) -> None:
    """Circles around the atoms, images at the edges included, that are nearer to the plane than ``ATOM_DEPTH``."""
    first, second = plane.within
    normal = np.cross(system.cell[first], system.cell[second])
    height = system.volume / float(np.linalg.norm(normal))
    scaled = system.scaled_positions
    away = scaled[:, plane.axis] - plane.position
    near = np.abs(away - np.round(away)) * height <= ATOM_DEPTH
    for element in system.elements:
        chosen = scaled[near & (system.species == element)]
        images = np.concatenate([chosen + shift for shift in _images(first, second)])
        inside = ((images[:, [first, second]] >= -0.02) & (images[:, [first, second]] <= 1.02)).all(axis=1)
        x, y = plane.coordinates(system.cell, images[inside, first], images[inside, second])
        size = 90.0 * min(1.0, (20.0 / float(np.linalg.norm(system.cell[first]))) ** 1.5)
        axes.scatter(x, y, s=size, facecolors="none", edgecolors="white", linewidths=1.6)
        axes.scatter(x, y, s=size, facecolors="none", edgecolors="black", linewidths=0.7)
        for place in zip(x, y, strict=True) if len(x) <= 40 else ():
            axes.annotate(
                element, place, fontsize=6, ha="center", va="center", color="black", clip_on=True, path_effects=HALO
            )


def _images(first: int, second: int) -> list[NDArray[np.float64]]:
    unit = np.eye(3)
    return [i * unit[first] + j * unit[second] for i in (-1, 0, 1) for j in (-1, 0, 1)]
