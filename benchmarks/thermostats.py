"""How crystals that start on their sites reach equilibrium under two thermostats: ``python benchmarks/thermostats.py``.

Potential energy above that of the perfect crystal, in units of 3/2 k_B T, mean over trajectories of aluminium that
differ in their seeds: after 1 ps a chain has them all swing in step still, so that no number of seeds averages it out.
Its long-time mean is that of Langevin dynamics. About four core-minutes for 864 atoms.
"""

from __future__ import annotations

import argparse

import numpy as np
from ase import units

from rhoscale.ase_bridge import to_atoms
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.langevin import Langevin
from rhoscale.sampling.momenta import draw_momenta
from rhoscale.sampling.thermostat import (
    Motion,
    ScaledCalculator,
    Thermostat,
    at_rest,
    equilibrium_scale,
    potential_energy,
    run_dynamics,
)
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System

FCC = crystal("fcc", ("Al",), 7.65)
KELVIN, EVERY = 933.0, 100  # fs between frames
POTENTIAL = classical_calculator("emt")
FORCES = ScaledCalculator(POTENTIAL, equilibrium_scale(POTENTIAL, FCC))


def trajectory(system: System, thermostat: Thermostat | Langevin, seed: int, steps: int) -> Motion:
    """From the sites with twice the momenta, as the blocks of ``rhoscale build`` start."""
    momenta = draw_momenta(to_atoms(system).get_masses(), 2 * KELVIN, np.random.default_rng(seed))
    start = at_rest(system, momenta, getattr(thermostat, "chain", 0))
    return run_dynamics(start, system, FORCES, thermostat, steps=steps, record_every=EVERY)


def stored(system: System, motion: Motion) -> np.ndarray:
    """Potential energy of each frame [frames] in 3/2 k_B T an atom that may move."""
    atoms = to_atoms(system)
    perfect = potential_energy(FORCES, atoms)
    found = []
    for positions in motion.frames:
        atoms.set_positions(positions)
        found.append(potential_energy(FORCES, atoms) - perfect)
    return np.array(found) / (1.5 * (len(system) - 1) * units.kB * KELVIN)


def main() -> None:
    """Print one row a frame, and the mean from 1 ps on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=6, help="cells along each axis")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4000, help="of one femtosecond")
    options = parser.parse_args()
    system = supercell(FCC, (options.edge,) * 3)
    chain = [stored(system, trajectory(system, Thermostat(KELVIN), s, options.steps)) for s in range(options.seeds)]
    bath = [
        stored(system, trajectory(system, Langevin(KELVIN, seed=s), s, options.steps)) for s in range(options.seeds)
    ]
    print(f"{len(system)} atoms, {options.seeds} seeds; energy stored, in 3/2 k_B T\nps     chain           Langevin")
    for frame in range(1, len(chain[0])):
        each = [np.array(runs)[:, frame] for runs in (chain, bath)]
        print(f"{frame * EVERY / 1000:3.1f}   " + "   ".join(with_error(x) for x in each))
    late = [np.array(runs)[:, 1000 // EVERY :].mean(axis=1) for runs in (chain, bath)]
    print("later " + "   ".join(with_error(x) for x in late))


def with_error(values: np.ndarray) -> str:
    """Mean and its standard error."""
    return f"{values.mean():.4f}+-{values.std(ddof=1) / np.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    main()
