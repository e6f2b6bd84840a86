"""The table of stages and ceilings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rhoscale.cli.app import main
from rhoscale.descriptors import Smooth
from rhoscale.descriptors.smooth import SurroundingsSet
from rhoscale.errors import InputError, OutputError
from rhoscale.models import DenseNet, Ensemble, save_trained
from rhoscale.recipes import bench as recipe
from rhoscale.recipes import machine
from rhoscale.recipes.bench import Stage, bench, bounded
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.machine import Ceilings, best_seconds, measure_ceilings
from rhoscale.recipes.operations import leverage_products, network_products, smooth_operations, spread_products
from rhoscale.uncertainty.leverage import Leverage

CEILINGS = Ceilings(float32=2e9, bfloat16=8e9, memory=1e9, disk=1e6, by={})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "REPEATS", 3)
    monkeypatch.setattr(recipe, "RUNS", 1)
    monkeypatch.setattr(machine, "MEMORY", 2**22)
    monkeypatch.setattr(machine, "DISK", 2**18)


def test_operations_of_a_network_are_twice_its_weights() -> None:
    assert network_products(DenseNet(133, 64, 3, 2)) == 2 * (133 * 64 + 5 * 64 * 64 + 2 * 64)
    # eight factors of six layers and of the output's input, twice on the way out, and five transposed products
    factors = 8 * (133 + 6 * 64) + 2 * 8 * 6 * 64
    assert spread_products(DenseNet(133, 64, 3, 2)) == 2 * (factors + 5 * 64 * 64)


def test_operations_of_the_leverage_are_those_of_a_triangle_in_panels() -> None:
    few, more = (
        Leverage(np.zeros(90, np.float32), np.arange(n), np.ones((n, d), np.float32)) for n, d in ((30, 20), (60, 50))
    )
    assert leverage_products(few) == 2 * 30 * 20
    assert leverage_products(more) == 2 * (60 * 32 + 28 * 18)
    assert leverage_products(None) == 0


def test_operations_of_features_grow_with_the_atoms_inside_the_cutoff() -> None:
    spec = Smooth(("Al",), angular=())
    assert smooth_operations(spec, 0.018) == pytest.approx(2 * smooth_operations(spec, 0.009))


def test_operations_of_surroundings_count_harmonics_of_each_density_and_products() -> None:
    def each(count: int, neighbours: int, elements: tuple[str, ...] = ("Si",)) -> float:
        spec = Smooth(elements, (), (), SurroundingsSet(count, 6.0, neighbours, 5.0, 2))
        return smooth_operations(spec, 3 / (4 * np.pi * 6.0**3))  # one atom inside the cutoff

    assert each(3, 2) - each(2, 2) == pytest.approx(2 + 2 * 2 * 3)  # a function, and its products with 2 x 3 numbers
    assert each(2, 3) - each(2, 2) == pytest.approx(2 * 9 + 2 * 2 * 3)
    assert each(2, 1, ("Ge", "Si")) - each(2, 1) == pytest.approx(2 * 9 + 6 + 2 * 2 * 2 * 3)  # all, and each


def test_the_bound_is_the_largest_of_arithmetic_memory_and_disk() -> None:
    arithmetic = bounded(Stage("a", 1e-6, products=800.0, operations=200.0, memory=10.0), CEILINGS, bfloat16=True)
    assert arithmetic.bound == pytest.approx(1e-7 + 1e-7)
    assert arithmetic.limit == "arithmetic"
    assert arithmetic.fraction == pytest.approx(0.2)
    assert bounded(Stage("b", 1e-6, products=800.0), CEILINGS, bfloat16=False).bound == pytest.approx(4e-7)
    assert bounded(Stage("c", 1e-6, memory=100.0), CEILINGS, bfloat16=True).limit == "memory"
    assert bounded(Stage("d", 1e-5, disk=8.0), CEILINGS, bfloat16=True).bound == pytest.approx(8e-6)
    assert bounded(Stage("e", 1e-6, operations=None), CEILINGS, bfloat16=True).fraction is None


def test_quick_tasks_are_called_often_enough_to_be_timed() -> None:
    calls = []
    seconds = best_seconds(lambda: calls.append(1), runs=2, least=0.002)
    assert len(calls) > 100
    assert 0 < seconds < 1e-4


@pytest.mark.usefixtures("quick")
def test_the_command_measures_every_stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["rhoscale", "bench", "--json", "--precision", "float32"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["precision"] == "float32"
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert len(stages) == 6
    for stage in stages.values():
        assert stage["seconds"] > 0
        assert stage["points_per_second"] == pytest.approx(1 / stage["seconds"])
        assert stage["fraction"] == pytest.approx(stage["bound"] / stage["seconds"])
    alone, both = stages["network, mean alone"], stages["network, mean and both sigmas"]
    assert both["products"] > alone["products"] > 0
    whole = stages["all but writing, with both sigmas"]
    assert whole["products"] == both["products"]
    parts = ("neighbours and features", "prior mean", "network, mean and both sigmas")
    assert whole["operations"] == pytest.approx(sum(stages[name]["operations"] for name in parts))
    ceilings = report["ceilings"]
    assert ceilings["float32"] == max(v for k, v in ceilings["by"].items() if k.startswith("float32"))


@pytest.mark.usefixtures("quick")
def test_an_ensemble_is_counted_member_by_member(tmp_path: Path) -> None:
    single, _ = load_with_hash("al-pbe")
    twice = replace(single, name="twice", posterior=Ensemble.of([single.variational] * 2))
    report = bench(str(save_trained(twice, tmp_path / "twice")), bfloat16=False)
    assert report.model == "twice"
    stages = {stage.name: stage for stage in report.stages}
    alone, both = (stages[f"network, mean {which}"] for which in ("alone", "and both sigmas"))
    assert alone.products == 2 * network_products(single.network)
    assert both.products == alone.products + leverage_products(single.used_leverage)


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_measured_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="expected a folder with room"):
        measure_ceilings(tmp_path / "missing")
    monkeypatch.setattr(recipe, "has_bfloat16", lambda: False)
    with pytest.raises(InputError, match="AVX512-BF16"):
        bench(bfloat16=True)
    monkeypatch.setattr("sys.argv", ["rhoscale", "bench", "--precision", "half"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "expected float32 or bfloat16" in capsys.readouterr().err
