"""Trained models: what they predict, and that their folders come back the same or not at all."""

import dataclasses
import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rhoscale.errors import FormatError, InputError, ModelError, OutputError
from rhoscale.models import DenseNet, Scaling, TrainedModel, load_trained, save_trained
from rhoscale.models.card import to_toml
from rhoscale.models.posterior import mean_field, stochastic_names
from rhoscale.models.trained import CHUNK
from rhoscale.system import PseudopotentialIdentity
from rhoscale.uncertainty import Recalibration


@pytest.fixture
def model() -> TrainedModel:
    network = DenseNet(inputs=5, width=16, blocks=2, layers=2)
    generator = torch.Generator().manual_seed(0)
    features = np.random.default_rng(0).normal(3.0, 2.0, (200, 5)).astype(np.float32)
    return TrainedModel(
        name="toy",
        network=network,
        posterior=mean_field(network.initial(generator), stochastic_names(network, "all"), 0.02),
        scaling=Scaling.of(features, 0.03 + 0.01 * features[:, 0]),
        descriptor_spec={"family": "scalar-products", "distances": 60, "species": ["Al"], "nested": {"k": 3}},
        pseudopotentials={"Al": PseudopotentialIdentity("Al", "GTH-PBE-q3", 3.0, "ab" * 32)},
        functional="PBE",
        compute_spacing=0.5,
        prior_mean="promolecule",
        prior_arrays={"Al": np.linspace(0.0, 1.0, 7)},
        range={"largest_total": 1.25e-3},
        recalibration=Recalibration(1.1, 2.0, 1e-5),
        card={"data": {"snapshots": 3, "trajectories": ['a "quoted" name', "Ω"]}, "errors": {"l1": 0.0123}},
    )


FEATURES = np.random.default_rng(1).normal(3.0, 2.0, (CHUNK + 57, 5)).astype(np.float32)
PRIOR = np.linspace(0.01, 0.02, len(FEATURES))


def test_a_saved_model_comes_back_with_the_same_bits(model: TrainedModel, tmp_path: Path) -> None:
    again = load_trained(save_trained(model, tmp_path / "toy"))
    for a, b in zip(model.point_estimate(FEATURES, PRIOR), again.point_estimate(FEATURES, PRIOR), strict=True):
        assert np.ptp(a) > 0
        np.testing.assert_array_equal(a, b)
    before, after = (m.uncertainty(FEATURES, PRIOR, draws=4, seed=7) for m in (model, again))
    np.testing.assert_array_equal(before.total, after.total)
    for name in ("network", "descriptor_spec", "pseudopotentials", "range", "recalibration", "card", "compute_spacing"):
        assert getattr(again, name) == getattr(model, name), name
    np.testing.assert_array_equal(again.prior_arrays["Al"], model.prior_arrays["Al"])


def test_saving_twice_gives_the_same_files(model: TrainedModel, tmp_path: Path) -> None:
    first, second = save_trained(model, tmp_path / "a"), save_trained(model, tmp_path / "b")
    for name in ("card.toml", "weights.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_nothing_in_the_folder_is_a_pickle(model: TrainedModel, tmp_path: Path) -> None:
    folder = save_trained(model, tmp_path / "toy")
    assert sorted(p.name for p in folder.iterdir()) == ["card.toml", "weights.safetensors"]
    assert tomllib.loads((folder / "card.toml").read_text())["pseudopotentials"]["Al"]["valence"] == 3.0
    with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError)):
        pickle.loads((folder / "weights.safetensors").read_bytes())


def test_total_variance_is_the_sum_of_its_parts_after_recalibration_too(model: TrainedModel) -> None:
    result = model.uncertainty(FEATURES, PRIOR, draws=5, seed=1)
    assert result.epistemic.min() > 0
    np.testing.assert_allclose(result.total**2, result.aleatoric**2 + result.epistemic**2, rtol=1e-4)
    raw = dataclasses.replace(model, recalibration=None).uncertainty(FEATURES, PRIOR, draws=5, seed=1)
    np.testing.assert_allclose(result.epistemic, 2.0 * raw.epistemic, rtol=1e-5)


def test_the_same_draws_serve_every_call_so_pieces_have_no_seam(model: TrainedModel) -> None:
    whole = model.uncertainty(FEATURES, PRIOR, draws=4, seed=3)
    parts = [model.uncertainty(FEATURES[s], PRIOR[s], draws=4, seed=3) for s in (slice(0, 999), slice(999, None))]
    np.testing.assert_allclose(np.concatenate([p.epistemic for p in parts]), whole.epistemic, rtol=1e-3)
    other = model.uncertainty(FEATURES, PRIOR, draws=4, seed=4)
    assert np.abs(other.epistemic - whole.epistemic).max() > 0.05 * whole.epistemic.max()


