"""Single-precision operations a point of each stage, as its kernel writes them; a multiply-add counts two."""

from __future__ import annotations

import numpy as np

from rhoscale.descriptors import Smooth
from rhoscale.models import DenseNet
from rhoscale.models.inference.packing import RANK, leverage_panels
from rhoscale.models.inference.product import FOLD
from rhoscale.uncertainty.leverage import Leverage

# descriptors/smooth/radial.py, atoms.py, kernel.py, surroundings.py
DISTANCE = 8
START_OF_RADIAL = 9
EACH_RADIAL = 3
# models/inference/activations.py
ACTIVATION = {"gelu": 27, "gelu-tanh": 30, "silu": 21, "relu": 1, "tanh": 19}
SLOPE = {"gelu": 18, "gelu-tanh": 11, "silu": 4, "relu": 1, "tanh": 2}


def smooth_operations(spec: Smooth, density: float) -> float:
    """Operations of the smooth features, for the mean number of atoms inside each cutoff.

    Args:
        spec: Which features.
        density: Atoms per Bohr^3.
    """

    def atoms(cutoff: float) -> float:
        return density * 4.0 / 3.0 * float(np.pi) * cutoff**3

    total = sum(atoms(s.cutoff) * (DISTANCE + START_OF_RADIAL + EACH_RADIAL * s.count) for s in spec.radial)
    for s in spec.angular:
        products = sum((2 * l + 1) * n for l, n in enumerate(s.counts))
        each = DISTANCE + 7 + _harmonics(len(s.counts) - 1) + START_OF_RADIAL + 2 * max(s.counts) + 2 * products
        total += atoms(s.cutoff) * each
        pairs = sum((2 * l + 1) * n * (n + 1) // 2 for l, n in enumerate(s.counts))
        total += pairs * (2 if len(spec.elements) == 1 else 4 * len(spec.elements))
        total += products * len(spec.elements)  # normalisation, once a point
    about, kinds = spec.surroundings, len(spec.elements)
    if about is not None:
        each, lists = about.neighbours * (about.degree + 1), 1 if kinds == 1 else 1 + kinds
        seen = 2 * kinds * about.neighbours * (about.degree + 1) ** 2 + (kinds * each if kinds > 1 else 0)
        functions = 0 if spec.shared is not None else DISTANCE + 7 + START_OF_RADIAL + 2 * about.count
        functions += _harmonics(about.degree)
        total += atoms(about.cutoff) * (functions + seen + 2 * about.count * each * lists)
    return total


def _harmonics(degree: int) -> int:
    powers = 6 * max(0, degree - 1)  # (x + i y)^m for m > 1; then P_lm, and its products with either part for m > 0
    polynomials = 4 * sum(degree - 1 - m for m in range(degree))
    return powers + polynomials + 2 * sum(degree - m for m in range(1, degree + 1))


def network_products(network: DenseNet) -> float:
    """Operations in the products of a network with both outputs."""
    return 2.0 * sum(np.prod(shape) for name, shape in network.parameter_shapes.items() if name.endswith(".weight"))


def spread_products(network: DenseNet) -> float:
    """Further products of the spread: factors of the variances forward, transposed weights backward."""
    width, hidden = network.width, network.hidden_layers
    factors = RANK * (network.inputs + width * hidden + FOLD * width * hidden)
    return 2.0 * (factors + (hidden - 1) * width**2)


def leverage_products(leverage: Leverage | None) -> float:
    """Operations of the whitening of the features, where deviations take their leverage into account."""
    if leverage is None:
        return 0.0
    features, directions = leverage.whitening.shape
    return 2.0 * sum((features - part.start) * (part.stop - part.start) for part in leverage_panels(directions))


def network_elementwise(network: DenseNet) -> float:
    """Operations beside the products: standardisation, activations, sums of skip connections."""
    nodes = network.hidden_layers * network.width
    terms = sum(shape[0] for name, shape in network.parameter_shapes.items() if name.endswith(".skip"))
    return 2.0 * network.inputs + ACTIVATION[network.activation] * nodes + 2.0 * terms * network.width


def spread_elementwise(network: DenseNet) -> float:
    """Further ones of the spread: slopes, squares, gradients, share of every coefficient."""
    nodes = network.hidden_layers * network.width
    terms = sum(shape[0] for name, shape in network.parameter_shapes.items() if name.endswith(".skip"))
    return network.inputs + (SLOPE[network.activation] + 5.0) * nodes + 4.0 * terms * network.width
