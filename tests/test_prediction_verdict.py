"""Electrons and verdict of a prediction: the charge is right, the expected error is told, what is odd is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from known_waves import make_plan, predicted, waves
from rhoscale.density import Density
from rhoscale.errors import EmptyDensityError
from rhoscale.postprocess.charge import charge_factor, rescale_to_charge
from rhoscale.prediction.field import open_density
from rhoscale.prediction.verdict import FieldTotals, judge


def test_the_rescaled_field_integrates_to_the_electrons(tmp_path: Path) -> None:
    plan = make_plan(output_shape=(33, 40, 36))
    store = predicted(plan, tmp_path / "a.zarr")
    raw = FieldTotals.from_tiles(store.statistics(), plan.grid.volume_element).electrons
    assert abs(raw - 7.0) > 1.0
    assert open_density(tmp_path / "a.zarr").density().integral() == pytest.approx(7.0, abs=1e-5)
    density = Density(plan.grid, waves(plan.grid.points()).density.reshape(plan.compute_shape))
    assert rescale_to_charge(density, 7.0).integral() == pytest.approx(7.0, abs=1e-6)
    assert charge_factor(raw, 7.0) == pytest.approx(7.0 / density.integral(), rel=1e-6)


@pytest.mark.parametrize("raw", [0.0, -3.0, float("nan")])
def test_a_density_without_electrons_cannot_be_rescaled(raw: float) -> None:
    with pytest.raises(EmptyDensityError, match="expected about 96"):
        charge_factor(raw, 96.0)


def test_totals_do_not_depend_on_the_order_of_tiles() -> None:
    plan = make_plan(tile_shape=(5, 5, 6))
    rows = predicted(plan).statistics()
    shuffled = rows[np.random.default_rng(1).permutation(len(rows))]
    assert not np.array_equal(rows, shuffled)
    assert FieldTotals.from_tiles(rows, 0.1) == FieldTotals.from_tiles(shuffled, 0.1)


def test_expected_l1_is_the_mean_absolute_error_of_gaussian_errors() -> None:
    plan = make_plan()
    rng = np.random.default_rng(3)
    exact = waves(plan.grid.points())
    sigma = np.hypot(exact.aleatoric, exact.epistemic)  # type: ignore[arg-type]
    errors = rng.normal(size=(200, len(sigma))) * sigma
    l1 = np.abs(errors).mean() * plan.grid.volume / 7.0
    totals = FieldTotals.from_tiles(predicted(plan).statistics(), plan.grid.volume_element)
    verdict = judge(totals, plan.grid.volume, totals.electrons, {})
    assert verdict.expected_l1 == pytest.approx(l1 * 7.0 / totals.electrons, rel=5e-3)
    assert verdict.range == "unknown"
    assert verdict.expected_l1_low is None


def test_verdict_counts_points_beyond_validation() -> None:
    exact = waves(make_plan().grid.points())
    sigma = np.hypot(exact.aleatoric, exact.epistemic)  # type: ignore[arg-type]
    words = {}
    for quantile in (0.5, 0.98, 1.0):
        limit = float(np.quantile(sigma, quantile))
        plan = make_plan(sigma_limit=limit)
        totals = FieldTotals.from_tiles(predicted(plan).statistics(), plan.grid.volume_element)
        limits = {"largest_total": limit, "l1_ratio_low": 0.5, "l1_ratio_high": 1.5}
        verdict = judge(totals, plan.grid.volume, totals.electrons, limits)
        assert verdict.share_beyond == np.count_nonzero(sigma > np.float32(limit)) / sigma.size
        assert verdict.expected_l1_low == pytest.approx(verdict.expected_l1 * 0.5)
        words[verdict.range] = str(verdict)
    assert list(words) == ["outside", "partly", "inside"]
    assert "do not rely on it" in words["outside"]
    assert " to " in words["inside"]


@pytest.mark.parametrize("known", [None, 1e-3])
def test_a_wrong_electron_count_overrules_a_small_uncertainty(known: float | None) -> None:
    plan = make_plan(sigma_limit=1.0)
    totals = FieldTotals.from_tiles(predicted(plan).statistics(), plan.grid.volume_element)
    limits = {"largest_total": 1.0, "l1_ratio_low": 0.5, "l1_ratio_high": 1.5}
    limits |= {} if known is None else {"largest_electrons_off": known}
    right = judge(totals, plan.grid.volume, totals.electrons, limits)
    assert right.expected_l1_high is not None
    assert right.expected_l1_high > 2e-3
    largest = right.expected_l1_high if known is None else known
    verdicts = [judge(totals, plan.grid.volume, totals.electrons / (1 - x * largest), limits) for x in (0.9, 1.1, 2.1)]
    assert [v.range for v in verdicts] == ["inside", "partly", "outside"]
    assert "raw electron count is off by -" in str(verdicts[1])
    assert "raw electron count" not in str(verdicts[0])
