"""A ``<prefix>.save`` folder of Quantum ESPRESSO: the density with the structure and electrons beside it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rhoscale.density import Density
from rhoscale.errors import FormatError, OutputError
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.elements import symbol_of_label
from rhoscale.formats.espresso import ChargeDensityFile, read_charge_density_dat, write_charge_density_dat
from rhoscale.formats.espresso_hdf5 import read_charge_density_hdf5, write_charge_density_hdf5
from rhoscale.formats.text_volume import system_of_file
from rhoscale.grid import Shape
from rhoscale.refinement import FourierDensity
from rhoscale.system import System

DENSITY_NAMES = ("charge-density.dat", "charge-density.hdf5")
XML_NAME = "data-file-schema.xml"


@dataclass(frozen=True)
class RunDescription:
    """What ``data-file-schema.xml`` says of a run.

    Attributes:
        system: Cell and atoms.
        electrons: Valence electrons in the cell.
        density_cutoff: ``ecutrho``, Hartree.
        gamma_only: Whether only half of the waves are listed.
        shape: Grid of the density.
        alat: Unit of length, Bohr; the order of the waves depends on it.
    """

    system: System
    electrons: float
    density_cutoff: float
    gamma_only: bool
    shape: Shape
    alat: float


def read_run_description(path: str | Path) -> RunDescription:
    """Read ``data-file-schema.xml`` (atomic units, Hartree).

    Raises:
        FormatError: The file is missing, truncated, or of another program.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(
            f"no file {file}; expected it beside the charge density, it names cell, atoms and electrons; "
            f"give the whole .save folder of a pw.x run"
        )
    try:
        output = ET.parse(file).getroot().find("output")
        if output is None:
            raise KeyError("output")
        structure = _element(output, "atomic_structure")
        cell = [_numbers(structure, f"cell/a{i}") for i in (1, 2, 3)]
        atoms = _element(structure, "atomic_positions").findall("atom")
        positions = [[float(word) for word in (atom.text or "").split()] for atom in atoms]
        labels = [str(atom.get("name")) for atom in atoms]
        alat = float(structure.attrib["alat"])
        grid = _element(output, "basis_set/fft_grid").attrib
        shape = (int(grid["nr1"]), int(grid["nr2"]), int(grid["nr3"]))
        electrons = _numbers(output, "band_structure/nelec")[0]
        cutoff = _numbers(output, "basis_set/ecutrho")[0]
        gamma_only = (_element(output, "basis_set/gamma_only").text or "").strip() == "true"
    except (ET.ParseError, KeyError, ValueError, IndexError) as error:
        raise FormatError(
            f"{file} is no whole {XML_NAME} ({error!r}); expected that of a finished pw.x run; redo the run"
        ) from error
    species = [symbol_of_label(file, label) for label in labels]
    system = system_of_file(file, np.array(cell), np.array(positions), species)
    return RunDescription(system, electrons, cutoff, gamma_only, shape, alat)


def _element(parent: ET.Element, path: str) -> ET.Element:
    found = parent.find(path)
    if found is None:
        raise KeyError(path)
    return found


def _numbers(parent: ET.Element, path: str) -> list[float]:
    return [float(word) for word in (_element(parent, path).text or "").split()]


def read_save(path: str | Path) -> DensityFile:
    """Read the density of a run from its ``.save`` folder, or from a charge-density file in one.

    Raises:
        FormatError: A file is missing, damaged, or the two files are of different runs.
    """
    given = Path(path)
    file = given if given.name in DENSITY_NAMES or not given.is_dir() else _density_in(given)
    contents = read_charge_density_hdf5(file) if file.suffix == ".hdf5" else read_charge_density_dat(file)
    run = read_run_description(file.parent / XML_NAME)
    _check_same_run(file, contents, run)
    fourier = replace(contents.density, cell=run.system.cell, cutoff=run.density_cutoff)
    note = "" if contents.spin_components == 1 else "the magnetisation was not read; the density is the total one"
    return DensityFile(run.system, fourier.on_grid(run.shape), run.electrons, note, fourier)


def _density_in(folder: Path) -> Path:
    for name in DENSITY_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise FormatError(
        f"{folder} holds no charge density; expected {' or '.join(DENSITY_NAMES)}; give the .save folder of a pw.x run"
    )


def _check_same_run(file: Path, contents: ChargeDensityFile, run: RunDescription) -> None:
    difference = float(np.abs(contents.density.cell - run.system.cell).max())
    if difference > 1e-5:
        raise FormatError(
            f"{file} and {XML_NAME} beside it have cells that differ by {difference:.3g} Bohr; "
            f"expected files of one run; copy both again"
        )


def write_into_save(path: str | Path, system: System, density: Density, *, force: bool = False) -> None:
    """Write a charge density beside the ``data-file-schema.xml`` of a run, for that run to start from.

    Cutoff and half or full sphere are those of the run.

    Raises:
        FormatError: The ``.xml`` file is missing or damaged.
        OutputError: The structure is not that of the run, the file exists already, or it cannot be written.
    """
    target = Path(path)
    file = target / DENSITY_NAMES[0] if target.suffix == ".save" else target
    run = read_run_description(file.parent / XML_NAME)
    same = len(run.system) == len(system) and (run.system.species == system.species).all()
    if not same or np.abs(run.system.cell - system.cell).max() > 1e-5:
        raise OutputError(
            f"{file}: the run beside it is of {run.system}, the density of {system}; "
            f"expected the same structure; run pw.x for this one first"
        )
    fourier = replace(FourierDensity.from_density(density, run.density_cutoff), cell=run.system.cell)
    write = write_charge_density_hdf5 if file.suffix == ".hdf5" else write_charge_density_dat
    write(file, fourier, cutoff=run.density_cutoff, gamma_only=run.gamma_only, alat=run.alat, force=force)
