"""How much of a structure has features that training hardly knew: a sample of its points, for the verdict."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.errors import HaloError
from rhoscale.models import TrainedModel
from rhoscale.prediction.atoms_around import atoms_around
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile, count_tiles, nth_tile
from rhoscale.recipes.model_tiles import WIDER, WIDEST

POINTS = 16_384
BLOCKS = 64
SEED = 0


def share_far(store: PredictionStore, model: TrainedModel) -> float | None:
    """Share of points whose leverage a hundredth of the training points exceeds; None where the model does not know.

    At most 64 blocks and 16,384 points drawn in them: the cost does not grow with the cell.

    Raises:
        HaloError: Four times the plan's halo do not suffice.
    """
    limit = model.range.get("leverage_quantile")
    if model.leverage is None or limit is None:
        return None
    plan = store.plan
    rng = np.random.default_rng(SEED)
    shapes = plan.compute_shape, plan.block_shape
    blocks = count_tiles(*shapes)
    chosen = np.sort(rng.choice(blocks, min(blocks, BLOCKS), replace=False))
    each = -(-POINTS // len(chosen))
    far = points = 0
    for number in chosen:
        found = model.leverage(_features(store, model, nth_tile(*shapes, int(number)), each, rng))
        far, points = far + int(np.count_nonzero(found > limit)), points + len(found)
    return far / points


def _features(
    store: PredictionStore, model: TrainedModel, block: Tile, number: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    plan, spec = store.plan, spec_from_dict(model.descriptor_spec)
    points = plan.grid.points(block.start, block.stop)
    points = points[np.sort(rng.choice(len(points), min(number, len(points)), replace=False))]
    halo = plan.halo
    while True:
        try:
            atoms = atoms_around(store.cell_list(), store.elements, plan.grid, block, halo)
            return describer(atoms, spec)(points, threads=1)
        except HaloError:
            if halo >= WIDEST * plan.halo:
                raise
            halo = min(WIDER * halo, WIDEST * plan.halo)
