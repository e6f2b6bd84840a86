"""Gaussian cube files: Bohr, electrons per Bohr^3, third axis fastest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.errors import FormatError
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.elements import NUMBERS, symbol_of_number
from rhoscale.formats.end_points import looks_like_a_box_with_both_ends
from rhoscale.formats.text_volume import TextVolume, system_of_file, write_numbers
from rhoscale.grid import Grid, Shape
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CubeContents:
    """A cube file as it stands, lengths in Bohr.

    Attributes:
        comments: The two lines of text.
        origin: Place of the first point [3].
        steps: From a point to the next along each axis, rows [3, 3].
        numbers: Atomic numbers [n].
        charges: Second column of the atoms [n]; nuclear or valence charge, by program.
        positions: Atoms [n, 3].
        in_angstrom: Whether the file gave lengths in Angstrom (negative numbers of points).
        values: As in the file [nx, ny, nz].
    """

    comments: tuple[str, str]
    origin: FloatArray
    steps: FloatArray
    numbers: list[int]
    charges: list[float]
    positions: FloatArray
    in_angstrom: bool
    values: FloatArray


def read_cube(path: str | Path) -> DensityFile:
    """Read a cube file of a periodic density.

    The cell is the number of points times the step along each axis, as periodic codes write it. A first point away
    from zero is moved to zero together with the atoms; planes that repeat the first ones at the end of every axis
    (castep2cube and others) are left out. The note says so.

    Raises:
        FormatError: The file is missing, truncated, holds several data sets, or is something else.
    """
    contents = read_cube_contents(path, "cube")
    values, notes = contents.values, []
    if contents.in_angstrom:
        notes.append(
            "lengths were given in Angstrom (negative numbers of points); values taken as electrons per Bohr^3"
        )
    voxel = abs(float(np.linalg.det(contents.steps)))
    repeated = "castep2cube" in contents.comments[1] or looks_like_a_box_with_both_ends(values, voxel)
    if repeated and min(values.shape) > 1:
        values = np.ascontiguousarray(values[:-1, :-1, :-1])
        notes.append("the last plane along each axis repeats the first and was left out")
    if contents.origin.any():
        notes.append(
            f"the grid begins at {contents.origin.round(6).tolist()} Bohr; it and the atoms were moved to zero"
        )
    cell = contents.steps * np.array(values.shape)[:, None]
    file = Path(path)
    species = [symbol_of_number(file, number) for number in contents.numbers]
    system = system_of_file(file, cell, contents.positions - contents.origin, species)
    return DensityFile(system, Density(Grid(cell, values.shape), values), None, "; ".join(notes))


def read_cube_contents(path: str | Path, format: str) -> CubeContents:  # noqa: A002 - the field's word
    """Read a cube file without interpreting it.

    Raises:
        FormatError: The file is missing, truncated, holds several data sets, or is something else.
    """
    reader = TextVolume(path, format)
    comments = (reader.line("a comment"), reader.line("a comment"))
    _refuse_other_axis_order(reader, comments[1])
    (n_atoms,), origin, rest = reader.fields("the number of atoms and the origin", 1, 3)
    if rest and rest[0] != "1":
        raise _several_data_sets(reader, f"line 3 announces {rest[0]} values a point")
    shape, steps, in_angstrom = _read_axes(reader)
    numbers, charges, positions = [], [], []
    for _ in range(abs(n_atoms)):
        (number,), values, _ = reader.fields("an atom: number, charge, position", 1, 4)
        numbers.append(number)
        charges.append(values[0])
        positions.append(values[1:])
    if n_atoms < 0:
        (n_sets,), _, _ = reader.fields("the number of data sets", 1, 0)
        if n_sets != 1:
            raise _several_data_sets(reader, f"line {reader.line_number} announces {n_sets} data sets")
    volume = reader.volume(shape, "the volume").reshape(shape)
    if reader.more_numbers():
        raise _several_data_sets(reader, f"numbers follow after the {volume.size} of the grid")
    unit = BOHR_PER_ANGSTROM if in_angstrom else 1.0
    return CubeContents(
        comments=comments,
        origin=np.array(origin) * unit,
        steps=steps * unit,
        numbers=numbers,
        charges=charges,
        positions=np.array(positions).reshape(-1, 3) * unit,
        in_angstrom=in_angstrom,
        values=volume,
    )


def _refuse_other_axis_order(reader: TextVolume, comment: str) -> None:
    words = comment.upper().replace(",", " ").split()
    loops = [words[i + 2][:1] for i in range(len(words) - 2) if words[i + 1] == "LOOP:"]
    if len(loops) == 3 and loops != ["X", "Y", "Z"]:
        raise reader.error(f"line 2 says that the axes run {' '.join(loops)}", "X outermost and Z innermost")


def _read_axes(reader: TextVolume) -> tuple[Shape, FloatArray, bool]:
    axes = [reader.fields("an axis: number of points, step", 1, 3) for _ in range(3)]
    counts = [head[0] for head, _, _ in axes]
    signs = {n > 0 for n in counts}
    if 0 in counts or len(signs) != 1:
        raise reader.error(
            f"the axes have {counts} points", "three positive numbers (steps in Bohr) or three negative ones (Angstrom)"
        )
    shape = (abs(counts[0]), abs(counts[1]), abs(counts[2]))
    return shape, np.array([step for _, step, _ in axes]), counts[0] < 0


def _several_data_sets(reader: TextVolume, wrong: str) -> FormatError:
    return FormatError(
        f"{reader.file}: {wrong}; expected one density; split the file and give the part that holds the total density"
    )


def write_cube(file: BinaryIO, system: System, density: Density, comment: str) -> None:
    """Write a cube file: six numbers a line with five decimals, each run along the third axis on new lines."""
    lines = [comment or "Electron density", "OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z"]
    charges = [float(NUMBERS[symbol]) for symbol in system.species.tolist()]
    lines += cube_header(system, density.grid, charges, decimals=8)
    file.write(("\n".join(lines) + "\n").encode())
    write_numbers(file, density.values.ravel(), " %12.5E", 6, run=density.grid.shape[2])


def cube_header(system: System, grid: Grid, charges: list[float], decimals: int) -> list[str]:
    """Lines for origin, axes and atoms of a cube file, Bohr."""
    width = decimals + 6
    steps = grid.cell / np.array(grid.shape)[:, None]

    def row(integer: int, *numbers: float) -> str:
        return f"{integer:5d}" + "".join(f" {number:{width}.{decimals}f}" for number in numbers)

    atoms = zip(system.species.tolist(), charges, system.positions.tolist(), strict=True)
    return [
        row(len(system), 0.0, 0.0, 0.0),
        *(row(n, *step) for n, step in zip(grid.shape, steps.tolist(), strict=True)),
        *(row(NUMBERS[symbol], charge, *position) for symbol, charge, position in atoms),
    ]
