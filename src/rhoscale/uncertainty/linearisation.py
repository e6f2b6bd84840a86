"""The spread of a network's output that the spread of its weights leaves, to first order, layer by layer.

A layer computes z_i = sum_j W_ij u_j + b_i. With independent weights of variance S_ij and biases of variance s_i, and
the gradient g_i = d rho / d z_i at the mean weights,

    var(rho) = sum_layers sum_i g_i^2 (sum_j S_ij u_j^2 + s_i)
               + sum_layers sum_t (d rho / d c_t)^2 var(c_t)

since d rho / d W_ij = g_i u_j; c_t are the coefficients of the skip connections. It is the delta method for the
posterior (D. J. C. MacKay, Neural Computation 4, 448, 1992); draws of the weights converge to it where the network is
linear over the posterior's width. S is sharply dominated by few products of a row and a column, so sum_j S_ij u_j^2 is
taken from its leading singular vectors at a third of the price: those of S_ij over its mean in row i, for where a
weight's variance comes from data it is large where g_i^2 is small, and every node's share of the sum counts alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class LayerSpread:
    """What one layer adds to the variance.

    Attributes:
        inputs: u [n, j].
        gradients: d rho / d z [n, i].
        weight_variances: S [i, j].
        bias_variances: s [i].
    """

    inputs: FloatArray
    gradients: FloatArray
    weight_variances: FloatArray
    bias_variances: FloatArray

    def variance(self) -> FloatArray:
        """sum_i g_i^2 (sum_j S_ij u_j^2 + s_i), [n]."""
        before = np.square(self.inputs) @ self.weight_variances.T + self.bias_variances
        return np.asarray(np.sum(np.square(self.gradients) * before, axis=1))


def linearised_variance(
    layers: Iterable[LayerSpread], coefficients: Iterable[tuple[FloatArray, FloatArray]] = ()
) -> FloatArray:
    """Add what the layers and the skip coefficients leave, [n].

    Args:
        layers: One for each layer with a spread.
        coefficients: For each mixed input the gradients d rho / d c [n, terms] and the variances [terms].
    """
    total: FloatArray = np.zeros(())
    for layer in layers:
        total = total + layer.variance()
    for gradients, variances in coefficients:
        total = total + np.square(gradients) @ variances
    return total


def variance_factors(variances: FloatArray, rank: int) -> tuple[FloatArray, FloatArray]:
    """Factors [j, r] and [r, i] whose product is nearest to the transposed variances [i, j], each over its row's mean.

    C. Eckart and G. Young, Psychometrika 1, 211 (1936). Exact for small ones.
    """
    means = np.asarray(variances, dtype=np.float64).mean(axis=1)
    shares = variances / np.where(means > 0, means, 1)[:, None]
    transposed = torch.from_numpy(np.asarray(shares, dtype=np.float64).T.copy())
    # PyTorch's, because NumPy's decomposition wakes threads of its own, which costs tiles side by side 0.3 s each
    left, values, right = (t.numpy() for t in torch.linalg.svd(transposed, full_matrices=False))
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, root[:, None] * right[:rank] * means
