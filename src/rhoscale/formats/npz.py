"""NumPy archives: ``density`` and the structure, atomic units, bit for bit."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rhoscale.density import Density
from rhoscale.errors import FormatError
from rhoscale.formats.density_file import DensityFile
from rhoscale.formats.text_volume import system_of_file
from rhoscale.grid import Grid
from rhoscale.system import System

ARRAYS = ("cell", "positions", "species", "density")


def read_npz(path: str | Path) -> DensityFile:
    """Read ``cell`` [3, 3] and ``positions`` [n, 3] in Bohr, ``species`` [n], ``density`` [nx, ny, nz] in e/Bohr^3.

    ``electrons`` is read if there. Nothing in the file is executed.

    Raises:
        FormatError: The file is missing, damaged, or lacks one of the arrays.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"no file {file}; expected a .npz archive with {', '.join(ARRAYS)}; check the path")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name in (*ARRAYS, "electrons")}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{file} is no readable .npz archive ({error}); expected {', '.join(ARRAYS)}; write or copy it again"
        ) from error
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise FormatError(
            f"{file} lacks {', '.join(missing)}; expected {', '.join(ARRAYS)} in atomic units; "
            f"save the arrays under these names"
        )
    values = np.asarray(arrays["density"])
    if values.ndim != 3 or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise FormatError(
            f"{file} has a density of shape {values.shape}, type {values.dtype}; "
            f"expected finite floats [nx, ny, nz]; save it again"
        )
    system = system_of_file(file, arrays["cell"], arrays["positions"], arrays["species"].tolist())
    electrons = float(arrays["electrons"]) if "electrons" in arrays else None
    return DensityFile(system, Density(Grid(system.cell, values.shape), values), electrons)


def write_npz(file: BinaryIO, system: System, density: Density, comment: str) -> None:
    """Write the arrays that :func:`read_npz` reads, and the comment."""
    np.savez_compressed(
        file,
        cell=system.cell,
        positions=system.positions,
        species=system.species,
        density=density.values,
        units=np.array("Bohr, electrons per Bohr^3"),
        comment=np.array(comment),
    )
