"""Make ``al-2047-vacancy.xyz``: a thermal aluminium cell of 8 x 8 x 8 cubes with one atom missing.

Two core-minutes of classical dynamics (EMT, lengths scaled to the lattice constant of the pseudopotential's
DFT, 7.65 Bohr) at 631 K. The same seed gives the same structure.
"""

from pathlib import Path

import numpy as np
from ase.io import write

from rhoscale.ase_bridge import to_atoms
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.schedule import Schedule, Stage, thermalise
from rhoscale.sampling.thermostat import ScaledCalculator, Thermostat, equilibrium_scale
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.structures.vacancy import vacancies

HERE = Path(__file__).parent

perfect = crystal("fcc", ["Al"], 7.65)
emt = classical_calculator("emt")
forces = ScaledCalculator(emt, equilibrium_scale(emt, perfect))
start = vacancies(supercell(perfect, (8, 8, 8)), 1, np.random.default_rng(7))
(thermal,) = thermalise(start, [Stage(forces, Schedule(equilibration_fs=1000.0))], Thermostat(631.0), seed=7)
atoms = to_atoms(thermal.system)
atoms.info["comment"] = "Al 631 K, one vacancy; made by examples/thermal_vacancy.py"
write(HERE / "al-2047-vacancy.xyz", atoms, format="extxyz")
print(f"{len(atoms)} atoms, mean kinetic temperature {thermal.mean_temperature:.0f} K")