def test_more_draws_begin_with_the_same_draws(model: TrainedModel) -> None:
    few, many = model.drawn(5, 2), model.drawn(5, 4)
    for a, b in zip(few, many, strict=False):
        assert all(torch.equal(a.parameters[name], b.parameters[name]) for name in a.parameters)
    assert not torch.equal(many[0].parameters["output.bias"], many[1].parameters["output.bias"])


def test_the_point_estimate_is_the_mean_of_the_parameters_added_to_the_prior(model: TrainedModel) -> None:
    density, _ = model.point_estimate(FEATURES, PRIOR)
    shifted, _ = model.point_estimate(FEATURES, PRIOR + 0.5)
    np.testing.assert_allclose(shifted - density, 0.5, atol=1e-6)
    with torch.inference_mode():
        outputs = model.network.forward(model.posterior.means, model.scaling.features(torch.from_numpy(FEATURES)))
    expected = outputs[:, 0].numpy() * model.scaling.scale + model.scaling.shift + PRIOR
    np.testing.assert_allclose(density, expected, rtol=1e-4)


def test_no_points_give_empty_fields(model: TrainedModel) -> None:
    assert model.uncertainty(FEATURES[:0], PRIOR[:0], draws=2).total.shape == (0,)


@pytest.mark.parametrize("prior", [None, PRIOR[:-1]])
def test_a_prior_mean_that_is_missing_or_misplaced_is_refused(model: TrainedModel, prior: np.ndarray | None) -> None:
    with pytest.raises(ModelError, match="promolecule"):
        model.point_estimate(FEATURES, prior)


def test_features_of_another_descriptor_and_single_draws_are_refused(model: TrainedModel) -> None:
    with pytest.raises(ModelError, match=r"\(3, 4\)"):
        model.point_estimate(np.zeros((3, 4), np.float32), np.zeros(3))
    with pytest.raises(InputError, match="at least 2"):
        model.uncertainty(FEATURES, PRIOR, draws=1)


def test_a_model_is_not_overwritten_without_force(model: TrainedModel, tmp_path: Path) -> None:
    folder = save_trained(model, tmp_path / "toy")
    with pytest.raises(OutputError, match="--force"):
        save_trained(model, folder)
    renamed = dataclasses.replace(model, name="other")
    assert load_trained(save_trained(renamed, folder, force=True)).name == "other"


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_weights_are_refused(model: TrainedModel, tmp_path: Path, keep: int) -> None:
    folder = save_trained(model, tmp_path / "toy")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises((FormatError, ModelError), match="copy the"):
        load_trained(folder)


def test_weights_of_another_model_are_refused(model: TrainedModel, tmp_path: Path) -> None:
    folder, other = (
        save_trained(model, tmp_path / "a"),
        save_trained(dataclasses.replace(model, name="b"), tmp_path / "b"),
    )
    (folder / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    with pytest.raises(ModelError, match="hash"):
        load_trained(folder)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("compute_spacing = 0.5", "compute_spacing = 0.7", ModelError),
        ("GTH-PBE-q3", "GTH-PBE-q13", ModelError),
        ("largest_total = 0.00125", "largest_total = 1.0", ModelError),
        ("width = 16", "width = 17", ModelError),
        ("[network]", "[netwrok]", ModelError),
        ("rhoscale-model-1", "rhoscale-model-9", FormatError),
        ("[network]", "[network", FormatError),
    ],
)
def test_an_edited_card_is_refused(
    model: TrainedModel, tmp_path: Path, old: str, new: str, kind: type[Exception]
) -> None:
    folder = save_trained(model, tmp_path / "toy")
    text = (folder / "card.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "card.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(kind, match="expected"):
        load_trained(folder)


def test_notes_on_the_card_may_be_changed(model: TrainedModel, tmp_path: Path) -> None:
    folder = save_trained(model, tmp_path / "toy")
    text = (folder / "card.toml").read_text(encoding="utf-8")
    (folder / "card.toml").write_text(text.replace("snapshots = 3", "snapshots = 30"), encoding="utf-8")
    assert load_trained(folder).card["data"]["snapshots"] == 30


def test_a_missing_folder_is_an_error_that_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"card\.toml"):
        load_trained(tmp_path / "nowhere")


def test_weights_without_room_leave_nothing_behind(model: TrainedModel, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OutputError, match="cannot write"):
        save_trained(model, blocked / "toy")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


LEAVES = st.one_of(st.text(max_size=8), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False))
TREES = st.recursive(
    LEAVES | st.lists(LEAVES, max_size=4), lambda inner: st.dictionaries(st.text(max_size=6), inner, max_size=4)
)


@given(values=st.dictionaries(st.text(max_size=6), TREES, max_size=5))
def test_cards_written_as_toml_read_back_the_same(values: dict) -> None:
    assert tomllib.loads(to_toml(values)) == values
