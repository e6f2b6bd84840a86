"""Laws of thermalising: the right temperature, reproducible, resumable bit for bit, memory measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.nose_hoover_chain import NoseHooverChainNVT

from rhoscale.ase_bridge import to_atoms
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import InputError, StructureError
from rhoscale.sampling.chain import NoseHooverChain
from rhoscale.sampling.compiled import changes
from rhoscale.sampling.decorrelation import autocorrelation, density_waves, integrated_time, overlap
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.langevin import Langevin
from rhoscale.sampling.momenta import draw_momenta, kinetic_temperature
from rhoscale.sampling.schedule import Schedule, Stage, thermalise
from rhoscale.sampling.thermostat import (
    EngineCalculator,
    Motion,
    ScaledCalculator,
    Thermostat,
    at_rest,
    equilibrium_scale,
    run_dynamics,
)
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR

FCC = crystal("fcc", ["Al"], 7.65)
ALUMINIUM = supercell(FCC, (2, 2, 2))
SPRINGS = np.random.default_rng(9).uniform(1.0, 4.0, (32, 3))  # eV / Angstrom^2


class Springs(Calculator):
    """Each atom on springs of its own, no two alike: equal ones would swing in step with the thermostat."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, sites: np.ndarray, stiffness: np.ndarray | float = SPRINGS) -> None:
        super().__init__()
        self.sites, self.stiffness = sites, stiffness

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        moved = self.atoms.positions - self.sites
        energy = 0.5 * float((self.stiffness * moved**2).sum())
        self.results = {"energy": energy, "free_energy": energy, "forces": -self.stiffness * moved}


def toy() -> SuperpositionEngine:
    return SuperpositionEngine(DFTSettings(cutoff=5.0, density_cutoff=8.0), {"Al": 3})


def masses(system: System) -> np.ndarray:
    return to_atoms(system).get_masses()


def test_momenta_have_the_temperature_and_no_drift() -> None:
    atoms = to_atoms(supercell(FCC, (5, 5, 5)))
    momenta = draw_momenta(atoms.get_masses(), 800.0, np.random.default_rng(0))
    atoms.set_momenta(momenta)
    assert np.abs(momenta.sum(axis=0)).max() < 1e-9
    assert kinetic_temperature(atoms) == pytest.approx(800.0, rel=4 * np.sqrt(2 / (3 * 500)))


def springs_run(steps: int, start: Motion | None = None, **keywords: Any) -> Motion:
    if start is None:
        start = at_rest(ALUMINIUM, draw_momenta(masses(ALUMINIUM), 1200.0, np.random.default_rng(1)), 3)
    calculator = Springs(to_atoms(ALUMINIUM).positions)
    return run_dynamics(
        start, ALUMINIUM, calculator, Thermostat(600.0, damping_fs=40.0), steps=steps, record_every=10, **keywords
    )


def test_a_chain_over_springs_has_the_temperature_in_motion_and_in_the_springs() -> None:
    """Equipartition: 2 <E_kin> = <sum K u^2> = 3 (n - 1) k_B T."""
    motion = springs_run(4000)
    stored = (SPRINGS * (motion.frames[50:] - motion.frames[0]) ** 2).sum(axis=(1, 2))
    assert motion.kinetic[50:].mean() == pytest.approx(600.0, rel=0.03)
    assert stored.mean() / (3 * 31 * units.kB) == pytest.approx(600.0, rel=0.03)


def bath_run(steps: int, start: Motion | None = None, seed: int = 0, **keywords: Any) -> Motion:
    """Langevin dynamics over equal springs, from the sites with twice the momenta, as thermal blocks start."""
    if start is None:
        start = at_rest(ALUMINIUM, draw_momenta(masses(ALUMINIUM), 1200.0, np.random.default_rng([1, seed])))
    calculator = Springs(to_atoms(ALUMINIUM).positions, 2.0)
    thermostat = Langevin(600.0, damping_fs=40.0, seed=seed)
    return run_dynamics(start, ALUMINIUM, calculator, thermostat, steps=steps, record_every=10, **keywords)


def spring_temperature(motion: Motion) -> np.ndarray:
    """Kelvin, of each frame, from the energy in equal springs."""
    return np.asarray(2.0 * ((motion.frames - motion.frames[0]) ** 2).sum(axis=(1, 2)) / (3 * 31 * units.kB))


def test_langevin_dynamics_of_equal_springs_have_the_temperature_in_motion_and_in_the_springs() -> None:
    motion = bath_run(20_000)
    assert motion.kinetic[50:].mean() == pytest.approx(600.0, rel=0.03)
    assert spring_temperature(motion)[50:].mean() == pytest.approx(600.0, rel=0.03)
    assert np.abs(motion.momenta.sum(axis=0)).max() < 1e-9


