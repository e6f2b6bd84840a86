"""A deep ensemble made ready: all members see the same standardised features, a block of points at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.models.dense_network import DenseNet
from rhoscale.models.ensemble import Ensemble
from rhoscale.models.inference.kernel import (
    BLOCK,
    Network,
    forward,
    make_leverage_tables,
    make_tables,
    standardise,
    write_leverage,
)
from rhoscale.models.inference.packing import pack_leverage, pack_network
from rhoscale.models.inference.predictor import checked, chosen_precision
from rhoscale.models.inference.product import LANES, Matrices
from rhoscale.models.likelihood import LOG_VARIANCE_LIMITS
from rhoscale.models.scaling import Scaling
from rhoscale.processor import REGISTERS, Registers
from rhoscale.uncertainty.decomposition import Uncertainty
from rhoscale.uncertainty.leverage import Leverage

FloatArray = NDArray[np.float32]

_f = np.float32
_LOWEST, _HIGHEST = (np.float32(limit) for limit in LOG_VARIANCE_LIMITS)


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def evaluate_members(features, networks, numbers, whitening, results):  # type: ignore[no-untyped-def]
    """Write mean density, mean noise variance, variance of the members' densities, and leverage to results [n, 4]."""
    inputs, z, values = make_tables(networks[0])
    standardised = np.zeros_like(inputs)
    chosen, whitened = make_leverage_tables(networks[0], whitening)
    share = _f(1.0 / len(networks))
    for start in range(0, len(features), BLOCK):
        count = min(BLOCK, len(features) - start)
        standardise(features, start, count, networks[0], standardised, None)
        write_leverage(standardised, start, count, networks[0], numbers, whitening, chosen, whitened, results)
        results[start : start + count, :3] = _f(0.0)
        for m in range(len(networks)):
            forward(standardised, count, networks[m], values, z, inputs)
            for p in range(count):
                row, density = results[start + p], z[p * LANES]
                row[1] += share * np.exp(min(max(z[p * LANES + 1], _LOWEST), _HIGHEST))
                step = density - row[0]  # mean and squares as they come (B. P. Welford, Technometrics 4, 419, 1962)
                row[0] += step / _f(m + 1)
                row[2] += share * step * (density - row[0])


@dataclass(frozen=True)
class EnsemblePredictor:
    """Networks made ready once for any number of points and threads, as :class:`Predictor` is for one.

    Attributes:
        networks: Packed members.
        chosen: Numbers of the features that the leverage is made of; none without it.
        whitening: From those, standardised, to numbers whose squares add up to the leverage.
        shift: Mean of the target (density minus prior mean), electrons per Bohr^3.
        scale: Standard deviation of the target, electrons per Bohr^3.
        registers: Those of the processor that it was packed for.
    """

    networks: tuple[Network, ...]
    chosen: NDArray[np.int64]
    whitening: Matrices
    shift: float
    scale: float
    registers: Registers = REGISTERS

    @classmethod
    def of(
        cls,
        network: DenseNet,
        ensemble: Ensemble,
        scaling: Scaling,
        leverage: Leverage | None = None,
        *,
        bfloat16: bool | None = None,
    ) -> EnsemblePredictor:
        """Pack the members; arguments as those of :meth:`Predictor.of`."""
        low = chosen_precision(scaling, bfloat16)
        points = [{name: value.numpy() for name, value in member.items()} for member in ensemble.members]
        return cls(
            networks=tuple(pack_network(network, point, scaling, bfloat16=low) for point in points),
            **pack_leverage(scaling, leverage, bfloat16=low),
            shift=scaling.shift,
            scale=scaling.scale,
        )

    @property
    def bfloat16(self) -> bool:
        """Whether products are made in bfloat16."""
        return self.networks[0].layers.weights.dtype == np.uint16

    def residual(self, features: FloatArray) -> FloatArray:
        """Mean of the members' density minus prior mean [n], electrons per Bohr^3, at points with features [n, d]."""
        return self.uncertainty(features).mean

    def uncertainty(self, features: FloatArray) -> Uncertainty:
        """What :meth:`uncertainty_and_leverage` says, without the leverage."""
        return self.uncertainty_and_leverage(features)[0]

    def uncertainty_and_leverage(self, features: FloatArray) -> tuple[Uncertainty, FloatArray]:
        """Mean of the members and its deviations, not recalibrated, and the leverage.

            aleatoric^2 = mean of sigma_m^2(x),    epistemic^2 = mean of rho_m(x)^2 - (mean of rho_m(x))^2

        (paper, eq. 4, its draws the members).

        Args:
            features: Descriptors [n, inputs], not standardised.

        Returns:
            The density minus the prior mean with its deviations, electrons per Bohr^3, and the leverage [n], zero where
            it was not given.

        Raises:
            ModelError: The predictor was made on a processor of another kind.
        """
        outputs = np.empty((len(features), 4), dtype=np.float32)
        rows = checked(features, self.registers, bfloat16=self.bfloat16)
        evaluate_members(rows, self.networks, self.chosen, self.whitening, outputs)
        scale = np.float32(self.scale)
        noise, spread = (np.sqrt(outputs[:, column]) * scale for column in (1, 2))
        mean = outputs[:, 0] * scale + np.float32(self.shift)
        return Uncertainty(mean, noise, spread), outputs[:, 3].copy()
