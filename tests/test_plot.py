"""Plot: the picture is there, of the right plane, and refuses what makes no sense."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from rhoscale.density import Density
from rhoscale.errors import InputError, OutputError
from rhoscale.grid import Grid
from rhoscale.postprocess.charge import charge_factor
from rhoscale.prediction.field import open_density
from rhoscale.prediction.one_tile import predict_tile
from rhoscale.prediction.plan import Workload, plan_prediction
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.verdict import FieldTotals
from rhoscale.recipes.plot import panels_of, plot
from rhoscale.report.slices import Plane
from test_compare import ABOUT, CELL, ELECTRONS, SYSTEM, mistaken, truth, write_reference


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    plan = plan_prediction(SYSTEM, Grid(CELL, (12, 13, 14)), Workload(1), model="m", model_hash="0" * 64)
    place = tmp_path / "p.zarr"
    store = PredictionStore.create(place, plan, SYSTEM, ABOUT)
    run_local(plan, partial(predict_tile, plan=plan, predict_points=mistaken), store)
    totals = FieldTotals.from_tiles(store.statistics(), plan.grid.volume_element)
    store.finish(charge_factor(totals.electrons, ELECTRONS), {})
    return place


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_panels_show_the_fields_on_the_asked_plane(prediction: Path, axis: int) -> None:
    plane = Plane(axis, 0.375)
    grid = Grid(CELL, (16, 16, 16))
    exact = Density(grid, truth(grid.points()).reshape(grid.shape))
    panels = {panel.title: panel.values for panel in panels_of(open_density(prediction), plane, exact)}
    rows, columns = panels["reference"].shape
    fractions = np.zeros((rows, columns, 3))
    fractions[..., axis] = 0.375
    fractions[..., plane.within[0]] = (np.arange(rows) / rows)[:, None]
    fractions[..., plane.within[1]] = np.arange(columns) / columns
    points = fractions.reshape(-1, 3) @ CELL
    np.testing.assert_allclose(panels["reference"].ravel(), truth(points), atol=1e-9)
    np.testing.assert_allclose(panels["prediction"].ravel(), mistaken(points).density / 1.01, atol=1e-7)
    np.testing.assert_array_equal(panels["prediction − reference"], panels["prediction"] - panels["reference"])
    np.testing.assert_allclose(panels["total uncertainty"], 1e-3 / np.sqrt(2) / 1.01, rtol=1e-3)


def test_a_picture_is_written_with_and_without_reference(prediction: Path, tmp_path: Path) -> None:
    sizes = []
    for name, reference in (("alone.png", None), ("both.png", write_reference(tmp_path / "r.npz", (16, 16, 16)))):
        plot(prediction, tmp_path / name, reference=reference)
        picture = imread(tmp_path / name)
        assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 500
        sizes.append(picture.shape)
    assert sizes[1][1] > sizes[0][1]


def test_the_default_plane_goes_through_the_atom_nearest_to_the_middle(prediction: Path, tmp_path: Path) -> None:
    plane = plot(prediction, tmp_path / "a.png", axis=2)
    assert plane.position == pytest.approx(SYSTEM.scaled_positions[1, 2], abs=2e-4)


def test_a_skewed_plane_keeps_lengths_and_angles() -> None:
    plane = Plane(1, 0.0)
    x, y = plane.coordinates(CELL, np.array([0.0, 1.0, 0.3]), np.array([0.0, 0.0, 0.8]))
    corner = 0.3 * CELL[0] + 0.8 * CELL[2]
    assert x[1] == pytest.approx(np.linalg.norm(CELL[0]))
    assert np.hypot(x[2], y[2]) == pytest.approx(np.linalg.norm(corner))
    assert x[2] * x[1] == pytest.approx(corner @ CELL[0])


def test_bad_requests_are_refused(prediction: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ends in \.png"):
        plot(prediction, tmp_path / "a.pdf")
    with pytest.raises(InputError, match="axis 3 is none of the cell vectors"):
        plot(prediction, tmp_path / "a.png", axis=3)
    with pytest.raises(InputError, match="not a number"):
        plot(prediction, tmp_path / "a.png", position=float("nan"))
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="use --force"):
        plot(prediction, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"mine"
