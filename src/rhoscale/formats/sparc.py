"""SPARC's ``.dens`` files: the cube layout with a second line that SPARC checks when it starts from one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.errors import FormatError
from rhoscale.formats.cube import CubeContents, cube_header, read_cube_contents
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.elements import symbol_of_number
from rhoscale.formats.text_volume import system_of_file, write_numbers
from rhoscale.grid import Grid
from rhoscale.system import System

FloatArray = NDArray[np.float64]

SECOND_LINE = re.compile(r"Cell length:\s*(\S+)\s+(\S+)\s+(\S+?),\s*boundary condition:\s*([PD])\s+([PD])\s+([PD])")


def read_dens(path: str | Path) -> DensityFile:
    """Read the density that SPARC writes with ``PRINT_DENSITY: 1``.

    The charge column holds the valence electrons of the pseudopotentials; their sum is the number of electrons. The
    steps carry six decimals, so their directions come from the axes and their lengths from line 2.

    Raises:
        FormatError: The file is missing, truncated or something else, or not periodic in all directions.
    """
    contents = read_cube_contents(path, "SPARC .dens")
    file = Path(path)
    shape = contents.values.shape
    cell = _cell(file, contents)
    species = [symbol_of_number(file, number) for number in contents.numbers]
    system = system_of_file(file, cell, contents.positions, species)
    known = all(charge > 0 for charge in contents.charges)
    return DensityFile(
        system,
        Density(Grid(cell, shape), contents.values),
        float(sum(contents.charges)) if known else None,
        "" if known else "the file does not name the valence charges of the atoms",
    )


def _cell(file: Path, contents: CubeContents) -> FloatArray:
    cell = contents.steps * np.array(contents.values.shape)[:, None]
    match = SECOND_LINE.match(contents.comments[1].strip())
    if match is None:
        return cell
    lengths = np.array([float(match[i]) for i in (1, 2, 3)])
    boundaries = match[4] + match[5] + match[6]
    own = np.linalg.norm(cell, axis=1)
    if boundaries != "PPP":
        raise FormatError(
            f"{file} has boundary conditions {' '.join(boundaries)}; expected P P P, a bulk cell; "
            f"surfaces, wires and molecules cannot be used"
        )
    if (np.abs(own - lengths) > 1e-3 * lengths).any():
        raise FormatError(
            f"{file} has cell lengths {lengths.tolist()} in line 2 but its grid spans {own.round(6).tolist()} Bohr; "
            f"expected the same; the header is damaged"
        )
    return np.asarray(cell * (lengths / own)[:, None], dtype=np.float64)


def write_dens(file: BinaryIO, system: System, density: Density, comment: str) -> None:
    """Write a density from which SPARC starts (``READ_INIT_DENS: 1``, ``INPUT_DENS_FILE``).

    SPARC compares cell and grid with its own and does not renormalise: the grid must be that of the run and the
    density must integrate to its electrons. The charge column is zero: a density does not name its pseudopotentials.
    """
    lengths = " ".join(f"{length:.10f}" for length in np.linalg.norm(density.grid.cell, axis=1))
    lines = [comment or "Electron density in Cube format", f"Cell length: {lengths}, boundary condition: P P P."]
    lines += cube_header(system, density.grid, [0.0] * len(system), decimals=10)
    file.write(("\n".join(lines) + "\n").encode())
    write_numbers(file, density.values.ravel(), "  %.10E", 6, run=density.grid.shape[2])
