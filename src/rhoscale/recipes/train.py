"""``train``: a recipe and a data set into a model folder with an honest card."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rhoscale import __version__
from rhoscale.baselines.linear import LinearBaseline
from rhoscale.datasets.points import PointSet
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import DescriptorSpec
from rhoscale.errors import OutputError
from rhoscale.models import Scaling, TrainedModel, save_trained
from rhoscale.promolecule import fit_promolecule
from rhoscale.recipes import training_data as data
from rhoscale.recipes.atomic_tables import atomic_tables
from rhoscale.recipes.calibrate import calibrated, calibration_snapshots, training_batches, validation_batches
from rhoscale.recipes.compute_grid import FITTED, ComputeGrid, choose_compute_grid
from rhoscale.recipes.config import plain
from rhoscale.recipes.evaluate import CaseErrors, cases_to_card, evaluate, test_records
from rhoscale.recipes.label_correction import LabelCorrection, label_correction
from rhoscale.recipes.member import Member, Report, Stage, posterior_of, start_of
from rhoscale.recipes.prior import SUMS_OF_ATOMS, promolecule_arrays, promolecule_tables, refitted
from rhoscale.recipes.torch_threads import torch_threads
from rhoscale.recipes.training_plan import TrainConfig, TransferConfig
from rhoscale.training import FitResult

MOST_ROUNDING = 2e-6
"""Of the last linear fit, over the density's spread: predictions in other tiles then agree to 1e-5 of the range."""


@dataclass(frozen=True)
class TrainReport:
    """What a training left.

    Attributes:
        folder: The model.
        cases: Errors of each test case.
        seconds: Elapsed time, of this call alone if the run was resumed.
    """

    folder: Path
    model: TrainedModel
    cases: list[CaseErrors]
    seconds: float


def train(
    config: TrainConfig, *, resume: bool = False, force: bool = False, report: Report = lambda *_: None
) -> TrainReport:
    """Train, recalibrate on held-out snapshots, judge on test snapshots, and save.

    A killed run keeps its state in ``work`` inside the output folder; with ``resume`` the same recipe goes on from
    there and ends with the same weights (same machine, same threads).

    Args:
        config: The recipe.
        resume: Go on with an unfinished run.
        force: Replace a finished model or throw an unfinished run away.
        report: Told what is going on: words, and the epoch if one ended.

    Raises:
        RhoscaleError: Of the kind that fits what is wrong with the recipe, the data or the output.
    """
    with torch_threads(config.threads):
        return _train(config, resume=resume, force=force, report=report)


def _train(config: TrainConfig, *, resume: bool, force: bool, report: Report) -> TrainReport:
    started = time.monotonic()
    store = SnapshotStore.open(config.data.path)
    test_records(store, config.evaluation)  # before hours of training, not after
    _refuse_output(config.output, resume=resume, force=force)
    report("reading snapshots and describing points", None)
    labelled = data.select(store, "train", training_batches(store, config.data), config.data.subset)
    labelled = data.first(labelled, config.data.snapshots or len(labelled.records))
    validation = data.select(store, "validation", validation_batches(store, config.data), config.data.subset)
    calibration = calibration_snapshots(store, config.data)
    spec = data.specification(dict(config.descriptor), labelled)
    tables = _atoms(config, labelled, store.pseudopotential_folder)
    correction = None
    if config.data.converged:
        report("comparing labels of training with better ones", None)
        correction = label_correction(store, config.data.converged, labelled, spec, config.data.spacing)
    stage = _stage("stage 1", config, spec, labelled, validation, tables, correction)
    prior_arrays: Mapping[str, NDArray[np.float64]] = {} if tables is None else promolecule_arrays(tables)
    if config.prior_mean == "linear":
        baseline = data.linear_prior(stage.points, stage.validation_points)
        stage, prior_arrays = _with_baseline(stage, baseline), baseline.to_arrays()
    work = _work_folder(config.output, force=force)
    scaling = Scaling.of(stage.points.features, stage.points.residual)
    report("choosing the compute grid", None)
    grid = choose_compute_grid(labelled, validation, config.compute_spacing)
    model = _untrained(config, spec, labelled, scaling, prior_arrays, grid)
    stages = [stage]
    if config.transfer is not None:
        stages.append(_second_stage(config, config.transfer, store, spec, model, stage, correction))
    members = [Member(config, number, model, work, report) for number in range(config.posterior.members)]
    results = [member.fitted(stages) for member in members]
    model = replace(model, posterior=posterior_of([result[-1] for result in results]))
    if config.prior_mean == "linear":
        report("fitting the linear part again, to what the network leaves", None)
        model = _refitted(model, stages[-1])
    held_out = calibration or stages[-1].validation
    report(f"recalibrating on {len(held_out.records)} held-out snapshots", None)
    seen = data.together([stage.labelled for stage in stages])
    model = calibrated(model, held_out, seen, config.evaluation.draws, recalibrate=config.recalibrate)
    report("judging on test snapshots", None)
    cases = evaluate(model, store, config.evaluation, report=lambda text: report(text, None))
    seconds = time.monotonic() - started
    card = {**_card(config, store, stages, results, held_out, cases, seconds), "compute_grid": grid.to_card()}
    if correction is not None:
        card["data"]["label_correction"] = correction.about()
    model = replace(model, card=card)
    save_trained(model, config.output, force=True)
    shutil.rmtree(work)
    return TrainReport(config.output, model, cases, seconds)