def test_crystals_do_not_swing_in_step_under_langevin_dynamics() -> None:
    """After ten damping times the mean over seeds is the temperature at each time, not on average over times alone."""
    stored = np.mean([spring_temperature(bath_run(400, seed=seed)) for seed in range(24)], axis=0)
    scatter = 600.0 * np.sqrt(2.0 / (3 * 31 * 24))
    assert np.abs(stored[-10:] - 600.0).max() < 4.0 * scatter
    assert np.abs(stored[1:10] - 600.0).max() > 8.0 * scatter  # they do at first


def test_langevin_dynamics_that_were_stopped_go_on_bit_for_bit(tmp_path: Path) -> None:
    whole, file = bath_run(100), tmp_path / "state.npz"
    bath_run(55, checkpoint=file, checkpoint_every=10)
    again = bath_run(100, Motion.read(file))
    for name in ("positions", "momenta", "frames", "kinetic"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name
    assert not np.array_equal(bath_run(100, seed=1).positions, whole.positions)


def test_a_bath_without_temperature_is_refused() -> None:
    with pytest.raises(InputError, match="expected a positive temperature"):
        Langevin(0.0)


def test_steps_are_those_of_ase() -> None:
    start = at_rest(ALUMINIUM, draw_momenta(masses(ALUMINIUM), 1200.0, np.random.default_rng(1)), 3)
    states = []
    for kind in (NoseHooverChain, NoseHooverChainNVT):
        atoms = to_atoms(ALUMINIUM)
        atoms.calc = Springs(atoms.positions.copy())
        atoms.set_momenta(start.momenta)
        chain = kind(atoms, timestep=2 * units.fs, temperature_K=600.0, tdamp=40 * units.fs)
        for _ in range(100):
            chain.step()
        states.append((atoms.positions, atoms.get_momenta(), chain._thermostat._eta, chain._thermostat._p_eta))
    assert np.abs(states[0][2]).min() > 1e-3
    for ours, theirs in zip(*states, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_trajectory_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = springs_run(100)
    file = tmp_path / "state.npz"
    half = springs_run(50, checkpoint=file, checkpoint_every=10)
    assert np.abs(half.positions - whole.positions).max() > 1e-3
    again = springs_run(100, Motion.read(file))
    for name in ("positions", "momenta", "eta", "p_eta", "frames", "kinetic"):
        assert np.array_equal(getattr(again, name), getattr(whole, name)), name


@pytest.mark.parametrize(
    "make", [lambda: ScaledCalculator(classical_calculator("emt"), 0.98), lambda: EngineCalculator(toy())]
)
def test_forces_are_minus_the_derivative_of_the_energy(make: Any) -> None:
    atoms = to_atoms(FCC)
    atoms.rattle(0.1, seed=3)
    atoms.calc = make()
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.05
    step = 1e-3
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * step
        moved.calc = make()
        energies.append(moved.get_potential_energy())
    assert forces[1, 2] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=2e-4)


def test_the_scaled_potential_has_no_pressure_at_the_dft_volume() -> None:
    emt = classical_calculator("emt")
    scale = equilibrium_scale(emt, ALUMINIUM)
    # EMT's own lattice constant for aluminium is 3.99 Angstrom (as ASE implements it)
    assert scale * 7.65 * ANGSTROM_PER_BOHR == pytest.approx(3.99, abs=0.01)

    def energy(strain: float, calculator: Calculator) -> float:
        atoms = to_atoms(ALUMINIUM)
        atoms.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
        return float(calculator.get_potential_energy(atoms))

    def slope(calculator: Calculator) -> float:
        return (energy(1e-3, calculator) - energy(-1e-3, calculator)) / 2e-3

    assert abs(slope(emt)) > 1.0
    # what is left is the third derivative of the energy in the finite difference
    assert abs(slope(ScaledCalculator(emt, scale))) < 0.02 * abs(slope(emt))


def test_a_potential_without_a_minimum_near_the_lattice_is_refused() -> None:
    with pytest.raises(StructureError, match="no energy minimum"):
        equilibrium_scale(classical_calculator("emt"), crystal("fcc", ["Al"], 12.0))


def test_tersoff_1989_gives_the_published_crystals() -> None:
    """Lattice constants and energies of J. Tersoff, Phys. Rev. B 39, 5566 (1989): Si 5.432 A, Ge 5.657 A."""
    for element, constant, energy in (("Si", 5.432, -4.63), ("Ge", 5.657, -3.85)):
        tersoff = classical_calculator("tersoff")
        cell = crystal("diamond", [element], 5.5 / ANGSTROM_PER_BOHR)
        scale = equilibrium_scale(tersoff, cell)
        assert 5.5 * scale == pytest.approx(constant, abs=0.003)
        atoms = to_atoms(crystal("diamond", [element], 5.5 * scale / ANGSTROM_PER_BOHR))
        assert tersoff.get_potential_energy(atoms) / 8 == pytest.approx(energy, abs=0.01)


def test_silicon_and_germanium_mix_by_tersoffs_rule() -> None:
    """Nearly ideal mixing: chi = 1.00061 makes zincblende SiGe bind slightly better than the mean of both."""
    energies = {}
    for pair in (("Si", "Si"), ("Ge", "Ge"), ("Si", "Ge")):
        tersoff = classical_calculator("tersoff")
        scale = equilibrium_scale(tersoff, crystal("zincblende", pair, 10.4))
        energies[pair] = tersoff.get_potential_energy(to_atoms(crystal("zincblende", pair, 10.4 * scale))) / 8
    mean = 0.5 * (energies["Si", "Si"] + energies["Ge", "Ge"])
    assert energies["Si", "Ge"] == pytest.approx(mean, abs=0.01)
    assert energies["Si", "Ge"] != mean


def test_an_evaluation_is_kept_until_an_atom_a_cell_or_an_element_changes() -> None:
    atoms = to_atoms(ALUMINIUM)
    assert "positions" in changes(None, atoms)
    assert changes(atoms.copy(), atoms) == []
    for name, change in (
        ("positions", lambda a: a.positions.__setitem__((3, 1), np.nextafter(a.positions[3, 1], np.inf))),
        ("cell", lambda a: a.set_cell(a.cell.array * 1.01)),
        ("pbc", lambda a: a.set_pbc((True, True, False))),
        ("numbers", lambda a: a.numbers.__setitem__(0, 29)),
        ("initial_magmoms", lambda a: a.set_initial_magnetic_moments(np.ones(32))),
    ):
        other = atoms.copy()
        change(other)
        assert changes(atoms, other) == changes(other, atoms) == [name]
    assert "numbers" in changes(atoms, atoms[:5])


def test_forces_by_name() -> None:
    assert type(classical_calculator("ase.calculators.lj:LennardJones")).__name__ == "LennardJones"
    for wrong in ("gap", "ase.calculators.lj:Nothing", "no.such.module:X"):
        with pytest.raises(InputError):
            classical_calculator(wrong)


def test_the_memory_of_a_known_process_is_found() -> None:
    """An Ornstein-Uhlenbeck process forgets as exp(-t/tau); its integrated time is tau."""
    rng = np.random.default_rng(4)
    tau, steps, waves = 12.0, 4000, 40
    decay = np.exp(-1 / tau)
    series = np.zeros((steps, waves), dtype=complex)
    for t in range(1, steps):
        kick = rng.standard_normal(waves) + 1j * rng.standard_normal(waves)
        series[t] = decay * series[t - 1] + np.sqrt(1 - decay**2) * kick
    correlation = autocorrelation(series)
    assert correlation[0] == pytest.approx(1.0)
    assert correlation[12] == pytest.approx(np.exp(-1), abs=0.05)
    assert integrated_time(correlation, 1.0) == pytest.approx(tau, rel=0.1)
    assert integrated_time(autocorrelation(rng.standard_normal((400, 50)) + 0j), 1.0) < 1.0


def test_oscillations_do_not_hide_memory() -> None:
    lags = np.arange(2000)
    swinging = np.cos(2 * np.pi * lags / 10) * np.exp(-lags / 60)
    assert abs(0.5 + swinging[1:].sum()) < 2
    assert integrated_time(swinging, 1.0) > 30


def test_density_waves_do_not_see_which_image_an_atom_is() -> None:
    frames = np.stack([ALUMINIUM.positions, ALUMINIUM.positions + 0.1])
    moved = frames.copy()
    moved[:, 5] += ALUMINIUM.cell[1] - 2 * ALUMINIUM.cell[2]
    waves = density_waves(frames, ALUMINIUM.cell)
    assert np.abs(waves).max() > 30  # the Bragg peaks
    assert np.allclose(waves, density_waves(moved, ALUMINIUM.cell), atol=1e-9)


def test_density_waves_are_their_sums_term_by_term_in_a_sheared_cell() -> None:
    cell = ALUMINIUM.cell @ np.array([[1.0, 0.1, 0.0], [0.0, 0.8, 0.05], [0.02, 0.0, 1.0]])
    frames = np.random.default_rng(6).uniform(-30, 30, (2, 32, 3))
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    millers = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = millers @ reciprocal
    inside = (np.linalg.norm(vectors, axis=1) <= 1.5) & millers.any(axis=1)
    half = millers @ [1, 100, 10000] > 0
    expected = [np.exp(-1j * frame @ vectors[inside & half].T).sum(axis=0) for frame in frames]
    assert 2 * np.count_nonzero(inside & half) == np.count_nonzero(inside) > 100
    np.testing.assert_allclose(density_waves(frames, cell), expected, atol=1e-10)


def test_a_structure_is_fully_correlated_with_itself() -> None:
    rng = np.random.default_rng(5)
    waves = rng.standard_normal((200, 30)) + 1j * rng.standard_normal((200, 30))
    assert np.mean([overlap(w, w, waves) for w in waves]) == pytest.approx(1.0)
    assert abs(overlap(waves[0], waves[1], waves)) < 0.5


def thermal(seed: int, schedule: Schedule, checkpoint: Path | None = None) -> list[Any]:
    return thermalise(
        FCC, [Stage(classical_calculator("emt"), schedule)], Thermostat(600.0), seed, checkpoint=checkpoint
    )


def test_the_seed_decides_the_trajectory() -> None:
    one, same, other = (thermal(seed, Schedule(50))[0].system for seed in (1, 1, 2))
    assert one.content_hash() == same.content_hash()
    assert one.content_hash() != other.content_hash()
    assert np.abs(one.positions - other.positions).max() > 0.05


def test_snapshots_of_one_trajectory_come_at_their_times_and_know_their_kinship() -> None:
    schedule = Schedule(100, 50, 3)
    taken = thermal(3, schedule)
    assert [t.time_fs for t in taken] == [100, 150, 200]
    assert taken[0].decorrelation.correlation_with_previous is None
    close = thermal(3, Schedule(100, 10, 11))
    assert close[1].decorrelation.correlation_with_previous > 0.3
    assert not close[1].decorrelation.enough
    # the last of the fine series is the last of the coarse one: the same trajectory
    assert close[10].system.content_hash() == taken[2].system.content_hash()


def test_a_stage_may_have_a_temperature_of_its_own(tmp_path: Path) -> None:
    crystal_32 = supercell(FCC, (2, 2, 2))
    springs = Springs(crystal_32.positions * ANGSTROM_PER_BOHR)
    stages = [Stage(springs, Schedule(2000), temperature=4000.0), Stage(springs, Schedule(2000))]
    thermalise(crystal_32, stages, Thermostat(600.0), 7, checkpoint=tmp_path / "md")
    first, second = (Motion.read(tmp_path / f"md-{number}.npz").kinetic[50:].mean() for number in (0, 1))
    assert first == pytest.approx(4000, rel=0.25)
    assert second == pytest.approx(600, rel=0.25)


def test_a_second_stage_goes_on_from_the_first_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    class Counting(SuperpositionEngine):
        calls = 0
        allowed = 10**9

        def ground_state(self, system: System, **keywords: Any) -> Any:
            if Counting.calls >= Counting.allowed:
                raise KilledError
            Counting.calls += 1
            return super().ground_state(system, **keywords)

    def run(checkpoint: Path | None) -> System:
        engine = Counting(DFTSettings(cutoff=5.0, density_cutoff=8.0), {"Al": 3})
        stages = [
            Stage(classical_calculator("emt"), Schedule(50)),
            Stage(EngineCalculator(engine), Schedule(60), checkpoint_every=1),
        ]
        return thermalise(FCC, stages, Thermostat(600.0), 7, checkpoint=checkpoint)[0].system

    unbroken = run(None)
    needed, Counting.calls, Counting.allowed = Counting.calls, 0, 25
    with pytest.raises(KilledError):
        run(tmp_path / "md")
    Counting.allowed = 10**9
    resumed = run(tmp_path / "md")
    assert resumed.content_hash() == unbroken.content_hash()
    assert Counting.calls <= needed + 2  # the step that was cut short, and the forces at its start
    before = Counting.calls
    assert run(tmp_path / "md").content_hash() == unbroken.content_hash()
    assert Counting.calls == before


def test_schedules_and_thermostats_refuse_nonsense() -> None:
    for make in (
        lambda: Thermostat(0.0),
        lambda: Thermostat(300.0, timestep_fs=-1.0),
        lambda: Schedule(-1.0),
        lambda: Schedule(10.0, 0.0),
        lambda: Schedule(10.0, 10.0, 0),
        lambda: thermalise(FCC, [], Thermostat(300.0), 0),
    ):
        with pytest.raises(InputError):
            make()
