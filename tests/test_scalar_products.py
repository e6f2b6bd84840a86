"""Laws of the paper's scalar-product descriptors: fast = definition, invariances, ties, nuclei, halos."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rhoscale.cluster import Cluster
from rhoscale.descriptors import ScalarProducts, describe, describer, spec_from_dict
from rhoscale.descriptors.bricks import cut_into_bricks
from rhoscale.descriptors.scalar_products.fast import cluster_describer
from rhoscale.descriptors.scalar_products.network import STEP, make_networks
from rhoscale.descriptors.scalar_products.reference import describe_reference, nearest
from rhoscale.errors import HaloError, InputError, ModelError, StructureError
from rhoscale.grid import Grid
from rhoscale.system import System

AL = ScalarProducts(("Al",))
SIGE = ScalarProducts(("Si", "Ge"), distances=40, angle_atoms=10, neighbours=3)
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
DIAMOND = np.concatenate([FCC, FCC + 0.25])


def crystal(basis, a, repeats, *, spread=0.0, symbols=("Al",), seed=0):
    """A cubic crystal of lattice constant a, Bohr, with Gaussian displacements and random species."""
    rng = np.random.default_rng(seed)
    corners = np.array(list(itertools.product(range(repeats), repeat=3)))
    positions = (corners[:, None, :] + basis[None, :, :]).reshape(-1, 3) * a
    species = rng.permuted(np.resize(symbols, len(positions)))
    return System(np.eye(3) * a * repeats, positions + rng.normal(0.0, spread, positions.shape), species)


def random_system(seed, symbols=("Al",)):
    """A random triclinic cell with a few atoms anywhere in it."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(5.0, 11.0, 3)) + rng.uniform(-2.5, 2.5, (3, 3))
    n = int(rng.integers(len(symbols), 9))
    return System(cell, rng.uniform(0.0, 1.0, (n, 3)) @ cell, np.resize(symbols, n))


def void():
    """Perfect fcc with a hole of 9 Bohr: the nearest atoms are far away in the middle."""
    full = crystal(FCC, 7.65, 4)
    keep = np.linalg.norm(full.positions - 15.3, axis=1) > 9.0
    return System(full.cell, full.positions[keep], full.species[keep])


SYSTEMS = {
    "liquid": (crystal(FCC, 7.65, 2, spread=0.9), AL),
    "thermal": (crystal(FCC, 7.65, 2, spread=0.3), AL),
    "perfect": (crystal(FCC, 7.65, 2), AL),
    "primitive": (System((1 - np.eye(3)) * 3.825, np.zeros((1, 3)), np.array(["Al"])), AL),
    "two atoms": (System([[5, 0, 0], [2, 6, 0], [-1, 3, 5.5]], [[0, 0, 0], [2.5, 3.0, 2.0]], ["Al", "Al"]), AL),
    "flat": (System([[40, 0, 0], [38, 9, 0], [0, 5, 6]], [[0, 0, 0], [20.0, 3.0, 2.0]], ["Al", "Al"]), AL),
    "sparse": (System(np.eye(3) * 30.0, [[1, 2, 3], [4, 9, 3.5]], ["Al", "Al"]), AL),
    "void": (void(), AL),
    "alloy": (crystal(DIAMOND, 10.4, 2, spread=0.15, symbols=("Si", "Ge")), SIGE),
    "perfect alloy": (crystal(DIAMOND, 10.4, 2, symbols=("Si", "Ge", "Ge", "Ge")), SIGE),
    "few": (crystal(DIAMOND, 10.4, 1, spread=0.1, symbols=("Si", "Ge")), ScalarProducts(("Ge", "Si"), 4, 4, 2)),
    "many": (crystal(FCC, 7.65, 1, spread=0.1), ScalarProducts(("Al",), 180, 30, 5)),
    "no angles": (crystal(FCC, 7.65, 1, spread=0.1), ScalarProducts(("Al",), 20, 0, 1)),
}


def points_of(system, count=60, seed=1):
    """A small block of a grid, points scattered over several cells, and points on atoms."""
    rng = np.random.default_rng(seed)
    block = Grid.from_spacing(system.cell, 0.6, fast_fourier=False).points((1, 0, 2), (4, 4, 6))
    scattered = rng.uniform(-1.5, 2.5, (count, 3)) @ system.cell
    return np.concatenate([block, scattered, system.positions[:4]])


