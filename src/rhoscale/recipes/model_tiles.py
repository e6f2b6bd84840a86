"""A model at work in tiles: lean enough to be sent to a worker, which takes the atoms of its tile from the disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import torch

from rhoscale.descriptors.neighbours import CellList
from rhoscale.errors import HaloError
from rhoscale.models import TrainedModel
from rhoscale.prediction.atoms_around import atoms_around
from rhoscale.prediction.one_tile import PredictPoints, TilePrediction, predict_tile
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile
from rhoscale.recipes.point_predictor import point_predictor

WIDER = 1.25
WIDEST = 4.0  # times the plan's halo

_preparing = Lock()  # a model keeps the draws of its weights; threads of one process share them


@dataclass(frozen=True)
class ModelTiles:
    """The field of a model in any tile of a store's plan; pickles without an atom.

    Attributes:
        store: Knows the plan and where the atoms are.
        model: Network, descriptor and prior mean.
    """

    store: PredictionStore
    model: TrainedModel

    def __call__(self, tile: Tile) -> TilePrediction:
        """Predict one tile from the atoms within the halo of its points, or a wider one where these do not suffice.

        Raises:
            HaloError: Four times the plan's halo do not suffice.
            ModelError: The model gives a value that is not a finite number.
        """
        if torch.get_num_threads() != 1:  # a worker's process; tiles run side by side, each on one core
            torch.set_num_threads(1)
        plan = self.store.plan
        halo = plan.halo
        while True:
            try:
                return predict_tile(tile, plan, self.predictor(tile, halo))
            except HaloError as error:
                if halo >= WIDEST * plan.halo:
                    raise HaloError(f"tile {tile.index}, points {tile.start} to {tile.stop}: {error}") from error
                halo = min(WIDER * halo, WIDEST * plan.halo)

    def predictor(self, tile: Tile, halo: float) -> PredictPoints:
        """Prepare the points of one tile from the atoms within ``halo`` Bohr of it."""
        atoms = atoms_around(self._atoms, self.store.elements, self.store.plan.grid, tile, halo)
        with _preparing:
            return point_predictor(atoms, self.model, self.store.plan)

    @cached_property
    def _atoms(self) -> CellList:
        """All atoms, mapped: opened once in each process."""
        return self.store.cell_list()

    def __getstate__(self) -> dict[str, object]:
        """Leave out what is kept for later calls."""
        return {"store": self.store, "model": replace(self.model)}
