"""A trained model: network, posterior, scaling, and all that says what its numbers mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rhoscale.errors import InputError, ModelError
from rhoscale.models.dense_network import DenseNet, Parameters
from rhoscale.models.ensemble import Ensemble
from rhoscale.models.inference import EnsemblePredictor, Predictor
from rhoscale.models.likelihood import log_noise_variance
from rhoscale.models.posterior import MeanField
from rhoscale.models.scaling import Scaling
from rhoscale.sharp import SharpPart
from rhoscale.system import PseudopotentialIdentity
from rhoscale.uncertainty import Recalibration, Uncertainty, decompose
from rhoscale.uncertainty.leverage import Leverage

FloatArray = NDArray[np.float32]

PRIOR_MEANS = ("none", "promolecule", "fitted-promolecule", "linear")
CHUNK = 1024  # points at a time: what a layer writes stays in the cache (3 x 3 x 250: 1.6 times faster than 4096)


@dataclass(frozen=True)
class DrawnNetwork:
    """A network with one set of parameters: features in, electrons per Bohr^3 out."""

    network: DenseNet
    parameters: Parameters
    scaling: Scaling

    def __call__(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Evaluate density minus prior mean, and noise variance, each [n]; memory beyond the results is flat.

        Args:
            features: Descriptors [n, d], not standardised.
        """
        residual = np.empty(len(features), dtype=np.float32)
        variance = np.empty(len(features), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(features), CHUNK):
                part = slice(start, start + CHUNK)
                raw = torch.from_numpy(np.ascontiguousarray(features[part], dtype=np.float32))
                outputs = self.network.forward(self.parameters, self.scaling.features(raw))
                residual[part] = self.scaling.residual(outputs[:, 0]).numpy()
                variance[part] = (torch.exp(log_noise_variance(outputs)) * self.scaling.scale**2).numpy()
        return residual, variance