def around(points, positions, species, halo):
    """A cluster for these points."""
    return Cluster(positions, np.array(species), points.min(axis=0), points.max(axis=0), halo)


def assert_same(features, expected, spec, tolerance=2e-6):
    """Equal as if points and atoms had moved by at most ``tolerance``, Bohr, or by a rounding of float32."""
    distances, cosines = np.zeros(spec.size, bool), np.ones(spec.size, bool)
    for kind in range(len(spec.elements)):
        first = spec.distance_column(kind)
        distances[first : first + spec.distances] = True
    cosines &= ~distances
    closest = np.maximum(expected[:, distances].min(axis=1), 1e-2)
    error = np.abs(features - expected)
    rounding = np.spacing(expected[:, distances].astype(np.float32))
    assert (error[:, distances] <= np.maximum(tolerance, rounding)).all(), error[:, distances].max()
    assert (error[:, cosines] <= tolerance * np.maximum(1.0, 2.0 / closest[:, None])).all(), error[:, cosines].max()


@pytest.mark.parametrize("name", SYSTEMS)
def test_fast_equals_definition(name):
    system, spec = SYSTEMS[name]
    points = points_of(system)
    expected = describe_reference(points, system, spec)
    features = describe(points, system, spec)
    assert features.shape == (len(points), spec.size)
    assert features.dtype == np.float32
    assert expected.std(axis=0).min() > 1e-4
    assert_same(features, expected, spec)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_fast_equals_definition_in_any_cell(seed):
    spec = ScalarProducts(("Al", "Ni"), distances=12, angle_atoms=6, neighbours=2)
    system = random_system(seed, symbols=("Al", "Ni"))
    points = points_of(system, count=20, seed=seed)
    assert_same(describe(points, system, spec), describe_reference(points, system, spec), spec)


@pytest.mark.parametrize("name", ["thermal", "perfect", "perfect alloy", "void"])
@pytest.mark.parametrize("seed", [0, 1])
def test_invariance_under_rotation_translation_and_permutation(name, seed):
    system, spec = SYSTEMS[name]
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(rng=rng).as_matrix()
    shift = rng.uniform(-20.0, 20.0, 3)
    order = rng.permutation(len(system))
    moved = System(system.cell @ rotation, (system.positions @ rotation + shift)[order], system.species[order])
    points = points_of(system)
    assert_same(describe(points @ rotation + shift, moved, spec), describe(points, system, spec), spec)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_invariance_under_lattice_shifts_of_points_and_of_single_atoms(seed):
    rng = np.random.default_rng(seed)
    system, spec = SYSTEMS["perfect"]
    other = System(system.cell, system.positions + rng.integers(-3, 4, (len(system), 3)) @ system.cell, system.species)
    points = points_of(system, seed=seed)
    shifts = rng.integers(-30, 31, points.shape) @ system.cell
    expected = describe(points, system, spec)
    assert expected.std() > 0.1
    assert_same(describe(points + shifts, system, spec), expected, spec)
    assert_same(describe(points, other, spec), expected, spec)


@pytest.mark.parametrize("name", ["primitive", "two atoms", "few"])
def test_invariance_under_supercell_replication(name):
    system, spec = SYSTEMS[name]
    repeats = np.array(list(itertools.product(range(3), range(2), range(4))))
    positions = (repeats @ system.cell)[:, None, :] + system.positions[None, :, :]
    supercell = System(
        np.array([[3], [2], [4]]) * system.cell, positions.reshape(-1, 3), np.tile(system.species, len(repeats))
    )
    points = points_of(system)
    assert_same(describe(points, supercell, spec), describe(points, system, spec), spec)


def test_a_hundred_thousand_atoms_give_what_their_unit_gives():
    system, spec = SYSTEMS["thermal"]
    repeats = np.array(list(itertools.product(range(15), repeat=3)))
    positions = (repeats @ system.cell)[:, None, :] + system.positions[None, :, :]
    supercell = System(15 * system.cell, positions.reshape(-1, 3), np.tile(system.species, len(repeats)))
    assert len(supercell) > 1e5
    points = points_of(system) + np.array([7, 3, 14]) @ system.cell
    assert_same(describe(points, supercell, spec), describe(points, system, spec), spec)


