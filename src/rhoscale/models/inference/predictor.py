"""A network made ready once for any number of points and threads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import ModelError
from rhoscale.models.dense_network import DenseNet
from rhoscale.models.inference.kernel import Network, Spread, evaluate, evaluate_with_spread
from rhoscale.models.inference.packing import pack_network, pack_spread
from rhoscale.models.inference.product import has_bfloat16
from rhoscale.models.likelihood import LOG_VARIANCE_LIMITS
from rhoscale.models.posterior import MeanField
from rhoscale.models.scaling import Scaling
from rhoscale.processor import REGISTERS, Registers
from rhoscale.uncertainty.decomposition import Uncertainty
from rhoscale.uncertainty.leverage import Leverage

FloatArray = NDArray[np.float32]

BFLOAT16_CHANGE = 0.025  # mean, of the target's deviation; measured: 0.012 in al-pbe, 0.024 in sige-pbe
LARGEST_CHANGE = 1.25e-5  # electrons per Bohr^3; being independent of the errors, it adds at most 0.003 % to L1


@dataclass(frozen=True)
class Predictor:
    """The network at its mean weights, and the spread that the posterior leaves to first order.

    Nothing in it changes, so threads may share it; it pickles; a point's bits depend on its features alone (and on the
    processor). Products are made in bfloat16 where the processor has it and the target is small enough, as the
    residual of a good prior mean is, else in float32; sums and activations are float32.

    Attributes:
        network: Packed network.
        spread: Packed posterior variances.
        shift: Mean of the target (density minus prior mean), electrons per Bohr^3.
        scale: Standard deviation of the target, electrons per Bohr^3.
        registers: Those of the processor that it was packed for.
    """

    network: Network
    spread: Spread
    shift: float
    scale: float
    registers: Registers = REGISTERS

    @classmethod
    def of(
        cls,
        network: DenseNet,
        posterior: MeanField,
        scaling: Scaling,
        leverage: Leverage | None = None,
        *,
        bfloat16: bool | None = None,
    ) -> Predictor:
        """Pack a network.

        Args:
            network: Its shape.
            posterior: Distribution of its parameters.
            scaling: Of features and target.
            leverage: Of features, to be evaluated with the spread.
            bfloat16: Whether to multiply in bfloat16; by default where the processor has it and that changes
                densities by less than 1.25e-5 electrons per Bohr^3 on average.
        """
        low = chosen_precision(scaling, bfloat16)
        means = {name: value.numpy() for name, value in posterior.means.items()}
        return cls(
            network=pack_network(network, means, scaling, bfloat16=low),
            spread=pack_spread(network, posterior, scaling, leverage, bfloat16=low),
            shift=scaling.shift,
            scale=scaling.scale,
        )

    @property
    def bfloat16(self) -> bool:
        """Whether products are made in bfloat16."""
        return self.network.layers.weights.dtype == np.uint16

    def residual(self, features: FloatArray) -> FloatArray:
        """Density minus prior mean [n], electrons per Bohr^3, at points with features [n, inputs]."""
        outputs = np.empty((len(features), 2), dtype=np.float32)
        evaluate(self._checked(features), self.network, outputs)
        return self._density(outputs)

    def uncertainty(self, features: FloatArray) -> Uncertainty:
        """What :meth:`uncertainty_and_leverage` says, without the leverage."""
        return self.uncertainty_and_leverage(features)[0]

    def uncertainty_and_leverage(self, features: FloatArray) -> tuple[Uncertainty, FloatArray]:
        """Density minus prior mean, the same bits as :meth:`residual`, with its deviations, not recalibrated.

            aleatoric^2 = sigma^2(x, mu_w),    epistemic^2 = sum_k (d rho / d w_k)^2 s_k^2   at the mean weights mu_w

        (paper, eq. 4, to first order; :mod:`rhoscale.uncertainty.linearisation`).

        Args:
            features: Descriptors [n, inputs], not standardised.

        Returns:
            The density with its deviations, electrons per Bohr^3, and the leverage [n], zero where it was not given.

        Raises:
            ModelError: The predictor was made on a processor of another kind: with bfloat16, which this one has not, or
                with other registers.
        """
        outputs = np.empty((len(features), 4), dtype=np.float32)
        evaluate_with_spread(self._checked(features), self.network, self.spread, outputs)
        scale = np.float32(self.scale)
        noise = np.exp(np.float32(0.5) * np.clip(outputs[:, 1], *LOG_VARIANCE_LIMITS)) * scale
        spread = np.sqrt(np.maximum(outputs[:, 2], np.float32(0))) * scale
        return Uncertainty(self._density(outputs), noise, spread), outputs[:, 3].copy()

    def _density(self, outputs: FloatArray) -> FloatArray:
        return outputs[:, 0] * np.float32(self.scale) + np.float32(self.shift)

    def _checked(self, features: FloatArray) -> FloatArray:
        return checked(features, self.registers, bfloat16=self.bfloat16)


def chosen_precision(scaling: Scaling, bfloat16: bool | None) -> bool:
    """Whether products are made in bfloat16 where that is not asked for."""
    if bfloat16 is not None:
        return bfloat16
    return has_bfloat16() and BFLOAT16_CHANGE * scaling.scale <= LARGEST_CHANGE


def checked(features: FloatArray, registers: Registers, *, bfloat16: bool) -> FloatArray:
    """Features as kernels read them.

    Raises:
        ModelError: What was packed is for a processor of another kind.
    """
    if bfloat16 and not has_bfloat16():
        raise ModelError(
            "this predictor multiplies in bfloat16, which this processor does not know; expected a processor like "
            "the one it was made on (AVX512-BF16); make it with bfloat16=False"
        )
    if registers != REGISTERS:
        raise ModelError(
            f"this predictor's weights lie in the order for registers of {registers.lanes} numbers; expected "
            f"{REGISTERS.lanes}, as this processor has; make it anew on processors of this kind"
        )
    return np.ascontiguousarray(features, dtype=np.float32)
