"""The Python face: ``load_model``, ``Model.predict``, ``predict_to_store``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from rhoscale.ase_bridge import from_atoms
from rhoscale.errors import InputError, OutputError
from rhoscale.grid import Grid
from rhoscale.intervals import half_width
from rhoscale.models import TrainedModel
from rhoscale.prediction.field import StoredField
from rhoscale.prediction.plan import GIB
from rhoscale.prediction.run_local import Progress
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.verdict import Verdict
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.field import DRAWS, Request, Summary, about, plan_field, predict_field
from rhoscale.recipes.predict import open_or_create

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """A predicted density in memory.

    Attributes:
        density: Valence pseudo-density [nx, ny, nz], rescaled to the electron count (paper, eq. 6), electrons / Bohr^3.
        aleatoric: Standard deviation by label noise, same shape and unit; None without uncertainty.
        epistemic: Standard deviation by lack of data; None without uncertainty.
        total: sqrt(aleatoric^2 + epistemic^2); None without uncertainty.
        grid: Where the values are.
        summary: Raw electrons, factor of the rescaling, verdict.
        freedom: Degrees of freedom of the errors' distribution; infinite for Gaussian ones.
    """

    density: Float32Array = field(repr=False)
    aleatoric: Float32Array | None = field(repr=False)
    epistemic: Float32Array | None = field(repr=False)
    total: Float32Array | None = field(repr=False)
    grid: Grid = field(repr=False)
    summary: Summary
    freedom: float = math.inf

    def half_width(self, level: float) -> float:
        """How many total deviations on either side of the density hold a share ``level`` of the errors.

        Raises:
            InputError: ``level`` is not between 0 and 1.
        """
        return half_width(level, self.freedom)

    @property
    def verdict(self) -> Verdict | None:
        """Whether the structure is inside the model's range, and the error to expect."""
        return self.summary.verdict


@dataclass(frozen=True)
class Model:
    """A trained model, ready to predict.

    Attributes:
        trained: Network, posterior, descriptor and all that gives its numbers a meaning.
        content_hash: Hash of its weights file.
    """

    trained: TrainedModel = field(repr=False)
    content_hash: str

    @property
    def name(self) -> str:
        """Short name, for example ``al-pbe``."""
        return self.trained.name

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the model knows."""
        return tuple(sorted(self.trained.pseudopotentials))

    @property
    def card(self) -> dict[str, Any]:
        """Data, settings, errors and validity, for people."""
        return dict(self.trained.card)

    def predict(
        self,
        atoms: Atoms,
        *,
        shape: Sequence[int] | None = None,
        spacing: float | None = None,
        uncertainty: bool = True,
        draws: int = DRAWS,
        seed: int = 0,
        threads: int | None = None,
    ) -> Prediction:
        """Predict the density of a structure that fits in memory.

        Args:
            atoms: Bulk structure, periodic in all directions.
            shape: Points along each cell vector.
            spacing: Or the largest distance of points, Bohr; with neither, that of the model's labels.
            uncertainty: Whether to predict standard deviations too.
            draws: Draws of the weights; 0: the spread to first order in the weights.
            seed: Of the draws.
            threads: Tiles at a time; by default all cores that may be used.

        Raises:
            ModelError: The structure holds elements that the model does not know.
            StructureError: It is not a bulk cell, or atoms overlap.
            InputError: The grid or the draws make no sense.
        """
        system = from_atoms(atoms)
        plan = plan_field(system, self.trained, self.content_hash, _request(shape, spacing, uncertainty, draws, seed))
        store = PredictionStore.create(MemoryStore(), plan, system, about(system, self.trained), self.trained.sharp)
        summary = predict_field(plan, system, self.trained, store, threads=threads)
        density = StoredField(store, plan.output_grid)
        return Prediction(
            density=density[:],
            aleatoric=density.aleatoric[:] if uncertainty else None,
            epistemic=density.epistemic[:] if uncertainty else None,
            total=density.total[:] if uncertainty else None,
            grid=density.grid,
            summary=summary,
            freedom=store.freedom,
        )


def load_model(name_or_path: str | Path) -> Model:
    """Load a bundled model by its name, or any model by the path of its folder.

    Raises:
        ModelError: There is no such model, or its files contradict each other.
        FormatError: A file is truncated or not a model's.
    """
    return Model(*load_with_hash(name_or_path))


def predict_to_store(
    atoms: Atoms,
    model: Model,
    path: str | Path,
    *,
    shape: Sequence[int] | None = None,
    spacing: float | None = None,
    uncertainty: bool = True,
    draws: int = DRAWS,
    seed: int = 0,
    threads: int | None = None,
    client: Any = None,
    memory: float = GIB,
    force: bool = False,
    progress: Progress | None = None,
) -> StoredField:
    """Predict a structure of any size, streamed to a Zarr store; the same call goes on after an interruption.

    The store keeps what the model gives on its compute grid; ``shape`` or ``spacing`` is the grid on which
    :func:`rhoscale.open_density` hands it out, refined exactly.

    Args:
        atoms: Bulk structure, periodic in all directions.
        model: From :func:`load_model`.
        path: Folder to write, ending in ``.zarr``.
        shape: Points of the output grid along each cell vector.
        spacing: Or the largest distance of its points, Bohr; with neither, that of the model's labels.
        uncertainty: Whether to predict standard deviations too.
        draws: Draws of the weights; 0: the spread to first order in the weights.
        seed: Of the draws.
        threads: Tiles at a time; by default all cores that may be used.
        client: A ``distributed.Client``, whose workers then take the tiles; they must see ``path``.
        memory: Bytes that one worker may use.
        force: Replace an existing prediction.
        progress: Told the points done and the points of the compute grid.

    Raises:
        ModelError: The structure holds elements that the model does not know.
        StructureError: It is not a bulk cell, or atoms overlap.
        InputError: The grid, draws or memory make no sense.
        OutputError: The store exists already, or the disk is too small or full.
    """
    place = Path(path)
    if threads is not None and client is not None:
        raise InputError(f"both threads {threads} and a client are given; expected one of them; leave one out")
    run = None
    if client is not None:
        from rhoscale.prediction.run_dask import on_workers

        run = on_workers(client)
    if place.suffix != ".zarr":
        raise OutputError(f"{place} is no name for a store; expected one that ends in .zarr; choose such a name")
    system = from_atoms(atoms)
    request = _request(shape, spacing, uncertainty, draws, seed, memory)
    plan = plan_field(system, model.trained, model.content_hash, request)
    store = open_or_create(place, plan, system, model.trained, force=force)
    predict_field(plan, system, model.trained, store, threads=threads, progress=progress, run=run)
    return StoredField(store, plan.output_grid)


def _request(
    shape: Sequence[int] | None,
    spacing: float | None,
    uncertainty: bool,
    draws: int,
    seed: int,
    memory: float = GIB,
) -> Request:
    if shape is not None and len(shape) != 3:
        raise InputError(f"a grid needs three numbers of points; got shape {tuple(shape)}; give nx, ny and nz")
    counts = None if shape is None else (int(shape[0]), int(shape[1]), int(shape[2]))
    return Request(counts, spacing, uncertainty, draws, seed, memory)
