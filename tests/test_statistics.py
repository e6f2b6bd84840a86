"""Statistics of a stream of tiles: those of the whole field, whatever the tiles and their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_waves import make_plan, predicted, waves
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.statistics import (
    bin_edges,
    describe_field,
    histogram,
    kolmogorov_smirnov,
    quantile,
    tile_statistics,
)


def test_bins_hold_exactly_what_lies_between_their_edges() -> None:
    edges = bin_edges()
    assert (np.diff(edges) > 0).all()
    assert (np.diff(edges) / edges[:-1] <= 1 / 32).all()
    rng = np.random.default_rng(0)
    values = np.exp(rng.uniform(np.log(2e-8), np.log(60.0), 50_000)).astype(np.float32)
    values[:100] = edges[300:400]  # an edge belongs to the bin above it
    np.testing.assert_array_equal(histogram(values), np.histogram(values.astype(np.float64), edges)[0])


def test_values_beyond_all_bins_are_counted_in_the_outermost() -> None:
    counts = histogram(np.array([-1.0, 0.0, 1e-12, 1e9], dtype=np.float32))
    assert counts[0] == 3
    assert counts[-1] == 1
    assert counts.sum() == 4


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_quantiles_are_those_of_the_values_to_a_bin(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(-8, 0.5, 4000).astype(np.float32)
    counts = histogram(values)
    for share in (0.05, 0.5, 0.95):
        assert quantile(counts, share) == pytest.approx(float(np.quantile(values, share)), rel=0.035)


def test_the_distance_of_distributions_is_that_of_a_shift() -> None:
    one = histogram(np.full(100, 0.01, dtype=np.float32))
    mixed = histogram(np.repeat(np.array([0.01, 0.02], dtype=np.float32), [70, 30]))
    assert kolmogorov_smirnov(one, one) == 0.0
    assert kolmogorov_smirnov(one, mixed) == pytest.approx(0.3)


def described(plan: PredictionPlan, order: np.ndarray | None = None) -> dict[str, object]:
    store = predicted(plan)
    rows = store.statistics()
    histograms = np.concatenate(list(store.histograms()))
    groups = [histograms] if order is None else [histograms[order[:7]], histograms[order[7:]]]
    return describe_field(rows, groups, plan.grid, 2.0, sigmas=plan.uncertainty)


def test_tiles_add_up_to_the_whole_field() -> None:
    exact = waves(make_plan().grid.points())
    total = np.hypot(exact.aleatoric, exact.epistemic)  # type: ignore[arg-type]
    for tile_shape in ((20, 18, 21), (5, 7, 9)):
        plan = make_plan(tile_shape=tile_shape)
        found: dict = described(plan)
        assert found["points"] == plan.grid.size
        for name, values in (("density", exact.density), ("epistemic", exact.epistemic), ("total", total)):
            assert values is not None
            assert found[name]["mean"] == pytest.approx(2 * float(values.mean(dtype=np.float64)), rel=1e-6)
            expected = quantile(histogram(values), 0.95)
            assert found[name]["quantiles"]["0.95"] == pytest.approx(2 * expected)
        assert found["density"]["min"] == pytest.approx(2 * float(exact.density.min()))
        counts = found["density"]["histogram"]["counts"]
        assert sum(counts) == plan.grid.size
        assert len(found["density"]["histogram"]["edges"]) == len(counts) + 1
        worst = found["worst_tiles"][0]
        assert worst["total"] == pytest.approx(2 * float(total.max())) == found["total"]["max"]
        place = np.ravel_multi_index(worst["point"], plan.compute_shape)
        assert total[place] == total.max()
        np.testing.assert_allclose(worst["position"], plan.grid.points()[place])


def test_no_order_or_grouping_of_tiles_changes_them() -> None:
    plan = make_plan(tile_shape=(8, 9, 10))
    assert plan.n_tiles > 10
    order = np.random.default_rng(2).permutation(plan.n_tiles)
    assert described(plan) == described(plan, order)


def test_without_uncertainty_there_are_only_those_of_the_density() -> None:
    found = described(make_plan(uncertainty=False))
    assert set(found) == {"points", "density"}


def test_a_tile_counts_each_of_its_points_once() -> None:
    plan = make_plan(tile_shape=(8, 9, 10))
    tile = list(plan.tiles)[-1]
    values = waves(plan.grid.points(tile.start, tile.stop))
    fields = {name: getattr(values, name).reshape(tile.shape) for name in ("density", "aleatoric", "epistemic")}
    assert (tile_statistics(tile, fields, None).histograms.sum(axis=1) == tile.size).all()
