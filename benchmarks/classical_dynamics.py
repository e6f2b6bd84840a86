"""What a step of classical dynamics costs, beside ASE's EMT: ``python benchmarks/classical_dynamics.py``.

Nose-Hoover chains at 933 K (aluminium) and 300 K (silicon-germanium); processor time of a step, best of three runs
after a run that warms up. About half a minute.
"""

from __future__ import annotations

import time

import numpy as np

from rhoscale.ase_bridge import to_atoms
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.momenta import draw_momenta
from rhoscale.sampling.thermostat import (
    ScaledCalculator,
    Thermostat,
    at_rest,
    equilibrium_scale,
    run_dynamics,
)
from rhoscale.structures.alloy import random_alloy
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System

AL = crystal("fcc", ("Al",), 7.65)
SI = crystal("diamond", ("Si",), 10.49)
ASE = "ase.calculators.emt:EMT"
STEPS, ASE_STEPS = (2000, 600, 200), (200, 40, 10)


def main() -> None:
    """Print one line a size."""
    print("atoms     emt ms   ASE's EMT ms   ratio")
    for number, edge in enumerate((2, 4, 8)):
        system = supercell(AL, (edge, edge, edge))
        own = step_seconds(system, AL, "emt", 933.0, STEPS[number])
        theirs = step_seconds(system, AL, ASE, 933.0, ASE_STEPS[number])
        print(f"{len(system):5d}{1e3 * own:11.3f}{1e3 * theirs:15.2f}{theirs / own:8.0f}", flush=True)
    print("atoms tersoff ms")
    for number, edge in enumerate((2, 4, 6)):
        alloy = random_alloy(supercell(SI, (edge, edge, edge)), {"Si": 0.5, "Ge": 0.5}, np.random.default_rng(0))
        seconds = step_seconds(alloy, alloy, "tersoff", 300.0, STEPS[number])
        print(f"{len(alloy):5d}{1e3 * seconds:11.3f}", flush=True)


def step_seconds(system: System, perfect: System, forces: str, temperature: float, steps: int) -> float:
    """Processor seconds of a step."""
    potential = classical_calculator(forces)
    calculator = ScaledCalculator(potential, equilibrium_scale(potential, perfect))
    momenta = draw_momenta(to_atoms(system).get_masses(), 2 * temperature, np.random.default_rng(0))
    motion, found = at_rest(system, momenta, 3), []
    for _ in range(4):
        begin = time.process_time()
        motion = run_dynamics(
            motion, system, calculator, Thermostat(temperature), steps=motion.step + steps, record_every=steps
        )
        found.append((time.process_time() - begin) / steps)
    return min(found[1:])


if __name__ == "__main__":
    main()
