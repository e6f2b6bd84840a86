"""Blocks of a finished prediction, on the grid that was asked for or on any other."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.errors import FormatError, InputError
from rhoscale.grid import Grid, Shape
from rhoscale.intervals import half_width
from rhoscale.prediction.interpolation import (
    LONGEST_PERIOD,
    SMALLEST_SIGMA,
    ReadBox,
    band_limited,
    cubic_weights,
    interpolate,
    periodic,
)
from rhoscale.prediction.sharp_box import SharpBoxes
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.template import DEVIATIONS

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class StoredField:
    """One quantity of a store, indexed like an array of the grid's shape; only what a block needs is read.

    Attributes:
        store: A finished prediction.
        grid: Grid that the indices count on.
        quantity: ``density``, ``aleatoric``, ``epistemic`` or ``total``.
    """

    store: PredictionStore
    grid: Grid
    quantity: str = "density"

    def __post_init__(self) -> None:
        if not self.store.complete:
            raise FormatError(
                f"{self.store.location} has {int(self.store.done().sum())} of {self.store.plan.n_tiles} tiles and no "
                f"electron count; expected a finished prediction; give the same predict command again to go on"
            )
        if self.quantity != "density" and not self.store.plan.uncertainty:
            raise InputError(
                f"{self.store.location} holds no {self.quantity} uncertainty; expected a prediction with uncertainty; "
                f"predict again without --no-uncertainty"
            )

    @property
    def shape(self) -> Shape:
        """Points along each cell vector."""
        return self.grid.shape

    @property
    def ndim(self) -> int:
        """Three."""
        return 3

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Of the blocks."""
        return np.dtype(np.float32)

    @property
    def charge_factor(self) -> float:
        """What the model's raw values were multiplied with, so that they integrate to the electron count."""
        return self.store.number("charge_factor")

    @property
    def aleatoric(self) -> StoredField:
        """Standard deviation by label noise, on the same grid."""
        return replace(self, quantity="aleatoric")

    @property
    def epistemic(self) -> StoredField:
        """Standard deviation by lack of data, on the same grid."""
        return replace(self, quantity="epistemic")

    @property
    def total(self) -> StoredField:
        """Total standard deviation, on the same grid."""
        return replace(self, quantity="total")

    def half_width(self, level: float) -> float:
        """How many total deviations on either side of the density hold a share ``level`` of the errors.

        Raises:
            InputError: ``level`` is not between 0 and 1.
        """
        return half_width(level, self.store.freedom)

    def refine(self, *, shape: Sequence[int] | None = None, spacing: float | None = None) -> StoredField:
        """The same quantity on another grid of the cell.

        Raises:
            InputError: Neither or both of ``shape`` and ``spacing`` are given, or make no grid.
        """
        grid = choose_grid(self.grid.cell, shape, spacing)
        if grid is None:
            raise InputError("no grid was given; expected shape=(nx, ny, nz) or spacing in Bohr; give one of them")
        return replace(self, grid=grid)

    def density(self) -> Density:
        """The whole field in memory, with its grid."""
        return Density(self.grid, self[:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a stored field cannot be handed out without a copy")
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> Float32Array:
        start, stop, within = _box(key, self.shape)
        if any(a >= b for a, b in zip(start, stop, strict=True)):
            return np.zeros([max(0, b - a) for a, b in zip(start, stop, strict=True)], dtype=np.float32)[within]
        if self.quantity != "total":
            return self._block(self.quantity, start, stop)[within]
        noise, spread = (self._block(name, start, stop) for name in DEVIATIONS)
        return np.asarray(np.hypot(noise, spread)[within])

    def _block(self, name: str, start: Shape, stop: Shape) -> Float32Array:
        plan, array = self.store.plan, self.store.array(name)
        factor = self.store.number("scale_factor", name)
        if self.shape == plan.compute_shape:
            i, j, k = (slice(a, b) for a, b in zip(start, stop, strict=True))
            return np.asarray(self.store.read(name, (i, j, k)).astype(np.float64) * factor, dtype=np.float32)
        read = periodic(lambda box: self.store.read(name, box), plan.compute_shape, array.dtype)
        if name == "density":
            return (self._refined(read, start, stop) * factor).astype(np.float32)

        def log_variances(low: Shape, high: Shape) -> NDArray[np.float64]:
            sigma = read(low, high).astype(np.float64) * factor
            return np.asarray(2.0 * np.log(np.maximum(sigma, SMALLEST_SIGMA)))

        values = interpolate(log_variances, plan.compute_shape, self.shape, start, stop, cubic_weights)
        return np.exp(0.5 * values).astype(np.float32)

    def _refined(self, read: ReadBox, start: Shape, stop: Shape) -> NDArray[np.float64]:
        """The raw density in a block: the sharp part there, and the rest of it interpolated."""
        grid, sharp = self.store.plan.grid, self._sharp
        if sharp is None:
            return interpolate(read, grid.shape, self.shape, start, stop, band_limited)

        def rest(low: Shape, high: Shape) -> NDArray[np.float64]:
            return np.asarray(read(low, high) - sharp.in_box(grid, low, high))

        smooth = interpolate(rest, grid.shape, self.shape, start, stop, band_limited)
        return smooth + sharp.in_box(self.grid, start, stop)

    @cached_property
    def _sharp(self) -> SharpBoxes | None:
        return SharpBoxes.of(self.store)


def open_density(path: str | Path, *, shape: Sequence[int] | None = None, spacing: float | None = None) -> StoredField:
    """Open a finished prediction; any block of it is refined on demand.

    Between the points of the compute grid the density is the model's sharp part, exactly, and of the rest the Fourier
    series (up to 128 points along an axis) or a window of it; deviations are interpolated locally in the logarithm of
    their variance. Values are rescaled to the electron count (paper, eq. 6); divide
    by ``charge_factor`` for what the model gave.

    Args:
        path: Folder that ``rhoscale predict`` or ``predict_to_store`` wrote.
        shape: Points along each cell vector to index; by default those asked for when it was predicted.
        spacing: Or the largest distance of points, Bohr.

    Raises:
        FormatError: There is no such prediction, or it is not finished.
        InputError: Both shape and spacing are given, or they make no grid.
    """
    store = PredictionStore.open(path)
    return StoredField(store, choose_grid(store.plan.grid.cell, shape, spacing) or store.plan.output_grid)


def _box(key: Any, shape: Shape) -> tuple[Shape, Shape, tuple[int | slice, ...]]:
    """First point, one past the last point, and what to take of that block, for an index of NumPy's basic kind."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        keys[place : place + 1] = [slice(None)] * (4 - len(keys))
    if len(keys) > 3:
        raise IndexError(f"{len(keys)} indices for a field of three axes; expected at most three")
    starts, stops, within = [], [], []
    for one, n in zip(keys + [slice(None)] * (3 - len(keys)), shape, strict=True):
        if isinstance(one, slice):
            start, stop, step = one.indices(n)
            if step < 1:
                raise IndexError(f"step {step} of {one}; expected a positive step; reverse the block afterwards")
            take: int | slice = slice(None, None, step)
        else:
            start = range(n)[operator.index(one)]
            stop, take = start + 1, 0
        starts.append(start)
        stops.append(stop)
        within.append(take)
    return (starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]), tuple(within)


def choose_grid(cell: NDArray[np.float64], shape: Sequence[int] | None, spacing: float | None) -> Grid | None:
    """The grid that a user asks for by shape or by spacing, or None if by neither.

    Raises:
        InputError: Both are given, or one that makes no grid.
    """
    if shape is not None and spacing is not None:
        raise InputError(f"both shape {tuple(shape)} and spacing {spacing} are given; expected one; leave one out")
    if shape is not None:
        if len(shape) != 3:
            raise InputError(f"a grid needs three numbers of points; got {tuple(shape)}; give nx, ny and nz")
        return Grid(cell, (shape[0], shape[1], shape[2]))
    return None if spacing is None else Grid.from_spacing(cell, spacing)


def coarsest_grid(cell: NDArray[np.float64], spacing: float) -> Grid:
    """The coarsest grid of at most this spacing, Bohr, that a prediction is computed on.

    Its counts suit fast Fourier transforms, but for those of axes longer than any that is transformed. These are twice
    a number without a factor below 11: else all points could lie at the same few places between the sites of a lattice,
    and all statistics would be of these.
    """
    fast, coarsest = (Grid.from_spacing(cell, spacing, fast_fourier=choice).shape for choice in (True, False))
    counts = [n if n <= LONGEST_PERIOD else _out_of_step(m) for n, m in zip(fast, coarsest, strict=True)]
    return Grid(cell, (counts[0], counts[1], counts[2]))


def _out_of_step(count: int) -> int:
    """The least number from ``count`` on that is twice one without the factors 2, 3, 5 and 7."""
    half = (count + 1) // 2
    while math.gcd(half, 2 * 3 * 5 * 7) > 1:
        half += 1
    return 2 * half
