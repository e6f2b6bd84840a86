"""Perfect crystals and their supercells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rhoscale.errors import StructureError
from rhoscale.system import System

# Sites of the conventional cubic cell in units of its edge; the number says which sublattice (element) sits there.
_FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_SHIFTED = tuple((x + 0.25, y + 0.25, z + 0.25) for x, y, z in _FCC)
_HALF = tuple(((x + 0.5) % 1.0, y, z) for x, y, z in _FCC)
_SITES: dict[str, tuple[tuple[tuple[float, float, float], ...], ...]] = {
    "sc": (((0.0, 0.0, 0.0),),),
    "bcc": (((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),),
    "fcc": (_FCC,),
    "diamond": ((*_FCC, *_SHIFTED),),
    "zincblende": (_FCC, _SHIFTED),
    "rocksalt": (_FCC, _HALF),
    "cesium-chloride": (((0.0, 0.0, 0.0),), ((0.5, 0.5, 0.5),)),
}
LATTICES = tuple(_SITES)
_FACE_CENTRED = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
_BODY_CENTRED = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
_PRIMITIVE = {
    "bcc": _BODY_CENTRED,
    "fcc": _FACE_CENTRED,
    "diamond": _FACE_CENTRED,
    "zincblende": _FACE_CENTRED,
    "rocksalt": _FACE_CENTRED,
}


def sublattices(lattice: str) -> int:
    """How many elements an ordered crystal of this lattice has.

    Raises:
        StructureError: The lattice is unknown.
    """
    if lattice not in _SITES:
        raise StructureError(
            f"lattice {lattice!r} is unknown; expected one of {', '.join(LATTICES)}; name one of these"
        )
    return len(_SITES[lattice])


def crystal(lattice: str, elements: Sequence[str], lattice_constant: float, *, primitive: bool = False) -> System:
    """Build the conventional cubic cell of a crystal, or its primitive one.

    Args:
        lattice: One of ``LATTICES``.
        elements: One symbol for each sublattice (one for ``fcc``, two for ``zincblende``).
        lattice_constant: Edge of the conventional cell, Bohr.
        primitive: Build the smallest cell there is. Supercells of it are rounder: images of an atom are an eighth
            farther away (face-centred lattices) than in a cube of as many atoms.

    Raises:
        StructureError: The lattice is unknown, has another number of sublattices, or the edge is not positive.
    """
    if len(elements) != sublattices(lattice):
        raise StructureError(
            f"{lattice} has {sublattices(lattice)} sublattice(s), but {len(elements)} elements were given "
            f"({', '.join(elements)}); give one for each"
        )
    if not (np.isfinite(lattice_constant) and lattice_constant > 0):
        raise StructureError(
            f"the lattice constant is {lattice_constant}; expected a positive number of Bohr; give the edge of the "
            f"conventional cell"
        )
    sites = np.array([site for sublattice in _SITES[lattice] for site in sublattice])
    species = np.array([e for e, sublattice in zip(elements, _SITES[lattice], strict=True) for _ in sublattice])
    if not primitive or lattice not in _PRIMITIVE:
        return System(np.eye(3) * lattice_constant, sites * lattice_constant, species)
    vectors = _PRIMITIVE[lattice]
    each = round(1.0 / abs(float(np.linalg.det(vectors))))  # sites of a conventional cell are listed cell by cell
    first = np.arange(0, len(sites), each)
    return System(vectors * lattice_constant, sites[first] * lattice_constant, species[first])


def supercell(system: System, repeats: tuple[int, int, int]) -> System:
    """Repeat a cell along its vectors; the copies of one cell stay together, the last vector runs fastest.

    Raises:
        StructureError: A repeat is less than one.
    """
    if min(repeats) < 1:
        raise StructureError(
            f"the supercell {tuple(repeats)} has no cells along an axis; expected three numbers of 1 or more; change it"
        )
    counts = np.stack(np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    positions = (counts @ system.cell)[:, None, :] + system.positions[None, :, :]
    return System(
        system.cell * np.asarray(repeats, dtype=np.float64)[:, None],
        positions.reshape(-1, 3),
        np.tile(system.species, len(counts)),
    )
