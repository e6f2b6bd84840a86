"""SOAP on one side: Adam in the coordinates in which the gradients of a layer's inputs are uncorrelated.

Descriptors repeat themselves, and much that tells environments apart lies in directions in which they hardly vary.
Adam scales each weight by its own gradient and does not see such directions; in the eigenvectors of the mean of
G^T G it does (Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", 2024, projected on one side).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # of Adam
CORRELATION_DECAY, CORRELATION_EVERY = 0.98, 2  # of the mean of G^T G, and steps between its updates
TURN_EVERY = 20  # steps between two turns of the coordinates


class Soap(torch.optim.Optimizer):
    """Minimise with Adam, for weight matrices [outputs, inputs] in the eigenvectors of their mean G^T G.

    The eigenvectors follow that mean by one step of orthogonal iteration every ``TURN_EVERY`` steps. Parameters of
    another number of dimensions, and groups with ``turned = False``, are left to plain Adam. The first step of a
    matrix only finds its coordinates.

    Args:
        groups: Groups of parameters, as of every optimiser of PyTorch.
        lr: Learning rate.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "turned": True})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if group["turned"] and parameter.ndim == 2:
                    _turned_step(parameter, parameter.grad, state, group["lr"])
                else:
                    parameter.sub_(_adam(parameter.grad, state), alpha=group["lr"])


def _turned_step(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], rate: float) -> None:
    if not state:
        state["correlation"] = gradient.T @ gradient
        finite = torch.nan_to_num(state["correlation"], nan=0.0, posinf=0.0, neginf=0.0)
        state["vectors"] = torch.linalg.eigh(finite).eigenvectors.flip(1).contiguous()
        return
    parameter.sub_(_adam(gradient @ state["vectors"], state) @ state["vectors"].T, alpha=rate)
    step = int(state["step"])
    if step % CORRELATION_EVERY == 0:
        state["correlation"].lerp_(gradient.T @ gradient, 1.0 - CORRELATION_DECAY)
    if step % TURN_EVERY == 0:
        _turn(state)


def _adam(gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Adam's direction (Kingma and Ba 2015) in the coordinates of the gradient."""
    if "step" not in state:
        state["step"] = torch.zeros(())
        state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    state["step"] += 1
    step = int(state["step"])
    state["mean"].lerp_(gradient, 1.0 - FIRST_DECAY)
    state["square"].mul_(SECOND_DECAY).addcmul_(gradient, gradient, value=1.0 - SECOND_DECAY)
    deviation = (state["square"] / (1.0 - SECOND_DECAY**step)).sqrt_().add_(EPSILON)
    return (state["mean"] / (1.0 - FIRST_DECAY**step)).div_(deviation)


def _turn(state: dict[str, Tensor]) -> None:
    """One step of orthogonal iteration; the mean gradient turns along, the squares go with the vectors' order."""
    product = state["correlation"] @ state["vectors"]
    order = torch.argsort((state["vectors"] * product).sum(0), descending=True)
    vectors = torch.linalg.qr(product[:, order]).Q.contiguous()  # as after reading a state: same layout, same bits
    state["square"] = state["square"][:, order].contiguous()
    state["mean"] = state["mean"] @ (state["vectors"].T @ vectors)
    state["vectors"] = vectors
