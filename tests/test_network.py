"""The dense network: wiring, names, gradients."""

import pytest
import torch

from rhoscale.errors import InputError
from rhoscale.models.dense_network import ACTIVATIONS, DenseNet, affine
from rhoscale.models.elbo import fourier_modes
from rhoscale.models.likelihood import negative_log_likelihood, squared_error


def _random(network: DenseNet, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random values everywhere, biases and skips too, so that no term of the wiring is hidden by a zero."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.5 * torch.randn(s, generator=generator) for name, s in network.parameter_shapes.items()}


def _features(network: DenseNet, n: int = 11) -> torch.Tensor:
    return torch.randn((n, network.inputs), generator=torch.Generator().manual_seed(1))


def test_two_blocks_of_three_layers_follow_the_documented_wiring() -> None:
    """The sums written out by hand."""
    network = DenseNet(inputs=4, width=6, blocks=2, layers=3, activation="tanh")
    p, x = _random(network), _features(network)

    def layer(name: str, u: torch.Tensor) -> torch.Tensor:
        return torch.tanh(u @ p[f"{name}.weight"].T + p[f"{name}.bias"])

    def weighted(name: str, *values: torch.Tensor) -> torch.Tensor:
        assert p[f"{name}.skip"].shape == (len(values),)
        return torch.stack([c * v for c, v in zip(p[f"{name}.skip"], values, strict=True)]).sum(0)

    h0 = layer("hidden.0", x)
    h1 = layer("hidden.1", h0)
    h2 = layer("hidden.2", weighted("hidden.2", h0, h1))
    block = weighted("hidden.3", h0, h1, h2)
    h3 = layer("hidden.3", block)
    h4 = layer("hidden.4", weighted("hidden.4", block, h3))
    h5 = layer("hidden.5", weighted("hidden.5", block, h3, h4))
    u = weighted("output", block, h3, h4, h5)
    expected = u @ p["output.weight"].T + p["output.bias"]
    assert expected.abs().min() > 0
    torch.testing.assert_close(network.forward(p, x), expected)


def test_every_parameter_matters_and_gets_a_finite_gradient() -> None:
    network = DenseNet(inputs=5, width=8)
    p = {name: value.requires_grad_() for name, value in _random(network).items()}
    outputs = network.forward(p, _features(network))
    negative_log_likelihood(outputs, torch.ones(len(outputs))).mean().backward()
    for name, value in p.items():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().max() > 0, name


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_each_activation_gives_another_network(activation: str) -> None:
    network, gelu = DenseNet(3, 4, activation=activation), DenseNet(3, 4)
    p, x = _random(network), _features(network)
    same = torch.equal(network.forward(p, x), gelu.forward(p, x))
    assert same == (activation == "gelu")


def test_a_point_is_predicted_alone() -> None:
    network = DenseNet(inputs=5, width=8)
    p, x = _random(network), _features(network)
    whole = network.forward(p, x)
    assert whole.std(dim=0).min() > 0
    torch.testing.assert_close(network.forward(p, x[3:4]), whole[3:4])


def test_a_network_built_from_its_own_linear_layers_is_unchanged() -> None:
    network = DenseNet(inputs=5, width=8, blocks=2, layers=2)
    p, x = _random(network), _features(network)
    asked: list[str] = []

    def linear(name: str, u: torch.Tensor) -> torch.Tensor:
        asked.append(name)
        return affine(p, name, u)

    assert torch.equal(network.forward(p, x, linear), network.forward(p, x))
    assert asked == [*(f"hidden.{i}" for i in range(4)), "output"]


def test_starting_values_keep_the_size_of_the_signal_through_nine_layers() -> None:
    network = DenseNet(inputs=100, width=250)
    p = network.initial(torch.Generator().manual_seed(0))
    assert {name: tuple(v.shape) for name, v in p.items()} == network.parameter_shapes
    outputs = network.forward(p, _features(network, 200))
    assert 0.01 < outputs[:, 0].std() < 1.0


def test_the_paper_network_has_the_paper_size() -> None:
    """Three blocks of three layers, 250 wide, two outputs (paper, appendix F): 105 features, 8 inner products."""
    shapes = DenseNet(inputs=105).parameter_shapes
    weights = sum(s[0] * s[1] for name, s in shapes.items() if name.endswith(".weight"))
    assert weights == 105 * 250 + 8 * 250 * 250 + 250 * 2


def test_the_first_third_is_the_first_block() -> None:
    network = DenseNet(inputs=5, width=8)
    first = network.first_layers(1 / 3)
    assert {name.split(".")[1] for name in first} == {"0", "1", "2"}
    assert len(first) == 7  # three weights, three biases, one skip
    assert network.first_layers(0.0) == frozenset()


def test_settings_survive_writing_and_reading() -> None:
    network = DenseNet(inputs=7, width=9, blocks=1, layers=5, activation="relu")
    assert DenseNet.from_dict(network.to_dict()) == network


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(InputError, match="gelu"):
        DenseNet(inputs=3, activation="step")


def test_noise_likelihood_is_smallest_at_the_squared_residual_and_beta_one_is_squared_error() -> None:
    residual, targets = 0.3, torch.zeros(1)
    log_variance = torch.linspace(-6, 2, 4001)
    outputs = torch.stack([torch.full_like(log_variance, residual), log_variance], dim=1)
    best = log_variance[negative_log_likelihood(outputs, targets).argmin()]
    assert best.item() == pytest.approx(2 * torch.log(torch.tensor(residual)).item(), abs=5e-3)
    mean = torch.tensor([[0.3, -4.0], [0.3, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(negative_log_likelihood(mean, targets, beta=1.0).sum(), mean)
    (plain,) = torch.autograd.grad(0.5 * squared_error(mean, targets).sum(), mean)
    mean_noise = mean[:, 1].exp().mean().item()
    torch.testing.assert_close(gradient[:, 0], plain[:, 0] / mean_noise)


def test_a_field_has_as_many_modes_as_reciprocal_vectors_fit_its_sphere() -> None:
    """Counted one by one in a cubic cell."""
    length, spacing = 20.0, 1.0
    n = torch.arange(-12, 13)
    squares = (n[:, None, None] ** 2 + n[None, :, None] ** 2 + n[None, None, :] ** 2).float()
    radius = length / (2 * spacing)
    assert fourier_modes(length**3, spacing) == pytest.approx((squares <= radius**2).sum().item(), rel=0.02)
