"""A dense network and the linearised spread of its density, a block of points at a time, in the cache.

Forward, the wiring of :mod:`rhoscale.models.dense_network`. For the spread the same pass keeps slopes and
pre-activation variances, and a pass backward brings the gradients (:mod:`rhoscale.uncertainty.linearisation`).
Tables are flat, a row is one point's; a point's results do not depend on its neighbours in a block, nor on which sums
the product keeps in registers together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.models.inference.activations import activate, activate_with_slope
from rhoscale.models.inference.product import LANES, Matrices, multiply, multiply_folded
from rhoscale.models.inference.vectors import (
    dot,
    put,
    put_squares,
    put_standardised,
    put_vector,
    weighted_squares,
)

BLOCK = 48  # points, a multiple of NARROW: what they need stays in the second-level cache

_options: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
_f = np.float32
_u = np.uint64  # an index that cannot be negative: the compiler sees neighbours as neighbours


class Network(NamedTuple):
    """A packed network.

    Values are numbered: the outputs of the hidden layers, then the inputs of the blocks after the first. The input of
    layer l is the sum of values times coefficients; the last row belongs to the output layer.

    Attributes:
        centre: Mean of each feature, padded with zeros.
        factor: One over its deviation, padded with zeros.
        code: Of the activation.
        layers: Hidden layers, then the output layer.
        terms: How many values a layer reads [hidden + 1].
        sources: Which [hidden + 1, most].
        coefficients: Their factors [hidden + 1, most].
        kept: The value that the sum itself becomes, or -1 [hidden + 1].
    """

    centre: NDArray[np.float32]
    factor: NDArray[np.float32]
    code: int
    layers: Matrices
    terms: NDArray[np.int64]
    sources: NDArray[np.int64]
    coefficients: NDArray[np.float32]
    kept: NDArray[np.int64]


class Spread(NamedTuple):
    """Posterior variances of a packed network.

    Attributes:
        first: First factors of the weight variances of every layer, the output's density alone; folded.
        second: Second factors for the hidden layers, a row for each folded part; their starts are the bias variances.
        back: Transposed weights of the hidden layers but the first.
        density: The output layer's weights of the density [width].
        coefficients: Variances of the skip coefficients [hidden + 1, most].
        fresh: Where a pass backward meets a value for the first time [hidden + 1, most].
        chosen: Numbers of the features that the leverage is made of; none without it.
        whitening: From those, standardised, to numbers whose squares add up to the leverage.
    """

    first: Matrices
    second: Matrices
    back: Matrices
    density: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    fresh: NDArray[np.bool_]
    chosen: NDArray[np.int64]
    whitening: Matrices


@njit(**_options)
def evaluate(features, network, results):  # type: ignore[no-untyped-def]
    """Write both outputs of features [n, inputs], float32 and not standardised, to results [n, 2]."""
    inputs, z, values = make_tables(network)
    for start in range(0, len(features), BLOCK):
        count = min(BLOCK, len(features) - start)
        standardise(features, start, count, network, inputs, None)
        forward(inputs, count, network, values, z, inputs)
        _write(z, start, count, results)


@njit(**_options)
def make_tables(network):  # type: ignore[no-untyped-def]
    """Inputs of layers, sums of products, and values of a block of points."""
    hidden, width = len(network.terms) - 1, network.layers.columns[0]
    return (
        np.zeros(BLOCK * max(len(network.centre), width), dtype=network.layers.weights.dtype),
        np.empty(BLOCK * max(width, LANES), dtype=np.float32),
        np.zeros(max(hidden, network.kept.max() + 1) * BLOCK * width, dtype=np.float32),
    )


@njit(forceinline=True, **_options)
def forward(standardised, count, network, values, z, inputs):  # type: ignore[no-untyped-def]
    """Write both outputs of ``count`` points to rows of ``z``; ``inputs`` become those of one layer after the other."""
    hidden, width = len(network.terms) - 1, network.layers.columns[0]
    size = count * width
    multiply(standardised, 0, count, network.layers, 0, z)
    activate(network.code, z, size, values, 0)
    for l in range(1, hidden):
        _mix(l, network, values, size, z)
        _round(z, size, inputs, 0)
        multiply(inputs, 0, count, network.layers, l, z)
        activate(network.code, z, size, values, l * BLOCK * width)
    _mix(hidden, network, values, size, z)
    _round(z, size, inputs, 0)
    multiply(inputs, 0, count, network.layers, hidden, z)


@njit(**_options)
def evaluate_with_spread(features, network, spread, results):  # type: ignore[no-untyped-def]
    """Write both outputs, the same bits as :func:`evaluate`, the density's variance and the leverage, to [n, 4]."""
    hidden, width = len(network.terms) - 1, network.layers.columns[0]
    inputs, z, values = make_tables(network)
    squares = np.zeros_like(inputs)
    few = np.empty(BLOCK * LANES, dtype=np.float32)
    projected = np.zeros(hidden * BLOCK * LANES, dtype=inputs.dtype)
    slopes = np.empty(hidden * BLOCK * width, dtype=np.float32)
    gradients = np.empty(len(values), dtype=np.float32)
    variances = np.empty(BLOCK * width, dtype=np.float32)
    chosen, whitened = make_leverage_tables(network, spread.whitening)
    for start in range(0, len(features), BLOCK):
        count = min(BLOCK, len(features) - start)
        size = count * width
        standardise(features, start, count, network, inputs, squares)
        write_leverage(inputs, start, count, network, spread.chosen, spread.whitening, chosen, whitened, results)
        for l in range(hidden):
            if l > 0:
                _mix(l, network, values, size, z)
                _round_with_squares(z, size, inputs, squares)
            multiply(inputs, 0, count, network.layers, l, z)
            activate_with_slope(network.code, z, size, values, slopes, l * BLOCK * width)
            multiply_folded(squares, 0, count, spread.first, l, few)
            _round(few, count * LANES, projected, l * BLOCK * LANES)
        _mix(hidden, network, values, size, z)
        _round_with_squares(z, size, inputs, squares)
        multiply(inputs, 0, count, network.layers, hidden, z)
        _write(z, start, count, results)
        multiply_folded(squares, 0, count, spread.first, hidden, few)
        for p in range(count):
            results[start + p, 2] = few[p * LANES] + few[p * LANES + 1]
        _backward(start, count, network, spread, values, slopes, projected, gradients, variances, inputs, z, results)


