"""From a model of small cells to one of larger cells: what stays frozen, and what the second stage believes before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rhoscale.errors import InputError
from rhoscale.models.dense_network import DenseNet
from rhoscale.models.posterior import MeanField


@dataclass(frozen=True)
class TransferSettings:
    """The second stage of transfer learning (paper, IV.G).

    Attributes:
        frozen: Share of the hidden layers, from the first, that keep their parameters (paper: one third).
        frozen_stochastic: Whether frozen layers keep their spread; the paper does not say.
        prior: ``first`` takes the first stage's prior again, ``posterior`` the first stage's posterior; not in
            the paper.
        data_fraction: Share of the larger cells' training snapshots that is used (paper: 0.4).
    """

    frozen: float = 1.0 / 3.0
    frozen_stochastic: bool = True
    prior: Literal["first", "posterior"] = "first"
    data_fraction: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.frozen < 1 or not 0 < self.data_fraction <= 1:
            raise InputError(
                f"frozen is {self.frozen} and data_fraction {self.data_fraction}; expected 0 <= frozen < 1 and "
                f"0 < data_fraction <= 1; change the recipe"
            )


@dataclass(frozen=True)
class SecondStage:
    """Where the second stage starts.

    Attributes:
        posterior: The first stage's, without the spread of frozen layers if they are to be fixed.
        prior: What the divergence is taken from.
        frozen: Names of parameters that keep their bits.
    """

    posterior: MeanField
    prior: MeanField
    frozen: frozenset[str]


def second_stage(network: DenseNet, first: MeanField, prior: MeanField, settings: TransferSettings) -> SecondStage:
    """Prepare the second stage from the first stage's posterior and prior."""
    frozen = network.first_layers(settings.frozen)
    start = first.detached()
    if not settings.frozen_stochastic:
        spread = {name: value for name, value in start.log_deviations.items() if name not in frozen}
        start = MeanField(start.means, spread)
    return SecondStage(start, prior if settings.prior == "first" else first.detached(), frozen)
