"""One training of a transfer study: known by what it depends on, done once, resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rhoscale import __version__
from rhoscale.datasets.points import PointSet
from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.descriptors import DescriptorSpec
from rhoscale.errors import FormatError, OutputError
from rhoscale.formats.whole_file import whole_file
from rhoscale.models import Scaling, TrainedModel, load_trained, save_trained
from rhoscale.models.card import content_hash
from rhoscale.models.posterior import mean_field, normal_prior, stochastic_names
from rhoscale.recipes import training_data as data
from rhoscale.recipes.claims import claim
from rhoscale.recipes.config import plain
from rhoscale.recipes.study_transfer_plan import Selection, TransferStudyConfig
from rhoscale.recipes.training_plan import DataConfig
from rhoscale.training import EpochReport, FitResult, FitSettings, ShuffledBatches, TransferSettings, fit, second_stage

Report = Callable[[str, EpochReport | None], None]
KEY_LENGTH = 20
PROBE_STEPS = 20
PROBE_POINTS = 4096


@dataclass(frozen=True)
class Training:
    """One fit.

    Attributes:
        selection: Snapshots.
        settings: How the loss is minimised; its seed is also that of starting weights and points.
        first: The training that this one starts from, as the second stage of transfer.
        frozen: Share of the hidden layers that keep their parameters in a second stage.
    """

    selection: Selection
    settings: FitSettings
    first: Training | None = None
    frozen: float = 0.0

    @property
    def epochs(self) -> int:
        """Epochs of this fit."""
        return self.settings.warm_epochs + self.settings.epochs


@dataclass(frozen=True)
class TrainingResult:
    """What a finished fit is worth.

    Attributes:
        key: Hash of all that it depends on; name of its files.
        validation: Lowest validation error of the variational phase, L1 per electron.
        best_epoch: Epoch that it belongs to.
        steps: Gradient steps of this fit.
        core_seconds: Processor time of this fit; of one that went on after a kill, that of the last call for each of
            its epochs, times all epochs.
    """

    key: str
    validation: float
    best_epoch: int
    steps: int
    core_seconds: float


@dataclass(frozen=True)
class Bench:
    """What all trainings of a study share.

    Attributes:
        config: The recipe.
        store: Its data set.
        validation_records: Cells that choose epochs and rates.
        report: Told what is going on, and each epoch.
    """

    config: TransferStudyConfig
    store: SnapshotStore
    validation_records: tuple[Record, ...]
    report: Report = field(default=lambda *_: None, repr=False)

    @cached_property
    def validation(self) -> data.Labelled:
        """Snapshots of the validation cells."""
        return self.labelled(self.validation_records)

    @cached_property
    def validation_points(self) -> list[PointSet]:
        """Described points of each validation cell."""
        spacing = self.config.points.validation_spacing
        return [data.grid_points(s, self.spec, spacing) for s in self.validation.snapshots]

    @cached_property
    def spec(self) -> DescriptorSpec:
        """The descriptor."""
        return data.specification(dict(self.config.model.descriptor), self.validation)

    @cached_property
    def speed(self) -> tuple[float, float]:
        """Core-seconds of a gradient step and of a validation point on this machine."""
        return _speed(self.config, self.spec.size)

    def labelled(self, records: Sequence[Record]) -> data.Labelled:
        """Load snapshots."""
        return data.Labelled(tuple(records), tuple(self.store.load(r) for r in records))

    def folder(self, kind: str) -> Path:
        """A folder of the study: ``models``, ``trained``, ``judged`` or ``work``.

        Raises:
            OutputError: It cannot be made.
        """
        path = self.config.output / kind
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {path} ({error}); expected a writable place; use --out"
            ) from error
        return path

    def key(self, training: Training) -> str:
        """Hash of all that the result of a training depends on."""
        return content_hash(self.identity(training))[:KEY_LENGTH]

    def identity(self, training: Training) -> dict[str, Any]:
        """All that the result of a training depends on, as plain values."""
        config, sizes = self.config, self.config.model.network.network(1)
        records = training.selection.small + training.selection.large
        return {
            "snapshots": [r.snapshot for r in records],
            "validation": [r.snapshot for r in self.validation_records],
            "settings": asdict(training.settings) | {"checkpoint_seconds": 0.0},
            "steps_per_epoch": config.steps_per_epoch,
            "batch": config.batch,
            "descriptor": dict(config.model.descriptor),
            "network": sizes.to_dict(),
            "posterior": plain(config.model.posterior),
            "points": plain(config.points),
            "threads": config.threads,
            "frozen": training.frozen,
            "first": None if training.first is None else self.key(training.first),
        }


def trainings_of(
    config: TransferStudyConfig, kind: str, frozen: float, selection: Selection, seed: int, rate: float
) -> Training:
    """The training of an arm: one stage, or for transfer the second of two; always the same number of steps."""
    settings = replace(config.fit, seed=seed)
    if kind != "transfer":
        return Training(selection, replace(settings, learning_rate=rate))
    first = replace(settings, epochs=settings.epochs - config.second_epochs)
    second = replace(settings, warm_epochs=0, epochs=config.second_epochs, learning_rate=rate)
    return Training(Selection((), selection.large), second, Training(Selection(selection.small, ()), first), frozen)


def finished(bench: Bench, training: Training) -> TrainingResult | None:
    """The result of a training if it is there.

    Raises:
        FormatError: Its file is damaged.
    """
    file = bench.config.output / "trained" / f"{bench.key(training)}.json"
    if not file.exists():
        return None
    try:
        return TrainingResult(**json.loads(file.read_text(encoding="utf-8"))["result"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{file} is no readable result of a training ({error}); delete it and run again") from error


def train_once(bench: Bench, training: Training) -> TrainingResult:
    """Train unless the result is there already; a killed training goes on from its last state.

    Two processes that want the same training do it once: the second waits for the first.
    """
    key = bench.key(training)
    with claim(bench.folder("work") / f"{key}.lock", blocking=True):
        known = finished(bench, training)
        if known is not None:
            return known
        start = None if training.first is None else train_once(bench, training.first)
        epochs_now: list[int] = []
        begun = time.process_time()
        model, fitted = _fit(bench, training, None if start is None else start.key, epochs_now.append)
        spent = time.process_time() - begun
        save_trained(model, bench.folder("models") / key, force=True)
        validation = [h.validation for h in fitted.history]
        result = TrainingResult(
            key=key,
            validation=float(validation[fitted.best_epoch] or 0.0),
            best_epoch=fitted.best_epoch,
            steps=len(validation) * bench.config.steps_per_epoch,
            core_seconds=round(_of_all_epochs(spent, len(epochs_now), fitted), 2),
        )
        _write(bench, training, result, validation)
        (bench.folder("work") / f"{key}.safetensors").unlink(missing_ok=True)
        return result


def _of_all_epochs(spent: float, epochs: int, fitted: FitResult) -> float:
    """Processor time of all epochs from that of some; elapsed time where a call found all of them done."""
    return spent * len(fitted.history) / epochs if epochs else sum(h.seconds for h in fitted.history)


def load_model(bench: Bench, result: TrainingResult) -> TrainedModel:
    """The model that a training left."""
    return load_trained(bench.config.output / "models" / result.key)


def seconds_of(bench: Bench, training: Training) -> float:
    """Estimate the processor time of a training, without the stage before it."""
    per_step, per_point = bench.speed
    points = sum(len(p) for p in bench.validation_points)
    return training.epochs * (bench.config.steps_per_epoch * per_step + points * per_point)


def _speed(config: TransferStudyConfig, inputs: int) -> tuple[float, float]:
    """Core-seconds of a gradient step and of a validation point, from a few on random numbers."""
    network = config.model.network.network(inputs)
    generator = torch.Generator().manual_seed(0)
    start = mean_field(network.initial(generator), stochastic_names(network, config.model.posterior.stochastic), 1e-3)
    x = torch.randn((max(PROBE_POINTS, config.batch), inputs), generator=generator)
    batches = ShuffledBatches(x, x[:, 0].clone(), torch.ones(len(x)), config.batch, 0, PROBE_STEPS)
    prior, settings = normal_prior(start.means, 1.0), FitSettings(epochs=1, warm_epochs=0)
    for _ in range(2):  # the first call also loads and compiles
        begun = time.process_time()
        fit(network, start, batches, prior=prior, data_count=1e4, settings=settings)
        step = (time.process_time() - begun) / PROBE_STEPS
    begun = time.process_time()
    with torch.inference_mode():
        network.forward(start.means, x[:PROBE_POINTS])
    return step, (time.process_time() - begun) / PROBE_POINTS


def _fit(
    bench: Bench, training: Training, start: str | None, on_epoch: Callable[[int], None]
) -> tuple[TrainedModel, FitResult]:
    config, spec = bench.config, bench.spec
    labelled = bench.labelled(training.selection.small + training.selection.large)
    points = data.training_points(labelled, spec, _data_config(config), training.settings.seed)
    untrained = _untrained(bench, labelled, points, training.settings.seed)
    prior = normal_prior(untrained.variational.means, config.model.posterior.prior_deviation)
    frozen: frozenset[str] = frozenset()
    if start is not None:
        before = load_trained(config.output / "models" / start)
        begin = second_stage(before.network, before.variational, prior, TransferSettings(frozen=training.frozen))
        untrained, prior, frozen = replace(before, posterior=begin.posterior), begin.prior, begin.frozen
    model, key = untrained, bench.key(training)
    batches = ShuffledBatches(
        *data.tensors(points, model.scaling), min(config.batch, len(points)), training.settings.seed,
        config.steps_per_epoch,
    )  # fmt: skip
    state = bench.folder("work") / f"{key}.safetensors"
    validate = data.validation_error(model.network, model.scaling, bench.validation_points, bench.validation.snapshots)

    def heard(epoch: EpochReport) -> None:
        on_epoch(epoch.epoch)
        bench.report("", epoch)

    result = fit(
        model.network, model.variational, batches, prior=prior, settings=training.settings, validate=validate,
        data_count=data.effective_data(config.model.posterior, labelled, points, config.points.spacing),
        frozen=frozen, state_path=state, fingerprint=key, on_epoch=heard,
    )  # fmt: skip
    return replace(model, name=key, posterior=result.posterior), result


def _untrained(bench: Bench, labelled: data.Labelled, points: PointSet, seed: int) -> TrainedModel:
    """A network as it starts; every arm without transfer starts from the same weights for a seed."""
    config, spec = bench.config, bench.spec
    network = config.model.network.network(spec.size)
    start = network.initial(torch.Generator().manual_seed(seed))
    stochastic = stochastic_names(network, config.model.posterior.stochastic)
    return TrainedModel(
        name="untrained",
        network=network,
        posterior=mean_field(start, stochastic, config.model.posterior.initial_deviation),
        scaling=Scaling.of(points.features, points.residual),
        descriptor_spec=spec.to_dict(),
        pseudopotentials=labelled.pseudopotentials,
        functional=labelled.functional,
        compute_spacing=config.points.spacing,
    )


def _data_config(config: TransferStudyConfig) -> DataConfig:
    points = config.points
    return DataConfig(config.data.path, spacing=points.spacing, fraction=points.fraction, importance=points.importance)


def _write(bench: Bench, training: Training, result: TrainingResult, validation: Sequence[float | None]) -> None:
    records = training.selection.small + training.selection.large
    values = {
        "result": asdict(result),
        "identity": bench.identity(training),
        "tasks": [r.task for r in records],
        "validation_l1": list(validation),
        "provenance": {"rhoscale": __version__, "torch": torch.__version__},
    }
    write_json(bench.folder("trained") / f"{result.key}.json", values)


def write_json(path: Path, values: Any) -> None:
    """Write plain values as a file that is whole or not there."""
    with whole_file(path, force=True) as file:
        file.write((json.dumps(values, indent=1) + "\n").encode())
