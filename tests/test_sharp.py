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
from rhoscale.promolecule import AtomicDensityTable, fit_sharp, promolecule, refine_sharp, sampling_loss
from rhoscale.refinement import FourierDensity, refine
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
TABLES = fit_sharp(LABELS[1:], ENGINE.pseudopotentials)


def l1(first: Density, second: Density) -> float:
    return float(np.abs((first - second).values).sum()) * first.grid.volume_element / second.integral()


def test_the_sharp_part_makes_a_coarse_grid_enough() -> None:
    system, density = LABELS[0]
    loss = sampling_loss(system, density, TABLES, 0.8)
    assert loss.plain > 1e-3  # the grid alone is too coarse
    assert loss.loss < 0.05 * loss.plain
    coarse, fine = (density.on_grid(shape) for shape in ((10, 10, 10), (36, 37, 40)))
    refined = refine_sharp(coarse, system, TABLES, fine.grid.shape)
    assert l1(refined, fine) < 0.05 * l1(refine(coarse, fine.grid.shape), fine)
    assert refined.integral() == pytest.approx(coarse.integral(), rel=1e-6)


def stored_sum(shape: tuple[int, int, int], system: System, tables: dict[str, AtomicDensityTable]) -> PredictionStore:
    """A store whose density is the slow wave and the sharp part, on a grid of this shape."""
    plan = plan_prediction(system, Grid(system.cell, shape), Workload(1), model="m", model_hash="h", uncertainty=False)

    def points(at: np.ndarray) -> PointPrediction:
        return PointPrediction((slow_wave(system, at) + promolecule(system, tables, at)).astype(np.float32))

    store = PredictionStore.create(MemoryStore(), plan, system, {}, tables)
    run_local(plan, lambda tile: predict_tile(tile, plan, points), store)
    store.finish(1.0, {})
    return store


@pytest.mark.parametrize("shape", [(11, 12, 13), (140, 11, 12)])
def test_blocks_of_a_store_have_the_sharp_part_exactly(shape: tuple[int, int, int]) -> None:
    system = thermal_aluminium(7)
    store = stored_sum(shape, system, TABLES)
    fine = StoredField(store, Grid(system.cell, (150, 31, 33)))
    sharp = promolecule(system, TABLES, fine.grid.points())
    exact = (slow_wave(system, fine.grid.points()) + sharp).reshape(fine.shape)
    whole = fine[:]
    assert np.abs(sharp).max() > 1e-2
    np.testing.assert_allclose(whole, exact, atol=3e-6)
    np.testing.assert_allclose(fine[141:150, 28:31, :9], whole[141:150, 28:31, :9], atol=1e-7)


def test_a_window_of_the_series_is_nearly_the_series() -> None:
    system, density = LABELS[0]
    old, new = (16, 16, 16), (41, 41, 41)
    rest = density.on_grid(old).values - promolecule(system, TABLES, Grid(system.cell, old).points()).reshape(old)
    series, window = (
        interpolate(periodic_values(rest), old, new, (0, 0, 0), new, kernel)
        for kernel in (fourier_weights, windowed_weights)
    )
    error = float(np.abs(series - window).mean()) * system.volume / density.electrons
    assert 0 < error < 1e-4


def test_a_model_keeps_its_sharp_part_and_refuses_another(toy_model: Path, tmp_path: Path) -> None:
    plain = load_trained(toy_model)
    model = replace(plain, sharp=TABLES, label_spacing=0.5)
    folder = save_trained(model, tmp_path / "sharp")
    again = load_trained(folder)
    np.testing.assert_array_equal(again.sharp["Al"].values, TABLES["Al"].values)
    assert again.whole_spacing == 0.5
    atoms = to_atoms(thermal_aluminium(5))
    with_sharp = rhoscale.load_model(folder).predict(atoms, uncertainty=False)
    without = rhoscale.load_model(toy_model).predict(atoms, shape=with_sharp.density.shape, uncertainty=False)
    assert max(with_sharp.grid.spacings) <= 0.5
    assert np.abs(with_sharp.density - without.density).max() > 1e-5
    assert with_sharp.density.mean() == pytest.approx(without.density.mean(), rel=1e-5)
    other = AtomicDensityTable(TABLES["Al"].pseudopotential, 0.02, TABLES["Al"].values * 1.01)
    save_trained(replace(model, sharp={"Al": other}), tmp_path / "other")
    card = (tmp_path / "other" / "card.toml").read_text()
    (folder / "card.toml").write_text(card)
    with pytest.raises(ModelError):
        load_trained(folder)
