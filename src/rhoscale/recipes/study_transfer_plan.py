"""What a study of transfer learning compares: arms, their snapshots at equal DFT time, their gradient steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.errors import DatasetError, InputError
from rhoscale.recipes.training_plan import NetworkConfig, PosteriorConfig
from rhoscale.training import FitSettings, TransferSettings


@dataclass(frozen=True)
class StudyData:
    """Snapshots of the study.

    Attributes:
        path: Folder of the data set.
        small: Batches of small cells, role ``train``.
        large: Batches of larger cells, role ``train``.
        validation: Batches, role ``validation``, that choose the epoch and the learning rate of every arm.
        test: Batches, role ``test``, that the arms are judged on, the one that matters most first.
        seconds: Batch -> core-seconds of one of its snapshots, measured on a quiet machine and with the dynamics
            counted; by default what the record of each snapshot says.
        better_labels: Another data set; where it holds a test structure too, arms are also judged against its label.
    """

    path: Path
    small: tuple[str, ...]
    large: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    better_labels: Path | None = None

    def __post_init__(self) -> None:
        for batch, seconds in self.seconds.items():
            if batch not in self.small + self.large + self.validation or not seconds > 0:
                raise InputError(
                    f"seconds gives {seconds:g} for {batch!r}; expected a positive number for a batch of small, large "
                    f"or validation; change the recipe"
                )


@dataclass(frozen=True)
class StudyPoints:
    """Points of the snapshots; see :class:`rhoscale.recipes.training_plan.DataConfig`."""

    spacing: float = 0.5
    fraction: float = 0.2
    importance: Literal["uniform", "near-atoms"] = "uniform"
    validation_spacing: float = 0.75


@dataclass(frozen=True)
class StudyModel:
    """The model that every arm trains; it has no prior mean, as in the paper.

    Attributes:
        descriptor: Values of the descriptor's specification.
        network: Size.
        posterior: Prior, divergence, spread.
    """

    descriptor: Mapping[str, Any]
    network: NetworkConfig = field(default_factory=NetworkConfig)
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)


@dataclass(frozen=True)
class TransferStudyConfig:
    """The recipe of a study.

    Attributes:
        name: Of the study.
        output: Folder for models, results, table and figure.
        data: Snapshots.
        model: What is trained.
        fit: The training of every arm: ``warm_epochs + epochs`` epochs of ``steps_per_epoch`` minibatches in all.
        budgets: Numbers of large cells that ``large``, the arm of large cells alone, trains on; what they cost is the
            DFT time of all arms.
        steps_per_epoch: Minibatches of an epoch.
        second_epochs: How many of the epochs are the second stage of transfer.
        learning_rates: Tried for the last stage of each arm, on validation cells; the first stage of transfer has
            the rate of ``fit``.
        large_share: Transfer and joint training use this share of the large cells of ``large`` (paper, IV.G: 40 %).
        frozen: Shares of the hidden layers that transfer freezes (paper: one third).
        seeds: Of starting weights, points, batches and draws.
        subsets: Different choices of snapshots.
        points: Of the snapshots.
        batch: Points of a minibatch.
        threads: Processor threads.
        draws: Weight draws for the uncertainties of test cells.
        judged_points: Points of a test cell at which uncertainties are computed; errors are judged at all.
    """

    name: str
    output: Path
    data: StudyData
    model: StudyModel
    fit: FitSettings
    budgets: tuple[int, ...]
    steps_per_epoch: int
    second_epochs: int
    learning_rates: tuple[float, ...]
    large_share: float = 0.4
    frozen: tuple[float, ...] = (0.0, 1.0 / 3.0, 2.0 / 3.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    subsets: tuple[int, ...] = (0, 1)
    points: StudyPoints = field(default_factory=StudyPoints)
    batch: int = 256
    threads: int = 1
    draws: int = 10
    judged_points: int = 10_000

    def __post_init__(self) -> None:
        for key in ("budgets", "learning_rates", "seeds", "subsets"):
            if not getattr(self, key):
                raise InputError(f"{key} is empty; expected at least one value; change the recipe")
        if min(*self.budgets, self.steps_per_epoch, self.batch, self.threads) < 1 or not 0 < self.large_share < 1:
            raise InputError(
                f"budgets {list(self.budgets)}, steps_per_epoch {self.steps_per_epoch}, batch {self.batch}, threads "
                f"{self.threads}, large_share {self.large_share}; expected 1 or more, the share between 0 and 1; "
                f"change the recipe"
            )
        if not 1 <= self.second_epochs < self.fit.epochs:
            raise InputError(
                f"second_epochs is {self.second_epochs} of {self.fit.epochs} epochs; expected at least one for each "
                f"stage; change the recipe"
            )
        if len({round(100 * share) for share in self.frozen}) < len(self.frozen):
            raise InputError(
                f"frozen is {list(self.frozen)}; expected shares that differ by a per cent at least, because arms are "
                f"named by them; change the recipe"
            )
        if self.fit.patience:
            raise InputError(
                f"fit.patience is {self.fit.patience}, so that arms could stop after different numbers of steps; "
                f"expected 0; leave it out"
            )

    @property
    def steps(self) -> int:
        """Gradient steps of every arm, both stages together."""
        return (self.fit.warm_epochs + self.fit.epochs) * self.steps_per_epoch


@dataclass(frozen=True)
class Arm:
    """A way to spend the DFT time.

    Attributes:
        kind: ``transfer``, or without transfer ``joint`` (both sizes at once), ``large`` or ``small`` cells alone.
        frozen: Share of the hidden layers that transfer freezes.
    """

    kind: Literal["transfer", "joint", "large", "small"]
    frozen: float = 0.0

    def __post_init__(self) -> None:
        TransferSettings(frozen=self.frozen)

    @property
    def name(self) -> str:
        """For example ``transfer-33`` for one third frozen."""
        return f"transfer-{round(100 * self.frozen)}" if self.kind == "transfer" else self.kind


@dataclass(frozen=True)
class Selection:
    """The training snapshots of an arm."""

    small: tuple[Record, ...] = ()
    large: tuple[Record, ...] = ()

    @property
    def seconds(self) -> float:
        """Core-seconds of DFT."""
        return sum(cost(r) for r in self.small + self.large)


@dataclass(frozen=True)
class Unit:
    """One (arm, snapshots, budget) that is trained once for each seed.

    Attributes:
        arm: The arm.
        budget: Number of large cells that sets the DFT time.
        subset: Which choice of snapshots.
        target: Core-seconds to be spent.
        selection: Snapshots that cost as near to that as whole snapshots allow.
        lacking: Core-seconds that the data set is short of by more than rounding; such a unit is not trained.
    """

    arm: Arm
    budget: int
    subset: int
    target: float
    selection: Selection
    lacking: float = 0.0


@dataclass(frozen=True)
class TransferPlan:
    """Everything that the study trains.

    Attributes:
        units: In the order of budgets, arms and subsets.
        validation: Cells that choose epochs and rates.
    """

    units: tuple[Unit, ...]
    validation: tuple[Record, ...]


def cost(record: Record) -> float:
    """Core-seconds of a snapshot: its label, and ab-initio dynamics before it."""
    return record.core_seconds + record.sampling_core_seconds


def arms_of(config: TransferStudyConfig) -> list[Arm]:
    """The arms of a study: transfer with each frozen share, joint training, large and small cells alone."""
    return [*(Arm("transfer", share) for share in config.frozen), Arm("joint"), Arm("large"), Arm("small")]


def plan_transfer(config: TransferStudyConfig, store: SnapshotStore, only: Sequence[str] = ()) -> TransferPlan:
    """Choose the snapshots of every arm so that all cost the same DFT time.

    The large cells of ``large``, in the order of the subset, set the time T. Transfer and joint training take the
    first ``large_share`` of them (rounded, at least one) and fill up with small cells; ``small`` fills with small cells
    alone. Filling takes so many that their sum is as near to T as whole snapshots allow.

    Args:
        config: The recipe.
        store: Its data set, as far as it is there.
        only: Names of arms; all by default.

    Raises:
        DatasetError: A batch is missing, or has fewer large cells than a budget asks for.
        InputError: An arm is unknown.
    """
    arms = arms_of(config)
    unknown = set(only) - {arm.name for arm in arms}
    if unknown:
        names = ", ".join(arm.name for arm in arms)
        raise InputError(f"the study has no arm {sorted(unknown)[0]!r}; expected one of {names}; change --only")
    small, large = (_records(config, store, "train", b) for b in (config.data.small, config.data.large))
    if max(config.budgets) > len(large):
        raise DatasetError(
            f"a budget of {max(config.budgets)} large cells needs more than the {len(large)} of batches "
            f"{list(config.data.large)} in {store.path}; generate them first, or lower budgets"
        )
    units = [
        _unit(config, arm, budget, subset, in_order(small, subset), in_order(large, subset))
        for budget in config.budgets
        for arm in arms
        if not only or arm.name in only
        for subset in config.subsets
    ]
    return TransferPlan(tuple(units), tuple(_records(config, store, "validation", config.data.validation)))


def in_order(records: Sequence[Record], subset: int) -> list[Record]:
    """Records in an order that the subset and their names decide, temperatures taking turns.

    New snapshots enter the order without changing that of the others within a temperature.
    """

    def rank(text: object) -> bytes:
        return hashlib.sha256(f"{subset}:{text}".encode()).digest()

    temperatures = sorted({r.temperature for r in records}, key=rank)
    columns = [sorted((r for r in records if r.temperature == t), key=lambda r: rank(r.task)) for t in temperatures]
    return [record for row in zip_longest(*columns) for record in row if record is not None]


def _unit(
    config: TransferStudyConfig, arm: Arm, budget: int, subset: int, small: Sequence[Record], large: Sequence[Record]
) -> Unit:
    target = sum(cost(r) for r in large[:budget])
    if arm.kind == "large":
        return Unit(arm, budget, subset, target, _sorted(Selection((), tuple(large[:budget]))))
    shared = () if arm.kind == "small" else tuple(large[: max(1, round(config.large_share * budget))])
    filled, lacking = _fill(small, target - sum(cost(r) for r in shared))
    return Unit(arm, budget, subset, target, _sorted(Selection(filled, shared)), lacking)


def _fill(records: Sequence[Record], seconds: float) -> tuple[tuple[Record, ...], float]:
    """The first records whose cost is nearest to that, at least one; and what is lacking beyond rounding."""
    sums = np.cumsum([cost(r) for r in records])
    count = int(np.argmin(np.abs(sums - seconds))) + 1
    short = seconds - float(sums[count - 1])
    all_taken = count == len(records)
    return tuple(records[:count]), short if all_taken and short > 0.5 * float(np.mean(sums[-1] / len(sums))) else 0.0


def _sorted(selection: Selection) -> Selection:
    """The same snapshots always train alike, in whatever order a subset drew them."""
    small, large = (tuple(sorted(part, key=lambda r: r.task)) for part in (selection.small, selection.large))
    return Selection(small, large)


def _records(config: TransferStudyConfig, store: SnapshotStore, role: str, batches: tuple[str, ...]) -> list[Record]:
    """Records of some batches, with the costs that the recipe gives."""
    given = config.data.seconds
    records = [
        replace(r, core_seconds=given[batch], sampling_core_seconds=0.0) if batch in given else r
        for batch in batches
        for r in store.select(role=role, batch=batch)
    ]
    if not records:
        raise DatasetError(
            f"{store.path} has no snapshot of role {role!r} in batches {list(batches)}; expected at least one; "
            f"generate them first, or change the recipe"
        )
    free = [r.task for r in records if not cost(r) > 0]
    if free and role == "train":
        raise DatasetError(
            f"{free[0]} of {store.path} has no DFT time on record; expected core-seconds for every training snapshot, "
            f"because arms are compared at equal cost; leave its batch out"
        )
    return records
