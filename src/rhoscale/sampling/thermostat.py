"""Molecular dynamics at constant temperature, Nose-Hoover chains or Langevin's, over any source of forces."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from rhoscale.ase_bridge import from_atoms, to_atoms
from rhoscale.engines.interface import Engine, StartDensity
from rhoscale.errors import InputError, StructureError
from rhoscale.sampling.chain import NoseHooverChain
from rhoscale.sampling.compiled import changes
from rhoscale.sampling.langevin import Langevin
from rhoscale.sampling.momenta import kinetic_temperature
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM, EV_PER_HARTREE

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Thermostat:
    """A Nose-Hoover chain (Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635 (1992)).

    Attributes:
        temperature: Kelvin.
        timestep_fs: Step of the integrator, femtoseconds.
        damping_fs: Time in which the chain answers, femtoseconds.
        chain: Thermostats in the chain.
    """

    temperature: float
    timestep_fs: float = 1.0
    damping_fs: float = 100.0
    chain: int = 3

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.timestep_fs > 0 and self.damping_fs > 0 and self.chain >= 1):
            raise InputError(
                f"{self}; expected a positive temperature, time step, damping and chain length; change what is not"
            )

    def integrator(self, atoms: Atoms) -> NoseHooverChain:
        """Steps for these atoms."""
        return NoseHooverChain(
            atoms,
            timestep=self.timestep_fs * units.fs,
            # ASE's chain counts 3 n degrees of freedom; without drift there are 3 (n - 1), and the kinetic
            # temperature would come out too high by n / (n - 1).
            temperature_K=self.temperature * (len(atoms) - 1) / len(atoms),
            tdamp=self.damping_fs * units.fs,
            tchain=self.chain,
        )


@dataclass(frozen=True)
class Motion:
    """Where a trajectory stands, and what it has recorded so far; Angstrom, eV and ASE's momenta.

    Attributes:
        step: Steps done.
        positions, momenta: [n, 3].
        eta, p_eta: Positions and momenta of the thermostats [chain]; none of Langevin dynamics.
        frames: Recorded positions [frames, n, 3], not wrapped; the first is the start.
        kinetic: Kinetic temperatures of the frames [frames], Kelvin.
        seconds: Elapsed time that the steps took, killed runs included as far as they were kept.
    """

    step: int
    positions: FloatArray
    momenta: FloatArray
    eta: FloatArray
    p_eta: FloatArray
    frames: FloatArray
    kinetic: FloatArray
    seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{name: np.asarray(value) for name, value in vars(self).items()})
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Motion:
        """Rebuild from :meth:`write`."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return cls(**{**arrays, "step": int(arrays["step"]), "seconds": float(arrays["seconds"])})


class ScaledCalculator(Calculator):
    """A calculator that sees all lengths multiplied by a factor: E'(x) = E(s x), F'(x) = s F(s x).

    With s = a_own / a_DFT a potential whose crystal has another lattice constant than the DFT's feels at home at
    the DFT volume, and keeps its energies and so its temperatures.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 - as ASE's base class has it

    def __init__(self, calculator: Calculator, scale: float) -> None:
        super().__init__()
        self.inner = calculator
        self.scale = scale

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:  # noqa: ARG002 - as in ASE
        """What changed since the last evaluation."""
        return changes(self.atoms, atoms)

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Evaluate the inner calculator on the scaled atoms."""
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * self.scale)
        scaled.positions *= self.scale
        energy = float(self.inner.get_potential_energy(scaled))
        forces = np.asarray(self.inner.get_forces(scaled)) * self.scale
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


