"""Pseudopotential files: GTH-PBE written from its parameters, or a folder of the user's own UPF files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from ase.data import atomic_numbers

from rhoscale.engines.atom import solve_atom
from rhoscale.engines.gth import gth
from rhoscale.engines.upf import StartingOrbital, upf_text, without_start
from rhoscale.errors import FormatError, OutputError
from rhoscale.system import PseudopotentialIdentity


@dataclass(frozen=True)
class PseudopotentialFile:
    """A pseudopotential as a DFT program reads it.

    Attributes:
        identity: What it is; its hash is :func:`upf_hash` of the text.
        text: Content of the UPF file.
    """

    identity: PseudopotentialIdentity
    text: str = field(repr=False)

    @property
    def filename(self) -> str:
        """Name of the file that :meth:`write` makes, for example ``Al.GTH-PBE-q3.upf``."""
        return f"{self.identity.element}.{self.identity.name}.upf"

    def write(self, folder: str | Path) -> Path:
        """Write the file into a folder, which is made if needed, and give its path.

        Raises:
            OutputError: The file cannot be written.
        """
        path = Path(folder) / self.filename
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise OutputError(
                f"cannot write the pseudopotential {path} ({error}); make space or choose another folder"
            ) from error
        return path


def upf_hash(text: str) -> str:
    """SHA-256 of a UPF file without its atomic density and orbitals.

    Where a computation starts is no part of the potential, and computed densities and orbitals differ in their
    last digits between machines.
    """
    return hashlib.sha256(without_start(text).encode("utf-8", "surrogateescape")).hexdigest()


@cache
def gth_pseudopotential(element: str, valence: int | None = None) -> PseudopotentialFile:
    """Write the GTH-PBE pseudopotential of an element as UPF; by default with the fewest valence electrons.

    Raises:
        InputError: The table holds no such element or valence.
    """
    potential = gth(element, valence)
    atom = solve_atom(potential)
    orbitals = [
        StartingOrbital(l, float(f), partial(atom.orbital, i))
        for i, (l, f) in enumerate(zip(atom.momenta, atom.occupations, strict=True))
    ]
    text = upf_text(potential, atom.density, orbitals)
    identity = PseudopotentialIdentity(element, potential.name, float(potential.valence), upf_hash(text))
    return PseudopotentialFile(identity, text)


def read_pseudopotential(path: str | Path) -> PseudopotentialFile:
    """Read a UPF file (version 1 or 2); its name without suffix becomes the name of the pseudopotential.

    Raises:
        FormatError: The file is missing, empty, or no UPF with an element and a valence.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise FormatError(f"cannot read the pseudopotential {file} ({error}); give a readable UPF file") from error
    header = re.search(r"<PP_HEADER\b(.*?)(?:/>|</PP_HEADER>)", text, re.DOTALL)
    if header is None or not re.search(r"</UPF>|</PP_RHOATOM>", text):
        raise FormatError(
            f"{file} ({len(text)} characters) is no whole UPF file: it lacks "
            f"{'<PP_HEADER>' if header is None else 'its end'}; fetch it again or convert it to UPF"
        )
    element = _header_value(header[1], r'\belement\s*=\s*"\s*([A-Za-z]{1,2})\s*"', r"^\s*([A-Za-z]{1,2})\s+Element")
    valence = _header_value(header[1], r'\bz_valence\s*=\s*"\s*([^"\s]+)\s*"', r"^\s*(\S+)\s+Z valence")
    symbol = (element or "").capitalize()
    number = _positive(valence)
    if symbol not in atomic_numbers or number is None:
        raise FormatError(
            f"the header of {file} gives element {element!r} and valence {valence!r}; expected a chemical symbol "
            f"and a positive number; use a UPF file that pw.x accepts"
        )
    name = file.stem.removeprefix(f"{symbol}.")
    return PseudopotentialFile(PseudopotentialIdentity(symbol, name, number, upf_hash(text)), text)


def folder_pseudopotentials(folder: str | Path) -> dict[str, PseudopotentialFile]:
    """Read all UPF files of a folder, one for each element.

    Raises:
        FormatError: There is no such folder, it holds no UPF file, a file is damaged, or two are of one element.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FormatError(f"no pseudopotential folder {place}; give a folder that holds one UPF file for each element")
    paths = sorted(p for p in place.iterdir() if p.suffix.lower() == ".upf" and p.is_file())
    if not paths:
        raise FormatError(f"the folder {place} holds no file that ends in .upf; put one for each element there")
    found: dict[str, PseudopotentialFile] = {}
    origin: dict[str, Path] = {}
    for path in paths:
        file = read_pseudopotential(path)
        element = file.identity.element
        if element in found:
            raise FormatError(
                f"two pseudopotentials of {element} in {place}: {origin[element].name} and {path.name}; "
                f"expected one for each element; take one away"
            )
        found[element], origin[element] = file, path
    return found


def _header_value(header: str, attribute: str, line: str) -> str | None:
    match = re.search(attribute, header) or re.search(line, header, re.MULTILINE)
    return match[1] if match else None


def _positive(text: str | None) -> float | None:
    try:
        number = float((text or "").lower().replace("d", "e"))
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
