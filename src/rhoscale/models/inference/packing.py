"""From a network, its posterior and its scaling to the tables that the kernel reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rhoscale.models.dense_network import DenseNet
from rhoscale.models.inference.activations import CODES
from rhoscale.models.inference.kernel import Network, Spread
from rhoscale.models.inference.product import FOLD, LANES, PAIR, ROWS, fold, pack, padded
from rhoscale.models.posterior import MeanField
from rhoscale.models.scaling import Scaling
from rhoscale.uncertainty.leverage import Leverage
from rhoscale.uncertainty.linearisation import variance_factors

Array = NDArray[np.floating]

RANK = LANES // FOLD  # of the weight variances: what one vector of folded sums holds


def pack_network(network: DenseNet, parameters: Mapping[str, Array], scaling: Scaling, *, bfloat16: bool) -> Network:
    """Pack a network with one set of parameters."""
    names = _names(network)
    rows = [padded(network.inputs, ROWS), *[padded(network.width, LANES)] * network.hidden_layers]
    end = rows[0] - network.inputs
    terms, sources, kept = _wiring(network)
    return Network(
        centre=np.pad(scaling.feature_mean.numpy(), (0, end)),
        factor=np.pad(1.0 / scaling.feature_deviation.numpy(), (0, end)),
        code=CODES[network.activation],
        layers=pack(
            [
                (_rows(parameters[f"{name}.weight"].T, count), parameters[f"{name}.bias"])
                for name, count in zip(names, rows, strict=True)
            ],
            bfloat16=bfloat16,
        ),
        terms=terms,
        sources=sources,
        coefficients=_coefficients(network, parameters, missing=1.0),
        kept=kept,
    )


def pack_spread(
    network: DenseNet, posterior: MeanField, scaling: Scaling, leverage: Leverage | None, *, bfloat16: bool
) -> Spread:
    """Pack the posterior's variances and what the pass backward needs, and the leverage where there is one."""
    means = {name: value.numpy() for name, value in posterior.means.items()}
    variances = {name: np.zeros_like(value) for name, value in means.items()}
    variances |= {name: value.numpy() ** 2 for name, value in posterior.deviations().items()}
    rows = padded(network.width, LANES)
    first, second = [], []
    names = _names(network)
    for layer, name in enumerate(names[:-1]):
        left, right = variance_factors(variances[f"{name}.weight"], RANK)
        first.append((_rows(left, rows) if layer else left, np.zeros(1)))
        second.append((np.repeat(_rows(right, RANK), FOLD, axis=0), variances[f"{name}.bias"]))
    first.append((_rows(variances["output.weight"][:1].T, rows), variances["output.bias"][:1]))
    folded = [(fold(weights, bfloat16=bfloat16), start) for weights, start in first]
    back = [(_rows(means[f"{name}.weight"], rows), np.zeros(network.width)) for name in names[1:-1]]
    return Spread(
        first=pack(folded, bfloat16=bfloat16, lengths=[padded(len(weights), ROWS) for weights, _ in first]),
        second=pack(second, bfloat16=bfloat16),
        back=pack(back or [(np.zeros((2, 1)), np.zeros(1))], bfloat16=bfloat16),
        density=np.pad(means["output.weight"][0], (0, rows - network.width)),
        coefficients=_coefficients(network, variances, missing=0.0),
        fresh=_fresh(network),
        **pack_leverage(scaling, leverage, bfloat16=bfloat16),
    )


def pack_leverage(scaling: Scaling, leverage: Leverage | None, *, bfloat16: bool) -> dict[str, Any]:
    """``chosen`` features, and ``whitening``: numbers made of them, standardised, whose squares add up to the leverage.

    Squares of W^T (x - m) add up to those of R (x - m) with W^T = Q R, and half of R is zero: a panel of its rows reads
    the features from its first on.
    """
    if leverage is None:
        nothing = pack([(np.zeros((0, 0)), np.zeros(0))], bfloat16=bfloat16)
        return {"chosen": np.zeros(0, dtype=np.int64), "whitening": nothing}
    mean, deviation = (values.numpy()[leverage.chosen] for values in (scaling.feature_mean, scaling.feature_deviation))
    transposed = torch.from_numpy(leverage.whitening.T.astype(np.float64))
    triangle = torch.linalg.qr(transposed, mode="r").R.numpy().T  # PyTorch's: see variance_factors
    start = (mean - leverage.centre[leverage.chosen]) @ triangle
    parts = leverage_panels(triangle.shape[1])
    panels = [(triangle[part.start :, part] * deviation[part.start :, None], start[part]) for part in parts]
    lengths = [padded(len(triangle), ROWS)] * len(panels)
    return {"chosen": leverage.chosen, "whitening": pack(panels, bfloat16=bfloat16, lengths=lengths)}


def leverage_panels(directions: int) -> list[slice]:
    """Columns of the triangle that a product takes at a time; each reads the features from its first column's on."""
    width = PAIR * LANES
    return [slice(first, min(first + width, directions)) for first in range(0, directions, width)]


def _names(network: DenseNet) -> list[str]:
    return [*(f"hidden.{layer}" for layer in range(network.hidden_layers)), "output"]


def _rows(matrix: Array, count: int) -> Array:
    return np.pad(matrix, ((0, count - len(matrix)), (0, 0)))


def _wiring(network: DenseNet) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number of values that a layer reads, which, and which value their sum becomes (-1: none)."""
    hidden = network.hidden_layers
    read: list[list[int]] = [[]]
    kept = [-1]
    values = [0]
    for layer in range(1, hidden + 1):
        read.append(values)
        opens_block = layer % network.layers == 0 and layer < hidden
        kept.append(hidden + layer // network.layers - 1 if opens_block else -1)
        values = [kept[-1], layer] if opens_block else [*values, layer]
    most = max(len(sources) for sources in read)
    table = np.array([sources + [0] * (most - len(sources)) for sources in read], dtype=np.int64)
    return np.array([len(sources) for sources in read]), table, np.array(kept)


def _coefficients(network: DenseNet, parameters: Mapping[str, Array], missing: float) -> NDArray[np.float32]:
    """One row for each layer; ``missing`` where a sum of one term has no coefficient."""
    terms, table, _ = _wiring(network)
    values = np.zeros(table.shape, dtype=np.float32)
    for layer, name in enumerate(_names(network)):
        values[layer, : terms[layer]] = parameters.get(f"{name}.skip", missing)
    return values


def _fresh(network: DenseNet) -> NDArray[np.bool_]:
    """Where a value is met for the first time on the way back from the output."""
    terms, table, _ = _wiring(network)
    fresh = np.zeros(table.shape, dtype=np.bool_)
    met: set[int] = set()
    for layer in range(network.hidden_layers, 0, -1):
        for t in range(terms[layer]):
            fresh[layer, t] = table[layer, t] not in met
            met.add(int(table[layer, t]))
    return fresh
