"""Generating with ``pw.x``: real labels are kept; a predicted start gives the same one in fewer cycles."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rhoscale.datasets.check import check_store
from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.errors import ModelError
from rhoscale.recipes.generate import generate
from rhoscale.recipes.start import PredictedStart
from rhoscale.system import PseudopotentialIdentity
from toy_recipe import BATCH, recipe


@pytest.mark.dft
@pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on PATH")
def test_a_real_label_goes_into_a_store(tmp_path: Path) -> None:
    engine = {"program": "pw.x", "cutoff_ry": 12, "density_cutoff_ry": 40, "width_ry": 0.08, "kmesh": [2, 2, 2]}
    config = recipe(tmp_path, engine=engine, batch=[{**BATCH, "snapshots": 2}])
    assert generate(config, jobs=2).remaining == 0
    store = SnapshotStore.open(config.output)
    assert check_store(store) == []
    snapshot = store.load(store.records()[0])
    assert snapshot.density.electrons == pytest.approx(12, abs=1e-4)
    assert snapshot.settings["engine"].startswith("pw.x")
    assert snapshot.energies["total"] < -8.0
    assert not [p for p in (config.output / "work" / "dft").rglob("*") if p.name == "pw.out"]


@pytest.mark.dft
@pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on PATH")
def test_a_predicted_start_gives_the_same_label_in_fewer_cycles(tmp_path: Path) -> None:
    engine = {"program": "pw.x", "cutoff_ry": 12, "density_cutoff_ry": 40, "width_ry": 0.08, "kmesh": [4, 4, 4]}
    config = recipe(tmp_path, engine=engine, batch=[{**BATCH, "snapshots": 1}])
    generate(config)
    started = recipe(tmp_path / "started", engine=engine, batch=[{**BATCH, "snapshots": 1}])
    generate(started, start=PredictedStart.load("al-pbe", {"Al": gth_pseudopotential("Al", 3).identity}))
    stores = [SnapshotStore.open(c.output) for c in (config, started)]
    plain, quick = (s.load(s.records()[0]) for s in stores)
    assert quick.origin["started_from"].startswith("al-pbe")
    assert quick.settings["iterations"] < plain.settings["iterations"]
    assert quick.energies["total"] == pytest.approx(plain.energies["total"], abs=4e-7)
    difference = quick.density.on_grid((20, 20, 20)).values - plain.density.on_grid((20, 20, 20)).values
    assert np.abs(difference).mean() < 1e-4 * plain.density.on_grid((20, 20, 20)).values.mean()


def test_a_model_of_another_pseudopotential_starts_nothing() -> None:
    with pytest.raises(ModelError, match="my-own"):
        PredictedStart.load("al-pbe", {"Al": PseudopotentialIdentity("Al", "my-own", 3.0, "0" * 64)})
