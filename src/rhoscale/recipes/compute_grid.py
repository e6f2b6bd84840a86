"""The coarsest grid that carries a model's density, measured on labels that the model is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rhoscale.errors import DatasetError
from rhoscale.recipes.training_data import Labelled
from rhoscale.sharp import SamplingLoss, SharpPart, fit_sharp, sampling_loss, sharp_fourier

MOST_LOST = 4.5e-4  # L1 per electron, mean of the snapshots; with the window of long axes it stays below 5e-4
SPACINGS = tuple(float(h) for h in np.round(np.arange(1.20, 0.24, -0.02), 2))
OUT_OF_STEP = 0.99  # of the spacing found: in larger crystals of that lattice the points drift past its sites
FITTED = 12  # snapshots; two numbers of every ten thousand waves are fitted


@dataclass(frozen=True)
class ComputeGrid:
    """Where a model is evaluated, and how the field is refined from there.

    Attributes:
        spacing: Of the compute grid, Bohr.
        label_spacing: Of a grid that holds every wave of the labels, Bohr.
        sharp: Sharp part.
        losses: What that grid, or one a hundredth coarser, loses of each held-out label.
    """

    spacing: float
    label_spacing: float
    sharp: SharpPart
    losses: Sequence[SamplingLoss]

    def to_card(self) -> dict[str, Any]:
        """What the card says of it; losses are L1 per electron."""
        return {
            "spacing_bohr": self.spacing,
            "loss_mean": _mean(self.losses),
            "loss_largest": max(s.loss for s in self.losses),
            "loss_mean_without_sharp_part": float(np.mean([s.plain for s in self.losses])),
        }


def choose_compute_grid(training: Labelled, held_out: Labelled, spacing: float | None = None) -> ComputeGrid:
    """Fit the sharp parts to training labels and find the coarsest grid that loses at most 0.045 % of held-out ones.

    What is taken is a hundredth finer. A grid that divides the cells of training divides all larger ones of their
    lattice: then each of its points is at one of a few places between the sites, in every cell alike, and the
    statistics of a prediction are those of these places.

    Args:
        training: Labels of training.
        held_out: Labels for validation.
        spacing: Take this one, Bohr, and measure what it loses.

    Raises:
        DatasetError: No grid is fine enough.
    """
    sharp = fit_sharp(training.spread(FITTED), sorted(training.pseudopotentials))
    cutoff = max(s.density.cutoff for s in training.snapshots)
    label_spacing = float(np.pi / np.sqrt(2.0 * cutoff))
    pairs = [(s.density, sharp_fourier(s.system, sharp, s.density.cutoff)) for s in held_out.snapshots]
    for candidate in SPACINGS if spacing is None else (spacing,):
        losses = [sampling_loss(density, waves, candidate) for density, waves in pairs]
        if spacing is not None or _mean(losses) <= MOST_LOST:
            chosen = OUT_OF_STEP * min(s.spacing for s in losses) if spacing is None else spacing
            return ComputeGrid(round(chosen, 4), label_spacing, sharp, losses)
    raise DatasetError(
        f"a grid of {SPACINGS[-1]} Bohr loses {_mean(losses):.3%} of the labels; expected at most {MOST_LOST:.3%}; the "
        f"labels are not smooth: check their cutoff, or set compute_spacing in the recipe"
    )


def _mean(losses: Sequence[SamplingLoss]) -> float:
    return float(np.mean([s.loss for s in losses]))
