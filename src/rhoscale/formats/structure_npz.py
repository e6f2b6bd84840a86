"""Structures as NumPy archives: ``cell``, ``positions`` (Bohr) and ``species``, bit for bit, at the disk's speed.

The names are those of the density archives, so that either file is a structure. NumPy's own container, because any tool
with NumPy reads it, no unit is converted and nothing in it can be executed.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rhoscale.errors import FormatError
from rhoscale.formats.text_volume import system_of_file
from rhoscale.system import System

ARRAYS = ("cell", "positions", "species")


def read_structure_npz(path: str | Path) -> System:
    """Read ``cell`` [3, 3] and ``positions`` [n, 3] in Bohr and ``species`` [n]; other arrays are not touched.

    Raises:
        FormatError: The file is missing, damaged, or lacks one of the arrays.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            arrays = {name: archive[name] for name in ARRAYS if name not in missing}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{file} is no readable .npz archive ({error}); expected {', '.join(ARRAYS)}; write or copy it again"
        ) from error
    if missing or arrays["positions"].dtype.kind != "f" or arrays["species"].dtype.kind != "U":
        kinds = {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()}
        raise FormatError(
            f"{file} holds {kinds}; expected cell [3, 3] and positions [n, 3] as floats in Bohr and species [n] as "
            f"text; save the arrays under these names"
        )
    positions = arrays["positions"]
    if positions.shape != (len(arrays["species"]), 3):
        raise FormatError(
            f"{file} has positions of shape {positions.shape} and {len(arrays['species'])} species; "
            f"expected [n, 3] and n; save the arrays again"
        )
    return system_of_file(file, arrays["cell"], positions, arrays["species"])


def write_structure_npz(file: BinaryIO, system: System, comment: str) -> None:
    """Write the arrays that :func:`read_structure_npz` reads, and the comment."""
    np.savez(
        file,
        cell=system.cell,
        positions=system.positions,
        species=system.species,
        units=np.array("Bohr"),
        comment=np.array(comment),
    )
