"""Ways to know the weights of one network from one data set, as ``posteriors.py`` compares them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rhoscale.models import DenseNet, DrawnNetwork, MeanField, TrainedModel
from rhoscale.models.dense_network import Parameters, affine
from rhoscale.models.likelihood import log_noise_variance, negative_log_likelihood, squared_error
from rhoscale.models.posterior import mean_field, stochastic_names
from rhoscale.training import FitSettings, ShuffledBatches, fit
from rhoscale.training.batches import Batch
from rhoscale.uncertainty import Uncertainty, decompose

Features = NDArray[np.float32]
Predict = Callable[[Features], Uncertainty]
ROWS = 4096  # of features at a time


@dataclass(frozen=True)
class Problem:
    """What all methods share.

    Attributes:
        model: Everything but the weights.
        prior: P(w).
        tensors: Standardised features, scaled targets and weights of the training points.
        data_count: Effective number of data N.
        settings: Epochs and rates.
        batch: Points of a minibatch.
        steps: Minibatches of an epoch; None for as many as use every point once.
        validate: Weights -> L1 per electron on the validation cells.
        initial_deviation: Of every weight where the variational phase starts.
    """

    model: TrainedModel
    prior: MeanField
    tensors: tuple[Tensor, Tensor, Tensor]
    data_count: float
    settings: FitSettings
    batch: int
    steps: int | None
    validate: Callable[[Parameters], float]
    initial_deviation: float

    @property
    def network(self) -> DenseNet:
        """Shape of the network."""
        return self.model.network

    def start(self, seed: int) -> dict[str, Tensor]:
        """Weights to start from."""
        return self.network.initial(torch.Generator().manual_seed(seed))

    def batches(self, seed: int) -> ShuffledBatches:
        """Minibatches in the order of a seed."""
        return ShuffledBatches(*self.tensors, min(self.batch, len(self.tensors[0])), seed, self.steps)


@dataclass(frozen=True)
class Method:
    """A way to know the weights.

    Attributes:
        name: In the tables.
        predict: Features -> density minus prior mean with its deviations, not recalibrated.
        seconds: Of processor time that training took.
        evaluations: What a prediction costs, in words.
    """

    name: str
    predict: Predict
    seconds: float
    evaluations: str


def variational(problem: Problem, seed: int) -> tuple[TrainedModel, float]:
    """Train as ``rhoscale train`` does; model and processor seconds."""
    started, start = time.process_time(), problem.start(seed)
    result = fit(
        problem.network,
        mean_field(start, stochastic_names(problem.network, "all"), problem.initial_deviation),
        problem.batches(seed),
        prior=problem.prior,
        data_count=problem.data_count,
        settings=replace(problem.settings, seed=seed),
        validate=problem.validate,
    )
    return replace(problem.model, posterior=result.posterior), time.process_time() - started


def member(problem: Problem, seed: int) -> tuple[DrawnNetwork, float]:
    """Maximise the posterior density; network and processor seconds. Phases and rates are those of ``fit``.

    loss = 1/B sum_i v_i (-log P(rho_i | x_i, w)) + 1/N sum_j (w_j - m_j)^2 / (2 p_j^2)
    """
    started, settings, batches = time.process_time(), problem.settings, problem.batches(seed)
    weights = {name: value.requires_grad_() for name, value in problem.start(seed).items()}

    def warm_loss(batch: Batch) -> Tensor:
        outputs = problem.network.forward(weights, batch.features)
        return torch.mean(batch.weights * squared_error(outputs, batch.targets))

    def loss(batch: Batch) -> Tensor:
        outputs = problem.network.forward(weights, batch.features)
        terms = torch.mean(batch.weights * negative_log_likelihood(outputs, batch.targets))
        return terms + _penalty(weights, problem.prior) / problem.data_count

    optimiser = torch.optim.Adam(weights.values(), lr=settings.learning_rate)
    for epoch in range(settings.warm_epochs):
        mean_square = _epoch(optimiser, batches(epoch), warm_loss)
    if settings.warm_epochs:
        with torch.no_grad():
            weights["output.bias"][1] = math.log(max(mean_square, 1e-10))
    optimiser = torch.optim.Adam(weights.values(), lr=settings.learning_rate)
    best, lowest = weights, math.inf
    for epoch in range(settings.epochs):
        rate = 0.5 * settings.learning_rate * (1.0 + math.cos(math.pi * epoch / settings.epochs))
        optimiser.param_groups[0]["lr"] = rate
        _epoch(optimiser, batches(settings.warm_epochs + epoch), loss)
        if (error := problem.validate(weights)) < lowest:
            best, lowest = {name: value.detach().clone() for name, value in weights.items()}, error
    return DrawnNetwork(problem.network, best, problem.model.scaling), time.process_time() - started


def _epoch(optimiser: torch.optim.Optimizer, batches: Iterable[Batch], loss_of: Callable[[Batch], Tensor]) -> float:
    """One pass; mean loss."""
    losses = []
    for batch in batches:
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _penalty(weights: Parameters, prior: MeanField) -> Tensor:
    """Minus the logarithm of the prior density without its constant."""
    shifts = [(w - prior.means[name]) * torch.exp(-prior.log_deviations[name]) for name, w in weights.items()]
    return torch.stack([0.5 * torch.sum(shift**2) for shift in shifts]).sum()


def laplace_factor(problem: Problem, network: DrawnNetwork) -> Tensor:
    """Factor L [k, k] of the covariance L L^T of the density's output weights and bias, given the rest and the noise.

        (L L^T)^-1 = diag(1 / p^2) + N/n sum_i v_i phi_i phi_i^T / sigma_i^2,    phi = (input of the output layer, 1)

    It is the exact posterior covariance of a linear model with known noise, and the inverse Gauss-Newton matrix of the
    last layer. The Fisher matrix of a Gaussian couples no weight of the mean to one of the log noise variance.
    """
    features, _, weights = problem.tensors
    prior = problem.prior.deviations()
    precision = torch.diag(torch.cat([prior["output.weight"][0], prior["output.bias"][:1]]).double() ** -2)
    for x, v in zip(features.split(ROWS), weights.split(ROWS), strict=True):
        inputs, outputs = last_layer(network, x)
        scaled = v * torch.exp(-log_noise_variance(outputs)) * (problem.data_count / len(features))
        precision += (inputs.T * scaled).double() @ inputs.double()
    return torch.linalg.inv(torch.linalg.cholesky(precision)).T.float()


def last_layer(network: DrawnNetwork, features: Tensor) -> tuple[Tensor, Tensor]:
    """phi [n, k] and both outputs [n, 2] at standardised features."""
    seen: list[Tensor] = []

    def linear(name: str, u: Tensor) -> Tensor:
        if name == "output":
            seen.append(torch.cat([u, torch.ones(len(u), 1)], dim=1))
        return affine(network.parameters, name, u)

    with torch.inference_mode():
        outputs = network.network.forward(network.parameters, features, linear)
    return seen[0], outputs


def of_draws(networks: Sequence[DrawnNetwork], features: Features) -> Uncertainty:
    """Mean of means, mean of noise variances and spread of means of several networks."""
    results = [network(features) for network in networks]
    return decompose(np.stack([r[0] for r in results]), np.stack([r[1] for r in results]))


def of_laplace(network: DrawnNetwork, factor: Tensor, features: Features) -> Uncertainty:
    """The network's density and noise, with epistemic^2 = |L^T phi|^2."""
    scaling, parts = network.scaling, []
    for start in range(0, len(features), ROWS):
        inputs, outputs = last_layer(network, scaling.features(torch.from_numpy(features[start : start + ROWS])))
        spread = scaling.scale * torch.linalg.vector_norm(inputs @ factor, dim=1)
        noise = scaling.scale * torch.exp(0.5 * log_noise_variance(outputs))
        parts.append(torch.stack([scaling.residual(outputs[:, 0]), noise, spread]))
    mean, noise, spread = torch.cat(parts, dim=1).numpy()
    return Uncertainty(mean, noise, spread)


def methods(problem: Problem, seed: int, members: int, draws: int) -> Iterator[Method]:
    """Train them one after the other."""
    model, seconds = variational(problem, seed)
    yield Method("VI, first order", model.predictor.uncertainty, seconds, "1, its gradient")
    yield Method(f"VI, {draws} draws", partial(of_draws, model.drawn(seed, draws)), seconds, f"{draws}")
    networks, spent = zip(*[member(problem, members * seed + j) for j in range(members)], strict=True)
    yield Method("member", partial(of_draws, networks[:1]), spent[0], "1")
    started = time.process_time()
    factor = laplace_factor(problem, networks[0])
    seconds = spent[0] + time.process_time() - started
    yield Method("Laplace, last layer", partial(of_laplace, networks[0], factor), seconds, "1, a product")
    yield Method(f"ensemble of {members}", partial(of_draws, networks), sum(spent), f"{members}")
    for j in range(1, members):
        yield Method(f"member {j + 1}", partial(of_draws, networks[j : j + 1]), spent[j], "1")
