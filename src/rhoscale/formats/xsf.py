"""XCrySDen's XSF: Angstrom, general grids that repeat their first points at the end, first axis fastest."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.elements import NUMBERS, symbol_of_label
from rhoscale.formats.end_points import end_points_repeated
from rhoscale.formats.text_volume import TextVolume, system_of_file, third_axis_fastest, write_numbers
from rhoscale.grid import Grid
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR, BOHR_PER_ANGSTROM

FloatArray = NDArray[np.float64]

VALUES_NOTE = "XSF names no unit of the values; they were taken as electrons per Bohr^3, as pp.x writes them"


def read_xsf(path: str | Path) -> DensityFile:
    """Read the first 3D data grid of a crystal.

    A general grid of nx * ny * nz points spans the cell from its first to its last point, so a periodic density
    repeats its first planes at the end (XCrySDen, XSF format); they are left out. A file that does not repeat them
    is taken as a periodic grid, with a note.

    Raises:
        FormatError: The file is missing, truncated, no crystal, without a data grid over the cell, or something else.
    """
    reader = TextVolume(path, "XSF")
    cell, species, positions = _read_structure(reader)
    shape, origin, spans = _read_grid_header(reader)
    if np.abs(spans - cell).max() > 1e-4 * np.abs(cell).max():
        raise reader.error(
            f"the data grid spans {spans.round(4).tolist()} Angstrom", f"the cell, {cell.round(4).tolist()} Angstrom,"
        )
    flat = reader.volume(shape, "the data grid")
    if reader.more_numbers():
        raise reader.error(f"numbers follow after the {flat.size} of the data grid", "END_DATAGRID_3D")
    volume = flat.reshape(shape[::-1])
    notes = [VALUES_NOTE]
    if end_points_repeated(volume):
        volume = volume[:-1, :-1, :-1]
    else:
        notes.append("the data grid does not repeat its first points at the end; it was taken as a periodic grid")
    if origin.any():
        notes.append(f"the grid begins at {origin.round(6).tolist()} Angstrom; it and the atoms were moved to zero")
    system = system_of_file(reader.file, cell * BOHR_PER_ANGSTROM, (positions - origin) * BOHR_PER_ANGSTROM, species)
    values = third_axis_fastest(volume)
    density = Density(Grid(system.cell, values.shape), values)
    return DensityFile(system, density, None, "; ".join(notes))


def _keyword(reader: TextVolume, expected: str) -> str:
    while True:
        line = reader.line(expected).split("#")[0].strip()
        if line:
            return line.upper()


def _read_structure(reader: TextVolume) -> tuple[FloatArray, list[str], FloatArray]:
    cell = None
    kind = _keyword(reader, "CRYSTAL")
    if not kind.startswith("CRYSTAL"):
        raise reader.error(f"line {reader.line_number} reads {kind!r}", "CRYSTAL, a bulk cell, as the first keyword")
    while True:
        word = _keyword(reader, "PRIMCOORD").split()[0]
        if word in ("PRIMVEC", "CONVVEC"):
            vectors = np.array([reader.fields("a cell vector", 0, 3)[1] for _ in range(3)])
            cell = vectors if word == "PRIMVEC" else cell
        elif word == "PRIMCOORD":
            break
        else:
            raise reader.error(f"line {reader.line_number} reads {word!r}", "PRIMVEC and PRIMCOORD")
    if cell is None:
        raise reader.error("there is no PRIMVEC before PRIMCOORD", "the cell vectors first,")
    (n_atoms,), _, _ = reader.fields("the number of atoms", 1, 0)
    species, positions = [], []
    for _ in range(n_atoms):
        words = reader.line("an atom: symbol or number, position").split()
        try:
            positions.append([float(word) for word in words[1:4]])
        except ValueError:
            positions.append([])
        if len(positions[-1]) != 3:
            raise reader.error(f"line {reader.line_number} reads {' '.join(words)!r}", "an atom: symbol, position,")
        species.append(symbol_of_label(reader.file, words[0]))
    return cell, species, np.array(positions).reshape(-1, 3)


def _read_grid_header(reader: TextVolume) -> tuple[tuple[int, int, int], FloatArray, FloatArray]:
    word = ""
    while not word.startswith(("BEGIN_DATAGRID_3D", "DATAGRID_3D")):
        word = _keyword(reader, "BEGIN_DATAGRID_3D")
    counts, _, _ = reader.fields("the numbers of points of the data grid", 3, 0)
    if min(counts) < 2:
        raise reader.error(f"the data grid has {counts} points", "at least two along each axis")
    origin = np.array(reader.fields("the origin of the data grid", 0, 3)[1])
    spans = np.array([reader.fields("a spanning vector of the data grid", 0, 3)[1] for _ in range(3)])
    return (counts[0], counts[1], counts[2]), origin, spans


def write_xsf(file: BinaryIO, system: System, density: Density, comment: str) -> None:
    """Write structure and density, electrons per Bohr^3, with the first points repeated at the end of each axis."""
    cell = (system.cell * ANGSTROM_PER_BOHR).tolist()
    vectors = [" ".join(f"{x:19.12f}" for x in vector) for vector in cell]
    positions = (system.positions * ANGSTROM_PER_BOHR).tolist()
    shape = tuple(n + 1 for n in density.grid.shape)
    lines = [
        f"# {comment or 'Electron density'}",
        "# values in electrons per Bohr^3",
        "CRYSTAL",
        "PRIMVEC",
        *vectors,
        "PRIMCOORD",
        f"{len(system)} 1",
        *(
            f"{NUMBERS[symbol]:3d} " + " ".join(f"{x:19.12f}" for x in position)
            for symbol, position in zip(system.species.tolist(), positions, strict=True)
        ),
        "BEGIN_BLOCK_DATAGRID_3D",
        "electron_density",
        "BEGIN_DATAGRID_3D_density",
        " ".join(f"{n:5d}" for n in shape),
        " ".join(f"{0.0:19.12f}" for _ in range(3)),
        *vectors,
    ]
    file.write(("\n".join(lines) + "\n").encode())
    repeated = np.pad(density.values, ((0, 1), (0, 1), (0, 1)), mode="wrap")
    write_numbers(file, np.ascontiguousarray(repeated.transpose(2, 1, 0)).ravel(), " %13.6E", 6)
    file.write(b"END_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n")
