"""The data recipes and data sets that come along: sound, and every snapshot is one that its recipe makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rhoscale.datasets.store import SnapshotStore
from rhoscale.recipes.config import read_config
from rhoscale.recipes.generation_config import GenerateConfig
from rhoscale.recipes.generation_plan import estimated_core_seconds, plan_generation

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "name", ["al", "al-gamma", "al-noise", "al-noise-small", "sige", "sige-noise", "sige-noise-small"]
)
def test_the_shipped_recipes_are_sound(name: str) -> None:
    config = read_config(ROOT / "recipes" / f"{name}.toml", GenerateConfig)
    tasks = plan_generation(config)
    roles: dict[str, str] = {}
    for task in tasks:
        assert roles.setdefault(task.trajectory, task.batch.role) == task.batch.role
        assert task.thermostat.forces in ("emt", "tersoff")
        assert estimated_core_seconds(task, 32) > 0
    sizes = {(b.role, len(b.structure.build(b.seed, 0.0))): 0 for b in config.batch}
    for b in config.batch:
        sizes[b.role, len(b.structure.build(b.seed, 0.0))] += b.snapshots
    if name == "al":
        assert sizes["train", 32] >= 24
        assert sizes["validation", 32] >= 6
        assert sizes["test", 32] >= 10
        assert sizes["train", 108] >= 4
        assert (sizes["test", 108], sizes["test", 256]) == (2, 2)
        for b in config.batch:
            perfect = not (b.structure.vacancies or b.structure.divacancy or any(b.strains))
            assert ("al-bulk" in b.subsets) == perfect, b.name
    if name == "al-gamma":
        assert sum(n for (_, atoms), n in sizes.items() if atoms == 32) == 60
        assert sum(n for (_, atoms), n in sizes.items() if atoms == 108) == 15
        assert sizes["test", 256] == 4
        assert all(t.engine.settings().gamma_only for t in tasks)


def test_gamma_test_cells_are_those_with_converged_labels() -> None:
    """So that a Gamma-only model can be judged against both labels of the same structures."""
    converged, gamma = (
        {t.run: t.batch.role for t in plan_generation(read_config(ROOT / "recipes" / f"{n}.toml", GenerateConfig))}
        for n in ("al", "al-gamma")
    )
    shared = converged.keys() & gamma.keys()
    assert len(shared) == 10 + 2 + 2
    assert {converged[run] for run in shared} == {gamma[run] for run in shared} == {"test"}


@pytest.mark.parametrize("name", ["al", "al-gamma", "sige"])
def test_every_shipped_snapshot_is_one_that_its_recipe_makes(name: str) -> None:
    folder = ROOT / "data" / name
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    planned = {t.name: t for t in plan_generation(read_config(ROOT / "recipes" / f"{name}.toml", GenerateConfig))}
    for record in SnapshotStore.open(folder).records():
        task = planned[record.task]
        assert (record.role, record.subsets, record.trajectory) == (
            task.batch.role,
            task.batch.subsets,
            task.trajectory,
        )
