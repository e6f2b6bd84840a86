"""``bench``: the stages of a prediction on one core against what this machine can do at most."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.descriptors import Smooth, describer, spec_from_dict
from rhoscale.errors import InputError
from rhoscale.models import TrainedModel
from rhoscale.models.inference import has_bfloat16
from rhoscale.prediction.one_tile import PointPrediction, predict_tile
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.field import Request, about, plan_field
from rhoscale.recipes.machine import Ceilings, best_seconds, measure_ceilings
from rhoscale.recipes.operations import (
    leverage_products,
    network_elementwise,
    network_products,
    smooth_operations,
    spread_elementwise,
    spread_products,
)
from rhoscale.recipes.predict import read_structure
from rhoscale.recipes.prior import prior_mean
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System
from rhoscale.uncertainty.decomposition import Uncertainty

RUNS = 5
THERMAL = 0.35  # Bohr: root mean square displacement, aluminium near 900 K
REPEATS = 8
FIELDS = ("density", "aleatoric", "epistemic")


@dataclass(frozen=True)
class Stage:
    """One stage of a prediction, a point and a core.

    Attributes:
        name: What is done.
        seconds: Processor time (elapsed time where a disk is in it).
        products: Operations in matrix products, of the network's precision.
        operations: Other operations, float32; None where they are not counted.
        memory: Bytes that at least pass between memory and core; features of a block stay in the cache.
        disk: Bytes that go to the disk.
        bound: Least time that the ceilings allow, seconds; None where operations are not counted.
        limit: Which of them it is.
    """

    name: str
    seconds: float
    products: float = 0.0
    operations: float | None = 0.0
    memory: float = 0.0
    disk: float = 0.0
    bound: float | None = None
    limit: str = ""

    @property
    def fraction(self) -> float | None:
        """Share of the ceiling that is reached."""
        return None if self.bound is None else self.bound / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "points_per_second": 1.0 / self.seconds, "fraction": self.fraction}


@dataclass(frozen=True)
class BenchReport:
    """Ceilings of a machine and the stages of one model's prediction.

    Attributes:
        model: Its name.
        structure: Formula of the structure.
        spacing: Of the compute grid, Bohr.
        precision: Of the network's products.
        points: Points that each stage was timed on.
        ceilings: Of the machine.
        stages: One after the other, then all together.
    """

    model: str
    structure: str
    spacing: float
    precision: str
    points: int
    ceilings: Ceilings
    stages: tuple[Stage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "structure": self.structure,
            "spacing": self.spacing,
            "precision": self.precision,
            "points": self.points,
            "ceilings": self.ceilings.to_dict(),
            "stages": [stage.to_dict() for stage in self.stages],
        }


def bench(
    name: str = "al-pbe", structure: Path | None = None, *, bfloat16: bool | None = None, folder: Path | None = None
) -> BenchReport:
    """Measure ceilings and stages in one run, on one thread.

    Args:
        name: Bundled model, or a model's folder.
        structure: What to predict; by default 2,048 atoms of thermal aluminium.
        bfloat16: Precision of the network's products; by default what predictions use.
        folder: Whose disk is measured and written to; by default that of temporary files.

    Raises:
        RhoscaleError: The model or structure cannot be read or do not fit.
        OutputError: The folder cannot be written.
    """
    model, model_hash = load_with_hash(name)
    if bfloat16 and not has_bfloat16():
        raise InputError("this processor has no bfloat16 products; expected AVX512-BF16; leave out --precision")
    system = thermal_aluminium(model) if structure is None else read_structure(structure)
    plan = plan_field(system, model, model_hash, Request())
    ceilings = measure_ceilings(folder)
    low = model.predictor.bfloat16 if bfloat16 is None else bfloat16
    stages = _Bench(system, model, plan, low, folder).stages()
    return BenchReport(
        model=model.name,
        structure=system.formula,
        spacing=max(plan.grid.spacings),
        precision="bfloat16" if low else "float32",
        points=int(np.prod(plan.block_shape)),
        ceilings=ceilings,
        stages=tuple(bounded(stage, ceilings, bfloat16=low) for stage in stages),
    )


@dataclass(frozen=True)
class _Bench:
    """What is timed: the middle block of a plan's first tile."""

    system: System
    model: TrainedModel
    plan: PredictionPlan
    bfloat16: bool
    folder: Path | None

    def stages(self) -> tuple[Stage, ...]:
        """Time each stage on its own, then all together."""
        model, plan = self.model, self.plan
        block = next(next(iter(plan.tiles)).blocks(plan.block_shape))
        points = plan.grid.points(block.start, block.stop)
        n = len(points)
        spec = spec_from_dict(model.descriptor_spec)
        describe = describer(self.system, spec)
        features = describe(points, threads=1)
        prior = prior_mean(self.system, model)
        leverage = model.used_leverage
        predictor = model.predictor_in(bfloat16=self.bfloat16)
        density = len(self.system) / self.system.volume
        counted = smooth_operations(spec, density) if isinstance(spec, Smooth) else None
        linear = 2.0 * spec.size if model.prior_mean == "linear" else None if model.prior_mean != "none" else 0.0
        members = len(model.posterior.points)
        mean = (members * network_products(model.network), members * network_elementwise(model.network))
        more = (leverage_products(leverage), 0.0)
        if members == 1:
            more = (more[0] + spread_products(model.network), spread_elementwise(model.network))

        def whole() -> Uncertainty:
            rows = describe(points, threads=1)
            prior(points, rows)
            found, far = predictor.uncertainty_and_leverage(rows)
            return found if model.recalibration is None else model.recalibration(found, far if leverage else None)

        parts = [
            Stage("neighbours and features", _each(lambda: describe(points, threads=1), n), 0.0, counted, 24.0),
            Stage("prior mean", _each(lambda: prior(points, features), n), 0.0, linear),
            Stage("network, mean alone", _each(lambda: predictor.residual(features), n), *mean),
            Stage(
                "network, mean and both sigmas",
                _each(lambda: predictor.uncertainty(features), n),
                mean[0] + more[0],
                mean[1] + more[1],
            ),
            self._writing(),
        ]
        used = [parts[0], parts[1], parts[3]]
        operations = [stage.operations for stage in used]
        together = Stage(
            "all but writing, with both sigmas",
            _each(whole, n),
            sum(stage.products for stage in used),
            None if None in operations else sum(o for o in operations if o is not None),
            24.0,
        )
        return (*parts, together)

    def _writing(self) -> Stage:
        """Write one tile of noise of the size that densities have: what does not compress is the worst case."""
        plan = self.plan
        tile = next(iter(plan.tiles))
        rng = np.random.default_rng(0)

        def noise(points: NDArray[np.float64]) -> PointPrediction:
            fields = rng.normal(0.03, 0.01, (3, len(points))).astype(np.float32)
            return PointPrediction(fields[0], np.abs(fields[1]), np.abs(fields[2]))

        found = predict_tile(tile, plan, noise)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            store = PredictionStore.create(
                Path(folder) / "bench.zarr", plan, self.system, about(self.system, self.model)
            )
            times = []
            for _ in range(RUNS):
                start = time.perf_counter()
                store.write(found)
                times.append(time.perf_counter() - start)
            size = sum(f.stat().st_size for name in FIELDS for f in (Path(folder) / "bench.zarr" / name).rglob("*"))
        return Stage("writing a tile", min(times) / tile.size, disk=size / tile.size)


