"""Which functions of the distance tell the surroundings of atoms apart: principal components over real structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rhoscale.descriptors.neighbours import periodic_cell_list
from rhoscale.descriptors.smooth.fast import check_elements, densities_at
from rhoscale.descriptors.smooth.spec import Smooth
from rhoscale.errors import InputError
from rhoscale.system import System

FloatArray = NDArray[np.float64]


def contracted(spec: Smooth, systems: Sequence[System]) -> Smooth:
    """Make the functions about an atom of their primitives, as the atoms of given structures want it.

    Of each degree l those combinations of the c_plm (all m, all elements) are taken whose variance over the atoms is
    largest: Goscinski, Musil, Pozdnyakov, Nigam and Ceriotti, J. Chem. Phys. 155, 104106 (2021). They cost predictions
    nothing, for an atom is expanded once and read by all points near it.

    Args:
        spec: Smooth features; without primitives, or with a contraction, they are returned as they are.
        systems: Structures, every atom of which counts alike.

    Raises:
        InputError: There is no structure.
        ModelError: A structure holds an element that the features do not know.
    """
    chosen = spec.surroundings
    if chosen is None or not chosen.uncontracted:
        return spec
    if not systems:
        raise InputError("a contraction needs structures; got none; give those of the training snapshots")
    for system in systems:
        check_elements(system.elements, spec)
    found = np.concatenate([_expansions(spec, system) for system in systems])
    found -= found.mean(axis=0)
    rows = tuple(
        _principal(found[..., degree**2 : (degree + 1) ** 2], chosen.neighbours) for degree in range(chosen.degree + 1)
    )
    return replace(spec, surroundings=replace(chosen, contraction=rows))


def _expansions(spec: Smooth, system: System) -> FloatArray:
    """c^e_plm at all atoms of a structure [atoms, e, p, 25]."""
    assert spec.surroundings is not None
    return densities_at(system.positions, spec.surroundings, spec, periodic_cell_list(system, spec.elements)).astype(
        np.float64
    )


def _principal(densities: FloatArray, count: int) -> tuple[tuple[float, ...], ...]:
    """Leading eigenvectors [count, p] of the second moments of densities [atoms, e, p, m]; largest number positive."""
    moments = np.einsum("aepm,aeqm->pq", densities, densities, optimize=True)
    _, vectors = np.linalg.eigh(moments)
    leading = vectors[:, ::-1][:, :count].T
    largest = np.take_along_axis(leading, np.abs(leading).argmax(axis=1)[:, None], axis=1)
    return tuple(tuple(float(v) for v in row) for row in leading * np.sign(largest))
