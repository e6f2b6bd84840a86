"""What Quantum ESPRESSO says about a finished run: ``data-file-schema.xml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import FormatError
from rhoscale.system import System

FloatArray = NDArray[np.float64]
ENERGY_TERMS = {
    "etot": "total",
    "eband": "band",
    "ehart": "hartree",
    "etxc": "xc",
    "vtxc": "xc_potential",
    "ewald": "ewald",
    "demet": "smearing",
}


@dataclass(frozen=True)
class EspressoOutput:
    """What ``data-file-schema.xml`` says about a finished run; atomic units.

    Attributes:
        system: Cell, positions and species as the program understood them.
        version: Program and version, for example ``PWSCF 6.7MaX``.
        functional: Exchange-correlation functional, as the program names it.
        converged: Whether self-consistency was reached.
        iterations: Self-consistent cycles used.
        residual: Estimated energy error at the end, Hartree.
        energies: Named terms, Hartree; see :class:`~rhoscale.engines.interface.GroundState`.
        electrons: Electrons in the cell.
        fermi: Fermi level (highest occupied level for fixed occupations), Hartree.
        kpoints: In units of the reciprocal vectors [k-points, 3].
        weights: Of the k-points; sum 1.
        eigenvalues: [k-points, bands], Hartree.
        occupations: [k-points, bands], 0 to 1 apart from cold smearing's overshoot.
        forces: [n, 3], Hartree per Bohr, or None where none were computed.
    """

    system: System
    version: str
    functional: str
    converged: bool
    iterations: int
    residual: float
    energies: dict[str, float]
    electrons: float
    fermi: float
    kpoints: FloatArray
    weights: FloatArray
    eigenvalues: FloatArray
    occupations: FloatArray
    forces: FloatArray | None


def read_output(path: str | Path) -> EspressoOutput:
    """Read the ``data-file-schema.xml`` of a finished run.

    Raises:
        FormatError: The file is missing, truncated or not of this kind.
    """
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as error:
        raise FormatError(
            f"{path} cannot be read ({error}); expected the data-file-schema.xml of a finished Quantum ESPRESSO run"
        ) from error
    try:
        return _parse(root)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} lacks what a finished run writes ({type(error).__name__}: {error}); "
            f"expected a data-file-schema.xml of Quantum ESPRESSO 6.4 or newer"
        ) from error


def _parse(root: ET.Element) -> EspressoOutput:
    output = _child(root, "output")
    system, alat = _system(_child(output, "atomic_structure"))
    convergence = _child(output, "convergence_info/scf_conv")
    bands = _child(output, "band_structure")
    kpoints = [_child(entry, "k_point") for entry in bands.findall("ks_energies")]
    cartesian = np.array([_numbers(k) for k in kpoints])
    weights = np.array([float(k.attrib["weight"]) for k in kpoints])
    energies = {
        name: float(entry.text or "nan")
        for tag, name in ENERGY_TERMS.items()
        if (entry := output.find(f"total_energy/{tag}")) is not None
    }
    energies.setdefault("smearing", 0.0)
    energies["one_electron"] = energies["total"] - sum(energies[k] for k in ("hartree", "xc", "ewald", "smearing"))
    fermi = bands.find("fermi_energy")
    level = fermi if fermi is not None else _child(bands, "highestOccupiedLevel")
    forces = output.find("forces")
    creator = _child(root, "general_info/creator").attrib
    return EspressoOutput(
        system=system,
        version=f"{creator['NAME'].strip()} {creator['VERSION'].strip()}",
        functional=(_child(output, "dft/functional").text or "").strip(),
        converged=(_child(convergence, "convergence_achieved").text or "").strip() == "true",
        iterations=int(_child(convergence, "n_scf_steps").text or 0),
        residual=float(_child(convergence, "scf_error").text or "nan"),
        energies=energies,
        electrons=float(_child(bands, "nelec").text or "nan"),
        fermi=float(level.text or "nan"),
        kpoints=cartesian @ system.cell.T / alat,
        weights=weights / weights.sum(),
        eigenvalues=np.array([_numbers(_child(entry, "eigenvalues")) for entry in bands.findall("ks_energies")]),
        occupations=np.array([_numbers(_child(entry, "occupations")) for entry in bands.findall("ks_energies")]),
        forces=None if forces is None else _numbers(forces).reshape(-1, 3),
    )


def _system(structure: ET.Element) -> tuple[System, float]:
    cell = np.array([_numbers(_child(structure, f"cell/a{i}")) for i in (1, 2, 3)])
    atoms = structure.findall("atomic_positions/atom")
    species = np.array([atom.attrib["name"].strip() for atom in atoms])
    return System(cell, np.array([_numbers(atom) for atom in atoms]), species), float(structure.attrib["alat"])


def _child(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    if found is None:
        raise KeyError(path)
    return found


def _numbers(element: ET.Element) -> FloatArray:
    return np.array([float(word) for word in (element.text or "").split()])
