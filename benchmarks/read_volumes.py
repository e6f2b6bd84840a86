"""Time reading text volumes against ASE's cube reader on the same file: ``python benchmarks/read_volumes.py [POINTS]``.

POINTS is the number of points along each axis (default 128). Times are those of the processor (one thread, everything
included), so that other work on the machine does not count; the best of a few turns taken in alternation. Every
reader's values are compared with the written ones.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase.io.cube import read_cube as ase_read_cube

from rhoscale.density import Density
from rhoscale.formats import read_density_file, write_density_file
from rhoscale.grid import Grid
from rhoscale.system import System

TURNS = 5
NAMES = ("density.cube", "CHGCAR", "density.xsf", "density.dens", "density.npz")


def aluminium(points: int) -> tuple[System, Density]:
    """32 atoms and a density with the size and spread of aluminium's; the digits are random, none is easy to read."""
    cell = np.eye(3) * 15.3
    sites = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    system = System(cell, (sites + basis).reshape(-1, 3) / 2 @ cell, np.array(["Al"] * 32))
    values = np.random.default_rng(0).uniform(1e-4, 0.05, (points, points, points))
    return system, Density(Grid(cell, (points, points, points)), values)


def read_with_ase(path: Path) -> np.ndarray:
    with path.open() as file:
        return ase_read_cube(file)["data"]


def read_with_rhoscale(path: Path) -> np.ndarray:
    return read_density_file(path).density.values


def measure(points: int, folder: Path) -> dict[str, float]:
    """Best processor seconds of each reader."""
    system, density = aluminium(points)
    readers: dict[str, tuple[Callable[[Path], np.ndarray], Path]] = {}
    for name in NAMES:
        write_density_file(folder / name, system, density)
        readers[name] = (read_with_rhoscale, folder / name)
    readers["density.cube with ASE"] = (read_with_ase, folder / "density.cube")
    for read, path in readers.values():
        assert np.allclose(read(path), density.values, rtol=1e-5)
    best = dict.fromkeys(readers, np.inf)
    for _ in range(TURNS):
        for name, (read, path) in readers.items():
            start = time.process_time()
            read(path)
            best[name] = min(best[name], time.process_time() - start)
    return best


def main() -> None:
    """Print seconds, nanoseconds a value and the ratio to ASE's cube reader."""
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    with tempfile.TemporaryDirectory() as folder:
        best = measure(points, Path(folder))
    slowest = best["density.cube with ASE"]
    print(f"{points}^3 points, best of {TURNS}")
    for name, seconds in best.items():
        print(f"{name:24s} {seconds:8.4f} s {seconds / points**3 * 1e9:8.1f} ns a value {slowest / seconds:8.1f} times")


if __name__ == "__main__":
    main()
