"""What a training recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rhoscale.errors import InputError
from rhoscale.models import DenseNet
from rhoscale.training import FitSettings, TransferSettings, refuse_device

SPACINGS = (0.05, 3.0)  # Bohr
MOST_DISTANCES = 400  # of one element: a sphere of 22 Bohr in aluminium; the search of select-al.toml ends at 100
PRESETS: Mapping[str, Mapping[str, int]] = {
    "paper": {"width": 250, "blocks": 3, "layers": 3},  # paper, appendix F
    "quick": {"width": 64, "blocks": 2, "layers": 2},
}


@dataclass(frozen=True)
class DataConfig:
    """Which snapshots and which of their points.

    Attributes:
        path: Folder of the data set.
        subset: Named selection that training and validation are limited to.
        train: Batches to train on; by default all of role ``train`` but those of ``converged``.
        converged: Batches of role ``train`` with better labels of structures that are trained on: what the labels of
            training and validation are off by is learned from them and taken off
            (:mod:`rhoscale.recipes.label_correction`).
        validation: Batches for validation; by default all of role ``validation`` not named for calibration.
        calibration: Batches of role ``validation`` that uncertainties are recalibrated on; by default those that
            validate. Labels of test quality, and cells other than those that chose the epoch, calibrate better.
        snapshots: Train on the first so many of the chosen snapshots only (learning curves).
        spacing: Of the grid that points are taken from, Bohr.
        fraction: Share of the points of that grid.
        importance: ``uniform``, or ``near-atoms``: more points where the nearest atom is close.
        validation_spacing: Of the grid on which validation errors are followed during training, Bohr.
    """

    path: Path
    subset: str | None = None
    train: tuple[str, ...] = ()
    converged: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    snapshots: int | None = None
    spacing: float = 0.5
    fraction: float = 1.0
    importance: Literal["uniform", "near-atoms"] = "uniform"
    validation_spacing: float = 0.75

    def __post_init__(self) -> None:
        _check_spacing("spacing", self.spacing)
        _check_spacing("validation_spacing", self.validation_spacing)


def _check_spacing(key: str, spacing: float) -> None:
    if not SPACINGS[0] <= spacing <= SPACINGS[1]:
        raise InputError(f"{key} is {spacing} Bohr; expected {SPACINGS[0]} to {SPACINGS[1]}; change the recipe")


@dataclass(frozen=True)
class NetworkConfig:
    """A preset (``paper``: 3 x 3 x 250; ``quick``: smaller), or sizes of one's own."""

    preset: Literal["paper", "quick"] = "paper"
    width: int | None = None
    blocks: int | None = None
    layers: int | None = None
    activation: str = "gelu"

    def network(self, inputs: int) -> DenseNet:
        """The network for so many features."""
        own = {"width": self.width, "blocks": self.blocks, "layers": self.layers}
        sizes = {key: PRESETS[self.preset][key] if value is None else value for key, value in own.items()}
        return DenseNet(inputs, activation=self.activation, **sizes)


@dataclass(frozen=True)
class PosteriorConfig:
    """What the paper leaves open about the distribution of the parameters; defaults by measurement (docs/training.md).

    Attributes:
        prior_deviation: Standard deviation sigma_p of the prior N(0, sigma_p^2); of members, about where each starts.
        initial_deviation: Standard deviation of every parameter where the variational phase starts.
        stochastic: Parameters that have a spread: ``all``, ``linear`` (no skip coefficients), ``last`` (output layer).
        members: Networks trained one after the other from different seeds; from two on the model is their ensemble,
            whose epistemic part is the spread of the members in place of that of the weights and the leverage.
        effective_data: Effective number of data: ``modes`` (independent Fourier modes on the compute grid, all
            snapshots), ``points`` (every grid point, as eq. 3 read literally), or a number.
        modes_factor: Multiplies ``modes``.
    """

    prior_deviation: float = 0.1
    initial_deviation: float = 1e-3
    stochastic: Literal["all", "linear", "last"] = "all"
    members: int = 1
    effective_data: Literal["modes", "points"] | float = "modes"
    modes_factor: float = 1.0

    def __post_init__(self) -> None:
        if not (self.prior_deviation > 0 and self.initial_deviation > 0 and self.modes_factor > 0):
            raise InputError(f"deviations and modes_factor must be positive; got {self}; change the recipe")
        if self.members < 1:
            raise InputError(f"members is {self.members}; expected 1, or more for an ensemble; change the recipe")

    def named(self, stage: str, number: int) -> str:
        """What a stage of a member, counted from 0, is called."""
        return stage if self.members == 1 else f"{stage}, member {number + 1}"


