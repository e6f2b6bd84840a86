"""The fit loop: closed form, repeatability, resume; transfer: what stays frozen."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rhoscale.errors import FormatError, InputError, ModelError
from rhoscale.models.dense_network import DenseNet, Linear, Parameters, affine
from rhoscale.models.posterior import MeanField, mean_field, normal_prior, stochastic_names
from rhoscale.training import (
    EpochReport,
    FitResult,
    FitSettings,
    ShuffledBatches,
    TransferSettings,
    fit,
    second_stage,
)
from rhoscale.training.state import TrainingState

NOISE = 0.3


class LinearModel:
    """y = x w + b with known noise: the one network whose posterior has a closed form."""

    def forward(self, parameters: Parameters, features: Tensor, linear: Linear | None = None) -> Tensor:
        mean = affine(parameters, "line", features) if linear is None else linear("line", features)
        return torch.cat([mean, torch.full_like(mean, 2 * np.log(NOISE))], dim=1)


def _linear_data(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3)) * [1.0, 0.5, 2.0]
    return x, x @ [0.7, -1.2, 0.1] + 0.4 + NOISE * rng.normal(size=n)


@pytest.mark.parametrize("effective", [1.0, 0.25])
@pytest.mark.parametrize(("estimator", "tolerance"), [("local", 0.04), ("weights", 0.12)])
def test_a_linear_gaussian_model_ends_at_its_closed_form_posterior(
    effective: float, estimator: str, tolerance: float
) -> None:
    """Mean-field optimum of N(m, L^-1): the exact mean, and variances 1 / L_ii.

    L = s X^T X / noise^2 + 1 / p^2 with s the effective number of data over the number of points. One weight draw
    for a batch gives noisier gradients, so its end is known less well.
    """
    x, y = _linear_data(40)
    design = np.column_stack([x, np.ones(len(x))])
    precision = effective * design.T @ design / NOISE**2 + np.eye(4) / 0.5**2
    exact = np.linalg.solve(precision, effective * design.T @ y / NOISE**2)
    start = {"line.weight": torch.zeros((1, 3)), "line.bias": torch.zeros(1)}
    features, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
    repeated = ShuffledBatches(features.repeat(25, 1), targets.repeat(25), torch.ones(1000), 1000, seed=0, steps=40)
    settings = FitSettings(epochs=60, warm_epochs=0, learning_rate=0.02, deviation_rate=1.0, estimator=estimator)
    posterior = fit(
        LinearModel(),
        mean_field(start, frozenset(start), 0.2),
        repeated,
        prior=normal_prior(start, 0.5),
        data_count=effective * len(x),
        settings=settings,
    ).posterior
    means = np.concatenate([posterior.means["line.weight"].numpy().ravel(), posterior.means["line.bias"].numpy()])
    spread = posterior.deviations()
    deviations = np.concatenate([spread["line.weight"].numpy().ravel(), spread["line.bias"].numpy()])
    expected = 1 / np.sqrt(np.diag(precision))
    assert expected.max() / expected.min() > 3
    np.testing.assert_allclose(deviations, expected, rtol=tolerance)
    np.testing.assert_allclose(means, exact, atol=4 * tolerance * expected.max())


NETWORK = DenseNet(inputs=3, width=12, blocks=3, layers=1)


def _batches(seed: int = 0) -> ShuffledBatches:
    x = torch.randn((600, 3), generator=torch.Generator().manual_seed(9))
    y = torch.sin(2 * x[:, 0]) + 0.3 * x[:, 1] * x[:, 2]
    return ShuffledBatches(x, y, torch.ones(600), 100, seed)


def _error(parameters: Mapping[str, Tensor]) -> float:
    x = torch.randn((300, 3), generator=torch.Generator().manual_seed(10))
    y = torch.sin(2 * x[:, 0]) + 0.3 * x[:, 1] * x[:, 2]
    return float((NETWORK.forward(parameters, x)[:, 0] - y).abs().mean())


def _start() -> MeanField:
    return mean_field(NETWORK.initial(torch.Generator().manual_seed(1)), stochastic_names(NETWORK, "all"), 1e-2)


class KilledError(Exception):
    """Stands for a kill signal between two epochs."""


def _fit(settings: FitSettings, path: Path | None = None, kill_after: int | None = None, **extra: object) -> FitResult:
    def on_epoch(report: EpochReport) -> None:
        if report.epoch == kill_after:
            raise KilledError

    start = _start()
    return fit(
        NETWORK,
        start,
        _batches(settings.seed),
        prior=normal_prior(start.means, 0.3),
        data_count=300.0,
        settings=settings,
        validate=_error,
        state_path=path,
        on_epoch=on_epoch,
        **extra,
    )


def _same(a: MeanField, b: MeanField) -> bool:
    return all(torch.equal(a.means[k], b.means[k]) for k in a.means) and all(
        torch.equal(a.log_deviations[k], b.log_deviations[k]) for k in a.log_deviations
    )


SETTINGS = FitSettings(epochs=8, warm_epochs=4, checkpoint_seconds=0.0)


@pytest.mark.parametrize("kill_after", [1, 3, 4, 9])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, kill_after: int) -> None:
    """Killed in the warm start, at its end, just after it, and late."""
    whole = _fit(SETTINGS)
    assert not _same(whole.posterior, _start())
    with pytest.raises(KilledError):
        _fit(SETTINGS, tmp_path / "state", kill_after)
    again = _fit(SETTINGS, tmp_path / "state")
    assert _same(whole.posterior, again.posterior)
    assert [(r.data, r.complexity, r.validation) for r in whole.history] == [
        (r.data, r.complexity, r.validation) for r in again.history
    ]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first, again = _fit(SETTINGS), _fit(SETTINGS)
    other = _fit(FitSettings(epochs=8, warm_epochs=4, seed=1))
    assert _same(first.posterior, again.posterior)
    assert not _same(first.posterior, other.posterior)


def test_training_learns_and_the_whole_loss_falls() -> None:
    result = _fit(FitSettings(epochs=40, warm_epochs=20, learning_rate=5e-3))
    assert result.history[-1].validation < 0.35 * _error(_start().means)
    assert 0 < result.history[-1].complexity < 10
    losses = [r.data + r.complexity for r in result.history if r.phase == "variational"]
    assert losses[-1] < losses[0] - 0.5


def test_the_posterior_of_the_best_validation_error_is_kept_and_patience_ends_the_run() -> None:
    scores = iter([5.0, 4.0, 3.0, 2.0, 2.5, 2.4, 2.3, 0.0])
    seen: list[Mapping[str, Tensor]] = []

    def validate(parameters: Mapping[str, Tensor]) -> float:
        seen.append(parameters)
        return next(scores)

    start = _start()
    result = fit(
        NETWORK,
        start,
        _batches(),
        prior=normal_prior(start.means, 0.3),
        data_count=300.0,
        settings=FitSettings(epochs=7, warm_epochs=1, patience=3),
        validate=validate,
    )
    assert result.best_epoch == 3
    assert len(result.history) == 7
    assert all(torch.equal(result.posterior.means[k], seen[3][k]) for k in seen[3])


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        _fit(SETTINGS, tmp_path / "state", 2)
    with pytest.raises(InputError, match="other settings or data"):
        _fit(FitSettings(epochs=9, warm_epochs=4), tmp_path / "state")
    with pytest.raises(InputError, match="--force"):
        _fit(SETTINGS, tmp_path / "state", fingerprint="other data")


def test_a_truncated_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        _fit(SETTINGS, tmp_path / "state", 2)
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:-10])
    with pytest.raises(FormatError, match="--force"):
        TrainingState.read(tmp_path / "state")


def test_a_loss_that_runs_away_stops_the_run() -> None:
    with pytest.raises(ModelError, match="learning_rate"):
        _fit(FitSettings(epochs=20, warm_epochs=0, learning_rate=1e6))


@pytest.mark.parametrize("stochastic", [True, False])
def test_frozen_layers_keep_their_bits_in_transfer_and_the_others_do_not(stochastic: bool) -> None:
    first = _fit(SETTINGS).posterior
    prior = normal_prior(first.means, 0.3)
    stage = second_stage(NETWORK, first, prior, TransferSettings(frozen_stochastic=stochastic))
    result = fit(
        NETWORK,
        stage.posterior,
        _batches(3),
        prior=stage.prior,
        data_count=300.0,
        settings=FitSettings(epochs=3, warm_epochs=0),
        frozen=stage.frozen,
    ).posterior
    assert {name.split(".")[1] for name in stage.frozen} == {"0"}
    for name, before in first.means.items():
        assert torch.equal(result.means[name], before) == (name in stage.frozen), name
    for name, before in first.log_deviations.items():
        if name in stage.frozen:
            assert (name in result.log_deviations) == stochastic
        if name in result.log_deviations:
            assert torch.equal(result.log_deviations[name], before) == (name in stage.frozen), name


def test_the_second_stage_prior_is_a_named_choice() -> None:
    first, prior = _start(), normal_prior(_start().means, 0.3)
    assert second_stage(NETWORK, first, prior, TransferSettings(prior="first")).prior is prior
    assert _same(second_stage(NETWORK, first, prior, TransferSettings(prior="posterior")).prior, first)
    with pytest.raises(InputError, match="data_fraction"):
        TransferSettings(data_fraction=0.0)


def test_an_epoch_uses_each_point_at_most_once_a_pass_in_an_order_of_its_own() -> None:
    x = torch.arange(10.0)[:, None]
    batches = ShuffledBatches(x, x[:, 0], x[:, 0], 3, seed=4)
    epochs = [[b.targets.tolist() for b in batches(e)] for e in (0, 0, 1)]
    assert epochs[0] == epochs[1] != epochs[2]
    used = [point for batch in epochs[0] for point in batch]
    assert len(set(used)) == len(used) == 9
    longer = ShuffledBatches(x, x[:, 0], x[:, 0], 3, seed=4, steps=7)
    assert len(list(longer(0))) == 7
    with pytest.raises(InputError, match="1 to 10"):
        ShuffledBatches(x, x[:, 0], x[:, 0], 11, seed=0)
