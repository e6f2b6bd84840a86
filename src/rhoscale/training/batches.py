"""Minibatches of training points in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rhoscale.errors import InputError


@dataclass(frozen=True)
class Batch:
    """Points that a gradient is averaged over.

    Attributes:
        features: Standardised features [B, d].
        targets: Scaled densities [B].
        weights: Importance weights [B], mean 1 over the data set.
    """

    features: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True)
class ShuffledBatches:
    """Batches of a set of points, shuffled anew in each epoch; call it with the number of the epoch.

    Attributes:
        features: Standardised features [n, d].
        targets: Scaled densities [n].
        weights: Importance weights [n].
        size: Points of a batch.
        seed: Of the shuffling.
        steps: Batches of an epoch; by default as many as use every point once (a remainder is left to chance).
    """

    features: Tensor
    targets: Tensor
    weights: Tensor
    size: int
    seed: int
    steps: int | None = None

    def __post_init__(self) -> None:
        n = len(self.features)
        if not 1 <= self.size <= n:
            raise InputError(f"batches of {self.size} cannot be drawn from {n} points; expected 1 to {n}; change batch")

    def __len__(self) -> int:
        return len(self.features) // self.size if self.steps is None else self.steps

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Give the batches of one epoch; a longer epoch than the points fill goes on with another shuffle."""
        rng = np.random.default_rng([self.seed, epoch])
        per_pass = len(self.features) // self.size
        for step in range(len(self)):
            if step % per_pass == 0:
                order = torch.from_numpy(rng.permutation(len(self.features)))
            chosen = order[(step % per_pass) * self.size : (step % per_pass + 1) * self.size]
            yield Batch(self.features[chosen], self.targets[chosen], self.weights[chosen])