@dataclass(frozen=True)
class TransferConfig:
    """A second stage on larger cells.

    Attributes:
        train: Batches of the larger cells.
        validation: Batches for validation in this stage; by default those of the first.
        settings: What is frozen, believed before, and how much data is used.
        fit: Values of ``[fit]`` that differ in this stage.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    settings: TransferSettings = field(default_factory=TransferSettings)
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationConfig:
    """How the finished model is judged.

    Attributes:
        test: Batches; by default all of role ``test``.
        draws: Weight draws for the uncertainties; 0 for the first order in the weights, as predictions take it.
        points: Points of each test snapshot at which uncertainties are judged; errors are judged at all.
    """

    test: tuple[str, ...] = ()
    draws: int = 0
    points: int = 20_000

    def __post_init__(self) -> None:
        if self.points < 1 or self.draws < 0:
            raise InputError(
                f"points is {self.points} and draws {self.draws}; expected points of 1 or more and draws of 0 or more; "
                f"change them"
            )


@dataclass(frozen=True)
class TrainConfig:
    """A training recipe.

    Attributes:
        name: Of the model.
        output: Folder of the model.
        data: Snapshots and points.
        descriptor: Values of the descriptor's specification; ``elements`` come from the data if absent.
        network: Size.
        prior_mean: What the network's output is added to: ``none``, ``promolecule`` (sum of the densities of isolated
            atoms), ``fitted-promolecule`` (sum of atomic densities fitted to the training labels) or ``linear`` (ridge
            regression on the features).
        posterior: Prior, divergence, spread.
        batch: Points of a minibatch.
        steps_per_epoch: Minibatches of an epoch; by default as many as use every point once.
        fit: How the loss is minimised.
        transfer: Second stage, or None.
        device: Any PyTorch device, for training.
        threads: Processor threads; a run repeats to the bit only with the same number. Narrow networks are slower with
            two than with one (2 x 2 x 64: twice, on a shared machine).
        compute_spacing: Of the grid on which the model is evaluated, Bohr; by default the coarsest one that loses at
            most 0.045 % of validation labels (L1 per electron, mean).
        recalibrate: Whether to fit the recalibration on the validation snapshots.
        evaluation: How the finished model is judged.
        summary: One line for ``rhoscale models``.
    """

    name: str
    output: Path
    data: DataConfig
    descriptor: Mapping[str, Any]
    network: NetworkConfig = field(default_factory=NetworkConfig)
    prior_mean: Literal["none", "promolecule", "fitted-promolecule", "linear"] = "none"
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    batch: int = 256
    steps_per_epoch: int | None = None
    fit: FitSettings = field(default_factory=FitSettings)
    transfer: TransferConfig | None = None
    device: str = "cpu"
    threads: int = 1
    compute_spacing: float | None = None
    recalibrate: bool = True
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    summary: str = ""

    def __post_init__(self) -> None:
        counts = {
            "batch": self.batch,
            "threads": self.threads,
            "steps_per_epoch": self.steps_per_epoch,
            "data.snapshots": self.data.snapshots,
        }
        for key, value in counts.items():
            if value is not None and value < 1:
                raise InputError(f"{key} is {value}; expected 1 or more; change the recipe")
        if self.compute_spacing is not None:
            _check_spacing("compute_spacing", self.compute_spacing)
        refuse_device(self.device)