@dataclass(frozen=True)
class TrainedModel:
    """What training leaves and prediction needs; immutable, saved as a folder.

    Attributes:
        name: Short name, for example ``al-pbe``.
        network: Shape of the network.
        posterior: Distribution of its parameters, or an ensemble of them.
        scaling: Standardisation of features and density.
        descriptor_spec: The descriptor's settings as plain values.
        pseudopotentials: Identity for each element that the model knows.
        functional: Exchange-correlation functional of the labels, for example ``PBE``.
        compute_spacing: Spacing of the grid that resolves what the network predicts, Bohr.
        label_spacing: Spacing of a grid that holds every wave of the labels, Bohr; None for the compute grid.
        sharp: Sharp part, taken out before a refinement and added after it; None for a plain one.
        prior_mean: What the network's output is added to: ``none``, ``promolecule``, ``fitted-promolecule`` or
            ``linear``.
        prior_arrays: Tables of the prior mean; they travel with the model.
        range: Thresholds from validation snapshots (``largest_total``, ``largest_epistemic``, ...).
        recalibration: Factors on the uncertainties, or None.
        leverage: Tells features that are far from those of training, or None.
        card: Data, settings, errors and validity, for people.
    """

    name: str
    network: DenseNet
    posterior: MeanField | Ensemble
    scaling: Scaling
    descriptor_spec: Mapping[str, Any]
    pseudopotentials: Mapping[str, PseudopotentialIdentity]
    functional: str
    compute_spacing: float
    label_spacing: float | None = None
    sharp: SharpPart | None = None
    prior_mean: str = "none"
    prior_arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    range: Mapping[str, float] = field(default_factory=dict)
    recalibration: Recalibration | None = None
    leverage: Leverage | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    _drawn: dict[tuple[int, int], list[DrawnNetwork]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def whole_spacing(self) -> float:
        """Spacing of a grid on which a whole field loses nothing: that of the labels, or the compute grid's own."""
        return self.label_spacing or self.compute_spacing

    @cached_property
    def predictor(self) -> Predictor | EnsemblePredictor:
        """The network or networks packed for this processor."""
        return self.predictor_in()

    def predictor_in(self, *, bfloat16: bool | None = None) -> Predictor | EnsemblePredictor:
        """The same in a precision of choice; by default the model's own (:meth:`Predictor.of`)."""
        parts = self.scaling, self.used_leverage
        if isinstance(self.posterior, Ensemble):
            return EnsemblePredictor.of(self.network, self.posterior, *parts, bfloat16=bfloat16)
        return Predictor.of(self.network, self.posterior, *parts, bfloat16=bfloat16)

    @property
    def variational(self) -> MeanField:
        """The posterior of a model of one network.

        Raises:
            ModelError: The model is an ensemble.
        """
        if isinstance(self.posterior, Ensemble):
            raise ModelError(
                f"model {self.name!r} is an ensemble of {len(self.posterior.members)} networks; expected one of a "
                f"single network; train it with members = 1"
            )
        return self.posterior

    def estimate(self, features: FloatArray, prior: NDArray[np.floating] | None = None) -> Uncertainty:
        """Predict the density with the mean weights, its noise, and its spread to first order in the weights.

        What :meth:`point_estimate` and :meth:`uncertainty` say, within the rounding of bfloat16 and what the
        posterior's width leaves of higher orders, at a thirtieth of the cost of 20 draws. Of an ensemble the mean,
        the mean noise and the spread of its members.

        Args:
            features: Descriptors [n, d].
            prior: Prior mean at the same points [n], electrons per Bohr^3; exactly when the model has one.

        Raises:
            ModelError: The features or the prior do not fit the model.
        """
        self._check(features, prior)
        found, leverage = self.predictor.uncertainty_and_leverage(features)
        if self.recalibration is not None:
            found = self.recalibration(found, None if self.used_leverage is None else leverage)
        return Uncertainty(_added(found.mean, prior), found.aleatoric, found.epistemic)

    def density(self, features: FloatArray, prior: NDArray[np.floating] | None = None) -> FloatArray:
        """Predict the density [n] alone, the same bits as :meth:`estimate`, electrons per Bohr^3.

        Raises:
            ModelError: The features or the prior do not fit the model.
        """
        self._check(features, prior)
        return _added(self.predictor.residual(features), prior)

    def point_estimate(
        self, features: FloatArray, prior: NDArray[np.floating] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Predict density and noise with the mean of the parameters (paper, IV.E), or the means of the members'.

        Args:
            features: Descriptors [n, d].
            prior: Prior mean at the same points [n], electrons per Bohr^3; exactly when the model has one.

        Returns:
            Density [n] and standard deviation of the noise [n] (recalibrated), electrons per Bohr^3.

        Raises:
            ModelError: The features or the prior do not fit the model.
        """
        self._check(features, prior)
        found = [DrawnNetwork(self.network, point, self.scaling)(features) for point in self.posterior.points]
        residual, variance = np.mean(found, axis=0)
        noise = np.sqrt(variance)
        if self.recalibration is not None:
            noise = self.recalibration.noise(noise)
        return _added(residual, prior), noise

    def drawn(self, seed: int, draws: int) -> list[DrawnNetwork]:
        """Networks with weights drawn from the posterior; the j-th depends on the seed and j alone.

        An ensemble gives its members in turn.

        Raises:
            InputError: Fewer than two draws: one draw has no spread.
        """
        if draws < 2:
            raise InputError(f"{draws} draws have no spread; expected at least 2; ask for 10 or more")
        if (seed, draws) not in self._drawn:
            self._drawn.clear()
            self._drawn[seed, draws] = [
                DrawnNetwork(self.network, _draw(self.posterior, seed, j), self.scaling) for j in range(draws)
            ]
        return self._drawn[seed, draws]

    def uncertainty(
        self, features: FloatArray, prior: NDArray[np.floating] | None = None, *, draws: int = 20, seed: int = 0
    ) -> Uncertainty:
        """Predict aleatoric, epistemic and total standard deviation from draws of the parameters (paper, eq. 4).

        The same seed and number of draws give the same weights in every call, so a map pieced together from
        many calls has no seams.

        Args:
            features: Descriptors [n, d].
            prior: Prior mean at the same points [n], electrons per Bohr^3; exactly when the model has one.
            draws: Number of weight draws.
            seed: Of the draws.

        Raises:
            ModelError: The features or the prior do not fit the model.
            InputError: Fewer than two draws.
        """
        self._check(features, prior)
        networks = self.drawn(seed, draws)
        fields = np.empty((3, len(features)), dtype=np.float32)
        for start in range(0, len(features), CHUNK):
            part = slice(start, start + CHUNK)
            results = [network(features[part]) for network in networks]
            raw = decompose(np.stack([r[0] for r in results]), np.stack([r[1] for r in results]))
            found = self.recalibrated(raw, features[part])
            fields[:, part] = found.mean, found.aleatoric, found.epistemic
        return Uncertainty(_added(fields[0], prior), fields[1], fields[2])

    def recalibrated(self, raw: Uncertainty, features: FloatArray) -> Uncertainty:
        """Apply the recalibration, where the model has one, at points with the given features."""
        if self.recalibration is None:
            return raw
        return self.recalibration(raw, None if self.used_leverage is None else self.used_leverage(features))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the errors' distribution (:mod:`rhoscale.intervals`)."""
        return math.inf if self.recalibration is None else self.recalibration.freedom

    @property
    def used_leverage(self) -> Leverage | None:
        """The leverage where the recalibration uses it."""
        used = self.recalibration is not None and self.recalibration.leverage > 0
        return self.leverage if used else None

    def _check(self, features: FloatArray, prior: NDArray[np.floating] | None) -> None:
        if features.ndim != 2 or features.shape[1] != self.network.inputs:
            raise ModelError(
                f"features of shape {features.shape} do not fit model {self.name!r}; expected [n, "
                f"{self.network.inputs}]; compute them with the model's own descriptor_spec"
            )
        if (prior is None) != (self.prior_mean == "none") or (prior is not None and prior.shape != features.shape[:1]):
            given = "none was given" if prior is None else f"values of shape {prior.shape} were given"
            raise ModelError(
                f"model {self.name!r} has the prior mean {self.prior_mean!r} but {given} for {len(features)} points; "
                f"the network's output only makes sense added to that prior; pass its values at the same points"
            )


def _added(residual: FloatArray, prior: NDArray[np.floating] | None) -> FloatArray:
    return residual if prior is None else (residual + prior).astype(np.float32)


def _draw(posterior: MeanField | Ensemble, seed: int, index: int) -> Parameters:
    if isinstance(posterior, Ensemble):
        return posterior.members[index % len(posterior.members)]
    return posterior.draw(_generator(seed, index))


def _generator(seed: int, index: int) -> torch.Generator:
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
