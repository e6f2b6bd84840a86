"""Stand-ins for results of your own (docs/new_material.md): short runs of dynamics, some of their frames labelled.

python examples/mg/own_results.py recipes/mg.toml

Structure, potential, thermostat, pseudopotentials and engine are those of the recipe. Each frame leaves
``own/RUN/FRAME/mg.save`` as Quantum ESPRESSO writes it, and the same density as ``vasp/RUN-FRAME/CHGCAR``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rhoscale.engines.available import make_engine
from rhoscale.formats import write_density_file
from rhoscale.recipes.config import config_from, read_config
from rhoscale.recipes.generate import pseudopotential_files
from rhoscale.recipes.generation_plan import EngineConfig, GenerateConfig, ThermostatConfig
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.schedule import Schedule, Stage, thermalise
from rhoscale.sampling.thermostat import Thermostat
from rhoscale.system import System

RUNS = {  # temperature in Kelvin, frames
    "a-300K": (300, 3),
    "b-600K": (600, 3),
    "c-900K": (900, 3),
    "d-600K": (600, 2),
    "e-300K": (300, 1),
    "f-900K": (900, 1),
}


def frames(config: GenerateConfig) -> Iterator[tuple[str, int, System]]:
    """Name of the run, number of the frame, and structure; each run has its own seed."""
    settings = config_from(config.thermostat, ThermostatConfig)
    crystal = config.batch[0].structure
    for seed, (run, (kelvin, count)) in enumerate(RUNS.items(), start=65000):
        stage = Stage(classical_calculator(settings.forces), Schedule(settings.equilibration_fs, snapshots=count))
        thermostat = Thermostat(kelvin, settings.timestep_fs, settings.damping_fs)
        for frame, structure in enumerate(thermalise(crystal.build(seed, 0.0), [stage], thermostat, seed)):
            yield run, frame, structure.system


def label(config: GenerateConfig, run: str, frame: int, system: System) -> None:
    """Compute one frame and leave its files."""
    whole = 4 * config.engine["cutoff_ry"]  # all waves that a density has, as in the program's own file
    settings = config_from({**config.engine, "density_cutoff_ry": whole}, EngineConfig)
    place = Path("own", run, str(frame))
    engine = make_engine(
        settings.program, settings.settings(), pseudopotential_files(config), scratch=place, keep_files=True
    )
    density = engine.ground_state(system).density
    for saved in place.glob("*/out/*.save"):
        saved.rename(place / "mg.save")
    chgcar = Path("vasp", f"{run}-{frame}", "CHGCAR")
    chgcar.parent.mkdir(parents=True)
    a, b, c = density.smallest_shape
    write_density_file(chgcar, system, density.on_grid((int(a), int(b), int(c))))


if __name__ == "__main__":
    recipe = read_config(sys.argv[1], GenerateConfig)
    for labelled in frames(recipe):
        label(recipe, *labelled)
        print(*labelled[:2], labelled[2].formula)
