"""How far features are from those of training, and what a model makes of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from rhoscale.ase_bridge import to_atoms
from rhoscale.datasets.split import Record
from rhoscale.descriptors import describer, spec_from_dict
from rhoscale.errors import ModelError
from rhoscale.metrics import coverage
from rhoscale.metrics.regions import nearest_atom
from rhoscale.models import Ensemble, MeanField, TrainedModel, load_trained, save_trained
from rhoscale.recipes.feature_range import RAREST, SHELL, feature_range
from rhoscale.recipes.judge import judged_grid
from rhoscale.recipes.public import Model
from rhoscale.recipes.training_data import Labelled
from rhoscale.snapshot import Snapshot
from rhoscale.system import System
from rhoscale.uncertainty import Recalibration, Uncertainty, fit_recalibration
from rhoscale.uncertainty.leverage import FEATURES, LEFT, Leverage, excess_leverage
from toy_model import thermal_aluminium, toy_snapshot

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6))
TRAINING = RNG.normal(size=(20_000, 6)) @ MIX + 3.0


def _fitted(features: np.ndarray) -> Leverage:
    return Leverage.of(features.mean(axis=0), np.cov(features.T, bias=True))


def test_leverage_is_one_on_average_in_training_and_largest_far_away() -> None:
    found = _fitted(TRAINING)(TRAINING)
    assert found.mean() == pytest.approx(1.0, rel=1e-4)
    assert found.std() > 0.1
    assert _fitted(TRAINING)(TRAINING[:1] + 100.0)[0] > 50 * found.max()


@pytest.mark.parametrize("rank", [30, 150])
def test_of_many_features_those_count_that_explain_the_rest(rank: int) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(4_000, rank)) @ rng.normal(size=(rank, 190)) + 0.01 * rng.normal(size=(4_000, 190))
    known = _fitted(features)
    assert (np.diff(known.chosen) > 0).all()
    assert known.whitening.shape == (len(known.chosen), min(rank, len(known.chosen)))
    assert known(features).mean() == pytest.approx(1.0, rel=1e-3)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)

    def unexplained(chosen: np.ndarray) -> float:
        coefficients = np.linalg.lstsq(standard[:, chosen], standard, rcond=None)[0]
        return float(np.mean((standard - standard[:, chosen] @ coefficients) ** 2))

    assert unexplained(known.chosen) <= LEFT
    if rank == 30:
        assert len(known.chosen) == FEATURES
    else:
        assert len(known.chosen) > FEATURES
        assert unexplained(rng.permutation(190)[: len(known.chosen) - 1]) > LEFT


def test_features_that_say_the_same_or_nothing_do_not_count_twice() -> None:
    rng = np.random.default_rng(2)
    single = rng.normal(size=(3_000, 80))
    thrice = np.hstack([single, np.full((3_000, 1), 7.0), -2.0 * single, single + 1.0])
    found = _fitted(thrice)
    assert len(found.chosen) <= 80
    assert 80 not in found.chosen
    said = np.where(found.chosen < 80, found.chosen, (found.chosen - 81) % 80)
    assert len(set(said)) == len(said)
    np.testing.assert_allclose(found(thrice[:50]), _fitted(single)(single[:50]), rtol=0.2)


def test_leverage_is_the_diagonal_of_the_hat_matrix_of_ridge_regression() -> None:
    """H = Z (Z^T Z + n lambda)^-1 Z^T with standardised features Z; lambda is the module's own."""
    rows = TRAINING[:300]
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    hat = standard @ np.linalg.solve(standard.T @ standard + 300 * 0.01 * np.eye(6), standard.T)
    expected = 300 * np.diag(hat) / np.trace(hat)
    np.testing.assert_allclose(_fitted(rows)(rows), expected, rtol=2e-3)


@given(seed=st.integers(0, 100))
def test_leverage_does_not_know_the_units_of_the_features(seed: int) -> None:
    units = np.exp(np.random.default_rng(seed).normal(0.0, 3.0, 6))
    before, after = _fitted(TRAINING)(TRAINING[:50]), _fitted(TRAINING * units)(TRAINING[:50] * units)
    assert np.ptp(before) > 0.5
    np.testing.assert_allclose(after, before, rtol=2e-3)


def test_leverage_grows_with_the_square_of_the_distance() -> None:
    fitted, direction = _fitted(TRAINING), ortho_group.rvs(6, random_state=1)[:1]
    near, far = (fitted(TRAINING.mean(axis=0) + step * direction)[0] for step in (1.0, 3.0))
    assert far == pytest.approx(9.0 * near, rel=1e-3)


def test_a_constant_feature_says_nothing() -> None:
    wider = np.column_stack([TRAINING, np.full(len(TRAINING), 7.0)])
    np.testing.assert_allclose(_fitted(wider)(wider[:20]), _fitted(TRAINING)(TRAINING[:20]), rtol=1e-4)


