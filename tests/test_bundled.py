"""The models that come with the package."""

from __future__ import annotations

import pytest

from rhoscale.recipes.bundled import bundled_models, load_with_hash


@pytest.mark.parametrize("name", ["al-pbe", "sige-pbe"])
def test_bundled_models_are_small_and_say_what_made_them(name: str) -> None:
    folder = bundled_models()[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5e6
    model, _ = load_with_hash(name)
    assert model.recalibration is not None
    assert 1.96 < model.recalibration.half_width(0.95) < 2.0
    assert 2.97 < model.recalibration.half_width(0.997) < 3.6
    assert model.card["data"]["stage_1"]["train"]["labels"]
    assert len(model.card["errors"]) >= 6
    for case in model.card["errors"].values():
        assert (
            case["l1_mean"] < case["baselines"]["prior_mean"]["l1_mean"] < case["baselines"]["promolecule"]["l1_mean"]
        )
