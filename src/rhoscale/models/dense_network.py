"""Dense network with weighted skip connections; a pure function of its parameters, ignorant of their distribution.

Wiring (paper, appendix F, leaves it open). Hidden layers are numbered l = 0 ... blocks * layers - 1 across the
blocks. Within a block, y_0 is the block's input and y_1, y_2, ... are the outputs of its layers in order:

    h_l = activation(W_l u_l + b_l),    u_l = sum_j s_lj y_j        over the y_j that precede layer l in its block

with trainable scalars s_lj. The first block's input (the features) has another width than the layers, so only layer
0 reads it. Blocks are chained with a skip: the input of a later block is the weighted sum of everything in the block
before, that block's own input included; its coefficients belong to the first layer of the later block. The
output layer reads the weighted sum of everything in the last block, and gives the density and the log noise variance.
A sum of one term has no coefficient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rhoscale.errors import InputError

Parameters = Mapping[str, Tensor]
Linear = Callable[[str, Tensor], Tensor]

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu-tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True)
class DenseNet:
    """Shape of a network; its parameters are kept apart.

    Attributes:
        inputs: Number of features.
        width: Nodes of every hidden layer.
        blocks: Dense blocks.
        layers: Hidden layers in each block.
        activation: One of ``gelu``, ``gelu-tanh``, ``silu``, ``relu``, ``tanh``.
    """

    inputs: int
    width: int = 250
    blocks: int = 3
    layers: int = 3
    activation: str = "gelu"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"activation {self.activation!r} is unknown; expected one of {', '.join(ACTIVATIONS)}; choose one"
            )
        if min(self.inputs, self.width, self.blocks, self.layers) < 1:
            raise InputError(f"a network needs positive sizes; got {self}; give at least 1 of each")

    @property
    def hidden_layers(self) -> int:
        """Hidden layers in all blocks."""
        return self.blocks * self.layers

    @cached_property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, in the order of the layers."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.hidden_layers + 1):
            name = self._name(layer)
            terms = self._terms(layer)
            if terms > 1:
                shapes[f"{name}.skip"] = (terms,)
            rows = 2 if layer == self.hidden_layers else self.width
            shapes[f"{name}.weight"] = (rows, self.inputs if layer == 0 else self.width)
            shapes[f"{name}.bias"] = (rows,)
        return shapes

    def first_layers(self, fraction: float) -> frozenset[str]:
        """Names of the parameters of the first ``fraction`` of the hidden layers (rounded to whole layers)."""
        count = round(fraction * self.hidden_layers)
        names = tuple(f"{self._name(layer)}." for layer in range(count))
        return frozenset(name for name in self.parameter_shapes if names and name.startswith(names))

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw starting values: weights N(0, 2 / fan-in), the output's a tenth of that, zero biases.

        Skip coefficients start at 1 / sqrt(terms), so that a sum of equally strong terms keeps their size.
        """
        values: dict[str, Tensor] = {}
        for name, shape in self.parameter_shapes.items():
            if name.endswith(".weight"):
                deviation = math.sqrt(2.0 / shape[1]) * (0.1 if name.startswith("output") else 1.0)
                values[name] = torch.randn(shape, generator=generator) * deviation
            elif name.endswith(".skip"):
                values[name] = torch.full(shape, 1.0 / math.sqrt(shape[0]))
            else:
                values[name] = torch.zeros(shape)
        return values

    def forward(self, parameters: Parameters, features: Tensor, linear: Linear | None = None) -> Tensor:
        """Compute both outputs, shape [n, 2]: scaled density and log of the scaled noise variance.

        Args:
            parameters: A tensor for every name of ``parameter_shapes``; a skip vector [terms] may also be given
                for each point [n, terms].
            features: Standardised features [n, inputs].
            linear: How the layer of a name acts on its input; by default ``u W^T + b``.
        """
        act = ACTIVATIONS[self.activation]
        apply = linear if linear is not None else lambda name, u: affine(parameters, name, u)
        values: list[Tensor] = []
        for layer in range(self.hidden_layers):
            if layer == 0:
                values = [act(apply(self._name(0), features))]
                continue
            u = _mix(parameters.get(f"{self._name(layer)}.skip"), values)
            if layer % self.layers == 0:
                values = [u]
            values.append(act(apply(self._name(layer), u)))
        return apply("output", _mix(parameters.get("output.skip"), values))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DenseNet:
        """Rebuild from :meth:`to_dict`."""
        return cls(**values)

    def _name(self, layer: int) -> str:
        return "output" if layer == self.hidden_layers else f"hidden.{layer}"

    def _terms(self, layer: int) -> int:
        """How many y_j the input of a layer sums; of a block's first layer (and the output), the block before."""
        if layer == 0:
            return 0
        block = (layer - 1) // self.layers if layer % self.layers == 0 else layer // self.layers
        own_input = 0 if block == 0 else 1
        return layer - block * self.layers + own_input


def affine(parameters: Parameters, name: str, u: Tensor) -> Tensor:
    """Apply u W^T + b of the named layer."""
    return functional.linear(u, parameters[f"{name}.weight"], parameters[f"{name}.bias"])


def _mix(coefficients: Tensor | None, values: list[Tensor]) -> Tensor:
    if coefficients is None:
        return values[0]
    total = coefficients[..., 0:1] * values[0]
    for j in range(1, len(values)):
        total = torch.addcmul(total, coefficients[..., j : j + 1], values[j])
    return total
