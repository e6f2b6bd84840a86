"""Training one network of a model: the only one, or a member of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from rhoscale.datasets.points import PointSet
from rhoscale.models import DenseNet, Ensemble, MeanField, TrainedModel
from rhoscale.models.posterior import mean_field, normal_prior, stochastic_names
from rhoscale.recipes import training_data as data
from rhoscale.recipes.config import config_from, plain
from rhoscale.recipes.training_plan import TrainConfig
from rhoscale.training import EpochReport, FitResult, FitSettings, ShuffledBatches, fit, second_stage

Report = Callable[[str, EpochReport | None], None]


@dataclass(frozen=True)
class Stage:
    """What one stage of training sees, the same for all members: its snapshots and their points."""

    name: str
    labelled: data.Labelled
    points: PointSet
    validation: data.Labelled
    validation_points: list[PointSet] = field(repr=False)


@dataclass(frozen=True)
class Member:
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

    def fitted(self, stages: Sequence[Stage]) -> list[FitResult]:
        """Train in one or two stages."""
        config, network = self.config, self.model.network
        settings = replace(config.fit, seed=config.fit.seed + self.number)
        start = start_of(config, network, settings.seed)
        prior = _prior(config, start)
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
        stage: Stage,
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


def start_of(config: TrainConfig, network: DenseNet, seed: int) -> MeanField:
    """Where a network starts: parameters drawn with the seed, all of one deviation."""
    means = network.initial(torch.Generator().manual_seed(seed))
    return mean_field(means, stochastic_names(network, config.posterior.stochastic), config.posterior.initial_deviation)


def _prior(config: TrainConfig, start: MeanField) -> MeanField:
    """The prior of the parameters; members of an ensemble have theirs about where each starts.

    So they agree where the data tell them to, and nowhere else (T. Pearce, F. Leibfried, A. Brintrup, AISTATS 2020).
    """
    prior = normal_prior(start.means, config.posterior.prior_deviation)
    return prior if config.posterior.members == 1 else replace(prior, means=start.means)


def posterior_of(results: Sequence[FitResult]) -> MeanField | Ensemble:
    """Of the only network, or the ensemble of all."""
    return results[0].posterior if len(results) == 1 else Ensemble.of(result.posterior for result in results)


def _fingerprint(config: TrainConfig, stage: Stage) -> str:
    kept = {k: v for k, v in plain(config).items() if k not in ("output", "evaluation", "summary", "name")}
    return f"{kept} {stage.labelled.content_hash} {stage.validation.content_hash}"
