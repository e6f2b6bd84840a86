"""The atoms around a tile: all that act, once each, from a mapped cell list; a tile's field is the crystal's."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from rhoscale.cluster import Cluster
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.descriptors.neighbours import periodic_cell_list
from rhoscale.errors import HaloError, StructureError
from rhoscale.grid import Grid
from rhoscale.models import TrainedModel, load_trained
from rhoscale.prediction.atoms_around import atoms_around
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.recipes.field import Request, plan_field
from rhoscale.recipes.model_tiles import ModelTiles
from rhoscale.recipes.point_predictor import point_predictor
from rhoscale.recipes.prior import prior_mean, promolecule_arrays
from rhoscale.system import System
from toy_model import ENGINE, SPEC, thermal_aluminium

SMOOTH = {
    "family": "smooth",
    "elements": ["Al"],
    "radial": [{"count": 6, "cutoff": 9.0}],
    "angular": [{"counts": [4, 3, 2], "cutoff": 6.0}],
    "softening": 1.0,
}


def random_crystal(rng: np.random.Generator, atoms: int, edge: float) -> System:
    cell = np.eye(3) * edge + rng.normal(size=(3, 3))
    species = rng.choice(["Al", "Si"], atoms)
    return System(cell, rng.uniform(-edge, 2 * edge, size=(atoms, 3)), species)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([1, 5, 60]), st.sampled_from([4.0, 9.0]), st.floats(1.0, 12.0))
def test_every_atom_within_the_halo_is_there_once(seed: int, atoms: int, edge: float, halo: float) -> None:
    rng = np.random.default_rng(seed)
    system = random_crystal(rng, atoms, edge)
    grid = Grid(system.cell, (6, 5, 7))
    start = tuple(int(rng.integers(0, n)) for n in grid.shape)
    stop = tuple(int(rng.integers(a + 1, n + 1)) for a, n in zip(start, grid.shape, strict=True))
    tile = Tile(0, start, stop)  # type: ignore[arg-type]
    found = atoms_around(periodic_cell_list(system, system.elements), system.elements, grid, tile, halo)
    points = grid.points(tile.start, tile.stop)
    shifts = (np.array(list(np.ndindex(15, 15, 15))) - 7) @ system.cell
    images = (system.scaled_positions @ system.cell)[:, None] + shifts
    everywhere, species = images.reshape(-1, 3), np.repeat(system.species, len(shifts))
    distance = np.full(len(everywhere), np.inf)
    for point in points:
        distance = np.minimum(distance, np.linalg.norm(everywhere - point, axis=1))
    near = distance < halo - 1e-9
    wanted = {(s, *np.round(p, 6) + 0.0) for s, p in zip(species[near], everywhere[near], strict=True)}
    given_atoms = [(s, *np.round(p, 6) + 0.0) for s, p in zip(found.species, found.positions, strict=True)]
    assert wanted <= set(given_atoms)
    assert len(given_atoms) == len(set(given_atoms))
    assert (points >= found.low - 1e-9).all()
    assert (points <= found.high + 1e-9).all()


def tile_of(system: System) -> tuple[Grid, Tile]:
    grid = Grid.from_spacing(system.cell, 0.9)
    return grid, Tile(0, (3, 2, 1), (7, 6, 8))


def cut_out(system: System, halo: float) -> Cluster:
    grid, tile = tile_of(system)
    return atoms_around(periodic_cell_list(system, system.elements), system.elements, grid, tile, halo)


@pytest.mark.parametrize("spec", [SPEC, SMOOTH], ids=lambda spec: spec["family"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_features_of_a_tile_are_those_of_the_crystal(spec: dict[str, object], repeats: int) -> None:
    system = thermal_aluminium(4, repeats)
    grid, tile = tile_of(system)
    points = grid.points(tile.start, tile.stop)
    known = spec_from_dict(spec)
    whole = describer(system, known)(points)
    own = describer(cut_out(system, known.reach), known)(points)
    assert np.ptp(whole, axis=0).max() > 0.1
    np.testing.assert_allclose(own, whole, rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="session")
def with_prior(toy_model: Path) -> TrainedModel:
    """The toy model on top of a sum of Gaussian atoms."""
    identity = ENGINE.pseudopotentials["Al"]
    table = AtomicDensityTable.tabulate(identity, lambda r: 3.0 * (2 * np.pi) ** -1.5 * np.exp(-(r**2) / 2))
    arrays = promolecule_arrays({"Al": table})
    return replace(load_trained(toy_model), prior_mean="promolecule", prior_arrays=arrays)


@pytest.mark.parametrize("repeats", [1, 2])
def test_atomic_densities_of_a_tile_are_those_of_the_crystal(with_prior: TrainedModel, repeats: int) -> None:
    system = thermal_aluminium(4, repeats)
    grid, tile = tile_of(system)
    points = grid.points(tile.start, tile.stop)
    features = np.zeros((len(points), 1), dtype=np.float32)
    whole = prior_mean(system, with_prior)(points, features)
    own = prior_mean(cut_out(system, 14.0), with_prior)(points, features)
    assert whole is not None
    assert own is not None
    assert np.ptp(whole) > 0.01
    np.testing.assert_allclose(own, whole, rtol=1e-9)
    with pytest.raises(HaloError, match="atomic densities reach"):
        prior_mean(cut_out(system, 2.0), with_prior)


def test_a_void_has_no_atoms_and_no_density(with_prior: TrainedModel) -> None:
    void = Cluster(np.zeros((0, 3)), np.zeros(0, dtype="U2"), np.zeros(3), np.ones(3) * 5, 14.0)
    points = np.random.default_rng(0).uniform(0, 5, (40, 3))
    features = describer(void, spec_from_dict(SMOOTH))(points)
    assert (features == 0).all()
    density = prior_mean(void, with_prior)(points, features)
    assert density is not None
    assert (density == 0).all()
    with pytest.raises(HaloError, match="no Al atom within the 14 Bohr halo"):
        describer(void, spec_from_dict(SPEC))


# the store's copy


def tiles_of(model: TrainedModel, system: System, place: Path | None = None) -> ModelTiles:
    plan = plan_field(system, model, "0" * 64, Request(draws=3))
    return ModelTiles(PredictionStore.create(place or MemoryStore(), plan, system, {}), model)


def test_workers_map_the_atoms_and_are_sent_none(toy_model: Path, tmp_path: Path) -> None:
    model = load_trained(toy_model)
    sizes = []
    for repeats in (2, 5):
        system = thermal_aluminium(1, repeats)
        tiles = tiles_of(model, system, tmp_path / f"{repeats}.zarr")
        atoms = tiles.store.cell_list()
        assert isinstance(atoms.positions, np.memmap)
        assert isinstance(atoms.starts, np.memmap)
        expected = periodic_cell_list(system, system.elements)
        for name in ("positions", "starts", "order", "counts", "heights"):
            np.testing.assert_array_equal(getattr(atoms, name), getattr(expected, name))
        tile = next(tiles.store.plan.tiles)
        before = tiles(tile)  # what is kept for later calls is not sent either
        sent = pickle.dumps(tiles)
        sizes.append(len(sent))
        after = pickle.loads(sent)(tile)
        np.testing.assert_array_equal(after.density, before.density)
        np.testing.assert_array_equal(after.epistemic, before.epistemic)
    assert sizes[1] < 1.01 * sizes[0]


def test_a_single_atom_at_the_origin_is_mapped_too(tmp_path: Path, toy_model: Path) -> None:
    system = System(np.eye(3) * 5.0, [[0.0, 0.0, 0.0]], ["Al"])
    atoms = tiles_of(load_trained(toy_model), system, tmp_path / "one.zarr").store.cell_list()
    assert atoms.positions.tolist() == [[0.0, 0.0, 0.0]]
    assert atoms.starts.tolist() == [[0, 1]]


def test_the_field_of_tiles_is_that_of_the_crystal_in_one_piece(with_prior: TrainedModel) -> None:
    system = thermal_aluminium(6, 2)
    tiles = tiles_of(with_prior, system)
    plan = replace(tiles.store.plan, density_step=0.0)
    whole = point_predictor(system, with_prior, plan)(plan.grid.points())
    for tile in list(plan.tiles)[:3]:
        own = tiles(tile)
        for name in ("density", "aleatoric", "epistemic"):
            expected = getattr(whole, name).reshape(plan.compute_shape)[tile.region]
            assert np.ptp(expected) > 1e-6
            np.testing.assert_allclose(getattr(own, name), expected, atol=1e-5 * np.ptp(whole.density))


def test_a_halo_that_does_not_suffice_grows_to_the_same_field(toy_model: Path) -> None:
    plain = load_trained(toy_model)
    narrow = replace(plain, descriptor_spec={**SPEC, "reach": 9.0})
    system = thermal_aluminium(6, 2)
    enough, grown = tiles_of(plain, system), tiles_of(narrow, system)
    assert grown.store.plan.halo == 9.0
    tile = next(enough.store.plan.tiles)
    with pytest.raises(HaloError, match="beyond the 9 Bohr halo"):
        grown.predictor(tile, 9.0)(enough.store.plan.grid.points(tile.start, tile.stop))
    np.testing.assert_allclose(grown(tile).density, enough(tile).density, atol=1e-6)
    hopeless = replace(plain, descriptor_spec={**SPEC, "reach": 1.0})
    with pytest.raises(HaloError, match=r"tile 0, points \(0, 0, 0\) to"):
        tiles_of(hopeless, system)(tile)


def test_a_crystal_that_lacks_an_element_is_refused_before_the_start(toy_model: Path) -> None:
    alloy = replace(load_trained(toy_model), descriptor_spec={**SPEC, "elements": ["Al", "Si"]})
    with pytest.raises(StructureError, match="nearest Si atoms"):
        plan_field(thermal_aluminium(1), alloy, "0" * 64, Request())
