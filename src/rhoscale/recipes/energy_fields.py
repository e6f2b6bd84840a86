"""Whole densities whose energies are compared: of a model, its prior mean, the promolecule, weight draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.engines.interface import Energies
from rhoscale.engines.second_order import energy_difference
from rhoscale.grid import Grid
from rhoscale.models import TrainedModel
from rhoscale.postprocess.charge import rescale_to_charge
from rhoscale.prediction.refusals import refuse_overlaps, refuse_unknown_elements
from rhoscale.prediction.verdict import FieldTotals, Verdict, judge
from rhoscale.promolecule import AtomicDensityTable, promolecule_on_grid
from rhoscale.recipes.prior import prior_alone, prior_mean
from rhoscale.refinement import FourierDensity
from rhoscale.sharp import refine_sharp
from rhoscale.system import System


@dataclass(frozen=True)
class WholeField:
    """A density of a whole cell before and after its rescaling.

    Attributes:
        raw: As predicted, electrons per Bohr^3, on a grid that loses nothing of it.
        electrons: Valence electrons in the cell, as the pseudopotentials count them.
    """

    raw: Density
    electrons: float

    @property
    def rescaled(self) -> Density:
        """The density that holds the right number of electrons (paper, eq. 6)."""
        return rescale_to_charge(self.raw, self.electrons)

    @property
    def fourier(self) -> FourierDensity:
        """Coefficients of the rescaled density: all waves that its grid holds."""
        return FourierDensity.from_density(self.rescaled, np.inf)


@dataclass(frozen=True)
class ModelFields:
    """A model in one structure: features and prior mean at all points of its compute grid, computed once.

    Attributes:
        system: Cell and atoms.
        model: The model.
        grid: Its compute grid.
        features: Descriptors [points, d].
        prior: Prior mean [points], electrons per Bohr^3, or None.
    """

    system: System
    model: TrainedModel
    grid: Grid
    features: NDArray[np.float32]
    prior: NDArray[np.floating] | None

    @classmethod
    def of(cls, system: System, model: TrainedModel) -> ModelFields:
        """Describe a structure, in memory: for cells that a DFT program can take as well.

        Raises:
            ModelError: The structure holds elements that the model does not know.
            StructureError: Atoms overlap.
        """
        cls.refuse(system, model)
        grid = Grid.from_spacing(system.cell, model.compute_spacing)
        points = grid.points()
        features = describer(system, spec_from_dict(model.descriptor_spec))(points)
        return cls(system, model, grid, features, prior_mean(system, model)(points, features))

    @property
    def whole_grid(self) -> Grid:
        """The grid of whole fields: fine enough for every wave of the model's labels."""
        finer = Grid.from_spacing(self.system.cell, self.model.whole_spacing).shape
        shape = np.maximum(finer, self.grid.shape)
        return Grid(self.system.cell, (int(shape[0]), int(shape[1]), int(shape[2])))

    @staticmethod
    def refuse(system: System, model: TrainedModel) -> None:
        """Refuse what the model cannot answer, before anything is computed.

        Raises:
            ModelError: The structure holds elements that the model does not know.
            StructureError: Atoms overlap.
        """
        refuse_unknown_elements(system, model.pseudopotentials, model.name)
        refuse_overlaps(system, model.range.get("smallest_distance"))

    @property
    def prediction(self) -> WholeField:
        """The point estimate: the field of the mean weights (paper, IV.E)."""
        return self._whole(self._point_estimate)

    @property
    def prior_alone(self) -> WholeField | None:
        """The prior mean that the network was trained upon, without it; None if the model has none."""
        alone = prior_alone(self.system, self.model)(self.grid.points(), self.features)
        return None if alone is None else self._whole(alone)

    def drawn(self, draws: int, seed: int) -> Iterator[WholeField]:
        """Fields of weights drawn from the posterior, each of one set of weights over the whole cell: no seams.

            rho_j = rho_mean + e (rho_{w_j} - rho_mean)

        with the factor e by which the model's recalibration widens the spread of draws (1 without). What the
        recalibration adds for features far from those of training has no known correlation between points and is
        in no draw.

        Raises:
            InputError: Fewer than two draws.
        """
        recalibration = self.model.recalibration
        factor = 1.0 if recalibration is None else recalibration.epistemic
        mean = self._point_estimate.astype(np.float64)
        prior = 0.0 if self.prior is None else self.prior
        for network in self.model.drawn(seed, draws):
            residual, _ = network(self.features)
            yield self._whole(mean + factor * (residual + prior - mean))

    def drawn_energies(self, found: Energies, draws: int, seed: int) -> Iterator[tuple[float, float]]:
        """For each of these fields E[rho_j] - E[rho_mean] (Hartree), to second order and without a diagonalisation.

        Args:
            found: Of the prediction.
            draws: At least two.
            seed: Of the draws.

        Yields:
            The difference and the electrons of the draw before rescaling.
        """
        electrons, mean = self.prediction.electrons, self.prediction.fourier
        for field in self.drawn(draws, seed):
            moved = replace(mean, coefficients=field.fourier.coefficients - mean.coefficients)
            yield energy_difference(found.change, moved, electrons, found.gap), field.raw.integral()

    @property
    def verdict(self) -> Verdict:
        """Whether the structure is inside the model's range, by the uncertainty at all points, as a prediction says."""
        density = self._point_estimate
        total = self.model.estimate(self.features, self.prior).total
        limit = self.model.range.get("largest_total")
        totals = FieldTotals(
            points=self.grid.size,
            electrons=self.prediction.raw.integral(),
            density_min=float(density.min()),
            density_max=float(density.max()),
            sigma_mean=float(np.mean(total, dtype=np.float64)),
            sigma_max=float(total.max()),
            beyond=0 if limit is None else int(np.count_nonzero(total > limit)),
        )
        electrons = self.system.electrons(self.model.pseudopotentials)
        return judge(totals, self.grid.volume, electrons, self.model.range)

    @property
    def _point_estimate(self) -> NDArray[np.float32]:
        return self.model.point_estimate(self.features, self.prior)[0]

    def _whole(self, values: NDArray[np.floating]) -> WholeField:
        coarse = Density(self.grid, values.astype(np.float64).reshape(self.grid.shape))
        density = refine_sharp(coarse, self.system, self.model.sharp, self.whole_grid.shape)
        return WholeField(density, self.system.electrons(self.model.pseudopotentials))


def promolecule_field(
    system: System, tables: Mapping[str, AtomicDensityTable], grid: Grid, electrons: float
) -> WholeField:
    """The sum of atomic densities on the grid of a prediction, so that both are sampled alike."""
    return WholeField(promolecule_on_grid(system, tables, grid), electrons)
