"""Homogeneous strain of a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import StructureError
from rhoscale.system import System


def strain_matrix(strain: float | Sequence[float]) -> NDArray[np.float64]:
    """The symmetric strain of a number (equal along all axes) or of six Voigt components.

    Voigt order xx, yy, zz, yz, xz, xy with engineering shears: e_yz = strain[3] / 2.

    Raises:
        StructureError: Neither a number nor six, or the strained cell would have no volume.
    """
    values = np.asarray(strain, dtype=np.float64)
    if values.shape == ():
        matrix = np.eye(3) * float(values)
    elif values.shape == (6,):
        xx, yy, zz, yz, xz, xy = values
        matrix = np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
    else:
        raise StructureError(f"strain {strain!r}; expected one number or six Voigt components; write one of these")
    if not np.isfinite(matrix).all() or np.linalg.det(np.eye(3) + matrix) <= 0:
        raise StructureError(
            f"strain {strain!r} leaves no volume; expected components well above -1, as -0.04 for 4 %; change it"
        )
    return matrix


def apply_strain(system: System, strain: float | Sequence[float]) -> System:
    """Deform cell and atoms together: a' = a (1 + e) for each cell vector and position.

    Raises:
        StructureError: See :func:`strain_matrix`.
    """
    deformation = np.eye(3) + strain_matrix(strain)
    return System(system.cell @ deformation, system.positions @ deformation, system.species)