def test_tied_neighbours_and_tied_atoms_give_their_largest_cosines_first():
    # octahedral site of fcc: 6 atoms at a/2, then 8 at a sqrt(3)/2, of which one finds room
    system = crystal(FCC, 8.0, 1)
    spec = ScalarProducts(("Al",), distances=7, angle_atoms=7, neighbours=3)
    features = describe(np.array([[4.0, 4.0, 4.0]]), system, spec)[0]
    assert features[:7] == pytest.approx([4.0] * 6 + [4.0 * np.sqrt(3.0)], abs=1e-6)
    cosines = features[7:].reshape(7, 3)
    # of the 12 tied neighbours of (4, 0, 0) seen from the site, 4 stand at right angles, 4 at (4, 4, 4), 4 at (8, 4, 0)
    far = 8.0 / np.sqrt(80.0)
    assert cosines[:6] == pytest.approx(np.full((6, 3), far), abs=1e-6)
    # the 12 of (4, 4, 4) that come first are (8, 8, 4) and its like
    outer = np.array([[8, 8, 4], [8, 4, 8], [4, 8, 8]]) @ np.ones(3) / np.sqrt(3.0) / 12.0
    assert cosines[6] == pytest.approx(outer, abs=1e-6)


@pytest.mark.parametrize("name", ["perfect", "primitive", "perfect alloy"])
def test_a_perfect_crystal_does_not_notice_rounding_of_its_positions(name):
    system, spec = SYSTEMS[name]
    noise = np.random.default_rng(3).uniform(-1e-8, 1e-8, system.positions.shape)
    points = points_of(system)
    shaken = System(system.cell, system.positions + noise, system.species)
    expected = describe_reference(points, system, spec)
    assert_same(describe(points, shaken, spec), expected, spec)


def test_a_crystal_symmetry_maps_points_to_equal_features():
    system = crystal(FCC, 7.65, 1)
    points = np.random.default_rng(0).uniform(0.0, 7.65, (40, 3))
    expected = describe(points, system, AL)
    assert expected.std(axis=0).max() > 0.1
    for mirrored in (points[:, [1, 2, 0]], -points, points * [1, -1, 1], points + [0.0, 3.825, 3.825]):
        assert_same(describe(mirrored, system, AL), expected, AL)


def test_an_atom_is_not_its_own_neighbour():
    system = System(np.eye(3) * 20.0, [[5.0, 5, 5], [7, 5, 5]], ["Al", "Al"])
    features = describe(np.array([[5.0, 6.0, 5.0]]), system, ScalarProducts(("Al",), 2, 2, 1))[0]
    angle = -np.sum(np.array([0, -1]) * np.array([2, -1])) / np.sqrt(5.0) * -1.0
    assert features == pytest.approx([1.0, np.sqrt(5.0), angle, angle], abs=1e-6)


def test_cosines_vanish_continuously_where_a_point_meets_an_atom():
    system = crystal(FCC, 7.65, 2, spread=0.3)
    on = system.positions[3]
    path = on + np.array([0.6, 0.0, 0.8]) * np.array([0.0, 1e-6, 1e-4, 1e-3, 5e-3])[:, None]
    features = describe(path, system, AL)
    first = np.abs(features[:, 60:63]).max(axis=1)
    assert np.isfinite(features).all()
    assert features[:, 0] == pytest.approx([0.0, 1e-6, 1e-4, 1e-3, 5e-3], abs=1e-6)
    assert (first <= features[:, 0] / 0.01 + 1e-4).all()
    assert first[-1] > 0.2


