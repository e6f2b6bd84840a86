"""Plan: covers the grid once, prints, survives JSON, and keeps to its memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.errors import InputError
from rhoscale.grid import Grid
from rhoscale.prediction.field import coarsest_grid
from rhoscale.prediction.plan import GIB, PredictionPlan, Workload, plan_prediction
from rhoscale.prediction.tiles import count_tiles, cut, nth_tile
from rhoscale.system import System

WORK = Workload(features=133, activations=600, halo=9.0)
SHAPES = st.tuples(*[st.integers(1, 50)] * 3)


def _plan(shape: tuple[int, int, int], **options: object) -> PredictionPlan:
    system = System(np.diag([10.0, 11.0, 12.0]), [[0.0, 0.0, 0.0]], ["Al"])
    return plan_prediction(system, Grid(system.cell, shape), WORK, model="toy", model_hash="ab" * 32, **options)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.tuples(*[st.integers(6, 40)] * 3))
def test_any_tile_is_found_by_its_number(shape: tuple[int, int, int], tile_shape: tuple[int, int, int]) -> None:
    numbers = range(count_tiles(shape, tile_shape))
    assert [nth_tile(shape, tile_shape, i) for i in numbers] == list(cut(shape, tile_shape))


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.none() | st.tuples(*[st.integers(6, 40)] * 3))
def test_tiles_and_their_blocks_cover_every_point_once(
    shape: tuple[int, int, int], tile_shape: tuple[int, int, int] | None
) -> None:
    plan = _plan(shape, tile_shape=tile_shape)
    times = np.zeros(shape, dtype=int)
    for number, tile in enumerate(plan.tiles):
        assert tile.index == number
        assert tile.size == np.prod(times[tile.region].shape)
        for block in tile.blocks(plan.block_shape):
            times[block.region] += 1
    assert number + 1 == plan.n_tiles
    assert (times == 1).all()
    assert all(t % b == 0 for t, b in zip(plan.tile_shape, plan.block_shape, strict=True))


@settings(deadline=None, max_examples=40)
@given(SHAPES)
def test_json_round_trip_is_the_identity(shape: tuple[int, int, int]) -> None:
    plan = _plan(shape, sigma_limit=1.25e-3, output_shape=(80, 80, 81))
    again = PredictionPlan.from_json(plan.to_json())
    assert again == plan
    assert again.identity == plan.identity


def test_identity_is_of_what_decides_the_bits() -> None:
    plan = _plan((24, 24, 24))
    assert replace(plan, points_per_second=1e6).identity == plan.identity
    for change in ({"seed": 1}, {"draws": 7}, {"model_hash": "cd" * 32}, {"tile_shape": (24, 24, 24)}):
        assert replace(plan, **change).identity != plan.identity  # type: ignore[arg-type]


def test_large_grids_get_large_tiles_within_the_memory() -> None:
    roomy, tight = _plan((800, 800, 800)), _plan((800, 800, 800), memory=0.03 * GIB)
    assert roomy.tile_shape == (128, 128, 128)
    assert np.prod(tight.tile_shape) < np.prod(roomy.tile_shape)
    assert tight.bytes_per_worker <= 0.03 * GIB < roomy.bytes_per_worker


def test_a_tile_that_does_not_fit_is_refused_with_one_that_does() -> None:
    with pytest.raises(InputError, match=r"GiB a worker but 0\.03 GiB are allowed; tile_shape=\(") as caught:
        _plan((800, 800, 800), memory=0.03 * GIB, tile_shape=(256, 256, 256))
    shape = tuple(int(n) for n in str(caught.value).split("tile_shape=(")[1].split(")")[0].split(","))
    assert _plan((800, 800, 800), memory=0.03 * GIB, tile_shape=shape).tile_shape == shape


def test_memory_of_a_worker_does_not_grow_with_the_crystal() -> None:
    needed = []
    for repeats, edge in ((10, 800), (80, 6400)):  # 4e3 and 2e6 aluminium atoms on as fine a grid
        atoms = System(np.eye(3) * 7.65 * repeats, np.zeros((4 * repeats**3, 3)), ["Al"] * (4 * repeats**3))
        plan = plan_prediction(atoms, Grid(atoms.cell, (edge,) * 3), WORK, model="toy", model_hash="0")
        assert plan.tile_shape == (128, 128, 128)
        needed.append(plan.bytes_per_worker)
    assert needed[1] == pytest.approx(needed[0], rel=1e-3)


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.none() | st.tuples(*[st.integers(6, 100)] * 3))  # tiles that one worker's memory holds
def test_chunks_divide_a_tile(shape: tuple[int, int, int], tile_shape: tuple[int, int, int] | None) -> None:
    plan = _plan(shape, tile_shape=tile_shape)
    for tile, chunk, block in zip(plan.tile_shape, plan.chunk_shape, plan.block_shape, strict=True):
        assert tile % chunk == 0
        assert block <= chunk <= 64
    assert _plan((800, 800, 800)).chunk_shape == (64, 64, 64)


def test_the_size_of_a_tile_and_of_the_store_are_those_of_their_values() -> None:
    plan, bare = _plan((800, 800, 800)), _plan((800, 800, 800), uncertainty=False)
    assert plan.bytes_per_tile == 128**3 * (4 + 2 + 2)
    assert bare.bytes_per_tile == 128**3 * 4
    assert plan.disk_bytes == pytest.approx(800**3 * (8 + 6 / 7), rel=0.01)  # levels for viewing included


def test_one_draw_is_refused() -> None:
    with pytest.raises(InputError, match="1 draws have no spread; expected at least 2"):
        _plan((24, 24, 24), draws=1)
    assert _plan((24, 24, 24), draws=1, uncertainty=False).draws == 0


def test_it_prints_grids_tiles_memory_and_disk() -> None:
    text = str(_plan((25, 25, 25), output_shape=(60, 60, 60)))
    for part in (
        "MiB each",
        "rounding",
        "25 x 25 x 25 = 15,625 points",
        "60 x 60 x 60",
        "tiles",
        "GiB a worker",
        "disk",
        "halo 9 Bohr",
    ):
        assert part in text


def test_time_scales_with_points_and_workers_that_have_a_tile() -> None:
    plan = replace(_plan((24, 24, 24)), points_per_second=1000.0)
    assert _plan((24, 24, 24)).estimated_seconds(2) is None
    assert plan.n_tiles == 8
    assert plan.estimated_seconds(2) == pytest.approx(24**3 / 2000)
    assert plan.estimated_seconds(100) == plan.estimated_seconds(8)


def test_only_axes_that_are_transformed_get_lengths_that_suit_transforms() -> None:
    cell = np.diag([15.3, 89.1, 535.5])  # 22, 129 and 770 points at most 0.6955 apart
    grid = coarsest_grid(cell, 0.6955)
    assert grid.shape == (24, 134, 778)
    assert max(grid.spacings) <= 0.6955
    assert coarsest_grid(cell / 2, 0.6955).shape == (12, 72, 386)


@pytest.mark.parametrize("cells", [29, 56, 70, 101])
def test_a_long_axis_has_points_everywhere_between_the_sites_of_its_lattice(cells: int) -> None:
    """Eight points a cell, as 0.956 Bohr would have in aluminium, are eight places; here hardly any two are alike."""
    edge = 7.65 * cells
    count = coarsest_grid(np.diag([edge] * 3), 0.9563).shape[0]
    places = np.unique(np.round(np.arange(count) * cells / count % 1.0, 9) % 1.0)
    assert len(places) >= count // 2
    assert count < 1.05 * edge / 0.9563