def test_features_of_another_descriptor_are_refused() -> None:
    with pytest.raises(ModelError, match="range is that of 6 features"):
        _fitted(TRAINING)(np.ones((3, 5)))
    with pytest.raises(ModelError, match="lacks the array"):
        Leverage.from_arrays({"centre": np.ones(3)})


def test_recalibration_leaves_the_noise_to_itself_where_the_leverage_explains_the_rest() -> None:
    rng = np.random.default_rng(1)
    aleatoric, epistemic, leverage = rng.uniform(1, 2, 50_000), rng.exponential(0.5, 50_000), rng.exponential(1, 50_000)
    true = np.sqrt((0.9 * aleatoric) ** 2 + (1.5 * epistemic) ** 2 + 0.8**2 * np.maximum(leverage**2 - 1, 0))
    errors = true * rng.standard_normal(50_000)
    found = fit_recalibration(errors, aleatoric, epistemic, leverage, 0.8)
    assert (found.floor, found.leverage) == (0.0, 0.8)
    assert found.aleatoric == pytest.approx(0.9, rel=0.05)
    assert found.epistemic == pytest.approx(1.5, rel=0.1)
    without = fit_recalibration(errors, aleatoric, epistemic)
    far = leverage > 4
    shares = []
    for factors, spread in (
        (found, found.leverage * excess_leverage(leverage)),
        (without, np.full(50_000, without.floor)),
    ):
        sigma = np.sqrt((factors.aleatoric * aleatoric) ** 2 + (factors.epistemic * epistemic) ** 2 + spread**2)
        shares.append(coverage(errors[far], sigma[far])[0.95])
    assert shares[0] == pytest.approx(0.95, abs=0.02)
    assert shares[1] < 0.85


def test_recalibrations_written_before_the_leverage_are_still_read() -> None:
    old = {"aleatoric": 1.1, "epistemic": 2.0, "floor": 1e-5}
    assert Recalibration.from_dict(old) == Recalibration(1.1, 2.0, 1e-5, 0.0, 0.0)


def test_what_lies_within_training_adds_nothing_and_what_lies_far_the_whole_leverage() -> None:
    raw = Uncertainty(*(np.full(4, value, dtype=np.float32) for value in (0.1, 3e-4, 1e-4)))
    leverage = np.array([0.2, 1.0, 2.0, 100.0], dtype=np.float32)
    added = np.square(Recalibration(leverage=1e-4)(raw, leverage).epistemic) - np.square(raw.epistemic)
    np.testing.assert_allclose(added, np.array([0.0, 0.0, 3.0, 9999.0]) * 1e-8, rtol=1e-5, atol=1e-14)
    before = Recalibration(leverage=1e-4, beyond=0.0)(raw, leverage)
    np.testing.assert_allclose(before.epistemic, np.hypot(raw.epistemic, 1e-4 * leverage), rtol=1e-6)


def _record(number: int, kind: str, temperature: float) -> Record:
    return Record(f"t{number}", "", "b", "train", (), f"x{number}", "Al4", 4, kind, temperature, 0.0)


def test_models_of_before_whose_features_all_count_keep_their_format(toy_model: Path, tmp_path: Path) -> None:
    plain = load_trained(toy_model)
    size = plain.network.inputs
    every = Leverage(np.zeros(size, np.float32), np.arange(size), np.eye(size, 3, dtype=np.float32))
    for beyond, format_name in ((0.0, "rhoscale-model-2"), (1.0, "rhoscale-model-4")):
        factors = Recalibration(1.0, 1.0, 0.0, 1e-4, beyond)
        folder = save_trained(replace(plain, leverage=every, recalibration=factors), tmp_path / format_name)
        assert f'format = "{format_name}"' in (folder / "card.toml").read_text()
        again = load_trained(folder).leverage
        assert again is not None
        assert again.counts_all
        assert again(np.full((1, size), 2.0))[0] == 12.0


@pytest.fixture(scope="module")
def training() -> Labelled:
    """Cold cells, and hot ones that a fit to the cold has not seen the like of."""
    amplitudes = [0.1] * 4 + [0.4] * 3
    snapshots: list[Snapshot] = [toy_snapshot(thermal_aluminium(i, amplitude=a)) for i, a in enumerate(amplitudes)]
    records = tuple(_record(i, "bulk", 300.0 if a < 0.2 else 1500.0) for i, a in enumerate(amplitudes))
    return Labelled(records, tuple(snapshots))


def _with_linear_prior(model: TrainedModel) -> TrainedModel:
    size = model.network.inputs
    rest = {"linear.centre": np.zeros(size), "linear.offset_and_strength": np.array([0.03, 1e-6])}
    return replace(model, prior_mean="linear", prior_arrays={"linear.coefficients": np.zeros(size), **rest})


