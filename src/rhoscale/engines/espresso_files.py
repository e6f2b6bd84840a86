"""The files that Quantum ESPRESSO leaves in ``<prefix>.save``: ``data-file-schema.xml`` and ``charge-density.dat``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import FormatError
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.system import System

FloatArray = NDArray[np.float64]
ENERGY_TERMS = {
    "etot": "total",
    "eband": "band",
    "ehart": "hartree",
    "etxc": "xc",
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


def read_charge_density(path: str | Path, cutoff: float | None = None) -> FourierDensity:
    """Read ``charge-density.dat``: Fourier coefficients of the valence pseudo-density.

    The file holds Fortran records: (gamma_only, waves, spins), reciprocal vectors, Miller indices, coefficients.

    Args:
        path: The file.
        cutoff: Sphere to keep, Hartree; the whole of the file's sphere if None.

    Raises:
        FormatError: The file is missing, truncated, spin-polarised or of another format.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FormatError(
            f"{path} cannot be read ({error}); expected the charge-density.dat of a Quantum ESPRESSO run"
        ) from error
    records = _fortran_records(data, Path(path))
    if len(records) != 4 or len(records[0]) != 12 or len(records[1]) != 72:
        raise FormatError(
            f"{path} holds {len(records)} records; expected 4 (flags, reciprocal vectors, waves, coefficients of an "
            f"unpolarised density); run without spin polarisation and without HDF5"
        )
    _, waves, _ = np.frombuffer(records[0], dtype="<i4")
    cell = 2 * np.pi * np.linalg.inv(np.frombuffer(records[1], dtype="<f8").reshape(3, 3)).T
    millers = np.frombuffer(records[2], dtype="<i4").reshape(-1, 3)
    coefficients = np.frombuffer(records[3], dtype="<c16")
    if not len(millers) == len(coefficients) == waves:
        raise FormatError(
            f"{path} announces {waves} waves but holds {len(millers)} indices and {len(coefficients)} coefficients; "
            f"the file is damaged"
        )
    if cutoff is None:
        cutoff = float(kinetic_energies(cell, millers).max())
    return FourierDensity.from_coefficients(cell, millers, coefficients, cutoff)


def write_charge_density(path: str | Path, density: FourierDensity, *, gamma_only: bool) -> None:
    """Write ``charge-density.dat`` in the form that ``startingpot = 'file'`` reads.

    Args:
        path: The file.
        density: What to write.
        gamma_only: Whether the run that will read it samples Gamma alone: such a run keeps half the sphere.
    """
    millers, coefficients = density.millers.astype("<i4"), density.coefficients.astype("<c16")
    if not gamma_only:
        other = (millers != 0).any(axis=1)
        millers = np.concatenate([millers, -millers[other]])
        coefficients = np.concatenate([coefficients, np.conj(coefficients[other])])
    order = np.argsort(kinetic_energies(density.cell, millers), kind="stable")
    reciprocal = 2 * np.pi * np.linalg.inv(density.cell).T
    flags = np.array([int(gamma_only), len(millers), 1], dtype="<i4")
    with Path(path).open("wb") as file:
        for record in (flags, reciprocal.astype("<f8"), millers[order], coefficients[order]):
            mark = np.array([record.nbytes], dtype="<i4").tobytes()
            file.write(mark + np.ascontiguousarray(record).tobytes() + mark)


def _fortran_records(data: bytes, path: Path) -> list[bytes]:
    records: list[bytes] = []
    start = 0
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "little")
        end = start + 4 + length
        if length < 0 or data[end : end + 4] != data[start : start + 4]:
            raise FormatError(
                f"{path} ends or breaks inside record {len(records) + 1} (byte {start} of {len(data)}); "
                f"expected whole Fortran records; the file is truncated or of another format"
            )
        records.append(data[start + 4 : end])
        start = end + 4
    return records
