"""Langevin dynamics: every vibration meets the heat bath by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from rhoscale.errors import InputError
from rhoscale.sampling.momenta import FloatArray, draw_momenta


@dataclass(frozen=True)
class Langevin:
    """Velocity Verlet between half steps of friction and noise without drift (G. Bussi and M. Parrinello, Phys. Rev. E
    75, 056707, 2007),

        p <- exp(-dt / 2 tau) p + sqrt(1 - exp(-dt / tau)) sqrt(m k_B T) xi.

    Vibrations forget how they started within a few tau, however harmonic they are; a Nose-Hoover chain
    turns all of them alike, so that crystals which start on their sites swing in step for picoseconds.

    Attributes:
        temperature: Kelvin.
        timestep_fs: Step of the integrator, femtoseconds.
        damping_fs: tau, the time in which a free atom forgets its momentum, femtoseconds.
        seed: Of the noise; that of a step depends on the seed and its number alone, so that a killed run goes on bit
            for bit.
    """

    temperature: float
    timestep_fs: float = 1.0
    damping_fs: float = 100.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.timestep_fs > 0 and self.damping_fs > 0):
            raise InputError(f"{self}; expected a positive temperature, time step and damping; change what is not")

    def integrator(self, atoms: Atoms) -> LangevinSteps:
        """Steps for these atoms."""
        return LangevinSteps(atoms, self)


class LangevinSteps:
    """Steps of :class:`Langevin` whose state can be taken out and put back."""

    def __init__(self, atoms: Atoms, thermostat: Langevin) -> None:
        self.atoms, self.thermostat = atoms, thermostat
        self.masses = atoms.get_masses()
        self.number = 0
        self._forces: FloatArray | None = None

    def state(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Copies of positions and momenta; nothing else moves."""
        return self.atoms.get_positions(), self.atoms.get_momenta(), np.zeros(0), np.zeros(0)

    def restore(
        self, number: int, positions: FloatArray, momenta: FloatArray, _eta: FloatArray, _p_eta: FloatArray
    ) -> None:
        """Go on from a recorded state after so many steps; see :meth:`state`."""
        self.number, self._forces = number, None
        self.atoms.set_positions(positions)
        self.atoms.set_momenta(momenta)

    def step(self) -> None:
        """Do one step: bath, momenta, positions, momenta, bath."""
        thermostat, column = self.thermostat, self.masses[:, None]
        time = thermostat.timestep_fs * units.fs
        noise = np.random.default_rng([thermostat.seed, self.number])
        if self._forces is None:
            self._forces = self.atoms.get_forces(md=True)
        momenta = self._meet_bath(self.atoms.get_momenta(), noise) + 0.5 * time * self._forces
        self.atoms.set_positions(self.atoms.get_positions() + time * momenta / column)
        self._forces = self.atoms.get_forces(md=True)
        self.atoms.set_momenta(self._meet_bath(momenta + 0.5 * time * self._forces, noise))
        self.number += 1

    def _meet_bath(self, momenta: FloatArray, noise: np.random.Generator) -> FloatArray:
        thermostat = self.thermostat
        kept = np.exp(-0.5 * thermostat.timestep_fs / thermostat.damping_fs)
        return kept * momenta + np.sqrt(1.0 - kept**2) * draw_momenta(self.masses, thermostat.temperature, noise)
