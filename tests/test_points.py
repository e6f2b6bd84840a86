"""Point sets: where the points are, what they weigh, and that labels and features belong together."""

import numpy as np
import pytest

from rhoscale.datasets.points import Draw, drawn_points, points_of
from rhoscale.errors import InputError
from rhoscale.grid import Grid
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import System

CELL = np.array([[6.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.0, -1.0, 8.0]])
MILLERS = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 1], [-1, 2, 0]])


def _snapshot(seed: int) -> Snapshot:
    rng = np.random.default_rng(seed)
    coefficients = 0.01 * (rng.normal(size=4) + 1j * rng.normal(size=4))
    coefficients[0] = 0.05
    density = FourierDensity.from_coefficients(CELL, MILLERS, coefficients, 5.0)
    return Snapshot(
        System(CELL, CELL.sum(axis=0) / 2 + rng.normal(size=(2, 3)), np.array(["Al", "Al"])), density, 6.0, {}
    )


def _describe(system: System, points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, np.full(len(points), system.positions[0, 0])]).astype(np.float32)


def _value(snapshot: Snapshot, points: np.ndarray) -> np.ndarray:
    """The Fourier sum written out."""
    waves = 2 * np.pi * snapshot.density.millers @ np.linalg.inv(CELL).T
    terms = snapshot.density.coefficients * np.exp(1j * points @ waves.T)
    return 2 * terms.real.sum(axis=1) - snapshot.density.electrons / abs(np.linalg.det(CELL))


def test_labels_features_and_prior_belong_to_the_same_points() -> None:
    snapshots = [_snapshot(0), _snapshot(1)]
    found = points_of(snapshots, _describe, Draw(0.9, 0.3), prior=lambda system, r: r[:, 0] + system.positions[0, 0])
    assert set(found.snapshot) == {0, 1}
    for index, snapshot in enumerate(snapshots):
        mine = found.snapshot == index
        points = found.features[mine, :3].astype(np.float64)
        np.testing.assert_allclose(found.density[mine], _value(snapshot, points), atol=1e-6)
        np.testing.assert_allclose(found.prior[mine], points[:, 0] + snapshot.system.positions[0, 0], atol=1e-5)
        assert np.ptp(found.density[mine]) > 0.02
    np.testing.assert_array_equal(found.residual, found.density - found.prior)


def test_the_whole_grid_is_taken_in_its_order() -> None:
    snapshot = _snapshot(0)
    found = points_of([snapshot], _describe, Draw(0.9))
    grid = Grid.from_spacing(CELL, 0.9)
    assert len(found) == grid.size
    np.testing.assert_allclose(found.features[:, :3], grid.points(), atol=1e-5)
    assert (found.weights == 1).all()


def test_a_draw_repeats_with_its_seed_and_takes_no_point_twice() -> None:
    snapshots = [_snapshot(0), _snapshot(1)]
    first, again, other = (points_of(snapshots, _describe, Draw(0.7, 0.2, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)
    assert len(np.unique(first.features, axis=0)) == len(first) == 2 * round(0.2 * Grid.from_spacing(CELL, 0.7).size)


def _near_first_atom(system: System, points: np.ndarray) -> np.ndarray:
    return 0.05 + np.exp(-np.sum((points - system.positions[0]) ** 2, axis=1))


def test_weights_undo_the_importance_so_that_averages_stay_those_of_the_cell() -> None:
    snapshot = _snapshot(0)
    points = Grid.from_spacing(CELL, 0.4).points()
    truth = _value(snapshot, points)
    draw = Draw(0.4, 0.2, _near_first_atom, largest_weight=1e9)
    means, plain = [], []
    for seed in range(100):
        chosen, weights = drawn_points(snapshot.system, points, draw, np.random.default_rng(seed))
        means.append(np.average(truth[chosen], weights=weights))
        plain.append(truth[chosen].mean())
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(plain) - truth.mean()) > 10 * error
    assert abs(np.mean(means) - truth.mean()) < 4 * error


def test_important_points_are_drawn_more_often_and_weights_are_clipped() -> None:
    snapshot = _snapshot(0)
    points = Grid.from_spacing(CELL, 0.4).points()
    chosen, weights = drawn_points(
        snapshot.system, points, Draw(0.4, 0.1, _near_first_atom, largest_weight=1.5), np.random.default_rng(0)
    )
    importance = _near_first_atom(snapshot.system, points)
    assert importance[chosen].mean() > 1.5 * importance.mean()
    assert len(chosen) == pytest.approx(0.1 * len(points), rel=0.1)
    assert weights.mean() == pytest.approx(1.0, rel=1e-5)
    assert weights.max() / np.median(weights) < 1.6


def test_a_share_of_zero_no_snapshot_and_importance_of_zero_are_refused() -> None:
    with pytest.raises(InputError, match="fraction"):
        Draw(0.5, 0.0)
    with pytest.raises(InputError, match="at least one"):
        points_of([], _describe, Draw(0.5))
    with pytest.raises(InputError, match="positive"):
        points_of([_snapshot(0)], _describe, Draw(0.9, 0.5, lambda _system, r: np.zeros(len(r))))
