"""A data recipe of four-atom cells with the toy engine, also as a file, and engines that count their runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rhoscale.engines.pseudopotentials import PseudopotentialFile
from rhoscale.errors import EngineError
from rhoscale.recipes.config import config_from
from rhoscale.recipes.generate import engine_of
from rhoscale.recipes.generation_config import EngineConfig, GenerateConfig
from rhoscale.system import System

CELL = {"lattice": "fcc", "elements": ["Al"], "lattice_constant_bohr": 7.65}
BATCH = {"name": "a", "role": "train", "snapshots": 4, "seed": 1, "temperatures": [300, 900], "structure": CELL}

RECIPE = """
name = "killed"
output = "{output}"
[pseudopotentials]
family = "gth-pbe"
[engine]
program = "toy"
cutoff_ry = 10
density_cutoff_ry = 15
width_ry = 0.08
[thermostat]
equilibration_fs = 300
[[batch]]
name = "a"
role = "train"
snapshots = 10
seed = 1
temperatures = [300, 900]
structure = {{ lattice = "fcc", elements = ["Al"], lattice_constant_bohr = 7.65 }}
"""


def recipe(folder: Path, **changes: Any) -> GenerateConfig:
    values: dict[str, Any] = {
        "name": "toy",
        "output": folder / "toy",
        "pseudopotentials": {"family": "gth-pbe", "valence": {"Al": 3}},
        "engine": {"program": "toy", "cutoff_ry": 10, "density_cutoff_ry": 15, "width_ry": 0.08},
        "thermostat": {"equilibration_fs": 60},
        "batch": [BATCH],
    }
    return config_from({**values, **changes}, GenerateConfig)


class Counting:
    """Makes toy engines that count their runs, and fail or stop on demand."""

    def __init__(self, fail_at: int = -1, error: type[BaseException] = EngineError) -> None:
        self.runs: list[System] = []
        self.fail_at, self.error = fail_at, error

    def __call__(self, config: EngineConfig, *, files: Mapping[str, PseudopotentialFile], scratch: Path) -> Any:
        engine = engine_of(config, files=files, scratch=scratch)
        plain_run = engine.ground_state

        def ground_state(system: System, **keywords: Any) -> Any:
            self.runs.append(system)
            if len(self.runs) - 1 == self.fail_at:
                raise self.error("the run did not converge; its log is in there")
            return plain_run(system, **keywords)

        engine.ground_state = ground_state  # type: ignore[method-assign]
        return engine
