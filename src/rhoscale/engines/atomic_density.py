"""Tables of atomic densities for the promolecule, from the pseudo-atoms of the engines' pseudopotentials."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rhoscale.engines.atom import solve_atom
from rhoscale.engines.gth import gth
from rhoscale.engines.pseudopotentials import PseudopotentialFile, gth_pseudopotential
from rhoscale.errors import FormatError
from rhoscale.promolecule import AtomicDensityTable

FloatArray = NDArray[np.float64]


@cache
def atomic_density_table(element: str, valence: int | None = None, *, tolerance: float = 1e-9) -> AtomicDensityTable:
    """Tabulate the self-consistent density of the isolated GTH-PBE pseudo-atom.

    Args:
        element: Chemical symbol.
        valence: Valence electrons; by default the fewest published.
        tolerance: Electrons per Bohr^3 at which the table ends; a larger one makes sums cheaper.

    Raises:
        InputError: The table of pseudopotentials holds no such element or valence.
    """
    identity = gth_pseudopotential(element, valence).identity
    return AtomicDensityTable.tabulate(identity, solve_atom(gth(element, valence)).density, tolerance=tolerance)


def density_table_of_file(file: PseudopotentialFile, *, tolerance: float = 1e-9) -> AtomicDensityTable:
    """Tabulate the atomic density that a UPF file carries (``PP_RHOATOM``).

    Raises:
        FormatError: The file carries none, or one that does not belong to its mesh.
        InputError: It does not hold the valence electrons.
    """
    r, shell = (_section(file, tag) for tag in ("PP_R", "PP_RHOATOM"))
    n = min(len(r), len(shell))
    kept = np.flatnonzero(r[:n] > 1e-3)  # 4 pi r^2 rho says nothing about rho at r = 0
    if len(kept) < 8:
        raise FormatError(
            f"{file.identity.name} of {file.identity.element} has {len(r)} radii and {len(shell)} values of the atomic "
            f"density; expected a radial mesh of both; use another pseudopotential file"
        )
    radii, values = r[kept], shell[kept] / (4 * np.pi * r[kept] ** 2)
    even = CubicSpline(np.concatenate([-radii[::-1], radii]), np.concatenate([values[::-1], values]))

    def density(distance: FloatArray) -> FloatArray:
        inside = np.maximum(even(np.minimum(distance, radii[-1])), 0.0)
        return np.asarray(np.where(distance <= radii[-1], inside, 0.0))

    return AtomicDensityTable.tabulate(file.identity, density, tolerance=tolerance)


def _section(file: PseudopotentialFile, tag: str) -> FloatArray:
    match = re.search(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", file.text, re.DOTALL)
    words = match[1].replace("D", "E").split() if match else []
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise FormatError(
            f"section {tag} of {file.identity.name} of {file.identity.element} holds what is no number ({error}); "
            f"expected a list of numbers; use another pseudopotential file"
        ) from error