@njit(forceinline=True, **_options)
def _backward(  # type: ignore[no-untyped-def]
    start, count, network, spread, values, slopes, projected, gradients, variances, inputs, z, results
):
    hidden, width = len(network.terms) - 1, network.layers.columns[0]
    size = count * width
    for p in range(count):
        for i in range(_u(width)):
            z[_u(p * width) + i] = spread.density[i]
    _distribute(hidden, start, count, network, spread, values, gradients, z, results)
    for l in range(hidden - 1, -1, -1):
        at = l * BLOCK * width
        for i in range(_u(size)):
            z[i] = gradients[_u(at) + i] * slopes[_u(at) + i]
        multiply(projected, l * BLOCK * LANES, count, spread.second, l, variances)
        for p in range(count):
            results[start + p, 2] += weighted_squares(z, variances, p * width, width)
        if l > 0:
            _round(z, size, inputs, 0)
            multiply(inputs, 0, count, spread.back, l - 1, z)
            if network.kept[l] >= 0:
                _add_scaled(_f(1), gradients, network.kept[l] * BLOCK * width, size, z, 0)
            _distribute(l, start, count, network, spread, values, gradients, z, results)


@njit(forceinline=True, **_options)
def standardise(features, start, count, network, inputs, squares):  # type: ignore[no-untyped-def]
    """Write standardised features to rows of ``inputs``, padded with zeros, and their squares if asked."""
    inner, size, centre, factor = len(network.centre), features.shape[1], network.centre, network.factor
    rows, last = features.reshape(-1), size - LANES
    for p in range(count):
        row, at = (start + p) * size, p * inner
        for k in range(0, last, LANES):
            put_standardised(inputs, squares, at + k, rows, row + k, centre, factor, k)
        if last >= 0:  # overlaps the one before
            put_standardised(inputs, squares, at + last, rows, row + last, centre, factor, last)
        else:
            for k in range(size):
                x = (rows[row + k] - centre[k]) * factor[k]
                put(inputs, at + k, x)
                if squares is not None:
                    put(squares, at + k, x * x)
        for k in range(size, inner):  # what layers after the first left there
            put(inputs, at + k, _f(0))
            if squares is not None:
                put(squares, at + k, _f(0))


