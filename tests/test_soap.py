"""SOAP: Adam in coordinates that turn with the features."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rhoscale.training.soap import Soap


def _minimise(
    start: Tensor, loss: Callable[[Tensor], Tensor], optimiser: type, steps: int, rate: float, **group: bool
) -> Tensor:
    weights = start.clone().requires_grad_()
    stepper = optimiser([{"params": [weights], **group}], lr=rate)
    for _ in range(steps):
        stepper.zero_grad()
        loss(weights).backward()
        stepper.step()
    return weights.detach()


def _regression(seed: int, inputs: int, outputs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, targets and a start; the features have standard deviation 1 and repeat each other."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn((400, 1), generator=generator)
    features = common + 0.03 * torch.randn((400, inputs), generator=generator)
    wanted = torch.randn((outputs, inputs), generator=generator)
    return features, features @ wanted.T, 0.1 * torch.randn((outputs, inputs), generator=generator)


@pytest.mark.parametrize("shape", [(7,), (3, 5)])
def test_what_is_not_turned_moves_as_with_the_adam_of_pytorch(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    start, aim = (torch.randn(shape, generator=generator) for _ in range(2))

    def loss(w: Tensor) -> Tensor:
        return torch.sum((w - aim) ** 4)

    ours = _minimise(start, loss, Soap, 50, 0.01, turned=False)
    torch.testing.assert_close(ours, _minimise(start, loss, torch.optim.Adam, 50, 0.01), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours, start, atol=0.1)


def test_features_in_other_coordinates_are_learned_alike_and_adam_does_not() -> None:
    """Turn the features and the weights with them: after any number of steps the outputs are the same."""
    features, targets, start = (t.double() for t in _regression(1, inputs=4, outputs=9))
    turn = torch.linalg.qr(torch.randn((4, 4), generator=torch.Generator().manual_seed(2)).double()).Q

    def outputs(optimiser: type, turn: Tensor) -> Tensor:
        x = features @ turn
        found = _minimise(start @ turn, lambda w: torch.mean((x @ w.T - targets) ** 2), optimiser, 30, 0.02)
        return x @ found.T

    apart = {
        o: torch.linalg.norm(outputs(o, turn) - outputs(o, torch.eye(4).double())) for o in (Soap, torch.optim.Adam)
    }
    assert apart[Soap] < 1e-8 * torch.linalg.norm(targets)
    assert apart[torch.optim.Adam] > 0.01 * torch.linalg.norm(targets)


def test_directions_in_which_features_hardly_vary_are_learned_sooner_than_by_adam() -> None:
    features, targets, start = _regression(3, inputs=20, outputs=6)

    def loss(w: Tensor) -> Tensor:
        return torch.mean((features @ w.T - targets) ** 2)

    left = {o: loss(_minimise(start, loss, o, 300, 0.01)) for o in (Soap, torch.optim.Adam)}
    assert left[Soap] < 0.2 * left[torch.optim.Adam]


def test_a_gradient_of_nothing_moves_nothing() -> None:
    start = torch.ones((2, 3))
    assert torch.equal(_minimise(start, lambda w: 0.0 * w.sum(), Soap, 45, 0.1), start)
