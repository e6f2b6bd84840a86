"""Draw a plane of a prediction, beside the reference if there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.errors import InputError, OutputError
from rhoscale.formats import read_density_file
from rhoscale.formats.whole_file import refuse_existing, whole_file
from rhoscale.grid import Shape
from rhoscale.prediction.field import StoredField, open_density
from rhoscale.prediction.interpolation import fourier_weights, interpolate, periodic_values
from rhoscale.recipes.compare import refuse_other_reference
from rhoscale.report.slices import Panel, Plane, draw_slices
from rhoscale.system import System

SPACING = 0.15  # Bohr, between the points of a picture
MOST_POINTS = 400
FINENESS = 4096  # planes that a cell vector is divided in: positions are rounded to these


def plot(
    prediction: Path,
    output: Path,
    *,
    reference: Path | None = None,
    axis: int = 2,
    position: float | None = None,
    force: bool = False,
) -> Plane:
    """Draw density and uncertainty, and with a reference also that and the error of the rescaled field.

    Args:
        prediction: A finished prediction, ``NAME.zarr``.
        output: Picture to write, ``NAME.png``.
        reference: A density file of the same structure.
        axis: Cell vector that the plane cuts, 0 to 2.
        position: Where, as a fraction of it; by default through the atom nearest to the middle.
        force: Replace an existing picture.

    Raises:
        FormatError: A file cannot be read.
        InputError: The plane makes no sense, or the reference is of another structure, pseudopotential
            or electron count.
        OutputError: The picture exists already or cannot be written.
    """
    if output.suffix.lower() != ".png":
        raise OutputError(f"{output} is no name of a picture; expected one that ends in .png; choose such a name")
    refuse_existing(output, force=force)
    field = open_density(prediction)
    system = field.store.system
    plane = _plane(system, axis, position)
    truth = None if reference is None else read_density_file(reference)
    if reference is not None and truth is not None:
        refuse_other_reference(field, reference, truth)
    panels = panels_of(field, plane, None if truth is None else truth.density)
    title = f"{system.formula}, model {field.store.plan.model}: plane at {plane.position:.3f} a{axis + 1}\n"
    with whole_file(output, force=force) as file:
        draw_slices(file, system, plane, panels, title + str(field.store.attribute("what")))
    return plane


def panels_of(field: StoredField, plane: Plane, reference: Density | None = None) -> list[Panel]:
    """Density, reference, error of the rescaled density, and deviations on a plane, as far as there are any."""
    shape = _shape(field.store.system, plane)
    density = _slice(field, shape, plane)
    panels = [Panel("prediction", density, "density")]
    if reference is not None:
        truth = _fourier_slice(reference, shape, plane)
        panels.append(Panel("reference", truth, "density"))
        panels.append(Panel("prediction − reference", density - truth, "error"))
    if field.store.plan.uncertainty:
        names = ("aleatoric", "epistemic", "total")
        panels += [Panel(f"{n} uncertainty", _slice(getattr(field, n), shape, plane), "deviation") for n in names]
    return panels


def _plane(system: System, axis: int, position: float | None) -> Plane:
    if axis not in (0, 1, 2):
        raise InputError(f"axis {axis} is none of the cell vectors; expected 0, 1 or 2; choose one")
    if position is not None and not np.isfinite(position):
        raise InputError(f"position {position} is not a number; expected a fraction of the cell vector; give 0 to 1")
    along = system.scaled_positions[:, axis]
    chosen = along[np.argmin(np.abs(along - 0.5))] if position is None else position % 1.0
    return Plane(axis, round(float(chosen) * FINENESS) % FINENESS / FINENESS)


def _shape(system: System, plane: Plane) -> Shape:
    lengths = np.linalg.norm(system.cell, axis=1)
    counts = [int(np.clip(np.ceil(length / SPACING), 2, MOST_POINTS)) for length in lengths]
    counts[plane.axis] = FINENESS
    return (counts[0], counts[1], counts[2])


def _box(shape: Shape, plane: Plane) -> tuple[Shape, Shape]:
    start, stop = [0, 0, 0], list(shape)
    start[plane.axis] = round(plane.position * FINENESS)
    stop[plane.axis] = start[plane.axis] + 1
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def _slice(field: StoredField, shape: Shape, plane: Plane) -> NDArray[np.floating]:
    start, stop = _box(shape, plane)
    i, j, k = (slice(a, b) for a, b in zip(start, stop, strict=True))
    return np.squeeze(field.refine(shape=shape)[i, j, k], axis=plane.axis)


def _fourier_slice(density: Density, shape: Shape, plane: Plane) -> NDArray[np.floating]:
    read = periodic_values(density.values)
    block = interpolate(read, density.grid.shape, shape, *_box(shape, plane), kernel=fourier_weights)
    return np.squeeze(block, axis=plane.axis)
