"""``train``: a recipe and a data set into a model folder with an honest card."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from rhoscale.models import DenseNet, Ensemble, MeanField, Scaling, TrainedModel, save_trained
from rhoscale.models.posterior import mean_field, normal_prior, stochastic_names
from rhoscale.promolecule import fit_promolecule
from rhoscale.recipes import training_data as data
from rhoscale.recipes.atomic_tables import atomic_tables
from rhoscale.recipes.calibrate import calibrated, calibration_snapshots, validation_batches
from rhoscale.recipes.compute_grid import FITTED, ComputeGrid, choose_compute_grid
from rhoscale.recipes.config import config_from, plain
from rhoscale.recipes.evaluate import CaseErrors, cases_to_card, evaluate, test_records
from rhoscale.recipes.prior import SUMS_OF_ATOMS, promolecule_arrays, promolecule_tables, refitted
from rhoscale.recipes.torch_threads import torch_threads
from rhoscale.recipes.training_plan import TrainConfig, TransferConfig
from rhoscale.training import EpochReport, FitResult, FitSettings, ShuffledBatches, fit, second_stage

Report = Callable[[str, EpochReport | None], None]


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


@dataclass(frozen=True)
class _Stage:
    """One stage of training: its snapshots, points and history."""

    name: str
    labelled: data.Labelled
    points: PointSet
    validation: data.Labelled
    validation_points: list[PointSet] = field(repr=False)


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
    labelled = data.select(store, "train", config.data.train, config.data.subset)
    labelled = data.first(labelled, config.data.snapshots or len(labelled.records))
    validation = data.select(store, "validation", validation_batches(store, config.data), config.data.subset)
    calibration = calibration_snapshots(store, config.data)
    spec = data.specification(dict(config.descriptor), labelled)
    tables = _atoms(config, labelled, store.pseudopotential_folder)
    stage = _stage("stage 1", config, spec, labelled, validation, tables)
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
        stages.append(_second_stage(config, config.transfer, store, spec, model, stage))
    members = [_Member(config, number, model, work, report) for number in range(config.posterior.members)]
    results = [member.fitted(stages) for member in members]
    model = replace(model, posterior=_posterior([result[-1] for result in results]))
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
) -> _Stage:
    points = data.training_points(labelled, spec, config.data, config.fit.seed, tables)
    grids = [data.grid_points(s, spec, config.data.validation_spacing, tables) for s in validation.snapshots]
    return _Stage(name, labelled, points, validation, grids)


def _with_baseline(stage: _Stage, baseline: LinearBaseline) -> _Stage:
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
        posterior=_start(config, network, config.fit.seed),
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


@dataclass(frozen=True)
class _Member:
    """One network, the only one or one of an ensemble, which differ in what they start from and in the order of points.

    Attributes:
        config: The recipe.
        number: From 0; added to the recipe's seed.
        model: What all have in common.
        work: Folder of unfinished states.
        report: Told what is going on.
    """

    config: TrainConfig
    number: int
    model: TrainedModel
    work: Path
    report: Report

    def fitted(self, stages: Sequence[_Stage]) -> list[FitResult]:
        """Train in one or two stages."""
        config, network = self.config, self.model.network
        settings = replace(config.fit, seed=config.fit.seed + self.number)
        start = _start(config, network, settings.seed)
        prior = normal_prior(start.means, config.posterior.prior_deviation)
        results = [self._fit(settings, start, prior, stages[0])]
        if config.transfer is not None:
            begin = second_stage(network, results[0].posterior, prior, config.transfer.settings)
            changed = {**plain(settings), "warm_epochs": 0, **config.transfer.fit}
            settings = config_from(changed, FitSettings, "transfer: fit")
            results.append(self._fit(settings, begin.posterior, begin.prior, stages[1], begin.frozen))
        return results

    def _fit(
        self,
        settings: FitSettings,
        start: MeanField,
        prior: MeanField,
        stage: _Stage,
        frozen: frozenset[str] = frozenset(),
    ) -> FitResult:
        config, model = self.config, self.model
        name = config.posterior.named(stage.name, self.number)
        batches = ShuffledBatches(
            *data.tensors(stage.points, model.scaling), min(config.batch, len(stage.points)), settings.seed,
            config.steps_per_epoch,
        )  # fmt: skip
        count = data.effective_data(config.posterior, stage.labelled, stage.points, config.data.spacing)
        size = f"{len(stage.points)} points, {len(batches)} steps an epoch, {count:.0f} effective data"
        self.report(f"{name}: {size}", None)
        return fit(
            model.network,
            start,
            batches,
            prior=prior,
            data_count=count,
            settings=settings,
            validate=data.validation_error(
                model.network, model.scaling, stage.validation_points, stage.validation.snapshots
            ),
            frozen=frozen,
            state_path=self.work / f"{name.replace(', ', '-').replace(' ', '-')}.safetensors",
            fingerprint=_fingerprint(config, stage),
            on_epoch=lambda epoch: self.report(name, epoch),
            device=config.device,
        )


def _start(config: TrainConfig, network: DenseNet, seed: int) -> MeanField:
    means = network.initial(torch.Generator().manual_seed(seed))
    return mean_field(means, stochastic_names(network, config.posterior.stochastic), config.posterior.initial_deviation)


def _posterior(results: Sequence[FitResult]) -> MeanField | Ensemble:
    """Of the only network, or the ensemble of all."""
    return results[0].posterior if len(results) == 1 else Ensemble.of(result.posterior for result in results)


def _second_stage(
    config: TrainConfig,
    transfer: TransferConfig,
    store: SnapshotStore,
    spec: DescriptorSpec,
    model: TrainedModel,
    first_stage: _Stage,
) -> _Stage:
    labelled = data.first(data.select(store, "train", transfer.train), transfer.settings.data_fraction)
    validation = first_stage.validation
    if transfer.validation:
        validation = data.select(store, "validation", transfer.validation)
    tables = promolecule_tables(model) if model.prior_mean in SUMS_OF_ATOMS else None
    stage = _stage("stage 2", config, spec, labelled, validation, tables)
    if model.prior_mean == "linear":
        stage = _with_baseline(stage, LinearBaseline.from_arrays(model.prior_arrays))  # type: ignore[arg-type]
    return stage


def _refitted(model: TrainedModel, stage: _Stage) -> TrainedModel:
    """The linear part fitted again, to the densities less what the network adds.

    The likelihood weighs points by their noise, so its errors need not cancel; those of least squares are orthogonal
    to every feature. It costs nothing in predictions, where it takes the place of the first.
    """

    def left(points: PointSet) -> PointSet:
        return data.without(points, model.predictor.residual)

    return refitted(model, data.linear_prior(left(stage.points), [left(v) for v in stage.validation_points]))


def _fingerprint(config: TrainConfig, stage: _Stage) -> str:
    kept = {k: v for k, v in plain(config).items() if k not in ("output", "evaluation", "summary", "name")}
    return f"{kept} {stage.labelled.content_hash} {stage.validation.content_hash}"


def _key(stage: _Stage) -> str:
    return stage.name.replace(" ", "_")


def _card(
    config: TrainConfig,
    store: SnapshotStore,
    stages: Sequence[_Stage],
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
