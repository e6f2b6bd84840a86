"""Searches for a descriptor's size: laws on made-up errors, and no error computed twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhoscale.descriptors import DescriptorSpec, ScalarProducts, Smooth
from rhoscale.descriptors.smooth import AngularSet, RadialSet
from rhoscale.errors import FormatError, InputError
from rhoscale.selection import (
    KeptScores,
    ScalarProductLimits,
    Search,
    SmoothAxes,
    columns_within,
    select_angles,
    select_distances,
    select_scalar_products,
    select_smooth,
)

AL = ("Al",)
LIMITS = ScalarProductLimits(largest_distances=90, largest_angle_atoms=30, largest_neighbours=4)

Numbers = tuple[int, int, int]


def _numbers(spec: DescriptorSpec) -> Numbers:
    """M, M_a and k; k is 0 without cosines."""
    assert isinstance(spec, ScalarProducts)
    return spec.distances, spec.angle_atoms, spec.neighbours if spec.angle_atoms else 0


def _search(error: Callable[[int, int, int], float], tolerance: float = 0.02) -> Search:
    return select_scalar_products(lambda spec: error(*_numbers(spec)), AL, LIMITS, tolerance=tolerance)


def _elbow(distances: int, angle_atoms: int, neighbours: int) -> Callable[[int, int, int], float]:
    """Errors that fall until each number reaches its elbow and hold still from there."""

    def error(m: int, a: int, k: int) -> float:
        return 1.0 + max(0, distances - m) + (max(0, angle_atoms - a) + max(0, neighbours - k)) / 10

    return error


@given(
    st.integers(1, 6).map(lambda n: 10 * n), st.integers(1, 4).map(lambda n: 5 * n), st.integers(1, 3)
)  # fmt: skip
def test_the_elbow_of_each_number_is_found(distances: int, angle_atoms: int, neighbours: int) -> None:
    angle_atoms = min(angle_atoms, distances)
    found = _search(_elbow(distances, angle_atoms, neighbours))
    assert _numbers(found.chosen.spec) == (distances, angle_atoms, neighbours)
    assert found.chosen.error == pytest.approx(1.0)


def test_the_papers_numbers_follow_from_errors_that_converge_there() -> None:
    found = _search(_elbow(60, 15, 3))
    assert _numbers(found.chosen.spec) == (60, 15, 3)
    assert found.chosen.spec.size == 105
    assert found.limits == ()
    assert max(_numbers(t.spec)[0] for t in found.trials) == 80  # two increments beyond


def test_every_k_grows_from_the_start_again() -> None:
    found = _search(_elbow(60, 15, 3))
    for k in (1, 2, 3, 4):
        grown = [t.spec for t in found.trials if t.series == f"k = {k}"]
        assert [_numbers(spec) for spec in grown] == [(60, a, k) for a in (5, 10, 15, 20, 25)]


def test_a_later_k_may_need_more_atoms_than_an_earlier() -> None:
    def error(m: int, a: int, k: int) -> float:
        angles = 0.5 * k - 0.02 * max(0, 10 * k - a) if 0 < k < 3 else 0.0
        return 2.0 + max(0, 30 - m) / 10 - angles

    found = _search(error, tolerance=0.01)
    assert _numbers(found.chosen.spec) == (30, 20, 2)
    assert max(_numbers(t.spec)[1] for t in found.trials if t.series == "k = 1") == 20  # chosen there: 10


def test_an_error_that_always_falls_chooses_the_largest_and_says_so() -> None:
    found = _search(lambda m, a, k: 0.9**m * 0.9**a * 0.9**k)
    assert _numbers(found.chosen.spec) == (90, 30, 4)
    assert found.limits == ("distances", "k = 4", "k")


def test_a_flat_error_chooses_the_smallest_descriptor() -> None:
    found = _search(lambda *_: 0.5)
    assert _numbers(found.chosen.spec) == (10, 0, 0)
    assert len(found.trials) == 3 + 2  # M = 10, 20, 30; M_a = 5, 10 for k = 1: no more than M of them


def test_an_error_that_rises_again_is_not_followed() -> None:
    found = select_distances(
        lambda spec: 1.0 + abs(spec.distances - 30) / 10, AL, step=10, largest=90, tolerance=0.02
    )  # fmt: skip
    assert _numbers(found.chosen.spec)[0] == 30
    assert len(found.trials) == 5


@given(st.floats(0.001, 0.3), st.booleans())
def test_only_gains_above_the_tolerance_count(tolerance: float, above: bool) -> None:
    gain = tolerance * (1.05 if above else 0.45)  # two gains of 0.45 stay below it, too
    errors = {m: (1.0 - gain) ** min(m // 10 - 1, 3) for m in range(10, 100, 10)}
    found = select_distances(lambda spec: errors[spec.distances], AL, step=10, largest=90, tolerance=tolerance)
    assert _numbers(found.chosen.spec)[0] == (40 if above else 10)


def test_two_small_gains_that_add_up_count() -> None:
    errors = {10: 1.0, 20: 0.985, 30: 0.97, 40: 0.97, 50: 0.97}
    found = select_distances(lambda spec: errors[spec.distances], AL, step=10, largest=50, tolerance=0.02)
    assert _numbers(found.chosen.spec)[0] == 20


def test_angles_that_do_not_pay_are_left_out() -> None:
    found = _search(lambda m, _, k: 2.0 - 0.01 * min(m, 40) + (0.1 if k else 0.0))
    assert _numbers(found.chosen.spec) == (40, 0, 0)


def test_angles_start_from_the_distances_that_were_found() -> None:
    distances = select_distances(lambda _: 1.0, AL, step=7, largest=70, tolerance=0.0)
    found = select_angles(
        lambda spec: 1.0 / (1 + spec.cosines), distances, step=3, largest_atoms=30, largest_neighbours=1, tolerance=0.0
    )
    assert _numbers(found.chosen.spec) == (7, 6, 1)


def test_errors_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        _search(lambda *_: float("nan"))
    with pytest.raises(InputError, match="tolerance"):
        _search(lambda *_: 1.0, tolerance=1.0)


AXES = SmoothAxes((4, 8, 12, 16), (8.0, 10.0, 12.0, 14.0), (0, 4, 8), (4.5,), (0, 2, 4, 6, 8), 4, (5.0, 7.0, 9.0, 11.0))


def _smooth_elbow(spec: Smooth) -> float:
    """Falls with each coordinate up to its elbow; a cutoff only pays with enough functions to fill it."""
    angular = spec.angular[0] if spec.angular else AngularSet((1,), 5.0)
    counts = [*(angular.counts if spec.angular else ()), 0, 0, 0, 0, 0]
    error = 1.0 + max(0, 12 - spec.radial[0].count) / 8 + max(0, 10.0 - spec.radial[0].cutoff) / 4
    error += sum(max(0, want - have) / 4 for want, have in zip((6, 4, 2, 0, 0), counts, strict=False))
    return error + (max(0, 9.0 - angular.cutoff) / 4 if counts[1] >= 4 else 0.5 * (angular.cutoff - 5.0) + 1.0)


def test_the_smooth_search_finds_every_elbow() -> None:
    found = select_smooth(_smooth_elbow, AL, AXES, tolerance=0.01)
    assert found.chosen.spec == Smooth(AL, (RadialSet(12, 10.0),), (AngularSet((6, 4, 2), 9.0),))
    assert found.chosen.error == pytest.approx(1.0)


def test_a_flat_smooth_search_keeps_the_start() -> None:
    found = select_smooth(lambda _: 1.0, AL, AXES, tolerance=0.01)
    assert found.chosen.spec == Smooth(AL, (RadialSet(4, 8.0),), ())
    assert found.chosen is found.trials[0]


def test_a_smooth_search_that_always_pays_ends_at_the_largest() -> None:
    found = select_smooth(lambda s: 1.0 / (s.size + 100 * s.reach), AL, AXES, tolerance=0.0)
    assert found.chosen.spec.size == 16 + 8 + 5 * 36
    assert {"radial count", "degree 4", "radial cutoff"} <= set(found.limits)


def test_a_coordinate_that_pays_only_after_another_is_grown_in_a_later_round() -> None:
    def error(spec: Smooth) -> float:
        cutoff = 8.0 if not spec.angular else min(spec.radial[0].cutoff, 12.0)
        return 10.0 - cutoff / 2 - (1.0 if spec.angular else 0.0)

    assert select_smooth(error, AL, AXES, tolerance=0.01).chosen.spec.to_dict()["radial"][0]["cutoff"] == 12.0


def test_values_that_do_not_rise_are_refused() -> None:
    for wrong in ({"radial_counts": (8, 4)}, {"short_cutoffs": ()}, {"radial_counts": (0, 4)}, {"highest_degree": 10}):
        with pytest.raises(InputError, match="expected"):
            SmoothAxes(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="distance_step"):
        ScalarProductLimits(distance_step=0)


def _kept(folder: Path, computed: list[Numbers], budget: int = 10**6, context: str = "one") -> KeptScores:
    def score(spec: DescriptorSpec) -> float:
        if len(computed) >= budget:
            raise KeyboardInterrupt
        computed.append(_numbers(spec))
        return _elbow(60, 15, 3)(*_numbers(spec))

    return KeptScores(score, folder, {"what": context})


def test_a_killed_search_repeats_no_score_and_ends_the_same(tmp_path: Path) -> None:
    whole = _search(_elbow(60, 15, 3))
    first: list[Numbers] = []
    second: list[Numbers] = []
    with pytest.raises(KeyboardInterrupt):
        select_scalar_products(_kept(tmp_path, first, 11), AL, LIMITS, tolerance=0.02)
    found = select_scalar_products(_kept(tmp_path, second), AL, LIMITS, tolerance=0.02)
    assert len(first) == 11
    assert not set(first) & set(second)
    assert len(first) + len(second) == len(set(first + second)) == len({t.spec for t in whole.trials})
    assert found == whole


def test_scores_of_other_data_or_settings_are_not_taken(tmp_path: Path) -> None:
    computed: list[Numbers] = []
    spec = ScalarProducts(AL, 10, 0)
    for context in ("one", "other", "one"):
        _kept(tmp_path, computed, context=context)(spec)
    assert len(computed) == 2
    score = _kept(tmp_path, computed)
    score.path_of(spec).write_text("{}")
    with pytest.raises(FormatError, match="remove the file"):
        score(spec)


@pytest.mark.parametrize("axes", [SmoothAxes(), AXES, SmoothAxes(short_counts=(0,), highest_degree=-1)])
def test_the_largest_smooth_descriptor_holds_every_candidate(axes: SmoothAxes) -> None:
    largest, rng = axes.largest(AL), np.random.default_rng(0)
    for _ in range(50):
        small = axes.spec(AL, {name: rng.choice(values).item() for name, values in axes.coordinates.items()})
        assert len(columns_within(small, largest)) == small.size
