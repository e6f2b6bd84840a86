"""A grid too coarse for a density carries it all the same once its sharp part is taken out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from zarr.storage import MemoryStore

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.density import Density
from rhoscale.errors import ModelError
from rhoscale.grid import Grid
from rhoscale.models import load_trained, save_trained
from rhoscale.prediction.field import StoredField
from rhoscale.prediction.interpolation import fourier_weights, interpolate, periodic_values, windowed_weights
from rhoscale.prediction.one_tile import PointPrediction, predict_tile
from rhoscale.prediction.plan import Workload, plan_prediction
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore
from rhoscale.promolecule import AtomicDensityTable, promolecule
from rhoscale.promolecule.radial_basis import radial_functions
from rhoscale.refinement import FourierDensity, kinetic_energies, refine
from rhoscale.sharp import SharpPart, SharpSum, fit_sharp, refine_sharp, sampling_loss, sharp_fourier
from rhoscale.sharp.part import FUNCTIONS, REACH
from rhoscale.sharp.surroundings import surroundings
from rhoscale.system import System
from toy_model import ENGINE, thermal_aluminium

PEAK = AtomicDensityTable.tabulate(
    ENGINE.pseudopotentials["Al"], lambda r: 3.0 * (1.1 / np.pi) ** 1.5 * np.exp(-1.1 * r**2)
)


def peaked(seed: int) -> tuple[System, FourierDensity]:
    """A structure and a density with narrow peaks on its atoms and a slow wave."""
    system = thermal_aluminium(seed)
    grid = Grid(system.cell, (48, 48, 48))
    values = promolecule(system, {"Al": PEAK}, grid.points()) + slow_wave(system, grid.points())
    return system, FourierDensity.from_density(Density(grid, values.reshape(grid.shape)), 27.5)


def slow_wave(system: System, points: np.ndarray) -> np.ndarray:
    wave = 2 * np.pi / system.cell[0, 0]
    return 0.05 + 0.01 * np.cos(wave * points[:, 0]) * np.sin(2 * wave * points[:, 2])


LABELS = [peaked(seed) for seed in range(3)]
PART = fit_sharp(LABELS[1:], ["Al"])


def arbitrary(elements: tuple[str, ...], size: float = 0.01) -> SharpPart:
    """Weights without meaning, of every degree."""
    rng, n = np.random.default_rng(3), len(elements)
    return SharpPart(elements, size * rng.normal(size=(n, 14)), size * rng.normal(size=(n, 3 * n, 5, 14)))


def alloy(seed: int = 4) -> System:
    rng = np.random.default_rng(seed)
    cell = np.array([[7.0, 0, 0], [1.0, 8.0, 0], [0, -0.5, 9.0]])
    return System(cell, rng.random((6, 3)) @ cell, np.array(["Ge", "Si", "Si", "Ge", "Si", "Ge"]))


def l1(first: Density, second: Density) -> float:
    return float(np.abs((first - second).values).sum()) * first.grid.volume_element / second.integral()


def test_the_sharp_part_makes_a_coarse_grid_enough() -> None:
    system, density = LABELS[0]
    loss = sampling_loss(density, sharp_fourier(system, PART, density.cutoff), 0.8)
    assert loss.plain > 1e-3  # the grid alone is too coarse
    assert loss.loss < 0.05 * loss.plain
    coarse, fine = (density.on_grid(shape) for shape in ((10, 10, 10), (36, 37, 40)))
    refined = refine_sharp(coarse, system, PART, fine.grid.shape)
    assert l1(refined, fine) < 0.05 * l1(refine(coarse, fine.grid.shape), fine)
    assert refined.integral() == pytest.approx(coarse.integral(), rel=1e-6)


def stored_sum(shape: tuple[int, int, int], system: System, part: SharpPart) -> PredictionStore:
    """A store whose density is the slow wave and the sharp part, on a grid of this shape."""
    plan = plan_prediction(system, Grid(system.cell, shape), Workload(1), model="m", model_hash="h", uncertainty=False)

    def points(at: np.ndarray) -> PointPrediction:
        return PointPrediction((slow_wave(system, at) + SharpSum(system, part).at(at)).astype(np.float32))

    store = PredictionStore.create(MemoryStore(), plan, system, {}, part)
    run_local(plan, lambda tile: predict_tile(tile, plan, points), store)
    store.finish(1.0, {})
    return store


@pytest.mark.parametrize("shape", [(11, 12, 13), (140, 11, 12)])
def test_blocks_of_a_store_have_the_sharp_part_exactly(shape: tuple[int, int, int]) -> None:
    system, part = thermal_aluminium(7), arbitrary(("Al",))
    store = stored_sum(shape, system, part)
    fine = StoredField(store, Grid(system.cell, (150, 31, 33)))
    sharp = SharpSum(system, part).at(fine.grid.points())
    exact = (slow_wave(system, fine.grid.points()) + sharp).reshape(fine.shape)
    whole = fine[:]
    assert np.abs(sharp).max() > 1e-2
    np.testing.assert_allclose(whole, exact, atol=3e-6)
    np.testing.assert_allclose(fine[141:150, 28:31, :9], whole[141:150, 28:31, :9], atol=1e-7)


def test_waves_and_points_are_one_function() -> None:
    system, part = alloy(), arbitrary(("Ge", "Si"))
    grid = Grid(system.cell, (20, 24, 27))
    waves = sharp_fourier(system, part, 60.0)
    values = SharpSum(system, part).on_grid(Grid(system.cell, (80, 96, 108))).values
    band_limited = FourierDensity.from_density(Density(Grid(system.cell, (80, 96, 108)), values), 8.0)
    found = waves.truncated(8.0).on_grid(grid.shape).values
    np.testing.assert_allclose(found, band_limited.on_grid(grid.shape).values, atol=1e-5 * np.abs(values).max())


def test_the_sharp_part_turns_with_the_crystal_and_ends_at_its_reach() -> None:
    system, part = alloy(), arbitrary(("Ge", "Si"))
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    points = np.random.default_rng(1).random((200, 3)) @ system.cell
    turned = System(system.cell @ turn.T, system.positions @ turn.T, system.species)
    np.testing.assert_allclose(
        SharpSum(turned, part).at(points @ turn.T), SharpSum(system, part).at(points), atol=1e-10
    )
    lonely = SharpSum(System(np.diag([40.0] * 3), np.full((1, 3), 20.0), np.array(["Si"])), part)
    radial = np.interp([0.0, 1.0, 2.7], 0.02 * np.arange(226), part.spheres[1] @ radial_functions(REACH, FUNCTIONS))
    along = 20.0 + np.array([[0, 0, 0], [0.6, 0.8, 0], [0, 0, 2.7], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(lonely.at(along), [*radial, 0.0], atol=1e-4)


def test_values_depend_on_the_point_alone() -> None:
    system = alloy()
    sharp = SharpSum(system, arbitrary(("Ge", "Si")))
    points = np.random.default_rng(5).random((3000, 3)) @ system.cell
    whole = sharp.at(points)
    chosen = np.random.default_rng(6).permutation(3000)[:701]
    assert np.array_equal(sharp.at(points[chosen]), whole[chosen])
    assert np.array_equal(sharp.at(points, workers=3), whole)
    assert np.array_equal(np.concatenate([sharp.at(points[i : i + 1]) for i in range(40)]), whole[:40])


def test_surroundings_are_sums_over_neighbours_in_all_images() -> None:
    system = alloy()
    found = surroundings(system, ("Ge", "Si"))
    images = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ system.cell
    for a in range(len(system)):
        steps = (system.positions[:, None] + images - system.positions[a]).reshape(-1, 3)
        kinds = np.repeat(system.species, len(images))
        r = np.linalg.norm(steps, axis=1)
        near = (r < 8.0) & (r > 1e-9)
        window = np.sinc(2 * r / 8.0) * (1 - (r / 8.0) ** 2) ** 3
        for e, element in enumerate(("Ge", "Si")):
            mine = near & (kinds == element)
            assert found[a, 3 * e + 1, 0] == pytest.approx(window[mine].sum(), rel=1e-9)
            vector = (window[mine, None] * steps[mine] / r[mine, None]).sum(axis=0)
            np.testing.assert_allclose(found[a, 3 * e + 1, [3, 1, 2]], vector, atol=1e-9)
        power = [np.square(found[a, 1, l * l : (l + 1) ** 2]).sum() for l in range(5)]
        cosines = (steps / np.maximum(r, 1e-9)[:, None])[near & (kinds == "Ge")]
        weights = window[near & (kinds == "Ge")]
        for l in range(5):
            legendre = np.polynomial.legendre.Legendre.basis(l)(np.clip(cosines @ cosines.T, -1, 1))
            assert power[l] == pytest.approx(weights @ legendre @ weights, rel=1e-8)


def test_a_fit_finds_bonds() -> None:
    """Densities whose short waves are some sharp part: what fits them leaves next to nothing, spheres leave most."""
    part, labels = arbitrary(("Al",)), []
    for seed in range(3):
        system = thermal_aluminium(seed)
        labels.append((system, sharp_fourier(system, part, 27.5)))
    fitted = fit_sharp(labels[1:], ["Al"])
    spheres = SharpPart(("Al",), fitted.spheres, np.zeros_like(fitted.bonds))
    short = np.sqrt(2 * kinetic_energies(labels[0][0].cell, labels[0][1].millers)) > 3.0
    wanted = labels[0][1].coefficients[short]
    left, left_by_spheres = (
        np.linalg.norm(sharp_fourier(labels[0][0], p, 27.5).coefficients[short] - wanted) for p in (fitted, spheres)
    )
    assert left < 0.15 * np.linalg.norm(wanted)
    assert left < 0.2 * left_by_spheres


def test_tables_of_spheres_become_a_sharp_part() -> None:
    """Models before format 5 have a table for each element, a sum of the same functions."""
    functions = radial_functions(REACH, FUNCTIONS)
    weights = np.random.default_rng(2).normal(size=FUNCTIONS)
    table = AtomicDensityTable(ENGINE.pseudopotentials["Al"], 0.02, weights @ functions)
    part = SharpPart.of_tables({"Al": table})
    np.testing.assert_allclose(part.spheres[0], weights, atol=1e-9)
    system = thermal_aluminium(3)
    points = np.random.default_rng(3).random((50, 3)) @ system.cell
    np.testing.assert_allclose(SharpSum(system, part).at(points), promolecule(system, {"Al": table}, points), atol=1e-5)


def test_a_window_of_the_series_is_nearly_the_series() -> None:
    system, density = LABELS[0]
    old, new = (16, 16, 16), (41, 41, 41)
    rest = density.on_grid(old).values - SharpSum(system, PART).at(Grid(system.cell, old).points()).reshape(old)
    series, window = (
        interpolate(periodic_values(rest), old, new, (0, 0, 0), new, kernel)
        for kernel in (fourier_weights, windowed_weights)
    )
    error = float(np.abs(series - window).mean()) * system.volume / density.electrons
    assert 0 < error < 1e-4


def test_a_model_keeps_its_sharp_part_and_refuses_another(toy_model: Path, tmp_path: Path) -> None:
    plain = load_trained(toy_model)
    model = replace(plain, sharp=PART, label_spacing=0.5)
    folder = save_trained(model, tmp_path / "sharp")
    again = load_trained(folder)
    np.testing.assert_array_equal(again.sharp.bonds, PART.bonds)
    assert again.sharp.elements == ("Al",)
    assert again.whole_spacing == 0.5
    atoms = to_atoms(thermal_aluminium(5))
    with_sharp = rhoscale.load_model(folder).predict(atoms, uncertainty=False)
    without = rhoscale.load_model(toy_model).predict(atoms, shape=with_sharp.density.shape, uncertainty=False)
    assert max(with_sharp.grid.spacings) <= 0.5
    assert np.abs(with_sharp.density - without.density).max() > 1e-5
    assert with_sharp.density.mean() == pytest.approx(without.density.mean(), rel=1e-5)
    save_trained(replace(model, sharp=replace(PART, spheres=1.01 * PART.spheres)), tmp_path / "other")
    card = (tmp_path / "other" / "card.toml").read_text()
    (folder / "card.toml").write_text(card)
    with pytest.raises(ModelError):
        load_trained(folder)
