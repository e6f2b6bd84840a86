"""Levels for viewing: means of the field over ever larger boxes, in half precision where that is enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from known_waves import make_plan, predicted
from rhoscale.errors import FormatError
from rhoscale.prediction.levels import write_levels
from rhoscale.prediction.template import DEVIATION_UNIT


def by_definition(values: np.ndarray) -> np.ndarray:
    """Mean of each pair along each axis, a single last point kept."""
    for axis in range(3):
        pieces = [values.take(range(i, min(i + 2, values.shape[axis])), axis) for i in range(0, values.shape[axis], 2)]
        values = np.concatenate([piece.mean(axis=axis, keepdims=True) for piece in pieces], axis=axis)
    return values


@pytest.mark.parametrize("threads", [1, 3])
def test_each_level_is_the_mean_of_the_one_below(threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rhoscale.prediction.levels.BOX", 4)
    store = predicted(make_plan(tile_shape=(5, 7, 9)), tmp_path / "a.zarr")
    write_levels(store, 2.0, threads=threads, small_enough=6)
    below = np.asarray(store.array("density")[:])
    for level, shape in enumerate([(10, 9, 11), (5, 5, 6)], start=1):
        found = np.asarray(store.array(f"levels/{level}/density")[:])
        assert found.shape == shape
        assert np.ptp(found) > 1e-3
        np.testing.assert_allclose(found, by_definition(below), rtol=1e-6)
        below = found
    with pytest.raises(FormatError, match="no array"):
        store.array("levels/3/density")
    total = np.hypot(*(np.asarray(store.array(name)[:], dtype=np.float64) for name in ("aleatoric", "epistemic")))
    level = store.array("levels/1/total")
    np.testing.assert_allclose(np.asarray(level[:], dtype=np.float64), by_definition(total), rtol=1e-3)
    assert level.attrs["scale_factor"] == 2.0 * DEVIATION_UNIT


def test_levels_are_listed_with_the_places_of_their_points() -> None:
    plan = make_plan()
    store = predicted(plan)
    write_levels(store, 1.0, small_enough=6)
    density, total = store.attributes["multiscales"]
    assert [d["path"] for d in density["datasets"]] == ["density", "levels/1/density", "levels/2/density"]
    assert [d["path"] for d in total["datasets"]] == ["levels/1/total", "levels/2/total"]
    scale, shift = density["datasets"][2]["coordinateTransformations"]
    spacings = np.array(plan.grid.spacings)
    np.testing.assert_allclose(scale["scale"], 4 * spacings)
    np.testing.assert_allclose(shift["translation"], 1.5 * spacings)  # the middle of four points
    assert total["datasets"][1]["coordinateTransformations"] == [scale, shift]


def test_a_small_field_needs_none_and_one_without_deviations_has_those_of_the_density() -> None:
    store = predicted(make_plan())
    write_levels(store, 1.0)
    assert "multiscales" not in store.attributes
    bare = make_plan(uncertainty=False, density_step=2.0**-20)
    store = predicted(bare)
    write_levels(store, 1.0, small_enough=10)
    assert [scale["name"] for scale in store.attributes["multiscales"]] == ["density"]
    values = np.asarray(store.array("levels/1/density")[:]) * 2.0**20
    np.testing.assert_array_equal(values, np.rint(values))
