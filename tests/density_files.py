"""Density files to test with: a density without symmetry, the names it is written under, short texts of each format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rhoscale.density import Density
from rhoscale.grid import Grid
from rhoscale.system import System

CELL = np.array([[7.3, 0.2, -0.4], [1.1, 6.1, 0.5], [-0.7, 0.9, 8.3]])
SHAPE = (4, 7, 5)
# name, largest relative error of a value, largest error of a length in Bohr
WRITTEN = {
    "density.cube": (6e-6, 1e-7),
    "density.cub": (6e-6, 1e-7),
    "CHGCAR": (1e-10, 1e-10),
    "CHGCAR_predicted": (1e-10, 1e-10),
    "al.chgcar": (1e-10, 1e-10),
    "density.xsf": (6e-7, 1e-10),
    "sprc.dens": (1e-10, 1e-8),
    "density.npz": (0.0, 0.0),
}


def some_system(cell: np.ndarray = CELL) -> System:
    positions = np.array([[0.05, 0.0, 0.02], [0.9, 0.25, 0.4], [0.45, 0.55, 0.5]]) @ cell
    return System(cell, positions, np.array(["Al", "Si", "Al"]))


def some_density(cell: np.ndarray = CELL, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Density:
    """No symmetry at all, so that any exchange of axes shows."""
    return Density(Grid(cell, shape), np.random.default_rng(seed).uniform(1e-3, 0.1, shape))


def write(tmp_path: Path, text: str, name: str = "a.cube") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


CUBE = """first
second
    1    0.0 0.0 0.0
    2    3.0 0.0 0.0
    1    0.5 4.0 0.0
    3    0.0 0.0 1.5
   13   13.0  0.5 1.0 1.5
"""
NUMBERS = "1 2 3 4 5 6\n"

POSCAR = """Al Si
{scale}
 4.0 0.0 0.0
 0.5 5.0 0.0
 0.0 0.0 6.0
 {symbols}
 1 2
{kind}
 0.0 0.0 0.0
 {atom}
 0.5 0.75 0.25

 2 1 3
"""
CHGCAR = POSCAR.format(scale="1.0", symbols="Al Si", kind="Direct", atom="0.25 0.5 0.75")

SPARC = """Electron density in Cube format printed by SPARC-X (Print time: Tue Oct 14 13:54:05 2025)
Cell length: 7.653391 6.000000 5.000001, boundary condition: P P P.
    2    0.000000     0.000000     0.000000
   11    0.695763     0.000000     0.000000
    1    0.000000     6.000000     0.000000
    2    0.000000     0.000000     2.500000
   13    3.000000    0.000000     0.000000     0.000000
   14    4.000000    3.826696     3.826696     0.000000
"""
