"""A real model of the toy engine: a few seconds of training, for tests of everything behind it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import describe, spec_from_dict
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.models import DenseNet, Scaling, TrainedModel, save_trained
from rhoscale.models.posterior import mean_field, stochastic_names
from rhoscale.sampling.schedule import snapshot_of
from rhoscale.snapshot import Snapshot
from rhoscale.system import System
from rhoscale.training import FitSettings, ShuffledBatches, fit

VALENCES = {"Al": 3.0}
ENGINE = SuperpositionEngine(DFTSettings(cutoff=5.0, density_cutoff=10.0), VALENCES)
SPACING = 0.7
SPEC = {"family": "scalar-products", "elements": ["Al"], "distances": 60, "angle_atoms": 15, "neighbours": 3}


def thermal_aluminium(seed: int, repeats: int = 1, amplitude: float = 0.25) -> System:
    """A cubic cell of four atoms, repeated, with random displacements (Bohr)."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    shifts = np.array(list(np.ndindex(repeats, repeats, repeats)))
    scaled = (shifts[:, None] + corners[None]).reshape(-1, 3)
    positions = 7.65 * scaled + rng.normal(0.0, amplitude, (len(scaled), 3))
    return System(np.eye(3) * 7.65 * repeats, positions, ["Al"] * len(scaled))


def toy_snapshot(system: System) -> Snapshot:
    """The toy engine's density of a structure."""
    state = ENGINE.ground_state(system)
    return Snapshot(system, state.density, state.electrons, state.pseudopotentials)


def toy_store(folder: Path, plan: Iterable[tuple[str, str, int]], amplitude: float = 0.25) -> SnapshotStore:
    """A data set of thermal cells, each a trajectory of its own: of which batch, which role, how often repeated."""
    store = SnapshotStore.create(folder, name="toy", description="for tests")
    for seed, (batch, role, repeats) in enumerate(plan):
        state = ENGINE.ground_state(thermal_aluminium(seed, repeats, amplitude))
        snapshot = snapshot_of(state, {"trajectory": f"seed{seed}", "temperature": 933.0, "kind": "bulk"})
        store.add(snapshot, task=f"{batch}-{seed}", batch=batch, role=role)
    return store


def train_toy_model(folder: Path) -> Path:
    """Fit a small network to six cells of the toy engine and save it."""
    spec = spec_from_dict(SPEC)
    features, targets = [], []
    for seed in range(6):
        system = thermal_aluminium(seed)
        density = ENGINE.ground_state(system).density.on_grid((12, 12, 12))
        features.append(describe(density.grid.points(), system, spec))
        targets.append(density.values.ravel())
    x, y = np.concatenate(features), np.concatenate(targets)
    scaling = Scaling.of(x, y)
    network = DenseNet(inputs=spec.size, width=32, blocks=1, layers=2)
    start = mean_field(network.initial(torch.Generator().manual_seed(0)), stochastic_names(network, "all"), 0.01)
    prior = mean_field({k: torch.zeros_like(v) for k, v in start.means.items()}, stochastic_names(network, "all"), 1.0)
    batches = ShuffledBatches(
        scaling.features(torch.from_numpy(x)),
        scaling.target(torch.from_numpy(y.astype(np.float32))),
        torch.ones(len(y)),
        size=256,
        seed=0,
    )
    settings = FitSettings(epochs=12, warm_epochs=12, learning_rate=3e-3, deviation_rate=1.0)
    fitted = fit(network, start, batches, prior=prior, data_count=len(y) / 8, settings=settings)
    model = TrainedModel(
        name="toy",
        network=network,
        posterior=fitted.posterior,
        scaling=scaling,
        descriptor_spec=SPEC,
        pseudopotentials=ENGINE.pseudopotentials,
        functional="none",
        compute_spacing=SPACING,
        range={"largest_total": 2e-3},
        card={"summary": "a toy for tests"},
    )
    return save_trained(model, folder)