def random_line(system, length, steps, seed):
    """Points along a random direction from a random point, and the length of a step, Bohr."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    start = rng.uniform(0.0, 1.0, 3) @ system.cell
    step = length / steps
    return start + step * np.arange(steps + 1)[:, None] * direction / np.linalg.norm(direction), step


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["thermal", "liquid"])
def test_sorted_distances_change_at_most_by_the_step_and_half_as_much_for_half_a_step(name, seed):
    system, spec = SYSTEMS[name]
    largest = []
    for steps in (200, 400, 800):
        points, step = random_line(system, 6.0, steps, seed)
        changes = np.abs(np.diff(describe(points, system, spec)[:, : spec.distances].astype(float), axis=0))
        assert changes.max() <= step + 4e-6  # | |r - R| - |r' - R| | <= |r - r'|, and sorting keeps it
        largest.append(changes.max())
    assert largest[0] > 0.02
    assert largest[:-1] == pytest.approx([2 * change for change in largest[1:]], rel=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", ["thermal", "liquid"])
def test_cosines_jump_only_where_the_ranks_of_atoms_swap(name, seed):
    system, spec = SYSTEMS[name]
    jumps = []
    for steps in (200, 400):
        points, step = random_line(system, 3.0, steps, seed)
        features = describe(points, system, spec).astype(float)
        ranked = np.array([p + nearest(system, "Al", p, spec.angle_atoms)[: spec.angle_atoms] for p in points])
        tied = np.diff(features[:, : spec.angle_atoms + 1], prepend=0.0) < 1e-5  # a swap under way
        settled = ~(tied[:, :-1] | tied[:, 1:])
        # the atom of this rank is the one of the step before
        same = (np.abs(np.diff(ranked, axis=0)).max(axis=2) < 1e-6) & settled[1:] & settled[:-1]
        cosines = features[:, spec.distances :].reshape(-1, spec.angle_atoms, spec.neighbours)
        changes = np.abs(np.diff(cosines, axis=0)).max(axis=2)
        closest = np.minimum(features[1:, 0], features[:-1, 0]) - step / 2
        assert closest.min() > 0.1
        # both unit vectors of a cosine turn by at most step / distance
        assert (changes <= 2 * step / closest[:, None] + 2e-5)[same].all()
        assert same.mean() > 0.9
        jumps.append(changes[~same].max())
    assert min(jumps) > 0.2  # and a jump does not become smaller with the step
    assert jumps[1] == pytest.approx(jumps[0], rel=0.1)


def test_same_bits_for_any_number_of_threads_and_again():
    system, spec = SYSTEMS["alloy"]
    points = Grid(system.cell, (30, 32, 34)).points()
    prepared = describer(system, spec)
    features = prepared(points, 1)
    assert features.std() > 0.1
    for threads in (1, 2, 5):
        assert prepared(points, threads).tobytes() == features.tobytes()


def test_a_point_is_described_alike_in_any_company():
    # a slab in vacuum: blocks far from it find their atoms on one side only, further than the mean density says
    bulk = crystal(FCC, 7.65, 2, spread=0.3)
    system = System(bulk.cell * np.array([[1], [1], [5]]), bulk.positions, bulk.species)
    points = Grid(system.cell, (20, 20, 100)).points()
    prepared = describer(system, AL)
    features = prepared(points)
    some = np.random.default_rng(0).permutation(len(points))[:1000]
    alone = np.array([prepared(points[i : i + 1])[0] for i in some])
    assert alone.std(axis=0).min() > 0.01
    assert_same(alone, features[some], AL)


def test_distances_and_cosines_hold_far_from_the_origin():
    system, spec = SYSTEMS["thermal"]
    far = System(system.cell, system.positions + 1e5, system.species)
    points = points_of(system)
    assert_same(describe(points + 1e5, far, spec), describe_reference(points, system, spec), spec)


@pytest.mark.parametrize("name", ["liquid", "alloy"])
def test_a_tile_gives_what_the_crystal_gives_or_says_that_its_halo_is_too_small(name):
    system, spec = SYSTEMS[name]
    points = Grid(system.cell, (30, 30, 30)).points((3, 4, 5), (11, 12, 13))
    expected = describe(points, system, spec)
    centre = points.mean(axis=0)
    reach = np.linalg.norm(points - centre, axis=1).max()
    near = {e: nearest(system, e, centre, 900) for e in system.elements}
    outcomes = []
    for halo in (6.0, 10.0, 13.0, 15.0, 17.0, 20.0):
        positions, species = [], []
        for element in system.elements:
            inside = near[element][np.linalg.norm(near[element], axis=1) <= halo + reach] + centre
            positions.append(inside)
            species += [element] * len(inside)
        tile = cluster_describer(around(points, np.concatenate(positions), species, halo), spec)
        try:
            assert_same(tile(points), expected, spec)
            outcomes.append(True)
        except HaloError:
            outcomes.append(False)
    assert outcomes == sorted(outcomes)
    assert outcomes[-1]
    assert not outcomes[0]


@pytest.mark.parametrize("name", ["thermal", "void", "alloy"])
def test_atoms_within_the_reach_of_a_point_determine_its_features(name):
    system, spec = SYSTEMS[name]
    point = points_of(system)[7]
    reach = float(describer(system, spec).reach_of(point[None])[0])
    if name == "thermal":
        assert reach < spec.reach
    positions, species = [], []
    for element in system.elements:
        near = nearest(system, element, point, 400)
        inside = near[np.linalg.norm(near, axis=1) <= reach + 1e-4] + point
        positions.append(inside)
        species += [element] * len(inside)
    tile = cluster_describer(around(point[None], np.concatenate(positions), species, reach + 1e-4), spec)
    assert len(species) > spec.distances
    assert_same(tile(point[None]), describe(point[None], system, spec), spec)


def test_halo_error_names_the_points_and_the_distance():
    system, _ = SYSTEMS["thermal"]
    positions = nearest(system, "Al", np.zeros(3), 200)
    tile = cluster_describer(around(np.zeros((1, 3)), positions, ["Al"] * len(positions), 9.0), AL)
    with pytest.raises(HaloError, match=r"9 Bohr halo for 1 of 1 points \(farthest 1\d\.\d\); use halo=1\d\.\d"):
        tile(np.zeros((1, 3)))
    with pytest.raises(HaloError, match="use a larger halo"):
        cluster_describer(around(np.zeros((1, 3)), positions[:20], ["Al"] * 20, 9.0), AL)(np.zeros((1, 3)))


def test_elements_must_be_those_of_the_specification():
    with pytest.raises(ModelError, match="know Si; the structure also holds Al"):
        describer(System(np.eye(3) * 8.0, [[0, 0, 0], [4, 4, 4]], ["Al", "Si"]), ScalarProducts(("Si",)))
    with pytest.raises(StructureError, match="nearest Ge atoms, and Si1 has none"):
        describer(System(np.eye(3) * 8.0, np.zeros((1, 3)), ["Si"]), ScalarProducts(("Si", "Ge")))


def test_specification_survives_a_file_and_counts_its_features():
    spec = ScalarProducts(("Si", "Ge"), distances=50, angle_atoms=12, neighbours=4, reach=21.0)
    assert spec.elements == ("Ge", "Si")
    assert spec.size == 2 * (50 + 48) + 48
    assert spec_from_dict(spec.to_dict()) == spec
    assert ScalarProducts(("Al",)).size == 105


@pytest.mark.parametrize(
    "change",
    [
        {"distances": 0},
        {"distances": 10, "angle_atoms": 11},
        {"neighbours": 0},
        {"distances": 3.5},
        {"reach": -1.0},
        {"elements": []},
        {"elements": ["Al", "Al"]},
        {"elements": "Al"},
        {"cutoff": 9.0},
        {"family": "bispectrum"},
    ],
)
def test_a_specification_that_cannot_be_used_is_refused(change):
    with pytest.raises(InputError):
        spec_from_dict({"family": "scalar-products", "elements": ["Al"]} | change)


def test_points_must_be_finite_coordinates_and_none_is_fine():
    prepared = describer(*SYSTEMS["primitive"])
    assert prepared(np.empty((0, 3))).shape == (0, 105)
    for points in (np.zeros(3), np.zeros((2, 2)), np.full((1, 3), np.nan)):
        with pytest.raises(InputError, match="points must be finite coordinates"):
            prepared(points)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 4000])
def test_bricks_hold_every_point_once(count):
    points = np.random.default_rng(0).uniform(0.0, 30.0, (count, 3))
    bricks = cut_into_bricks(points)
    assert sorted(bricks.order) == list(range(count))
    assert bricks.blocks[0] == bricks.bricks[0] == 0
    assert bricks.blocks[-1] == count
    assert bricks.bricks[-1] == len(bricks.blocks) - 1
    assert np.diff(bricks.blocks).max() <= 16
    assert np.diff(bricks.blocks).min() >= 1


def test_sixteen_points_of_a_grid_are_two_by_two_by_four():
    points = Grid(np.diag([3.0, 4.0, 5.0]), (12, 16, 20)).points()
    bricks = cut_into_bricks(points)
    extents = [np.ptp(points[bricks.order[a:b]], axis=0) for a, b in itertools.pairwise(bricks.blocks)]
    assert np.mean(np.sort(extents, axis=1), axis=0) == pytest.approx([0.25, 0.25, 0.75], abs=0.06)


def test_networks_bring_the_smallest_to_the_front():
    networks = make_networks(96, 33)
    rng = np.random.default_rng(0)
    for number in range(len(networks.starts) - 1):
        rows = rng.integers(0, 50, ((number + 1) * STEP, 200))
        expected = np.sort(rows, axis=0)[:33]
        assert (expected != rows[:33]).any()
        for a, b in networks.pairs[networks.starts[number] : networks.starts[number + 1]]:
            rows[[a, b]] = np.sort(rows[[a, b]], axis=0)
        assert (rows[:33] == expected).all()
