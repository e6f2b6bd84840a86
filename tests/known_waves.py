"""A model of a few plane waves, whose field is known everywhere, and quick predictions by it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from zarr.storage import MemoryStore

from rhoscale.grid import Grid
from rhoscale.postprocess.charge import charge_factor
from rhoscale.prediction.one_tile import PointPrediction, predict_tile
from rhoscale.prediction.plan import PredictionPlan, Workload, plan_prediction
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.verdict import FieldTotals
from rhoscale.system import System

CELL = np.array([[9.0, 0.3, 0.0], [-0.5, 8.0, 0.2], [0.1, 0.7, 10.0]])
SYSTEM = System(CELL, [[0.0, 0.0, 0.0], [4.0, 4.1, 5.2]], ["Si", "Al"])
RECIPROCAL = 2 * np.pi * np.linalg.inv(CELL).T


def waves(points: np.ndarray) -> PointPrediction:
    """A band-limited density and smooth positive deviations: a model whose field is known everywhere."""
    phases = points @ RECIPROCAL.T
    density = 0.03 + 0.01 * np.cos(phases[:, 0] + 2 * phases[:, 1]) + 0.004 * np.sin(3 * phases[:, 2] - phases[:, 0])
    noise = 2e-4 * np.exp(0.5 * np.cos(phases[:, 1]))
    spread = 1e-4 * np.exp(0.8 * np.sin(phases[:, 2]))
    return PointPrediction(density.astype(np.float32), noise.astype(np.float32), spread.astype(np.float32))


def make_plan(shape: tuple[int, int, int] = (20, 18, 21), **options: object) -> PredictionPlan:
    work = Workload(features=5, halo=6.0)
    return plan_prediction(SYSTEM, Grid(CELL, shape), work, model="waves", model_hash="0" * 64, **options)  # type: ignore[arg-type]


def predicted(plan: PredictionPlan, place: Path | None = None, threads: int = 1) -> PredictionStore:
    about = {"electrons": 7.0, "pseudopotentials": {}, "what": "waves"}
    store = PredictionStore.create(place or MemoryStore(), plan, SYSTEM, about)
    run_local(plan, partial(predict_tile, plan=plan, predict_points=waves), store, threads=threads)
    totals = FieldTotals.from_tiles(store.statistics(), plan.grid.volume_element)
    store.finish(charge_factor(totals.electrons, 7.0), {"totals": totals.to_dict()})
    return store


def stored_bits(store: PredictionStore) -> dict[str, bytes]:
    return {name: np.asarray(store.array(name)[:]).tobytes() for name in ("density", "aleatoric", "epistemic", "tiles")}
