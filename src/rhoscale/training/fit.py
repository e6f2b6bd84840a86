"""One loop for every training: squared error on the means first, then the evidence lower bound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rhoscale.errors import InputError, ModelError
from rhoscale.models.dense_network import DenseNet, Parameters
from rhoscale.models.elbo import negative_elbo
from rhoscale.models.likelihood import squared_error
from rhoscale.models.posterior import MeanField
from rhoscale.training.batches import Batch
from rhoscale.training.soap import Soap
from rhoscale.training.state import TrainingState


@dataclass(frozen=True)
class FitSettings:
    """How the loss is minimised; the defaults were chosen by measurement (docs/training.md).

    Attributes:
        epochs: Epochs of the variational phase.
        warm_epochs: Epochs of squared error on the deterministic network before it.
        optimiser: ``soap`` (:mod:`rhoscale.training.soap`) or ``adam`` (paper, appendix F).
        learning_rate: Of the optimiser (paper, appendix F: 1e-3).
        schedule: ``cosine`` lets the rate fall to zero over the variational phase, ``constant`` keeps it.
        deviation_rate: Learning rate of the log deviations, as a multiple of ``learning_rate``.
        beta: 0 for eq. 5; see :func:`rhoscale.models.likelihood.negative_log_likelihood`.
        estimator: See :func:`rhoscale.models.posterior.stochastic_forward`.
        patience: Epochs without a better validation error after which the variational phase stops; 0: never.
        seed: Of shuffling and draws.
        checkpoint_seconds: Time between two states on disk.
    """

    epochs: int = 80
    warm_epochs: int = 10
    optimiser: Literal["soap", "adam"] = "soap"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    deviation_rate: float = 10.0
    beta: float = 0.0
    estimator: Literal["local", "weights"] = "local"
    patience: int = 0
    seed: int = 0
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or min(self.warm_epochs, self.patience) < 0 or not 0 < self.learning_rate < math.inf:
            raise InputError(
                f"epochs = {self.epochs}, warm_epochs = {self.warm_epochs}, patience = {self.patience} and "
                f"learning_rate = {self.learning_rate}; expected 1 or more epochs, 0 or more of the other two and a "
                f"positive rate; change the recipe"
            )
        if not 0 <= self.beta <= 1 or not 0 < self.deviation_rate < math.inf:
            raise InputError(
                f"beta = {self.beta} and deviation_rate = {self.deviation_rate}; expected beta from 0 to 1 and a "
                f"positive rate; change the recipe"
            )


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did.

    Attributes:
        epoch: Counted from 0, warm start included.
        phase: ``warm`` or ``variational``.
        data: Mean squared error (warm) or expected negative log-likelihood of a point (variational), scaled units.
        complexity: Divergence from the prior for each effective datum.
        validation: Validation error of the mean weights, or None.
        seconds: Elapsed time.
    """

    epoch: int
    phase: str
    data: float
    complexity: float
    validation: float | None
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves.

    Attributes:
        posterior: Of the epoch with the lowest validation error; without validation, the last.
        history: One report for each epoch.
        best_epoch: Epoch that ``posterior`` was taken after.
    """

    posterior: MeanField
    history: tuple[EpochReport, ...]
    best_epoch: int


def fit(
    network: DenseNet,
    posterior: MeanField,
    batches: Callable[[int], Iterable[Batch]],
    *,
    prior: MeanField,
    data_count: float,
    settings: FitSettings,
    validate: Callable[[Parameters], float] | None = None,
    frozen: frozenset[str] = frozenset(),
    state_path: Path | None = None,
    fingerprint: str = "",
    on_epoch: Callable[[EpochReport], None] | None = None,
    device: str = "cpu",
) -> FitResult:
    """Minimise the loss of eq. 3; goes on from ``state_path`` if that exists.

    A run that is killed and started again ends with the same bits as an unbroken one, on the same machine with
    the same number of threads: shuffling and draws follow from the seed and the epoch alone.

    Args:
        network: The network.
        posterior: Where to start.
        batches: Number of the epoch -> its batches.
        prior: Distribution that the divergence is taken from.
        data_count: Effective number of data.
        settings: How to minimise.
        validate: Mean weights -> validation error, after each epoch.
        frozen: Names of parameters whose means and deviations keep their bits.
        state_path: File that keeps the state of the run; None for none.
        fingerprint: What the run depends on beside these arguments (data, scaling); guards ``state_path``.
        on_epoch: Told about each epoch.
        device: Any PyTorch device.

    Raises:
        InputError: ``state_path`` holds the state of another run.
        ModelError: The loss is no longer finite.
    """
    run = _Run(network, posterior, frozen, settings, device)
    fingerprint = (
        f"{asdict(settings) | {'checkpoint_seconds': 0}} {network} {sorted(frozen)} {data_count} {fingerprint}"
    )
    if state_path is not None and state_path.exists():
        run.restore(TrainingState.read(state_path), fingerprint, state_path)
    target_prior, saved = prior.to(device), time.monotonic()
    while not run.finished():
        started = time.monotonic()
        data, complexity = run.epoch_of(batches(run.epoch), target_prior, data_count)
        validation = None if validate is None else validate(run.posterior.detached().to("cpu").means)
        report = EpochReport(run.epoch, run.phase, data, complexity, validation, time.monotonic() - started)
        run.close_epoch(report)
        if state_path is not None and (run.finished() or time.monotonic() - saved > settings.checkpoint_seconds):
            run.state(fingerprint).write(state_path)
            saved = time.monotonic()
        if on_epoch is not None:
            on_epoch(report)
    best = run.best if run.best is not None else run.posterior.detached()
    return FitResult(best.to("cpu"), tuple(run.history), run.best_epoch())


class _Run:
    """Tensors under optimisation, their optimiser and the history."""

    def __init__(
        self, network: DenseNet, start: MeanField, frozen: frozenset[str], settings: FitSettings, device: str
    ) -> None:
        self.network, self.settings, self.device, self.frozen = network, settings, device, frozen
        self.posterior = start.detached().to(device)
        self.best: MeanField | None = None
        self.epoch = 0
        self.history: list[EpochReport] = []
        self.optimiser = self._new_optimiser()

    @property
    def phase(self) -> str:
        return "warm" if self.epoch < self.settings.warm_epochs else "variational"

    def finished(self) -> bool:
        if self.epoch >= self.settings.warm_epochs + self.settings.epochs:
            return True
        waited = self.epoch - 1 - self.best_epoch()
        return self.best is not None and 0 < self.settings.patience <= waited

    def best_epoch(self) -> int:
        scored = [r for r in self.history if r.phase == "variational" and r.validation is not None]
        if not scored:
            return max(self.epoch - 1, 0)
        return min(scored, key=lambda r: (math.inf if r.validation is None else r.validation, r.epoch)).epoch

    def epoch_of(self, batches: Iterable[Batch], prior: MeanField, data_count: float) -> tuple[float, float]:
        """One pass; mean data and complexity terms."""
        if self.epoch == self.settings.warm_epochs and self.epoch > 0:
            self._begin_variational_phase()
        self._set_learning_rate()
        generator = torch.Generator(self.device).manual_seed((self.settings.seed << 20) + self.epoch)
        sums, steps = torch.zeros(2), 0
        for batch in batches:
            x, y, v = (t.to(self.device) for t in (batch.features, batch.targets, batch.weights))
            self.optimiser.zero_grad(set_to_none=True)
            if self.phase == "warm":
                loss = torch.mean(v * squared_error(self.network.forward(self.posterior.means, x), y))
                terms = (loss, torch.zeros(()))
            else:
                s = self.settings
                elbo = negative_elbo(
                    self.network, self.posterior, prior, x, y, v, generator,
                    data_count=data_count, beta=s.beta, estimator=s.estimator,
                )  # fmt: skip
                loss, terms = elbo.total, (elbo.data, elbo.complexity)
            loss.backward()
            self.optimiser.step()
            sums += torch.stack([t.detach().cpu() for t in terms])
            steps += 1
        data, complexity = (sums / max(steps, 1)).tolist()
        if not math.isfinite(data + complexity):
            raise ModelError(
                f"the loss is {data + complexity} in epoch {self.epoch} ({self.phase}); expected a finite number; "
                f"lower learning_rate or raise warm_epochs"
            )
        return data, complexity

    def close_epoch(self, report: EpochReport) -> None:
        self.history.append(report)
        self.epoch += 1
        if report.phase == "variational" and report.validation is not None and self.best_epoch() == report.epoch:
            self.best = self.posterior.detached()

    def state(self, fingerprint: str) -> TrainingState:
        moments: dict[str, Tensor] = {}
        for name, tensor in self._optimised().items():
            for key, value in self.optimiser.state[tensor].items():
                moments[f"{name}/{key}"] = value
        record: dict[str, Any] = {"fingerprint": fingerprint, "history": [asdict(r) for r in self.history]}
        return TrainingState(self.epoch, self.posterior, self.best, moments, record)

    def restore(self, state: TrainingState, fingerprint: str, path: Path) -> None:
        if state.record["fingerprint"] != fingerprint:
            raise InputError(
                f"{path} is the state of a run with other settings or data; expected the same recipe and data set; "
                f"restore them, or start anew with --force"
            )
        self.posterior = state.posterior.to(self.device)
        self.best = None if state.best is None else state.best.to(self.device)
        self.epoch = state.epoch
        self.history = [EpochReport(**r) for r in state.record["history"]]
        self.optimiser = self._new_optimiser()
        for name, tensor in self._optimised().items():
            prefix = f"{name}/"
            found = {k.removeprefix(prefix): v for k, v in state.optimiser.items() if k.startswith(prefix)}
            if found:
                moments = {k: v if k == "step" else v.to(self.device) for k, v in found.items()}
                self.optimiser.state[tensor].update(moments)

    def _optimised(self) -> Mapping[str, Tensor]:
        """Tensors that the optimiser changes; in the warm phase only means."""
        chosen = {f"mean.{k}": v for k, v in self.posterior.means.items() if k not in self.frozen}
        if self.phase == "variational":
            spread = self.posterior.log_deviations
            chosen |= {f"log_deviation.{k}": v for k, v in spread.items() if k not in self.frozen}
        return chosen

    def _new_optimiser(self) -> torch.optim.Optimizer:
        s, chosen = self.settings, self._optimised()
        for tensor in chosen.values():
            tensor.requires_grad_()
        means: dict[str, Any] = {"params": [v for k, v in chosen.items() if k.startswith("mean.")], "multiple": 1.0}
        spread: dict[str, Any] = {"params": [v for k, v in chosen.items() if k.startswith("log_")]}
        groups = [g for g in (means, spread | {"multiple": s.deviation_rate, "turned": False}) if g["params"]]
        return (Soap if s.optimiser == "soap" else torch.optim.Adam)(groups, lr=s.learning_rate)

    def _begin_variational_phase(self) -> None:
        """Start the noise at the squared error that the warm start left, and forget the optimiser's moments."""
        with torch.no_grad():
            self.posterior.means["output.bias"][1] = math.log(max(self.history[-1].data, 1e-10))
        self.optimiser = self._new_optimiser()

    def _set_learning_rate(self) -> None:
        s = self.settings
        rate = s.learning_rate
        if s.schedule == "cosine" and self.phase == "variational":
            rate *= 0.5 * (1.0 + math.cos(math.pi * (self.epoch - s.warm_epochs) / s.epochs))
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiple"]
