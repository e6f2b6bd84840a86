"""The Python face: what it gives, and that asking for nothing costs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from zarr.storage import MemoryStore

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.errors import FormatError, InputError, ModelError, OutputError, StructureError
from rhoscale.intervals import half_width
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.field import Request, about, plan_field, predict_field
from rhoscale.uncertainty import Recalibration
from toy_model import SPACING, thermal_aluminium

HEAVY = ("torch", "numba", "zarr", "matplotlib", "scipy", "ase", "numpy")


@pytest.fixture
def atoms() -> Atoms:
    return to_atoms(thermal_aluminium(60))


def test_predict_gives_arrays_of_the_asked_shape(toy_model: Path, atoms: Atoms) -> None:
    model = rhoscale.load_model(toy_model)
    prediction = model.predict(atoms, shape=(20, 22, 24))
    assert model.name == "toy"
    assert model.elements == ("Al",)
    for field in (prediction.density, prediction.aleatoric, prediction.epistemic, prediction.total):
        assert field is not None
        assert field.shape == (20, 22, 24)
        assert field.dtype == np.float32
        assert np.ptp(field) > 0
    assert prediction.density.mean() * prediction.grid.volume == pytest.approx(12.0, rel=1e-6)
    np.testing.assert_allclose(
        prediction.total**2,
        prediction.aleatoric**2 + prediction.epistemic**2,
        rtol=1e-4,  # type: ignore[operator]
    )
    assert prediction.verdict is not None


@pytest.mark.parametrize("freedom", [7.0, np.inf])
def test_memory_and_store_name_the_intervals_of_the_model(
    toy_model: Path, atoms: Atoms, tmp_path: Path, freedom: float
) -> None:
    model = rhoscale.load_model(toy_model)
    trained = replace(model.trained, recalibration=Recalibration(freedom=freedom))
    model = replace(model, trained=trained)
    rhoscale.predict_to_store(atoms, model, tmp_path / "f.zarr", spacing=1.0)
    for found in (model.predict(atoms, spacing=1.0), rhoscale.open_density(tmp_path / "f.zarr")):
        assert found.half_width(0.95) == half_width(0.95, freedom)
        with pytest.raises(InputError, match="between 0 and 1"):
            found.half_width(95)


def test_a_store_with_impossible_intervals_is_refused(toy_model: Path, atoms: Atoms, tmp_path: Path) -> None:
    store = rhoscale.predict_to_store(atoms, rhoscale.load_model(toy_model), tmp_path / "f.zarr", spacing=1.0)
    for wrong in ("many", None, 1.0):
        store.store.group.attrs["freedom"] = wrong
        with pytest.raises((FormatError, InputError), match="freedom"):
            rhoscale.open_density(tmp_path / "f.zarr").half_width(0.95)


def test_without_uncertainty_the_density_is_the_same(toy_model: Path, atoms: Atoms) -> None:
    model = rhoscale.load_model(str(toy_model))
    with_it, without = (model.predict(atoms, uncertainty=wanted, draws=3) for wanted in (True, False))
    assert max(with_it.grid.spacings) <= SPACING
    np.testing.assert_array_equal(with_it.density, without.density)
    assert without.total is without.aleatoric is without.epistemic is without.verdict is None


def test_the_store_hands_out_the_same_values_as_the_prediction_in_memory(
    toy_model: Path, atoms: Atoms, tmp_path: Path
) -> None:
    model = rhoscale.load_model(toy_model)
    in_memory = model.predict(atoms, spacing=0.45, seed=4)
    field = rhoscale.predict_to_store(atoms, model, tmp_path / "out.zarr", spacing=0.45, seed=4, threads=2)
    opened = rhoscale.open_density(tmp_path / "out.zarr")
    for found in (field, opened):
        np.testing.assert_array_equal(found[:], in_memory.density)
        np.testing.assert_array_equal(found.epistemic[:], in_memory.epistemic)
        np.testing.assert_array_equal(found.total[2:5, 1, ::2], in_memory.total[2:5, 1, ::2])  # type: ignore[index]
    block = opened[0:4, 3:9, -2:]
    np.testing.assert_allclose(block, in_memory.density[0:4, 3:9, -2:], atol=1e-8)


def test_the_field_moves_with_the_atoms_and_ignores_their_order(toy_model: Path, atoms: Atoms) -> None:
    model = rhoscale.load_model(toy_model)
    still = model.predict(atoms, shape=(12, 12, 12))
    moved = atoms[[2, 0, 3, 1]]
    moved.positions += atoms.cell[0] / 12 + 2 * atoms.cell[2]
    moved.wrap()
    shifted = model.predict(moved, shape=(12, 12, 12))
    assert np.ptp(still.density) > 0.01
    scale = np.ptp(still.density)
    np.testing.assert_allclose(np.roll(still.density, 1, axis=0), shifted.density, atol=1e-4 * scale)
    np.testing.assert_allclose(np.roll(still.total, 1, axis=0), shifted.total, rtol=2e-2)  # type: ignore[arg-type]


def test_what_cannot_be_answered_is_refused(toy_model: Path, atoms: Atoms, tmp_path: Path) -> None:
    model = rhoscale.load_model(toy_model)
    with pytest.raises(ModelError, match='there is no model "nonsense"'):
        rhoscale.load_model("nonsense")
    with pytest.raises(ModelError, match="holds Cu"):
        model.predict(Atoms("Cu", cell=[4, 4, 4], pbc=True))
    with pytest.raises(StructureError, match="periodic along"):
        model.predict(Atoms("Al", cell=[4, 4, 4]))
    with pytest.raises(InputError, match="three numbers"):
        model.predict(atoms, shape=(4, 4))
    with pytest.raises(OutputError, match=r"ends in \.zarr"):
        rhoscale.predict_to_store(atoms, model, tmp_path / "out.dat")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rhoscale.nonsense


def test_start_up_imports_none_of_the_numerical_libraries() -> None:
    for statement in ("import rhoscale", "import rhoscale.cli.app; rhoscale.cli.app.main()"):
        code = f"import sys; sys.argv = ['rhoscale', '--version']\ntry:\n    {statement}\nfinally:\n    " + (
            f"print(sorted(set({HEAVY}) & set(sys.modules)))"
        )
        ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert ended.stdout.splitlines()[-1] == "[]"


def test_every_public_name_is_there() -> None:
    assert set(rhoscale.__all__) == set(dir(rhoscale))
    for name in rhoscale.__all__:
        assert getattr(rhoscale, name) is not None


def test_another_tiling_agrees_within_rounding_of_single_precision(toy_model: Path) -> None:
    model = rhoscale.load_model(toy_model)
    system = thermal_aluminium(61, repeats=2)
    plan = plan_field(system, model.trained, model.content_hash, Request(draws=4))
    others = [
        replace(plan, tile_shape=t, block_shape=b) for t, b in (((24, 24, 24), (24, 24, 24)), ((12, 9, 24), (6, 9, 8)))
    ]
    fields = []
    for one in (plan, *others):
        store = PredictionStore.create(MemoryStore(), one, system, about(system, model.trained))
        predict_field(one, system, model.trained, store, threads=2)
        fields.append({name: store.array(name)[:].astype(float) for name in ("density", "aleatoric", "epistemic")})
    for name, first in fields[0].items():
        for other in fields[1:]:
            np.testing.assert_allclose(other[name], first, atol=1e-5 * np.ptp(fields[0]["density"]), rtol=2e-3)
    assert plan.tile_shape not in {one.tile_shape for one in others}
