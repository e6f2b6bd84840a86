"""Compare: errors on the reference's grid, whatever the grids and files of the two densities."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rhoscale.cli.app import main
from rhoscale.density import Density
from rhoscale.errors import FormatError, InputError
from rhoscale.formats import write_density_file
from rhoscale.grid import Grid
from rhoscale.intervals import half_width
from rhoscale.metrics import field_errors
from rhoscale.postprocess.charge import charge_factor, rescale_to_charge
from rhoscale.prediction.one_tile import PointPrediction, predict_tile
from rhoscale.prediction.plan import Workload, plan_prediction
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.verdict import FieldTotals
from rhoscale.recipes.compare import compare, read_pair, refuse_other_structure
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System

CELL = np.array([[9.0, 0.3, 0.0], [-0.5, 8.0, 0.2], [0.1, 0.7, 10.0]])
SYSTEM = System(CELL, [[0.1, 0.2, 0.3], [4.0, 4.1, 5.2]], ["Al", "Al"])
RECIPROCAL = 2 * np.pi * np.linalg.inv(CELL).T
ELECTRONS = 6.0
IDENTITY = PseudopotentialIdentity("Al", "GTH-PBE-q3", 3.0, "a" * 64)
ABOUT = {"electrons": ELECTRONS, "what": "a field for tests", "pseudopotentials": {"Al": IDENTITY.to_dict()}}
MEAN = ELECTRONS / SYSTEM.volume


def truth(points: np.ndarray) -> np.ndarray:
    phases = points @ RECIPROCAL.T
    return MEAN * (1 + 0.3 * np.cos(phases[:, 0] + phases[:, 1]) + 0.2 * np.sin(2 * phases[:, 2]))


def mistaken(points: np.ndarray) -> PointPrediction:
    """The truth, one percent too large, and a wave of error of the amplitude that sigma announces."""
    phases = points @ RECIPROCAL.T
    wave = 1e-3 * np.cos(phases[:, 1] - phases[:, 2])
    sigma = np.full(len(points), 1e-3 / np.sqrt(2), dtype=np.float32)
    values = (1.01 * truth(points) + wave).astype(np.float32)
    return PointPrediction(values, np.float32(0.6) * sigma, np.float32(0.8) * sigma)


def reference_snapshot() -> Snapshot:
    grid = Grid(CELL, (15, 15, 15))
    density = FourierDensity.from_density(Density(grid, truth(grid.points()).reshape(grid.shape)), 2.0)
    return Snapshot(SYSTEM, density, ELECTRONS, {"Al": IDENTITY})


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    plan = plan_prediction(
        SYSTEM, Grid(CELL, (12, 13, 14)), Workload(1), model="m", model_hash="0" * 64, output_shape=(20, 20, 20)
    )
    place = tmp_path / "p.zarr"
    store = PredictionStore.create(place, plan, SYSTEM, ABOUT)
    run_local(plan, partial(predict_tile, plan=plan, predict_points=mistaken), store)
    totals = FieldTotals.from_tiles(store.statistics(), plan.grid.volume_element)
    store.finish(charge_factor(totals.electrons, ELECTRONS), {})
    return place


def write_reference(place: Path, shape: tuple[int, int, int]) -> Path:
    grid = Grid(CELL, shape)
    write_density_file(place, SYSTEM, Density(grid, truth(grid.points()).reshape(shape)))
    return place


def test_errors_are_those_of_the_fields_themselves(prediction: Path, tmp_path: Path) -> None:
    found = compare(prediction, write_reference(tmp_path / "r.npz", (24, 25, 27)))
    grid = Grid(CELL, (24, 25, 27))
    exact, raw = truth(grid.points()), mistaken(grid.points()).density
    direct = field_errors(Density(grid, raw.reshape(grid.shape)), Density(grid, exact.reshape(grid.shape)), ELECTRONS)
    assert found.shape == grid.shape
    assert found.errors.electrons == pytest.approx(1.01 * ELECTRONS, rel=1e-6)
    for name in ("l1", "rmse", "rmse_over_range", "largest", "electrons_reference"):
        assert getattr(found.errors, name) == pytest.approx(getattr(direct, name), rel=1e-4), name
    assert found.errors.rmse > 2 * found.errors.l1 * MEAN * 0.5


def test_rescaling_takes_a_constant_factor_out_of_l1_but_not_out_of_rmse(prediction: Path, tmp_path: Path) -> None:
    found = compare(prediction, write_reference(tmp_path / "r.npz", (20, 20, 20)))
    wave = 1e-3 * 2 / np.pi / 1.01 / MEAN
    assert found.errors.l1 == pytest.approx(wave, rel=0.02)
    assert found.errors.rmse**2 == pytest.approx(
        1e-6 / 2 + np.mean((0.01 * truth(Grid(CELL, (20, 20, 20)).points())) ** 2), rel=1e-3
    )


def test_coverage_is_that_of_the_wave(prediction: Path, tmp_path: Path) -> None:
    found = compare(prediction, write_reference(tmp_path / "r.npz", (30, 30, 30)))
    assert found.calibration is not None
    grid = Grid(CELL, (30, 30, 30))
    ratio = np.abs(mistaken(grid.points()).density / 1.01 - truth(grid.points())) / (1e-3 / np.sqrt(2))
    assert found.calibration.coverage[0.68] == pytest.approx(float(np.mean(ratio <= 0.99446)), abs=3e-3)
    assert 0.3 < found.calibration.coverage[0.68] < 0.7
    assert found.calibration.sharpness == pytest.approx(1e-3 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("freedom", [3.0, 16.0])
def test_coverage_is_that_of_the_intervals_which_the_store_names(
    prediction: Path, tmp_path: Path, freedom: float
) -> None:
    PredictionStore.open(prediction).group.attrs["freedom"] = freedom
    reference = write_reference(tmp_path / "r.npz", (30, 30, 30))
    found = compare(prediction, reference).calibration
    pair = read_pair(prediction, reference)
    assert found is not None
    assert pair.total is not None
    ratio = np.abs(rescale_to_charge(pair.raw, ELECTRONS).values - pair.reference.values) / pair.total
    for level, share in found.coverage.items():
        assert share == pytest.approx(np.mean(ratio <= half_width(level, freedom)))


def test_the_reference_may_be_a_snapshot_or_a_cube_on_any_grid(prediction: Path, tmp_path: Path) -> None:
    reference_snapshot().write(tmp_path / "s.safetensors")
    write_reference(tmp_path / "r.cube", (9, 24, 16))
    snapshot = compare(prediction, tmp_path / "s.safetensors")
    cube = compare(prediction, tmp_path / "r.cube")
    assert snapshot.shape != cube.shape == (9, 24, 16)
    assert snapshot.errors.electrons_reference == ELECTRONS
    assert snapshot.errors.rmse == pytest.approx(cube.errors.rmse, rel=2e-2)
    assert snapshot.errors.l1 == pytest.approx(cube.errors.l1, rel=2e-2)


def test_the_prediction_may_be_a_density_file_finer_or_coarser_than_the_reference(tmp_path: Path) -> None:
    write_reference(tmp_path / "r.npz", (18, 18, 18))
    for shape in ((10, 11, 12), (30, 31, 18)):
        grid = Grid(CELL, shape)
        place = tmp_path / f"p{shape[0]}.npz"
        write_density_file(place, SYSTEM, Density(grid, mistaken(grid.points()).density.reshape(shape)))
        found = compare(place, tmp_path / "r.npz")
        assert found.calibration is None
        assert found.shape == (18, 18, 18)
        assert found.errors.l1 == pytest.approx(1e-3 * 2 / np.pi / 1.01 / MEAN, rel=0.02)
        assert "density file" in found.note


def test_a_pair_holds_the_raw_field(prediction: Path, tmp_path: Path) -> None:
    pair = read_pair(prediction, write_reference(tmp_path / "r.npz", (16, 16, 16)))
    assert pair.raw.integral() == pytest.approx(1.01 * ELECTRONS, rel=1e-6)
    np.testing.assert_allclose(pair.total, 1e-3 / np.sqrt(2), rtol=1e-3)


def test_the_command_says_the_same(
    prediction: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(prediction, write_reference(tmp_path / "r.npz", (20, 20, 20)))
    words = ["rhoscale", "compare", str(prediction), str(tmp_path / "r.npz")]
    monkeypatch.setattr(sys, "argv", [*words, "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_dict()))
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="0"):
        main()
    text = capsys.readouterr().out
    for part in (f"{100 * found.errors.l1:.3f} %", f"{found.errors.electrons:.4f} of 6", "inside the 95 % interval"):
        assert part in text


def test_order_and_images_of_atoms_do_not_matter() -> None:
    moved = System(CELL, [SYSTEM.positions[1] - CELL[0], SYSTEM.positions[0] + CELL[2]], ["Al", "Al"])
    refuse_other_structure(SYSTEM, moved)
    refuse_other_structure(moved, SYSTEM)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (System(CELL * 1.01, SYSTEM.positions, SYSTEM.species), "cells of prediction and reference differ by 0.1 Bohr"),
        (System(CELL, SYSTEM.positions, ["Al", "Si"]), "is of Al2, the reference of Al1Si1"),
        (System(CELL, SYSTEM.positions + [[0, 0, 0], [0, 0.05, 0]], SYSTEM.species), "Al atom 1 .* is 0.05 Bohr from"),
    ],
)
def test_another_structure_is_refused(other: System, message: str) -> None:
    with pytest.raises(InputError, match=message):
        refuse_other_structure(SYSTEM, other)


def test_missing_files_are_named(prediction: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no prediction"):
        compare(tmp_path / "none.zarr", write_reference(tmp_path / "r.npz", (9, 9, 9)))
    with pytest.raises(FormatError, match="no file"):
        compare(prediction, tmp_path / "none.cube")