class EngineCalculator(Calculator):
    """A DFT engine as a source of forces: ab-initio molecular dynamics.

    Args:
        engine: Computes the ground states, each from those before it where it can.
        start: Density to start from where nothing is there to go on from; a function of the structure alone.
        folder: Keeps what the next ground state starts from, so that a killed trajectory goes on bit for bit.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 - as ASE's base class has it

    def __init__(self, engine: Engine, start: StartDensity | None = None, *, folder: Path | None = None) -> None:
        super().__init__()
        self.states = engine.continuation(folder)
        self.start = start

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Compute a ground state."""
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        system = from_atoms(atoms)
        state = self.states.ground_state(system, start=self.start)
        energy = state.energies["total"] * EV_PER_HARTREE
        forces = state.forces * (EV_PER_HARTREE * BOHR_PER_ANGSTROM)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def potential_energy(calculator: Calculator, atoms: Atoms) -> float:
    """Energy of atoms, eV.

    Raises:
        StructureError: The potential does not know an element.
    """
    try:
        return float(calculator.get_potential_energy(atoms))
    except (NotImplementedError, KeyError, StopIteration) as error:  # as ASE's potentials say it
        raise StructureError(
            f"{type(calculator).__name__} does not know {', '.join(sorted(set(atoms.get_chemical_symbols())))} "
            f"({error}); expected a potential made for these elements; name another one as forces"
        ) from error


def equilibrium_scale(calculator: Calculator, crystal: System) -> float:
    """The factor s that brings a crystal to the calculator's lowest energy: a_own = s a.

    Raises:
        StructureError: The energy has no minimum within 15 % of the crystal's lattice constant.
    """
    atoms = to_atoms(crystal)

    def energy(scale: float) -> float:
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * scale, scale_atoms=True)
        return potential_energy(calculator, strained)

    best = float(minimize_scalar(energy, bounds=(0.85, 1.15), method="bounded", options={"xatol": 1e-7}).x)
    if not 0.851 < best < 1.149:
        raise StructureError(
            f"{type(calculator).__name__} has no energy minimum within 15 % of the cell of {crystal!r}; "
            f"expected a potential made for these elements; choose another potential or lattice constant"
        )
    return best


def run_dynamics(
    start: Motion,
    system: System,
    calculator: Calculator,
    thermostat: Thermostat | Langevin,
    *,
    steps: int,
    record_every: int,
    checkpoint: Path | None = None,
    checkpoint_every: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Motion:
    """Integrate until ``steps`` steps are done in all, from where ``start`` stands.

    Args:
        start: State to go on from; see :func:`at_rest` for a first one.
        system: Cell and species; its positions are not used.
        calculator: Source of forces.
        thermostat: Temperature, time step and what keeps the temperature.
        steps: Steps done at the end, those of ``start`` included.
        record_every: Steps between frames.
        checkpoint: File that keeps the state.
        checkpoint_every: Steps between writings of it; 0 for none.
        on_step: Called with the number of steps done.
    """
    atoms = to_atoms(system)
    atoms.set_positions(start.positions)
    atoms.calc = calculator
    integrator = thermostat.integrator(atoms)
    integrator.restore(start.step, start.positions, start.momenta, start.eta, start.p_eta)
    frames, kinetic = list(start.frames), list(start.kinetic)
    motion, started = start, time.monotonic()
    for step in range(start.step + 1, steps + 1):
        integrator.step()
        if step % record_every == 0:
            frames.append(atoms.get_positions())
            kinetic.append(kinetic_temperature(atoms))
        keep = checkpoint is not None and checkpoint_every > 0 and step % checkpoint_every == 0
        if keep or step == steps:
            motion = Motion(
                step,
                *integrator.state(),
                np.array(frames),
                np.array(kinetic),
                start.seconds + time.monotonic() - started,
            )
        if keep and checkpoint is not None:
            motion.write(checkpoint)
        if on_step is not None:
            on_step(step)
    return motion


def at_rest(system: System, momenta: FloatArray, chain: int = 0) -> Motion:
    """The start of a trajectory: the system's positions, the given momenta, so many thermostats that stand still."""
    atoms = to_atoms(system)
    atoms.set_momenta(momenta)
    return Motion(
        step=0,
        positions=atoms.get_positions(),
        momenta=np.asarray(momenta, dtype=np.float64),
        eta=np.zeros(chain),
        p_eta=np.zeros(chain),
        frames=atoms.get_positions()[None],
        kinetic=np.array([kinetic_temperature(atoms)]),
    )
