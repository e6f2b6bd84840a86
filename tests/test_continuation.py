"""Laws of runs that go on from one another: a steady change is foreseen, a broken sequence ends with the same bits."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rhoscale.engines.atomic_density import density_table_of_file
from rhoscale.engines.espresso_continuation import EarlierRun, EspressoContinuation
from rhoscale.engines.espresso_input import DEFAULT_SELF_CONSISTENCY
from rhoscale.engines.espresso_program import EspressoProgram
from rhoscale.engines.espresso_run import EspressoRun, save_folder
from rhoscale.engines.interface import DFTSettings, EachAfresh
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.formats.espresso import write_charge_density_dat
from rhoscale.promolecule import promolecule_fourier
from rhoscale.refinement import FourierDensity
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.schedule import Schedule, Stage, thermalise
from rhoscale.sampling.thermostat import EngineCalculator, Thermostat
from rhoscale.structures.crystal import crystal
from rhoscale.system import System

FCC = crystal("fcc", ["Al"], 7.65)
FILES = {"Al": gth_pseudopotential("Al", 3)}
SETTINGS = DFTSettings(
    cutoff=5.0, kmesh=(2, 2, 2), kshift=(1, 1, 1), smearing="cold", width=0.04, convergence=2e-7, density_cutoff=20.0
)
VELOCITIES = np.random.default_rng(4).normal(0.0, 0.03, (4, 3))
with_program = pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on PATH")


def moved(steps: float) -> System:
    start = np.random.default_rng(5).normal(0.0, 0.15, (4, 3))
    return System(FCC.cell, FCC.positions + start + steps * VELOCITIES, FCC.species)


def excess(system: System, amount: float) -> FourierDensity:
    """The sum of the atoms, and a wave of the given amount."""
    tables = {"Al": density_table_of_file(FILES["Al"])}
    atoms = promolecule_fourier(system, tables, 4 * SETTINGS.cutoff)
    wave = (atoms.millers == [1, 1, 0]).all(axis=1)
    return replace(atoms, coefficients=atoms.coefficients + amount * wave)


@pytest.mark.parametrize(("steps", "expected"), [(1.0, 0.03), (0.5, 0.025), (0.0, 0.02), (-1.0, 0.01)])
def test_what_changes_evenly_is_foreseen_as_far_as_the_atoms_move(
    tmp_path: Path, steps: float, expected: float
) -> None:
    run = EspressoRun("pw.x", (), SETTINGS, FILES, DEFAULT_SELF_CONSISTENCY, 1, None, keep_files=False)
    earlier = []
    for number, amount in ((1, 0.02), (0, 0.01)):
        save_folder(tmp_path / str(number)).mkdir(parents=True)
        file = save_folder(tmp_path / str(number)) / "charge-density.dat"
        density = excess(moved(number), amount)
        write_charge_density_dat(file, density, cutoff=4 * SETTINGS.cutoff, gamma_only=False)
        earlier.append(EarlierRun(tmp_path / str(number), moved(number)))
    found = EspressoContinuation(run, tmp_path)._extrapolated(moved(1 + steps), earlier)
    wanted = excess(moved(1 + steps), expected)
    assert np.abs(wanted.coefficients - excess(moved(1), 0.02).coefficients).max() >= 1e-3 * abs(steps)
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-12)


def test_an_engine_without_memory_starts_each_from_what_it_is_given() -> None:
    engine = SuperpositionEngine(SETTINGS, {"Al": 3.0})
    asked: list[str] = []
    continuation = engine.continuation()
    assert isinstance(continuation, EachAfresh)
    for steps in (0, 1):
        state = continuation.ground_state(moved(steps), start=lambda system: asked.append(system.content_hash()))
        assert state.energies == engine.ground_state(moved(steps)).energies
    assert asked == [moved(0).content_hash(), moved(1).content_hash()]


@pytest.mark.dft
@with_program
def test_forces_are_those_of_runs_from_scratch_in_half_the_cycles(tmp_path: Path) -> None:
    tight = EspressoProgram(replace(SETTINGS, convergence=1e-10), FILES)
    continuation = EspressoProgram(SETTINGS, FILES).continuation(tmp_path)
    states = [continuation.ground_state(moved(steps)) for steps in range(5)]
    exact = tight.ground_state(moved(4))
    assert states[4].iterations <= states[0].iterations / 2
    size = np.sqrt((exact.forces**2).mean())
    assert size > 1e-3
    assert np.sqrt(((states[4].forces - exact.forces) ** 2).mean()) < 0.01 * size
    assert abs(states[4].energies["total"] - exact.energies["total"]) < 12 * SETTINGS.convergence

    again = EspressoProgram(SETTINGS, FILES).continuation(tmp_path)
    kept = again.ground_state(moved(4))
    assert kept.cpu_seconds == 0
    np.testing.assert_array_equal(kept.forces, states[4].forces)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["00000003", "00000004"]


@pytest.mark.dft
@with_program
def test_killed_ab_initio_dynamics_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def run(folder: Path, stop_at: int = -1) -> System:
        def on_step(step: int) -> None:
            if step == stop_at:
                raise KeyboardInterrupt

        calculator = EngineCalculator(EspressoProgram(SETTINGS, FILES), folder=folder / "states")
        stages = [
            Stage(classical_calculator("emt"), Schedule(20)),
            Stage(calculator, Schedule(20), checkpoint_every=1),
        ]
        thermostat = Thermostat(900.0, timestep_fs=2.0)
        watched = on_step if (folder / "md-0.npz").exists() else None
        return thermalise(FCC, stages, thermostat, 7, checkpoint=folder / "md", on_step=watched)[0].system

    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    unbroken = run(tmp_path / "whole")
    shutil.copy(tmp_path / "whole" / "md-0.npz", tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=5)
    # killed between the run and the checkpoint of the motion: the state is one step ahead
    earlier = (tmp_path / "broken" / "md-1.npz").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=6)
    (tmp_path / "broken" / "md-1.npz").write_bytes(earlier)
    resumed = run(tmp_path / "broken")
    assert np.abs(resumed.positions - FCC.positions).max() > 0.05
    assert resumed.content_hash() == unbroken.content_hash()
