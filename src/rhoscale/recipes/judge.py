"""A model against the label of one snapshot, at the points of a grid at least as fine as the model's compute grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.engines.second_order import energy_of_error
from rhoscale.grid import Grid
from rhoscale.metrics import FieldErrors, field_errors
from rhoscale.metrics.regions import nearest_atom, regions
from rhoscale.models import TrainedModel
from rhoscale.postprocess.charge import charge_factor, rescale_to_charge
from rhoscale.promolecule import AtomicDensityTable, promolecule_on_grid
from rhoscale.recipes.prior import prior_alone, prior_mean, was_refitted
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.uncertainty import Uncertainty

COARSEST = 0.7  # Bohr; blocks of 2 Bohr then hold two dozen points


@dataclass(frozen=True)
class Judged:
    """One snapshot as a model sees it.

    Attributes:
        errors: Of the point estimate, at all points of the grid.
        baselines: Errors of ``prior_mean`` (the one that the network was trained upon, alone) and of ``promolecule``,
            where there are such.
        energies: Errors of the Harris-Foulkes energy of the point estimate (``model``) and of the baselines, rescaled,
            as far as the grid shows them: to second order, from the error of the density
            (``engines.second_order.energy_of_error``), Hartree per atom.
        differences: Rescaled point estimate minus label at the points where uncertainties were computed [m], e/Bohr^3.
        uncertainty: At the same points.
        leverage: At the same points [m], or None where the model does not know it.
        region: Number of the region (``rhoscale.metrics.regions``) of each of these points [m].
        grid: The compute grid, or one of 0.7 Bohr where that is coarser, as errors do not depend on what is cheap.
        chosen: Flat indices of these points in the grid [m].
        sigma_to_l1: Factor from the mean total deviation to the L1 per electron of a Gaussian of that size.
        freedom: Degrees of freedom of the model's intervals; infinite for Gaussian ones.
    """

    errors: FieldErrors
    baselines: Mapping[str, FieldErrors]
    energies: Mapping[str, float]
    differences: NDArray[np.float64]
    uncertainty: Uncertainty
    leverage: NDArray[np.float32] | None
    region: NDArray[np.intp]
    grid: Grid
    chosen: NDArray[np.intp]
    sigma_to_l1: float
    freedom: float = math.inf

    @property
    def expected_l1(self) -> float:
        """L1 per electron that the total deviations lead to expect, sqrt(2 / pi) int sigma dr / N_e."""
        return self.sigma_to_l1 * float(np.mean(self.uncertainty.total, dtype=np.float64))

    def at(self, kept: NDArray[np.intp]) -> Judged:
        """The same with uncertainties at some of the points only, which are given by their indices [k]."""
        sigma = self.uncertainty
        return replace(
            self,
            differences=self.differences[kept],
            uncertainty=Uncertainty(sigma.mean[kept], sigma.aleatoric[kept], sigma.epistemic[kept]),
            leverage=None if self.leverage is None else self.leverage[kept],
            region=self.region[kept],
            chosen=self.chosen[kept],
        )


def counted_alike(judged: Sequence[Judged]) -> list[Judged]:
    """Each snapshot at as many of its points, drawn, as the one with the fewest has: no cell counts for more."""
    fewest = min(len(j.chosen) for j in judged)
    rng = np.random.default_rng(0)
    return [j.at(np.sort(rng.choice(len(j.chosen), fewest, replace=False))) for j in judged]


def judged_grid(model: TrainedModel, cell: NDArray[np.float64]) -> Grid:
    """The compute grid, or one of 0.7 Bohr where that is coarser: of few points too many may be sites of a lattice."""
    return Grid.from_spacing(cell, min(model.compute_spacing, COARSEST))


def judge_snapshot(
    model: TrainedModel,
    snapshot: Snapshot,
    *,
    draws: int,
    points: int | None = None,
    seed: int = 0,
    tables: Mapping[str, AtomicDensityTable] | None = None,
) -> Judged:
    """Compare a model with the label of a snapshot.

    Args:
        model: The model.
        snapshot: One of its pseudopotentials.
        draws: Weight draws for the uncertainties; 0 for the first order in the weights, as predictions take it.
        points: Number of points for the uncertainties, drawn with the seed; None for all.
        seed: Of the points and the draws.
        tables: Atomic densities for the promolecule's errors and regions; without them nothing counts as a bond.
    """
    grid = judged_grid(model, snapshot.system.cell)
    positions = grid.points()
    features = describer(snapshot.system, spec_from_dict(model.descriptor_spec))(positions)
    prior = prior_mean(snapshot.system, model)(positions, features)
    reference = snapshot.density.on_grid(grid.shape)
    density = model.density(features, prior)
    chosen = np.arange(grid.size)
    if points is not None and points < grid.size:
        chosen = np.sort(np.random.default_rng(seed).choice(grid.size, points, replace=False))
    part = None if prior is None else prior[chosen]
    alone = prior_alone(snapshot.system, model)(positions, features) if was_refitted(model) else prior
    fields = {} if alone is None else {"prior_mean": Density(grid, alone.reshape(grid.shape))}
    if tables is not None:
        fields["promolecule"] = promolecule_on_grid(snapshot.system, tables, grid)
    predicted = Density(grid, density.reshape(grid.shape))
    rescaled = density[chosen] * charge_factor(predicted.integral(), snapshot.electrons)
    return Judged(
        errors=field_errors(predicted, reference, snapshot.electrons),
        baselines={name: field_errors(field, reference, snapshot.electrons) for name, field in fields.items()},
        energies={
            name: _energy_error(field, reference, snapshot) for name, field in {"model": predicted, **fields}.items()
        },
        differences=rescaled.astype(np.float64) - reference.values.reshape(-1)[chosen],
        uncertainty=model.uncertainty(features[chosen], part, draws=draws, seed=seed)
        if draws
        else model.estimate(features[chosen], part),
        leverage=None if model.leverage is None else model.leverage(features[chosen]),
        region=regions(nearest_atom(snapshot.system, positions[chosen]), *_bonding(fields.get("promolecule"), chosen)),
        grid=grid,
        chosen=chosen,
        sigma_to_l1=float(np.sqrt(2.0 / np.pi)) * snapshot.system.volume / snapshot.electrons,
        freedom=model.freedom,
    )


def _energy_error(density: Density, reference: Density, snapshot: Snapshot) -> float:
    """Estimated error of the Harris-Foulkes energy, Hartree per atom."""
    error = rescale_to_charge(density, snapshot.electrons) - reference
    return energy_of_error(FourierDensity.from_density(error, np.inf), snapshot.electrons) / len(snapshot.system)


def _bonding(promolecule: Density | None, chosen: NDArray[np.intp]) -> tuple[NDArray[np.float64], float]:
    """Promolecule at the chosen points and its mean."""
    if promolecule is None:
        return np.zeros(len(chosen)), 0.0
    values = np.asarray(promolecule.values, dtype=np.float64).reshape(-1)
    return values[chosen], float(values.mean())
