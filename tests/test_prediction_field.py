"""Fields of predictions: a block of any grid, read on demand, is that of the refined whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_waves import CELL, make_plan, predicted, waves
from rhoscale.density import Density
from rhoscale.errors import InputError
from rhoscale.grid import Grid
from rhoscale.prediction.field import StoredField, open_density
from rhoscale.prediction.interpolation import (
    cubic_weights,
    fourier_weights,
    interpolate,
    periodic_values,
    windowed_weights,
)
from rhoscale.refinement import refine


def test_deviations_keep_three_digits_in_half_precision() -> None:
    plan = make_plan()
    field = StoredField(predicted(plan), plan.grid)
    exact = waves(plan.grid.points())
    noise = exact.aleatoric.reshape(plan.compute_shape) * field.charge_factor  # type: ignore[union-attr]
    np.testing.assert_allclose(field.aleatoric[:], noise, rtol=6e-4)
    np.testing.assert_allclose(field.total[:] ** 2, field.aleatoric[:] ** 2 + field.epistemic[:] ** 2, rtol=1e-5)


COUNTS = st.integers(2, 11)


@settings(deadline=None, max_examples=40)
@given(st.tuples(COUNTS, COUNTS, COUNTS), st.tuples(COUNTS, COUNTS, COUNTS), st.integers(0, 2**31))
def test_fourier_blocks_are_the_refined_whole(old: tuple[int, ...], more: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=old)
    new = tuple(a + b for a, b in zip(old, more, strict=True))
    whole = refine(Density(Grid(CELL, old), values), new).values  # type: ignore[arg-type]
    start = tuple(int(rng.integers(0, n)) for n in new)
    stop = tuple(int(rng.integers(a + 1, n + 1)) for a, n in zip(start, new, strict=True))
    block = interpolate(periodic_values(values), old, new, start, stop, fourier_weights, slab=3)  # type: ignore[arg-type]
    np.testing.assert_allclose(block, whole[tuple(map(slice, start, stop))], atol=1e-12)


def test_a_field_is_indexed_like_an_array(tmp_path: Path) -> None:
    plan = make_plan(output_shape=(31, 40, 25))
    predicted(plan, tmp_path / "a.zarr")
    field = open_density(tmp_path / "a.zarr")
    exact = waves(plan.output_grid.points()).density.reshape(plan.output_shape)
    assert field.shape == (31, 40, 25)
    whole = field[:]
    np.testing.assert_allclose(whole / field.charge_factor, exact, atol=1e-7)
    for key in (0, (3, 4, 5), (-1, slice(None, None, 3)), (..., slice(2, 9)), (slice(5, 9), 7), (slice(4, 4),), ...):
        np.testing.assert_allclose(field[key], whole[key], atol=1e-7)
        assert field[key].shape == whole[key].shape
    np.testing.assert_array_equal(np.asarray(field), whole)
    with pytest.raises(IndexError):
        field[31]
    with pytest.raises(IndexError, match="expected at most three"):
        field[0, 0, 0, 0]
    with pytest.raises(IndexError, match="positive step"):
        field[::-1]


def test_any_spacing_can_be_asked_for_later(tmp_path: Path) -> None:
    plan = make_plan()
    predicted(plan, tmp_path / "a.zarr")
    assert open_density(tmp_path / "a.zarr").shape == plan.compute_shape
    fine = open_density(tmp_path / "a.zarr", spacing=0.3)
    assert max(fine.grid.spacings) <= 0.3
    coarse = fine.refine(shape=(7, 7, 7))
    exact = waves(coarse.grid.points()).density.reshape(7, 7, 7)
    np.testing.assert_allclose(coarse[:] / coarse.charge_factor, exact, atol=1e-7)
    with pytest.raises(InputError, match="expected one; leave one out"):
        fine.refine(shape=(7, 7, 7), spacing=0.3)
    with pytest.raises(InputError, match="three numbers"):
        fine.refine(shape=(7, 7))


def test_refined_deviations_stay_positive_and_close() -> None:
    plan = make_plan(output_shape=(45, 45, 45))
    field = StoredField(predicted(plan), plan.output_grid)
    exact = waves(plan.output_grid.points())
    for name in ("aleatoric", "epistemic"):
        values = getattr(field, name)[:]
        expected = getattr(exact, name).reshape(plan.output_shape) * field.charge_factor
        assert values.min() > 0
        np.testing.assert_allclose(values, expected, rtol=5e-3)


def test_local_weights_reach_two_points_and_sum_to_one() -> None:
    found = cubic_weights(12, 30, 0, 30)
    assert found.first == -1
    assert found.weights.shape == (30, 15)  # an image before the cell, two after it
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)
    assert (np.count_nonzero(found.weights, axis=1) <= 4).all()
    np.testing.assert_allclose(found.weights[::5][:, 1:13:2], np.eye(6), atol=1e-15)


def test_windowed_weights_keep_the_waves_they_promise() -> None:
    old, new, start, stop = 200, 500, 37, 81
    x = np.arange(start, stop) / new
    for wave in (1, 40, 80):  # of 100, the Nyquist wave
        found = windowed_weights(old, new, start, stop)
        points = found.first + np.arange(found.weights.shape[1])
        values = found.weights @ np.exp(2j * np.pi * wave * points / old)
        np.testing.assert_allclose(values, np.exp(2j * np.pi * wave * x), atol=1.5e-5)
    assert found.weights.shape[1] < 44 * old // new + 35


def test_boxes_of_a_periodic_field_may_leave_the_cell() -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6))
    box = periodic_values(values)((-3, 2, -7), (6, 4, 13))
    tiled = np.tile(values, (5, 3, 7))
    np.testing.assert_array_equal(box, tiled[8 - 3 : 8 + 6, 5 + 2 : 5 + 4, 18 - 7 : 18 + 13])
