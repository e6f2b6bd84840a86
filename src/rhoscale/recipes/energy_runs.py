"""Finished diagonalisations in a folder, named by all that decides the result.

Each is a JSON file and, of the same name, the change of the density as an NPZ file; the JSON file is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from rhoscale.engines.interface import DFTSettings, Energies, Engine
from rhoscale.errors import FormatError, OutputError
from rhoscale.formats.whole_file import whole_file
from rhoscale.refinement import FourierDensity
from rhoscale.system import System

FORMAT = "rhoscale-energies-4"
NAME_LENGTH = 20
COEFFICIENT_DIGITS = 1e-12  # electrons per Bohr^3; below what changes an energy by 1e-12 Ha


@dataclass(frozen=True)
class EnergyRuns:
    """Energies that were computed once and are never computed again.

    Attributes:
        folder: Where the files are; made when the first is kept.
    """

    folder: Path

    def energies(self, engine: Engine, system: System, density: FourierDensity) -> tuple[Energies, bool]:
        """Energies of a density, and whether they were computed now; kept as soon as they are there.

        Raises:
            EngineError: The program failed.
            OutputError: The result cannot be written.
            FormatError: A kept file is damaged.
        """
        path = self.folder / f"{run_key(engine, system, density)}.json"
        if path.exists():
            return _read(path), False
        found = engine.energies_from_density(system, density)
        _write_change(path.with_suffix(".npz"), found.change)
        write_json(path, {"format": FORMAT, "system": system.content_hash(), **energies_to_dict(found)})
        return found, True


def run_key(engine: Engine, system: System, density: FourierDensity) -> str:
    """Hash of structure, density, pseudopotentials and settings; programs of one code share their results."""
    digest = hashlib.sha256(f"{FORMAT} {system.content_hash()}".encode())
    digest.update(_physics(engine.settings).encode())
    for element in system.elements:
        digest.update(engine.pseudopotentials[element].sha256.encode())
    digest.update(np.ascontiguousarray(density.millers, dtype="<i2").tobytes())
    rounded = np.round(
        np.ascontiguousarray(density.coefficients, dtype=np.complex128).view(np.float64) / COEFFICIENT_DIGITS
    )
    digest.update(rounded.astype("<i8").tobytes())
    return digest.hexdigest()[:NAME_LENGTH]


def _physics(settings: DFTSettings) -> str:
    kept = (settings.cutoff, list(settings.kmesh), list(settings.kshift), settings.smearing, settings.width)
    return json.dumps(kept)


def energies_to_dict(found: Energies) -> dict[str, Any]:
    """All fields as plain values."""
    return {
        "energies_hartree": dict(found.energies),
        "fermi_hartree": found.fermi,
        "gap_hartree": found.gap,
        "eigenvalues_hartree": found.eigenvalues.tolist(),
        "kpoints": found.kpoints.tolist(),
        "weights": found.weights.tolist(),
        "electrons_given": found.electrons_given,
        "wall_seconds": round(found.wall_seconds, 3),
        "cpu_seconds": round(found.cpu_seconds, 3),
        "engine": found.engine,
    }


def energies_from_dict(values: Mapping[str, Any], change: FourierDensity) -> Energies:
    """Rebuild from :func:`energies_to_dict` and the change of the density."""
    kpoints = np.array(values["kpoints"], dtype=np.float64)
    return Energies(
        energies={str(k): float(v) for k, v in values["energies_hartree"].items()},
        change=change,
        fermi=float(values["fermi_hartree"]),
        gap=float(values["gap_hartree"]),
        eigenvalues=np.array(values["eigenvalues_hartree"], dtype=np.float64).reshape(len(kpoints), -1),
        kpoints=kpoints,
        weights=np.array(values["weights"], dtype=np.float64),
        electrons_given=float(values["electrons_given"]),
        wall_seconds=float(values["wall_seconds"]),
        cpu_seconds=float(values["cpu_seconds"]),
        engine=str(values["engine"]),
    )


def _read(path: Path) -> Energies:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r}")
        with np.load(BytesIO(path.with_suffix(".npz").read_bytes()), allow_pickle=False) as arrays:
            change = FourierDensity.from_coefficients(
                arrays["cell"], arrays["millers"], arrays["coefficients"], float(arrays["cutoff"])
            )
        return energies_from_dict(values, change)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise FormatError(
            f"{path} or the .npz beside it is not a readable energy ({type(error).__name__}: {error}); expected those "
            f"that rhoscale wrote; delete both, and they are computed again"
        ) from error


def _write_change(path: Path, change: FourierDensity) -> None:
    _make_folder(path.parent)
    with whole_file(path, force=True) as file:
        np.savez(file, cell=change.cell, cutoff=change.cutoff, millers=change.millers, coefficients=change.coefficients)


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file whole or not at all, and its folder if needed.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(path, json.dumps(values, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, and its folder if needed.

    Raises:
        OutputError: It cannot be written.
    """
    _make_folder(path.parent)
    with whole_file(path, force=True) as file:
        file.write(text.encode())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder} ({error}); choose a writable folder") from error