def _each(task: Callable[[], object], points: int) -> float:
    return best_seconds(task, RUNS) / points


def thermal_aluminium(model: TrainedModel) -> System:
    """A cubic cell of 2,048 aluminium atoms with random displacements.

    Raises:
        InputError: The model does not know aluminium.
    """
    if "Al" not in model.pseudopotentials:
        known = ", ".join(model.pseudopotentials)
        raise InputError(
            f'model "{model.name}" knows {known}; the structure measured by default is aluminium; give one of {known}'
        )
    whole = supercell(crystal("fcc", ("Al",), 7.65), (REPEATS,) * 3)
    moves = np.random.default_rng(0).normal(0.0, THERMAL / np.sqrt(3.0), (len(whole), 3))
    return System(whole.cell, whole.positions + moves, whole.species)


def bounded(stage: Stage, ceilings: Ceilings, *, bfloat16: bool) -> Stage:
    """The stage with the least time that arithmetic, memory or disk need, whichever is largest."""
    if stage.operations is None:
        return stage
    rate = ceilings.bfloat16 if bfloat16 and ceilings.bfloat16 else ceilings.float32
    times = {
        "arithmetic": stage.products / rate + stage.operations / ceilings.float32,
        "memory": stage.memory / ceilings.memory,
        "disk": stage.disk / ceilings.disk,
    }
    limit = max(times, key=lambda name: times[name])
    return replace(stage, bound=times[limit], limit=limit)