@njit(**_options)
def make_leverage_tables(network, whitening):  # type: ignore[no-untyped-def]
    """The features that the leverage of a block of points is made of, and what a panel makes of them."""
    return (
        np.zeros(BLOCK * whitening.lengths[0], dtype=network.layers.weights.dtype),
        np.empty(BLOCK * whitening.columns[0], dtype=np.float32),
    )


@njit(forceinline=True, **_options)
def write_leverage(inputs, start, count, network, numbers, whitening, chosen, whitened, results):  # type: ignore[no-untyped-def]
    """Write the leverage of standardised features to the last of four results; what pads the rows stays zero."""
    inner, size, begin = len(network.centre), whitening.lengths[0], 0
    for p in range(count):
        results[start + p, 3] = _f(0)
        for k in range(len(numbers)):
            chosen[_u(p * size + k)] = inputs[_u(p * inner + numbers[k])]
    for m in range(len(whitening.inner)):
        columns = whitening.columns[m]
        multiply(chosen, begin, count, whitening, m, whitened)
        begin += columns
        for p in range(count):
            results[start + p, 3] += dot(whitened, p * columns, whitened, p * columns, columns)


@njit(forceinline=True, **_options)
def _mix(layer, network, values, size, total):  # type: ignore[no-untyped-def]
    """Sum the values that a layer reads; keep the sum where later layers read it too."""
    stride = BLOCK * network.layers.columns[0]
    _scale(network.coefficients[layer, 0], values, network.sources[layer, 0] * stride, size, total, 0)
    for t in range(1, network.terms[layer]):
        _add_scaled(network.coefficients[layer, t], values, network.sources[layer, t] * stride, size, total, 0)
    _keep(layer, network, total, size, values)


@njit(forceinline=True, **_options)
def _keep(layer, network, total, size, values):  # type: ignore[no-untyped-def]
    if network.kept[layer] >= 0:
        _scale(_f(1), total, 0, size, values, network.kept[layer] * BLOCK * network.layers.columns[0])


@njit(forceinline=True, **_options)
def _distribute(layer, start, count, network, spread, values, gradients, g, results):  # type: ignore[no-untyped-def]
    """Hand the gradient at the input of a layer on to the values that it sums, and add the coefficients' share."""
    width = network.layers.columns[0]
    for t in range(network.terms[layer]):
        at, factor = network.sources[layer, t] * BLOCK * width, network.coefficients[layer, t]
        if spread.fresh[layer, t]:
            _scale(factor, g, 0, count * width, gradients, at)
        else:
            _add_scaled(factor, g, 0, count * width, gradients, at)
        if spread.coefficients[layer, t] > 0:
            for p in range(count):
                slope = dot(g, p * width, values, at + p * width, width)
                results[start + p, 2] += slope * slope * spread.coefficients[layer, t]


@njit(forceinline=True, **_options)
def _round(table, size, rounded, at):  # type: ignore[no-untyped-def]
    for i in range(0, size, LANES):
        put_vector(rounded, at + i, table, i)


@njit(forceinline=True, **_options)
def _round_with_squares(table, size, rounded, squares):  # type: ignore[no-untyped-def]
    for i in range(0, size, LANES):
        put_vector(rounded, i, table, i)
        put_squares(squares, i, table, i)


@njit(forceinline=True, **_options)
def _scale(factor, a, a_at, size, b, b_at):  # type: ignore[no-untyped-def]
    for i in range(_u(size)):
        b[_u(b_at) + i] = factor * a[_u(a_at) + i]


@njit(forceinline=True, **_options)
def _add_scaled(factor, a, a_at, size, b, b_at):  # type: ignore[no-untyped-def]
    for i in range(_u(size)):
        b[_u(b_at) + i] += factor * a[_u(a_at) + i]


@njit(forceinline=True, **_options)
def _write(z, start, count, results):  # type: ignore[no-untyped-def]
    for p in range(count):
        results[start + p, 0] = z[p * LANES]
        results[start + p, 1] = z[p * LANES + 1]
