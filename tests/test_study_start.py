"""Laws of the study of starts: the prediction's own time counts, kinds stay apart, no finished run is done again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhoscale.cli.app import main
from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.available import find_engines
from rhoscale.engines.interface import DFTSettings, GroundState
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import DatasetError, ModelError
from rhoscale.recipes import energy_settings, ground_state_runs
from rhoscale.recipes.energy_settings import EnergyOptions
from rhoscale.recipes.ground_state_runs import GroundStateRun
from rhoscale.recipes.study_start import CellStarts, StartStudy, own_settings, study_starts
from rhoscale.refinement import FourierDensity
from rhoscale.sampling.schedule import snapshot_of
from rhoscale.system import System
from toy_model import ENGINE, thermal_aluminium

PROGRAM = next(status for status in find_engines() if status.name == "pw.x")

TOY = EnergyOptions(engine="toy")


def labelled(folder: Path, systems: Sequence[System], **settings: Any) -> SnapshotStore:
    """A data set of toy labels, all for tests."""
    store = SnapshotStore.create(folder, name="toy", description="")
    for number, system in enumerate(systems):
        state = replace(ENGINE.ground_state(system), settings=replace(ENGINE.settings, **settings))
        snapshot = snapshot_of(state, {"trajectory": f"t{number}"})
        store.add(snapshot, task=f"cell-{number}", batch="cells", role="test")
    return store


class Recording(SuperpositionEngine):
    """The toy engine, which keeps what its runs started from and is interrupted at one of them."""

    starts: list[FourierDensity | None]

    def __init__(self, settings: DFTSettings, starts: list[FourierDensity | None], stop_at: int) -> None:
        super().__init__(settings, {"Al": 3.0})
        self.starts, self.stop_at = starts, stop_at

    def ground_state(self, system: System, *, initial_density: FourierDensity | None = None) -> GroundState:
        if len(self.starts) == self.stop_at:
            raise KeyboardInterrupt
        self.starts.append(initial_density)
        return super().ground_state(system, initial_density=initial_density)


def record(monkeypatch: pytest.MonkeyPatch, stop_at: int = -1) -> list[FourierDensity | None]:
    """Let every engine of the studies record its starts in the list that is returned."""
    starts: list[FourierDensity | None] = []
    monkeypatch.setattr(
        energy_settings, "make_engine", lambda _name, settings, *_a, **_k: Recording(settings, starts, stop_at)
    )
    return starts


def test_each_structure_is_run_from_atoms_prediction_and_label(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = labelled(tmp_path / "data", [thermal_aluminium(1), thermal_aluminium(2)])
    starts = record(monkeypatch)
    study = study_starts(str(toy_model), store, tmp_path / "out", TOY)
    assert [cell.task for cell in study.cells] == ["cell-0", "cell-1"]
    assert len(starts) == 6
    for number, task in enumerate(("cell-0", "cell-1")):
        atomic, predicted, exact = starts[3 * number : 3 * number + 3]
        label = store.load(store.records()[number]).density
        assert atomic is None
        assert predicted is not None
        assert predicted.electrons == pytest.approx(12.0, rel=1e-6)
        assert not np.array_equal(predicted.millers, label.millers)
        assert exact is not None
        assert np.array_equal(exact.coefficients, label.coefficients)
        kept = json.loads((tmp_path / "out" / "cells" / f"{task}.json").read_text())
        assert kept["prediction"]["start_cpu_seconds"] >= 0
    assert max(cell.disagreement for cell in study.cells) == 0


def test_a_corrected_label_is_said_to_be_no_exact_start(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = labelled(tmp_path / "data", [thermal_aluminium(1)])
    (plain,) = store.records()
    denser = replace(
        store.load(plain), settings={**store.load(plain).settings, "kmesh_correction": {"kmesh": [2, 2, 2]}}
    )
    store.add(denser, task="denser", batch="cells", role="test")
    record(monkeypatch)
    said: list[str] = []
    study_starts(str(toy_model), store, tmp_path / "out", TOY, report=said.append)
    assert [text.split(":")[0] for text in said if "no exact start" in text] == ["denser"]


def test_finished_runs_are_kept_and_a_killed_study_goes_on(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = labelled(tmp_path / "data", [thermal_aluminium(1), thermal_aluminium(2)])
    before = record(monkeypatch, stop_at=4)
    with pytest.raises(KeyboardInterrupt):
        study_starts(str(toy_model), store, tmp_path / "out", TOY)
    assert len(before) == 4
    after = record(monkeypatch)
    study = study_starts(str(toy_model), store, tmp_path / "out", TOY)
    assert len(after) == 2
    assert len(study.cells) == 2
    again = record(monkeypatch)
    assert study_starts(str(toy_model), store, tmp_path / "out", TOY) == study  # times among it: they are kept too
    assert not again
    monkeypatch.setattr(ground_state_runs, "GIVEN", "another way to use a density")
    study_starts(str(toy_model), store, tmp_path / "out", TOY)
    assert len(again) == 4  # predictions and labels; starts from atoms are the same
    assert None not in again


def test_the_settings_are_those_of_the_label(tmp_path: Path) -> None:
    made = {"cutoff": 6.0, "kmesh": (2, 2, 1), "kshift": (1, 0, 0), "smearing": "cold", "width": 0.02}
    store = labelled(tmp_path / "data", [thermal_aluminium(1)], convergence=3e-9, **made)
    found = own_settings(store.load(store.records()[0]))
    assert {name: getattr(found, name) for name in made} == made
    assert found.convergence == 3e-9


def test_a_structure_that_the_model_refuses_is_counted_apart(tmp_path: Path, toy_model: Path) -> None:
    touching = System(np.eye(3) * 9.0, [[0, 0, 0], [0.9, 0, 0]], ["Al", "Al"])
    study = study_starts(
        str(toy_model), labelled(tmp_path / "data", [thermal_aluminium(1), touching]), tmp_path / "out", TOY
    )
    assert study.refused == ("cell-1",)
    assert [cell.task for cell in study.cells] == ["cell-0"]


def run(start: str, iterations: int, seconds: float, making: float = 0.0, total: float = -8.0) -> GroundStateRun:
    return GroundStateRun(start, total, iterations, seconds, 2 * seconds, making, 2 * making, "pw.x")


def cell(task: str, predicted: GroundStateRun, *, gamma: bool) -> CellStarts:
    mesh = (1, 1, 1) if gamma else (2, 2, 2)
    return CellStarts(task, gamma, mesh, 4, run("atomic", 10, 20.0), predicted, run("exact", 2, 8.0))


def test_the_time_of_predicting_counts() -> None:
    quick, slow = (cell("a", run("prediction", 5, 14.0, making), gamma=True) for making in (2.0, 7.0))
    assert quick.prediction.whole_cpu_seconds == 16.0
    assert not quick.slower
    assert slow.slower
    found = StartStudy("m", (quick, slow)).summaries()["Gamma only"]
    assert found.seconds == {"atomic": 20.0, "prediction": 18.5, "exact": 8.0}
    assert found.saved == pytest.approx(0.075)
    assert found.bound == pytest.approx(0.6)
    assert found.slower == 0.5
    assert found.prediction_seconds == 4.5
    assert found.iterations == {"atomic": 10.0, "prediction": 5.0, "exact": 2.0}


def test_gamma_only_and_k_sampled_cells_stay_apart() -> None:
    cells = (
        cell("a", run("prediction", 9, 25.0), gamma=True),
        cell("b", run("prediction", 5, 12.0), gamma=False),
        cell("c", run("prediction", 5, 14.0, total=-8.0004), gamma=False),
    )
    found = StartStudy("m", cells).summaries()
    assert {name: summary.cells for name, summary in found.items()} == {"Gamma only": 1, "k-sampled": 2}
    assert (found["Gamma only"].slower, found["k-sampled"].slower) == (1.0, 0.0)
    assert found["Gamma only"].saved < 0 < found["k-sampled"].saved
    assert found["Gamma only"].disagreement == 0
    assert found["k-sampled"].disagreement == pytest.approx(1e-4)
    assert list(StartStudy("m", cells[1:]).summaries()) == ["k-sampled"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["rhoscale", "study", "scf-start", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_prints_tables_and_json(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(tmp_path / "data", [thermal_aluminium(1), thermal_aluminium(2)])
    rest = ("--data", str(tmp_path / "data"), "--engine", "toy", "--out", str(tmp_path / "out"), "--limit", "1")
    assert call(monkeypatch, "--model", str(toy_model), *rest) == 0
    shown = capsys.readouterr().out
    assert "cell-0" in shown
    assert "cell-1" not in shown
    assert "Gamma only" in shown
    assert call(monkeypatch, "--model", str(toy_model), *rest, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["summaries"]["Gamma only"]["cells"] == 1
    assert printed["cells"][0]["atomic"]["iterations"] == 1


def test_bad_input_ends_with_one_message(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = labelled(tmp_path / "data", [thermal_aluminium(1)]).path
    cases = {
        ("--data", str(tmp_path)): "not a readable data set",
        ("--data", str(data), "--limit", "0"): "expected at least 1",
        ("--data", str(data), "--batch", "nothing"): "there are cells",
    }
    for arguments, words in cases.items():
        assert call(monkeypatch, "--model", str(toy_model), "--engine", "toy", *arguments) == 2
        assert words in capsys.readouterr().err.replace("\n", " ")


def test_labels_of_other_pseudopotentials_are_refused(tmp_path: Path) -> None:
    store = labelled(tmp_path / "data", [thermal_aluminium(1)])
    with pytest.raises(ModelError, match="another quantity"):
        study_starts("al-pbe", store, tmp_path / "out", TOY)


def test_a_label_without_settings_is_refused(tmp_path: Path, toy_model: Path) -> None:
    store = SnapshotStore.create(tmp_path / "data", name="toy", description="")
    snapshot = replace(snapshot_of(ENGINE.ground_state(thermal_aluminium(1)), {}), settings={})
    store.add(snapshot, task="imported", batch="cells", role="test")
    with pytest.raises(DatasetError, match="does not say"):
        study_starts(str(toy_model), store, tmp_path / "out", TOY)


@pytest.mark.dft
@pytest.mark.skipif(not PROGRAM.usable, reason=f"no pw.x here: {PROGRAM.hint}")
def test_aluminium_by_pw_x(tmp_path: Path) -> None:
    """The nearer the start, the fewer the cycles; the energy stays."""
    system = thermal_aluminium(3, amplitude=0.2)
    settings = DFTSettings(cutoff=8.0, kmesh=(2, 2, 2), kshift=(1, 1, 1), smearing="cold", width=0.03)
    engine = EnergyOptions(engine="pw.x").make(system, settings, None, "test")
    store = SnapshotStore.create(tmp_path / "data", name="al", description="")
    store.add(snapshot_of(engine.ground_state(system), {}), task="cell", batch="cells", role="test")
    study = study_starts("al-pbe", store, tmp_path / "out", EnergyOptions(engine="pw.x"))
    (found,) = study.cells
    assert found.exact.iterations < found.prediction.iterations <= found.atomic.iterations
    assert found.disagreement < 1e-7
    assert not found.gamma_only
    assert found.prediction.start_cpu_seconds > found.atomic.start_cpu_seconds
