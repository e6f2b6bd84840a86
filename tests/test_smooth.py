"""Laws of the smooth descriptor family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from rhoscale.cluster import Cluster
from rhoscale.descriptors import describe as describe_any_family
from rhoscale.descriptors import spec_from_dict
from rhoscale.descriptors.smooth import (
    AngularSet,
    RadialSet,
    Smooth,
    SurroundingsSet,
    cluster_describer,
    describe_by_definition,
    smooth_describer,
)
from rhoscale.descriptors.smooth.spec import HIGHEST_DEGREE
from rhoscale.errors import HaloError, InputError, ModelError
from rhoscale.grid import Grid
from rhoscale.system import System

FloatArray = NDArray[np.float64]

SMALL = Smooth(
    ("Ge", "Si"),
    radial=(RadialSet(6, 8.0), RadialSet(9, 4.0)),
    angular=(AngularSet((3, 4, 3, 2, 1), 6.5), AngularSet((0, 2, 1), 4.0)),
    surroundings=SurroundingsSet(3, 5.0, 2, 5.5, 3),
)


def triclinic(seed: int = 0, atoms: int = 7) -> System:
    """A skewed cell much smaller than the reach, atoms given by images far outside it."""
    rng = np.random.default_rng(seed)
    cell = np.array([[7.0, 0.4, -0.2], [2.5, 6.5, 0.3], [-1.0, 1.5, 8.0]])
    scaled = rng.uniform(-2, 3, (atoms, 3))
    species = np.array(["Si", "Ge"])[rng.permutation(atoms) % 2]
    return System(cell, scaled @ cell, species)


def scattered(system: System, count: int, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).uniform(-0.5, 1.5, (count, 3)) @ system.cell


def assert_same_features(a: NDArray[np.floating], b: NDArray[np.floating], tolerance: float = 2e-5) -> None:
    """Features agree within single-precision rounding of sums whose terms are of order one; none is trivial."""
    assert np.std(b, axis=0).min() > 1e-4
    np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


def describe(system: System, points: FloatArray, spec: Smooth = SMALL) -> NDArray[np.float32]:
    return smooth_describer(system, spec)(points, 1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4, 5, HIGHEST_DEGREE])
def test_kernel_equals_definition(degree: int) -> None:
    system = triclinic(degree)
    spec = Smooth(("Ge", "Si"), radial=(RadialSet(17, 9.0),), angular=(AngularSet((5,) * (degree + 1), 7.0),))
    points = scattered(system, 40)
    assert_same_features(describe(system, points, spec), describe_by_definition(points, system, spec))


def test_kernel_equals_definition_with_any_numbers_of_radial_functions() -> None:
    """More than fit the registers together, none at all, and more atoms than the cache holds together."""
    system = triclinic(3, atoms=12)
    spec = Smooth(("Ge", "Si"), radial=(), angular=(AngularSet((27, 13, 12, 7, 0, 6, 4, 5, 2, 1), 9.0),))
    points = scattered(system, 40)
    by_definition = describe_by_definition(points, system, spec)
    scale = np.abs(by_definition).max(axis=0)  # fifty atoms of each kind, whose terms cancel
    assert scale.min() > 0
    np.testing.assert_allclose(describe(system, points, spec) / scale, by_definition / scale, atol=2e-5)


@pytest.mark.parametrize("elements", [("Ge", "Si"), ("Si",)])
@pytest.mark.parametrize(
    "chosen", [(5, 6.5, 3, 6.0, 4), (27, 6.0, 1, 9.0, 2), (2, 9.0, 2, 4.0, 1), (1, 6.5, 1, 5.0, 0)]
)
def test_kernel_equals_definition_of_surroundings(
    elements: tuple[str, ...], chosen: tuple[int, float, int, float, int]
) -> None:
    """More functions than fit the registers together, odd numbers of all kinds, more atoms than the cache holds."""
    system = triclinic(4, atoms=9)
    system = System(system.cell, system.positions, np.where(system.species == "Si", "Si", elements[0]))
    points = np.concatenate([scattered(system, 30), system.positions[:2]])
    spec = Smooth(elements, (), (), SurroundingsSet(*chosen))
    by_definition = describe_by_definition(points, system, spec)
    scale = np.abs(by_definition).max(axis=0)
    assert scale.min() > 0
    np.testing.assert_allclose(describe(system, points, spec) / scale, by_definition / scale, atol=2e-5)


@pytest.mark.parametrize("elements", [("Al",), ("Ge", "Si")])
@pytest.mark.parametrize(("count", "cutoff", "shared"), [(3, 6.5, 1), (2, 6.5, 1), (4, 6.5, None), (3, 5.0, None)])
def test_surroundings_that_share_their_functions_with_an_angular_set_are_the_same(
    elements: tuple[str, ...], count: int, cutoff: float, shared: int | None
) -> None:
    system = triclinic(4, atoms=9)
    system = System(system.cell, system.positions, np.where(system.species == "Si", elements[-1], elements[0]))
    points = np.concatenate([scattered(system, 30), system.positions[:2]])
    sets = (AngularSet((2, 2), 6.5), AngularSet((3, 1, 2), 6.5), AngularSet((2, 1, 1, 1), 4.0))
    spec = Smooth(elements, (RadialSet(9, 7.0),), sets, SurroundingsSet(count, cutoff, 2, 5.0, 3))
    assert spec.shared == (0 if count == 2 and cutoff == 6.5 else shared)
    by_definition = describe_by_definition(points, system, spec)
    scale = np.abs(by_definition).max(axis=0)
    np.testing.assert_allclose(describe(system, points, spec) / scale, by_definition / scale, atol=2e-5)


def test_surroundings_tell_apart_what_distances_from_the_point_do_not() -> None:
    """Two atoms around a third one, near each other or not: sums and a power spectrum of degree 0 do not change."""
    middle = np.array([15.0, 15.0, 15.0])
    straight = np.array([[0, 0, 0], [0, 4, 0], [0, -4, 0]]) + middle
    bent = np.array([[0, 0, 0], [0, 4, 0], [0, 0, 4]]) + middle
    point = middle + [[3.0, 0.0, 0.0]]
    cell, species = np.eye(3) * 30.0, np.array(["Si"] * 3)
    spec = Smooth(("Si",), (RadialSet(4, 9.0),), (AngularSet((3,), 9.0),), SurroundingsSet(2, 8.0, 2, 8.0, 0))
    one, other = (describe(System(cell, positions, species), point, spec)[0] for positions in (straight, bent))
    blind = spec.radial[0].count + spec.angular[0].size
    np.testing.assert_allclose(one[:blind], other[:blind], atol=1e-5)
    assert np.abs(one[blind:] - other[blind:]).max() > 0.01


def test_kernel_equals_definition_on_a_grid_and_with_several_sets() -> None:
    system = triclinic()
    points = Grid.from_spacing(system.cell, 0.9).points()
    some = np.random.default_rng(0).permutation(len(points))[:60]
    assert_same_features(describe(system, points)[some], describe_by_definition(points[some], system, SMALL))


def test_defaults_describe_a_dense_crystal_without_overflow_of_the_candidate_lists() -> None:
    cell = np.eye(3) * 4.0
    system = System(cell, np.array([[0, 0, 0], [2, 2, 0], [2, 0, 2], [0, 2, 2.0]]), np.array(["Al"] * 4))
    points = scattered(system, 20)
    spec = Smooth(("Al",))
    by_definition = describe_by_definition(points, system, spec)
    scale = np.abs(by_definition).max(axis=0)  # seven hundred atoms whose terms cancel
    assert scale.max() > 50
    np.testing.assert_allclose(describe(system, points, spec) / scale, by_definition / scale, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_invariant_under_rotation_and_reflection(seed: int) -> None:
    system = triclinic(seed)
    points = scattered(system, 50)
    turn = Rotation.random(random_state=seed).as_matrix() * (-1) ** seed
    turned = System(system.cell @ turn, system.positions @ turn, system.species)
    assert_same_features(describe(turned, points @ turn), describe(system, points))
    assert not np.allclose(describe(system, points @ turn), describe(system, points), atol=1e-2)


def test_invariant_under_translation_permutation_and_lattice_shift() -> None:
    system = triclinic()
    points = scattered(system, 50)
    expected = describe(system, points)
    shift = np.array([3.3, -8.1, 0.7])
    moved = System(system.cell, system.positions + shift, system.species)
    assert_same_features(describe(moved, points + shift), expected)
    order = np.random.default_rng(3).permutation(len(system))
    shuffled = System(system.cell, system.positions[order], system.species[order])
    assert_same_features(describe(shuffled, points), expected)
    images = np.random.default_rng(4).integers(-2, 3, (len(system), 3)) @ system.cell
    assert_same_features(describe(System(system.cell, system.positions + images, system.species), points), expected)
    assert_same_features(describe(system, points + np.array([1, -2, 3]) @ system.cell), expected)


def test_supercell_and_another_choice_of_cell_vectors_describe_the_same_crystal() -> None:
    system = triclinic()
    points = scattered(system, 50)
    expected = describe(system, points)
    shifts = np.array([[i, j, 0] for i in range(2) for j in range(3)]) @ system.cell
    supercell = System(
        np.diag([2, 3, 1]) @ system.cell,
        (system.positions[None] + shifts[:, None]).reshape(-1, 3),
        np.tile(system.species, 6),
    )
    assert_same_features(describe(supercell, points), expected)
    sheared = np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]]) @ system.cell
    assert_same_features(describe(System(sheared, system.positions, system.species), points), expected)


def largest_bend(features: NDArray[np.floating]) -> FloatArray:
    """Largest second difference along a path: ~ step^2 where the slope is continuous, ~ step where it jumps."""
    return np.abs(np.diff(features, 2, axis=0)).max(axis=0)


def test_value_and_slope_are_continuous_across_cutoffs_neighbour_exchange_and_nuclei() -> None:
    system = triclinic()
    direction = np.array([0.30, -0.50, 0.81])

    def path(step: float) -> FloatArray:
        return system.positions[0] + np.arange(-4.0, 4.0 + step / 2, step)[:, None] * direction  # through a nucleus

    coarse, fine = (describe_by_definition(path(step), system, SMALL) for step in (0.08, 0.02))
    assert np.ptp(coarse, axis=0).min() > 1e-3
    assert (largest_bend(fine) < largest_bend(coarse) / 8).all()
    sorted_distances = np.sort(np.linalg.norm(path(0.08)[:, None] - path(2.1)[None], axis=2), axis=1)
    finer = np.sort(np.linalg.norm(path(0.02)[:, None] - path(2.1)[None], axis=2), axis=1)
    assert (largest_bend(finer) > largest_bend(sorted_distances) / 8).any()  # what has kinks does not pass


@pytest.mark.parametrize("cutoff", [4.0, 6.5, 8.0])
def test_features_and_slopes_vanish_where_the_last_atom_leaves(cutoff: float) -> None:
    lonely = System(np.eye(3) * 30.0, np.array([[15.0, 15.0, 15.0]]), np.array(["Si"]))
    spec = Smooth(("Si",), radial=(RadialSet(8, cutoff),), angular=(AngularSet((3, 3, 3, 3, 3), cutoff),))

    def at(distance: float) -> FloatArray:
        return describe_by_definition(np.array([[15.0 + distance, 15.0, 15.0]]), lonely, spec)[0]

    assert np.abs(at(0.5 * cutoff)).min() > 1e-6
    assert (at(cutoff) == 0).all()
    assert (at(1.01 * cutoff) == 0).all()
    for h in (0.1, 0.05):
        assert np.abs(at(cutoff - h)).max() < 50 * (h / cutoff) ** 3  # value ~ h^3, slope ~ h^2


def test_points_on_atoms_are_limits_of_points_near_them() -> None:
    system = triclinic()
    on = describe(system, system.positions)
    assert np.isfinite(on).all()
    near = describe(system, system.positions + 1e-4)
    assert_same_features(near, on, 3e-3)
    assert_same_features(on, describe_by_definition(system.positions, system, SMALL))


def blocks() -> list[int]:
    """Features of one element that stand together in SMALL: those of the other follow."""
    assert SMALL.surroundings is not None
    return [s.count for s in SMALL.radial] + [s.size for s in SMALL.angular] + [SMALL.surroundings.size] * 2


def test_exchanging_the_names_of_two_elements_exchanges_their_features() -> None:
    system = triclinic()
    points = scattered(system, 30)
    renamed = System(system.cell, system.positions, np.where(system.species == "Si", "Ge", "Si"))
    features, exchanged = describe(system, points), describe(renamed, points)
    at = 0
    for size in blocks():
        ge, si = slice(at, at + size), slice(at + size, at + 2 * size)
        assert_same_features(exchanged[:, ge], features[:, si])
        assert_same_features(exchanged[:, si], features[:, ge])
        assert not np.allclose(features[:, ge], features[:, si], atol=1e-2)
        at += 2 * size
    assert at == SMALL.size


def test_features_of_all_elements_add_up_to_those_of_one_element() -> None:
    system = triclinic()
    points = scattered(system, 30)
    alike = System(system.cell, system.positions, np.array(["Si"] * len(system)))
    one = Smooth(("Si",), SMALL.radial, SMALL.angular, SMALL.surroundings)
    features, expected = describe(system, points), describe(alike, points, one)
    at = 0
    starts = np.minimum(np.cumsum([0, *blocks()]), one.size - blocks()[-1])  # both lists of surroundings are one there
    for size, start in zip(blocks(), starts, strict=False):
        total = features[:, at : at + size] + features[:, at + size : at + 2 * size]
        assert_same_features(total, expected[:, start : start + size])
        at += 2 * size


def test_an_element_that_the_structure_lacks_has_zero_features() -> None:
    system = triclinic()
    alike = System(system.cell, system.positions, np.array(["Si"] * len(system)))
    points = scattered(system, 30)
    features = describe(alike, points)
    first = SMALL.radial[0].count
    assert (features[:, :first] == 0).all()
    assert np.abs(features[:, first : 2 * first]).max() > 0.1


def test_threads_do_not_change_a_bit_and_tilings_only_rounding() -> None:
    system = triclinic()
    points = Grid(system.cell, (12, 13, 9)).points()
    describe_points = smooth_describer(system, SMALL)
    whole = describe_points(points, 1)
    np.testing.assert_array_equal(describe_points(points, 3), whole)
    parts = np.concatenate([describe_points(part) for part in np.array_split(points, 7)])
    assert_same_features(parts, whole)


def test_a_tile_with_its_halo_has_the_features_of_the_crystal() -> None:
    system = triclinic()
    points = np.array([3.0, 2.0, 4.0]) + np.random.default_rng(5).uniform(-1, 1, (40, 3))
    shifts = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ system.cell
    positions = (system.scaled_positions @ system.cell + shifts[:, None]).reshape(-1, 3)
    species = np.tile(system.species, len(shifts))
    near = np.linalg.norm(positions[:, None] - points[None], axis=2).min(axis=1) < SMALL.reach
    assert near.sum() < len(positions) / 2
    tile = cluster_describer(
        Cluster(positions[near], species[near], points.min(axis=0), points.max(axis=0), SMALL.reach), SMALL
    )
    assert_same_features(tile(points), describe(system, points))


def test_a_tile_in_a_void_has_no_features() -> None:
    void = Cluster(np.zeros((0, 3)), np.zeros(0, dtype="U2"), np.zeros(3), np.ones(3), SMALL.reach)
    assert (cluster_describer(void, SMALL)(np.full((5, 3), 0.5)) == 0).all()


def test_a_halo_thinner_than_the_reach_is_refused() -> None:
    with pytest.raises(HaloError, match=r"reach 10.5 Bohr, beyond the 10.4 Bohr halo; use halo=10.5 or"):
        cluster_describer(Cluster(np.zeros((1, 3)), np.array(["Si"]), np.zeros(3), np.ones(3), 10.4), SMALL)


def test_no_points_have_no_features() -> None:
    assert describe(triclinic(), np.empty((0, 3))).shape == (0, SMALL.size)


def test_specification_survives_plain_values() -> None:
    assert Smooth.from_dict(SMALL.to_dict()) == SMALL
    assert Smooth.from_dict(Smooth.wide(("Al",)).to_dict()) == Smooth.wide(("Al",)) != Smooth(("Al",))
    assert SMALL.reach == 10.5
    assert SMALL.size == 2 * (6 + 9 + (6 + 10 + 6 + 3 + 1) + (0 + 3 + 1) + 2 * 3 * 2 * 4)
    assert "surroundings" not in Smooth(("Al",)).to_dict()  # what models before say of themselves stays
    assert SMALL.two_body_size == 30


@pytest.mark.parametrize(
    "build",
    [
        lambda: Smooth(()),
        lambda: Smooth(("Si", "Ge")),
        lambda: Smooth(("Si",), (), ()),
        lambda: Smooth(("Si",), softening=0.0),
        lambda: RadialSet(0, 5.0),
        lambda: RadialSet(5, float("nan")),
        lambda: AngularSet((3,) * (HIGHEST_DEGREE + 2), 5.0),
        lambda: AngularSet((3, -1), 5.0),
        lambda: AngularSet((0, 0), 5.0),
        lambda: AngularSet((), 5.0),
        lambda: SurroundingsSet(0, 5.0, 2, 5.0),
        lambda: SurroundingsSet(2, 5.0, 2, -5.0),
        lambda: SurroundingsSet(2, 5.0, 2, 5.0, 5),
        lambda: Smooth.from_dict({"elements": ["Si"], "surroundings": {"count": 2, "cutof": 5.0}}),
        lambda: Smooth.from_dict({"elements": ["Si"], "surroundings": {"count": 2, "cutoff": 5.0}}),
        lambda: smooth_describer(triclinic(), SMALL)(np.array([[0.0, np.nan, 0.0]])),
    ],
)
def test_impossible_specifications_are_refused(build: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        build()


def test_family_is_registered_under_its_name() -> None:
    assert SMALL.to_dict()["family"] == SMALL.family == "smooth"
    spec = spec_from_dict(SMALL.to_dict())
    assert spec == SMALL
    points = scattered(triclinic(), 20)
    np.testing.assert_array_equal(describe_any_family(points, triclinic(), spec), describe(triclinic(), points))


def test_unknown_elements_are_refused() -> None:
    with pytest.raises(ModelError, match="know Si; the structure also holds Ge"):
        smooth_describer(triclinic(), Smooth(("Si",)))
