"""Time reading structure files against ASE: ``python benchmarks/read_structures.py [ATOMS [ATOMS_FOR_ASE]]``.

ATOMS is the number of atoms that rhoscale reads (default 1,000,000), ATOMS_FOR_ASE the number on which both are timed
(default 100,000), best of three. Times are those of the processor, one thread. What is read is compared with what was
written, and with what ASE reads. The last line is the largest memory of the whole script, the writing included.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read as ase_read

from rhoscale.ase_bridge import from_atoms, read_system
from rhoscale.formats.structure_file import write_structure_file
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR

TURNS = 3
ASE_OPTIONS: dict[str, dict[str, Any]] = {
    "a.xyz": {"format": "extxyz"},
    "a.dump": {"format": "lammps-dump-text"},
    "a.data": {"format": "lammps-data", "atom_style": "atomic", "Z_of_type": {1: 13}},
    "a17.data": {"format": "lammps-data", "atom_style": "atomic", "Z_of_type": {1: 13}},
}


def aluminium(atoms: int) -> System:
    """A crystal of about so many atoms, all off their sites."""
    edge = round((atoms / 4) ** (1 / 3))
    whole = supercell(crystal("fcc", ["Al"], 7.65), (edge, edge, -(-atoms // (4 * edge**2))))
    shaken = whole.positions + np.random.default_rng(0).normal(0.0, 0.3, (len(whole), 3))
    return System(whole.cell, shaken, whole.species)


def write_all(folder: Path, system: System) -> None:
    """The same atoms in every format; the numbers of ``a17.data`` have 17 digits, as ``write_data`` gives them."""
    write_structure_file(folder / "a.xyz", system, force=True)
    write_structure_file(folder / "a.npz", system, force=True)
    places, n = system.positions * ANGSTROM_PER_BOHR, len(system)
    lengths = np.diag(system.cell) * ANGSTROM_PER_BOHR
    box = "".join(f"0.0 {x:.16g} {a}lo {a}hi\n" for x, a in zip(lengths, "xyz", strict=True))
    head = f"LAMMPS data file\n\n{n} atoms\n1 atom types\n{box}\nMasses\n\n1 26.98\n\nAtoms # atomic\n\n"
    for name, number in (("a.data", "%.8f"), ("a17.data", "%.16e")):
        _write(folder / name, head, f"%d 1 {number} {number} {number}\n", places)
    bounds = "".join(f"0.0 {x:.16g}\n" for x in lengths)
    head = f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n{bounds}"
    head += "ITEM: ATOMS id element x y z\n"
    _write(folder / "a.dump", head, "%d Al %.8f %.8f %.8f\n", places)


def _write(path: Path, head: str, row: str, places: np.ndarray) -> None:
    with path.open("w") as file:
        file.write(head)
        for start in range(0, len(places), 10000):
            block = places[start : start + 10000]
            file.write("".join(row % (start + i + 1, *xyz) for i, xyz in enumerate(block.tolist())))


def best(read: Callable[[], Any]) -> float:
    """Smallest processor seconds of a few calls."""
    seconds = []
    for _ in range(TURNS):
        start = time.process_time()
        read()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    """Print seconds, ours against ASE's, then ours for many atoms."""
    large = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    small = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system = aluminium(small)
        write_all(folder, system)
        print(f"{len(system)} atoms    rhoscale (s)   ASE (s)   ratio")
        for file, options in ASE_OPTIONS.items():
            path = folder / file
            theirs = from_atoms(ase_read(path, **options))
            assert np.allclose(read_system(path).positions, theirs.positions, atol=1e-7)
            ours, slower = best(partial(read_system, path)), best(partial(ase_read, path, **options))
            print(f"  {file:12s} {ours:12.4f} {slower:12.4f} {slower / ours:8.1f}")
        system = aluminium(large)
        write_all(folder, system)
        print(f"{len(system)} atoms    rhoscale (s)   file (MB)")
        for file in (*ASE_OPTIONS, "a.npz"):
            path = folder / file
            assert np.allclose(read_system(path).positions, system.positions, atol=1e-7)
            print(f"  {file:12s} {best(partial(read_system, path)):12.3f} {path.stat().st_size / 1e6:12.1f}")
        seconds = best(partial(write_structure_file, folder / "b.xyz", system, force=True))
        print(f"  writing .xyz {seconds:12.3f}")
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
