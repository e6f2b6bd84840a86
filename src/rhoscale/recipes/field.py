"""From a structure and a trained model to a finished store: refusals, plan, run, rescaling, verdict."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from zarr.storage import MemoryStore

from rhoscale import __version__
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.errors import InputError
from rhoscale.grid import SMALLEST_SPACING, Grid, Shape
from rhoscale.models import TrainedModel
from rhoscale.postprocess.charge import charge_factor
from rhoscale.prediction.attempts import RETRIES, Predict
from rhoscale.prediction.field import choose_grid, coarsest_grid
from rhoscale.prediction.levels import write_levels
from rhoscale.prediction.plan import GIB, PredictionPlan, Workload, plan_prediction, rounding_step
from rhoscale.prediction.refusals import refuse_overlaps, refuse_unknown_elements
from rhoscale.prediction.run_local import Progress, run_local
from rhoscale.prediction.statistics import describe_field
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.verdict import FieldTotals, Verdict, judge
from rhoscale.recipes.cores import usable_cores
from rhoscale.recipes.model_tiles import ModelTiles
from rhoscale.recipes.prior import prior_reach
from rhoscale.recipes.range_check import share_far
from rhoscale.recipes.torch_threads import torch_threads
from rhoscale.system import System

DRAWS = 0
WORST_SHOWN = 3
KIND = "periodic, not spin-polarised, not all-electron"


class Run(Protocol):
    """Brings all tiles that are not written yet through ``predict`` into the store."""

    def __call__(
        self,
        plan: PredictionPlan,
        predict: Predict,
        store: PredictionStore,
        *,
        retries: int,
        progress: Progress | None,
    ) -> None:
        """Run the plan to its end."""
        ...


@dataclass(frozen=True)
class Request:
    """What a user asks of a model.

    Attributes:
        shape: Points of the output grid along each cell vector, or None.
        spacing: Or the largest distance of its points, Bohr; with neither, the model's own grid is handed out.
        uncertainty: Whether to predict standard deviations.
        draws: Draws of the weights; 0: the spread to first order in them, at a thirtieth of the cost of 20 draws.
        seed: Of the draws.
        memory: Bytes that one worker may use.
    """

    shape: Shape | None = None
    spacing: float | None = None
    uncertainty: bool = True
    draws: int = DRAWS
    seed: int = 0
    memory: float = GIB


@dataclass(frozen=True)
class Summary:
    """What a finished prediction says about itself.

    Attributes:
        electrons: Valence electrons in the cell, to which the field is rescaled.
        totals: Sums of the model's raw values.
        charge_factor: Factor from raw to rescaled values.
        verdict: Range and expected error; None without uncertainty.
        statistics: Means, quantiles, histogram and worst tiles of the rescaled field, as plain values.
    """

    electrons: float
    totals: FieldTotals
    charge_factor: float
    verdict: Verdict | None
    statistics: Mapping[str, Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return {
            "electrons": self.electrons,
            "raw_electrons": self.totals.electrons,
            "charge_factor": self.charge_factor,
            "raw": self.totals.to_dict(),
            "verdict": None if self.verdict is None else {**self.verdict.to_dict(), "words": str(self.verdict)},
            "statistics": dict(self.statistics),
        }

    def __str__(self) -> str:
        change = 100 * (self.totals.electrons / self.electrons - 1)
        return (
            f"electrons  {self.totals.electrons:.4f} predicted, {self.electrons:g} expected ({change:+.3f} %); "
            f"rescaled by {self.charge_factor:.6f}\n"
            f"{_in_words(self.statistics)}\n"
            f"verdict    {self.verdict or 'not judged: predicted without uncertainty'}"
        )


def _in_words(statistics: Mapping[str, Any]) -> str:
    density = statistics["density"]
    lines = [f"density    {density['min']:.4g} to {density['max']:.4g}, mean {density['mean']:.4g} e/Bohr^3"]
    for name in ("aleatoric", "epistemic", "total") if "total" in statistics else ():
        found = statistics[name]
        half, most = (found["quantiles"][share] for share in ("0.5", "0.99"))
        lines.append(f"{name:<10} mean {found['mean']:.3g}, median {half:.3g}, 99 % below {most:.3g} e/Bohr^3")
    for worst in statistics.get("worst_tiles", ())[:WORST_SHOWN]:
        place = ", ".join(f"{x:.1f}" for x in worst["position"])
        lines.append(f"worst      tile {worst['tile']}: {worst['total']:.3g} e/Bohr^3 at ({place}) Bohr")
    return "\n".join(lines)


def plan_field(system: System, model: TrainedModel, model_hash: str, request: Request) -> PredictionPlan:
    """Refuse what the model cannot answer and plan the rest.

    Raises:
        ModelError: The structure holds elements that the model does not know.
        StructureError: Atoms overlap, or an element is missing that the model's descriptor needs.
        InputError: The grid, draws or memory make no sense.
    """
    refuse_unknown_elements(system, model.pseudopotentials, model.name)
    refuse_overlaps(system, model.range.get("smallest_distance"))
    output = choose_grid(system.cell, request.shape, request.spacing)
    if output is not None:
        _refuse_too_fine(output)
    elif model.label_spacing is not None:
        output = Grid.from_spacing(system.cell, model.label_spacing)
    spec = spec_from_dict(model.descriptor_spec)
    describer(_one_of_each(system), spec)
    halo = max(spec.reach, prior_reach(model))
    width = model.network.width * (model.network.layers + 2)
    return plan_prediction(
        system,
        coarsest_grid(system.cell, model.compute_spacing),
        Workload(features=2 * spec.size, activations=width + 4 * request.draws, halo=halo),
        model=model.name,
        model_hash=model_hash,
        output_shape=None if output is None else output.shape,
        uncertainty=request.uncertainty,
        draws=request.draws,
        seed=request.seed,
        sigma_limit=model.range.get("largest_total"),
        density_step=rounding_step(system.electrons(model.pseudopotentials) / system.volume),
        memory=request.memory,
    )


def _refuse_too_fine(grid: Grid) -> None:
    """A shape is held to the bound of a spacing; the disk says nothing, for stores keep the compute grid alone."""
    if min(grid.spacings) < SMALLEST_SPACING:
        most = np.floor(np.linalg.norm(grid.cell, axis=1) / SMALLEST_SPACING).astype(int)
        raise InputError(
            f"{' x '.join(map(str, grid.shape))} points of the output grid are {min(grid.spacings):.3g} Bohr apart; "
            f"expected at least {SMALLEST_SPACING} Bohr (a valence density has no finer waves), which is at most "
            f"{' x '.join(map(str, most))} points in this cell; ask for fewer"
        )


def about(system: System, model: TrainedModel) -> dict[str, Any]:
    """What the attributes of a store say beside the plan."""
    used = {element: model.pseudopotentials[element] for element in system.elements}
    names = ", ".join(f"{element} {identity.name}" for element, identity in used.items())
    return {
        "what": f"valence pseudo-density of {names} ({model.functional}), " + KIND,
        "electrons": system.electrons(model.pseudopotentials),
        **({} if math.isinf(model.freedom) else {"freedom": model.freedom}),
        "functional": model.functional,
        "pseudopotentials": {element: p.to_dict() for element, p in used.items()},
        "prior_mean": model.prior_mean,
        "descriptor": dict(model.descriptor_spec),
        "provenance": {
            "rhoscale": __version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
    }


def predict_field(
    plan: PredictionPlan,
    system: System,
    model: TrainedModel,
    store: PredictionStore,
    *,
    threads: int | None = None,
    retries: int = RETRIES,
    progress: Progress | None = None,
    run: Run | None = None,
) -> Summary:
    """Run a plan to its end: all tiles that are not there yet, rescaling, statistics, verdict.

    Args:
        plan: What to do.
        system: The structure.
        model: The model.
        store: Of this plan.
        threads: Tiles at a time on this machine; by default all cores that may be used.
        retries: How often a failed tile is tried again.
        progress: Told the points done and the points of the compute grid.
        run: Brings the tiles to workers elsewhere, in place of threads.

    Raises:
        OutputError: No space left; what is written stays usable.
        ModelError: The model gives values that are not finite.
        TileError: A tile failed again and again for another reason.
        EmptyDensityError: The density integrates to zero or less.
    """
    threads = threads or usable_cores()
    run = run or partial(run_local, threads=threads)
    with torch_threads(1):
        run(plan, ModelTiles(store, model), store, retries=retries, progress=progress)
    rows = store.statistics()
    totals = FieldTotals.from_tiles(rows, plan.grid.volume_element)
    electrons = system.electrons(model.pseudopotentials)
    factor = charge_factor(totals.electrons, electrons)
    summary = Summary(
        electrons=electrons,
        totals=totals,
        charge_factor=factor,
        verdict=judge(totals, plan.grid.volume, electrons, model.range, share_far(store, model))
        if plan.uncertainty
        else None,
        statistics=describe_field(rows, store.histograms(), plan.grid, factor, sigmas=plan.uncertainty),
    )
    write_levels(store, factor, threads=threads)
    store.finish(summary.charge_factor, summary.to_dict())
    return summary


def measure_speed(plan: PredictionPlan, system: System, model: TrainedModel) -> PredictionPlan:
    """The plan with the speed of one worker, from the second of two evaluations of its middle block."""
    tiles = ModelTiles(PredictionStore.create(MemoryStore(), plan, system, {}), model)
    middle = (plan.n_tiles - 1) // 2
    tile = next(islice(plan.tiles, middle, None))
    block = next(tile.blocks(plan.block_shape))
    points = plan.grid.points(block.start, block.stop)
    with torch_threads(1):
        predict_points = tiles.predictor(tile, plan.halo)
        predict_points(points)
        start = time.perf_counter()
        predict_points(points)
        seconds = time.perf_counter() - start
    return replace(plan, points_per_second=block.size / seconds)


def _one_of_each(system: System) -> System:
    """The crystal with one atom of each element: enough to see whether a descriptor knows and has what it needs."""
    _, first = np.unique(system.species, return_index=True)
    return System(system.cell, system.positions[first], system.species[first])
