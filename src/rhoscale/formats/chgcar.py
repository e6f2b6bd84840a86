"""VASP's CHGCAR (and CHG, AECCAR): Angstrom, density times cell volume, first axis fastest."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.elements import symbol_of_label
from rhoscale.formats.text_volume import TextVolume, system_of_file, third_axis_fastest, write_numbers
from rhoscale.grid import Grid
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR, BOHR_PER_ANGSTROM

FloatArray = NDArray[np.float64]


def read_chgcar(path: str | Path) -> DensityFile:
    """Read the total density, the first grid of the file.

        rho(r) = value(r) / V_cell            (VASP wiki, CHGCAR)

    The augmentation occupancies of the PAW spheres and the magnetisation are not read; the note says so.

    Raises:
        FormatError: The file is missing, truncated, of VASP 4 (no symbols), or something else.
    """
    reader = TextVolume(path, "CHGCAR")
    reader.line("a comment")
    cell, scales = _read_cell(reader)
    species = _read_species(reader)
    positions = _read_positions(reader, len(species), cell, scales)
    system = system_of_file(reader.file, cell * BOHR_PER_ANGSTROM, positions * BOHR_PER_ANGSTROM, species)
    line = ""
    while not line.strip():
        line = reader.line("the number of grid points")
    shape = _shape(reader, line)
    values = third_axis_fastest(reader.volume(shape, "the total density").reshape(shape[::-1]))
    values /= system.volume
    notes = []
    if reader.file.name.upper().startswith("AECCAR"):
        notes.append("an AECCAR holds core or all-electron parts of a PAW density, not the valence density alone")
    if reader.rest_contains("augmentation"):
        notes.append("PAW augmentation occupancies were not read; the grid holds the pseudo-density, not all-electron")
    if reader.rest_contains("\n" + line.rstrip()):
        notes.append("further grids (magnetisation) were not read")
    return DensityFile(system, Density(Grid(system.cell, shape), values), None, "; ".join(notes))


def _read_cell(reader: TextVolume) -> tuple[FloatArray, FloatArray]:
    _, (scale,), rest = reader.fields("the scaling factor", 0, 1)
    scales = np.full(3, scale)
    if len(rest) >= 2:  # one factor for each Cartesian direction
        with suppress(ValueError):  # a remark after the factor
            scales[1:] = [float(word) for word in rest[:2]]
    vectors = np.array([reader.fields("a cell vector", 0, 3)[1] for _ in range(3)])
    volume = abs(float(np.linalg.det(vectors)))
    if scale < 0 and volume > 0:  # a negative factor is the wanted volume
        scales = np.full(3, (-scale / volume) ** (1 / 3))
    return vectors * scales, scales


def _read_species(reader: TextVolume) -> list[str]:
    symbols = reader.line("the chemical symbols").split()
    if not symbols or symbols[0].isdigit():
        raise reader.error(
            f"line {reader.line_number} holds {' '.join(symbols)!r}",
            "chemical symbols, as VASP 5 and later write them,",
        )
    names = [symbol_of_label(reader.file, symbol) for symbol in symbols]
    counts, _, _ = reader.fields(f"numbers of atoms for {len(symbols)} species", len(symbols), 0)
    if min(counts) < 1:
        raise reader.error(f"line {reader.line_number} holds {counts}", "positive numbers of atoms")
    return [name for name, count in zip(names, counts, strict=True) for _ in range(count)]


def _read_positions(reader: TextVolume, n_atoms: int, cell: FloatArray, scales: FloatArray) -> FloatArray:
    kind = reader.line("Direct or Cartesian").strip()
    if kind[:1] in "Ss" and kind:  # Selective dynamics
        kind = reader.line("Direct or Cartesian").strip()
    positions = np.array([reader.fields("the position of an atom", 0, 3)[1] for _ in range(n_atoms)])
    return positions * scales if kind[:1] in tuple("CcKk") else np.asarray(positions @ cell, dtype=np.float64)


def _shape(reader: TextVolume, line: str) -> tuple[int, int, int]:
    words = line.split()
    if len(words) != 3 or not all(word.isdigit() and int(word) > 0 for word in words):
        raise reader.error(f"line {reader.line_number} reads {line.strip()!r}", "three numbers of grid points")
    return (int(words[0]), int(words[1]), int(words[2]))


def write_chgcar(file: BinaryIO, system: System, density: Density, comment: str) -> None:
    """Write a CHGCAR without augmentation occupancies, atoms grouped by species in order of first appearance.

    VASP takes such a file only where it needs no occupancies: see docs/formats.md.
    """
    species = system.species.tolist()
    groups = list(dict.fromkeys(species))
    order = sorted(range(len(species)), key=lambda i: groups.index(species[i]))
    lines = [
        comment or "Electron density",
        "   1.00000000000000",
        *(" ".join(f"{x:19.12f}" for x in vector) for vector in (system.cell * ANGSTROM_PER_BOHR).tolist()),
        "  ".join(f"{group:>4s}" for group in groups),
        "  ".join(f"{species.count(group):4d}" for group in groups),
        "Direct",
        *(" ".join(f"{x:15.12f}" for x in position) for position in system.scaled_positions[order].tolist()),
        "",
        " ".join(f"{n:5d}" for n in density.grid.shape),
    ]
    file.write(("\n".join(lines) + "\n").encode())
    values = np.ascontiguousarray(density.values.transpose(2, 1, 0)).ravel() * density.grid.volume
    write_numbers(file, values, " %17.10E", 5)