def _refuse_output(output: Path, *, resume: bool, force: bool) -> None:
    if not force and (output / "card.toml").exists():
        raise OutputError(f"{output} already holds a model; expected a new folder; use --out, or --force to replace it")
    if not force and not resume and (output / "work").exists():
        raise OutputError(
            f"{output} holds an unfinished run; expected --resume to go on with it or --force to throw it away"
        )
    existing = next(p for p in (output, *output.absolute().parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise OutputError(f"{output} cannot be made in {existing}; expected a folder that can be written to; use --out")


def _work_folder(output: Path, *, force: bool) -> Path:
    """Where a run keeps its state; made once the recipe and the data are known to be usable."""
    work = output / "work"
    if force:
        shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {work} ({error}); expected a writable place; use --out") from error
    return work


def _atoms(config: TrainConfig, labelled: data.Labelled, folder: Path) -> data.Tables | None:
    """The atomic densities whose sum is the prior mean, or None."""
    if config.prior_mean == "promolecule":
        return atomic_tables(labelled.pseudopotentials, folder)
    if config.prior_mean == "fitted-promolecule":
        return fit_promolecule(labelled.spread(FITTED), labelled.pseudopotentials)
    return None


def _stage(
    name: str,
    config: TrainConfig,
    spec: DescriptorSpec,
    labelled: data.Labelled,
    validation: data.Labelled,
    tables: data.Tables | None,
    correction: LabelCorrection | None,
) -> Stage:
    points = data.training_points(labelled, spec, config.data, config.fit.seed, tables)
    grids = [data.grid_points(s, spec, config.data.validation_spacing, tables) for s in validation.snapshots]
    if correction is not None:
        points, *grids = [correction.corrected(p) for p in (points, *grids)]
    return Stage(name, labelled, points, validation, grids)


def _with_baseline(stage: Stage, baseline: LinearBaseline) -> Stage:
    return replace(
        stage,
        points=data.with_linear_prior(stage.points, baseline),
        validation_points=[data.with_linear_prior(p, baseline) for p in stage.validation_points],
    )


def _untrained(
    config: TrainConfig,
    spec: DescriptorSpec,
    labelled: data.Labelled,
    scaling: Scaling,
    prior_arrays: Mapping[str, NDArray[np.float64]],
    grid: ComputeGrid,
) -> TrainedModel:
    network = config.network.network(spec.size)
    return TrainedModel(
        name=config.name,
        network=network,
        posterior=start_of(config, network, config.fit.seed),
        scaling=scaling,
        descriptor_spec=spec.to_dict(),
        pseudopotentials=labelled.pseudopotentials,
        functional=labelled.functional,
        compute_spacing=grid.spacing,
        label_spacing=grid.label_spacing,
        sharp=grid.sharp,
        prior_mean=config.prior_mean,
        prior_arrays=prior_arrays,
    )


def _second_stage(
    config: TrainConfig,
    transfer: TransferConfig,
    store: SnapshotStore,
    spec: DescriptorSpec,
    model: TrainedModel,
    first_stage: Stage,
    correction: LabelCorrection | None,
) -> Stage:
    labelled = data.first(data.select(store, "train", transfer.train), transfer.settings.data_fraction)
    validation = first_stage.validation
    if transfer.validation:
        validation = data.select(store, "validation", transfer.validation)
    tables = promolecule_tables(model) if model.prior_mean in SUMS_OF_ATOMS else None
    stage = _stage("stage 2", config, spec, labelled, validation, tables, correction)
    if model.prior_mean == "linear":
        stage = _with_baseline(stage, LinearBaseline.from_arrays(model.prior_arrays))  # type: ignore[arg-type]
    return stage


def _refitted(model: TrainedModel, stage: Stage) -> TrainedModel:
    """The linear part fitted again, to the densities less what the network adds.

    The likelihood weighs points by their noise, so its errors need not cancel; those of least squares are orthogonal
    to every feature. It costs nothing in predictions, where it takes the place of the first, and whatever else is done
    with the features they are the same function of the atoms in any tiling: rounding is held down.
    """

    def left(points: PointSet) -> PointSet:
        return data.without(points, model.predictor.residual)

    validation = [left(v) for v in stage.validation_points]
    return refitted(model, data.linear_prior(left(stage.points), validation, most_rounding=MOST_ROUNDING))


def _key(stage: Stage) -> str:
    return stage.name.replace(" ", "_")


def _card(
    config: TrainConfig,
    store: SnapshotStore,
    stages: Sequence[Stage],
    results: Sequence[Sequence[FitResult]],
    held_out: data.Labelled,
    cases: Sequence[CaseErrors],
    seconds: float,
) -> dict[str, Any]:
    return {
        "summary": config.summary,
        "data": {
            "name": str(store.header.get("name", store.path.name)),
            **{_key(stage): {"train": stage.labelled.about()} for stage in stages},
            "validation": stages[-1].validation.about(),
            "calibration": held_out.about(),
        },
        "training": {
            _key(stage) + (f"_member_{number + 1}" if number else ""): {
                "points": len(stage.points),
                "effective_data": data.effective_data(
                    config.posterior, stage.labelled, stage.points, config.data.spacing
                ),
                "best_epoch": result.best_epoch,
                "epochs": len(result.history),
                "seconds": round(sum(r.seconds for r in result.history), 1),
                "validation_l1": [r.validation for r in result.history],
                "data_term": [r.data for r in result.history],
                "complexity": [r.complexity for r in result.history],
            }
            for number, of_member in enumerate(results)
            for stage, result in zip(stages, of_member, strict=True)
        },
        "errors": cases_to_card(cases),
        "recipe": plain(replace(config, output=Path(config.output.name))),
        "provenance": {
            "rhoscale": __version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 1),
        },
    }