def test_the_scale_is_what_a_linear_fit_adds_where_it_has_not_been(toy_model: Path, training: Labelled) -> None:
    model = load_trained(toy_model)
    known = feature_range(_with_linear_prior(model), training)
    assert 0 < known.scale < 0.03  # electrons per Bohr^3: below the mean density
    assert 1 < known.quantile < 30
    assert 0.01 <= known.share < 0.2
    cold = Labelled(training.records[:4], training.snapshots[:4])
    assert feature_range(_with_linear_prior(model), cold).scale == 0.0  # all of one kind: nothing to leave out
    assert feature_range(model, training).scale == 0.0  # and no linear part, nothing that it leaves out
    linear = _with_linear_prior(model)
    assert isinstance(linear.posterior, MeanField)
    two = replace(linear, posterior=Ensemble((linear.posterior.means,) * 2))
    several = feature_range(two, training)
    assert several.scale == 0.0  # an ensemble tells it by its spread, and knows its range as before
    assert several.quantile == known.quantile


def test_a_coarse_compute_grid_that_falls_on_the_sites_of_a_lattice_does_not_set_the_range(
    toy_model: Path, training: Labelled
) -> None:
    """Two points along a cubic cell of four atoms: half of them would be sites of atoms, the others holes."""
    model = load_trained(toy_model)
    edge = float(training.snapshots[0].system.cell[0, 0])
    coarse, fine = (feature_range(replace(model, compute_spacing=spacing), training) for spacing in (edge / 2.01, 0.7))
    assert coarse.quantile == fine.quantile
    assert coarse.share == fine.share


def test_every_distance_to_the_nearest_atom_counts_alike(toy_model: Path, training: Labelled) -> None:
    """The mean leverage of the shells around nuclei, not that of all points, is 1; shells of few points count less."""
    model = load_trained(toy_model)
    leverage = feature_range(model, training).leverage
    spec = spec_from_dict(model.descriptor_spec)
    found, shells = [], []
    for snapshot in training.snapshots:
        points = judged_grid(model, snapshot.system.cell).points()
        found.append(leverage(describer(snapshot.system, spec)(points)))
        shells.append(np.floor(nearest_atom(snapshot.system, points) / SHELL).astype(int))
    of_all, shell = np.concatenate(found).astype(np.float64), np.concatenate(shells)
    means = np.array([of_all[shell == k].mean() for k in np.unique(shell)])
    shares = np.array([np.mean(shell == k) for k in np.unique(shell)])
    assert np.average(means, weights=np.minimum(1.0, shares / RAREST)) == pytest.approx(1.0, rel=1e-3)
    assert abs(of_all.mean() - 1.0) > 0.01


def test_a_model_with_leverage_comes_back_the_same_and_a_swapped_range_is_refused(
    toy_model: Path, training: Labelled, tmp_path: Path
) -> None:
    plain = load_trained(toy_model)
    assert 'format = "rhoscale-model-1"' in (toy_model / "card.toml").read_text()
    known = feature_range(plain, training)
    model = replace(plain, leverage=known.leverage, recalibration=Recalibration(1.0, 1.0, 0.0, 1e-4))
    folder = save_trained(model, tmp_path / "model")
    assert 'format = "rhoscale-model-6"' in (folder / "card.toml").read_text()
    again = load_trained(folder)
    assert again.recalibration == model.recalibration
    assert again.leverage is not None
    features = np.abs(np.random.default_rng(2).normal(5, 2, (100, plain.network.inputs))).astype(np.float32)
    np.testing.assert_array_equal(again.leverage(features), known.leverage(features))
    raised, before = (m.uncertainty(features, draws=4) for m in (again, plain))
    excess = excess_leverage(known.leverage(features))
    np.testing.assert_allclose(raised.epistemic, np.hypot(before.epistemic, 1e-4 * excess), rtol=1e-5)
    assert (raised.epistemic > before.epistemic).any()
    np.testing.assert_allclose(raised.total**2, raised.aleatoric**2 + raised.epistemic**2, rtol=1e-4)
    other = replace(model, leverage=replace(known.leverage, centre=known.leverage.centre + 1))
    wrong = save_trained(other, tmp_path / "other")
    hashes = [
        next(x for x in (f / "card.toml").read_text().split("\n[") if x.startswith("leverage]"))
        for f in (folder, wrong)
    ]
    card = (wrong / "card.toml").read_text().replace(hashes[1], hashes[0])
    (wrong / "card.toml").write_text(card)
    with pytest.raises(ModelError, match="edited"):
        load_trained(wrong)


def test_a_structure_with_features_that_training_hardly_knew_is_told_outside(
    toy_model: Path, training: Labelled
) -> None:
    plain = load_trained(toy_model)
    known = feature_range(plain, training)
    limits = {"leverage_quantile": known.quantile, "leverage_share": known.share, "largest_total": 1e9}
    model = Model(replace(plain, leverage=known.leverage, range=limits), "0" * 64)
    familiar, blown = thermal_aluminium(11), thermal_aluminium(12)
    blown = System(1.12 * blown.cell, 1.12 * blown.positions, blown.species)
    inside, outside = (model.predict(to_atoms(s), draws=4, threads=1).verdict for s in (familiar, blown))
    assert inside is not None
    assert outside is not None
    assert inside.share_far is None
    assert outside.share_far is not None
    assert outside.share_far > 0.5
    assert outside.range == "outside"
    assert "features rarer than" in str(outside)
