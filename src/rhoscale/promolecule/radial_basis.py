"""Radial functions of compact support that atomic tables are fitted with, and what they are in reciprocal space."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rhoscale.promolecule.table import STEP
from rhoscale.system import System

FloatArray = NDArray[np.float64]

BEYOND = (
    2.0  # times the longest wave of the labels: up to there fitted functions are kept from having waves of their own
)


def radial_functions(reach: float, count: int) -> FloatArray:
    """sin(n pi r / R) / (n pi r / R) (1 - (r / R)^2)^3 for n = 1 ... count on the tables' mesh [count, radii].

    Args:
        reach: R, where they end with two derivatives, Bohr.
        count: Their number.
    """
    r = STEP * np.arange(round(reach / STEP) + 1)
    order = np.arange(1, count + 1)[:, None]
    return np.asarray(np.sinc(order * r / reach) * (1.0 - (r / reach) ** 2) ** 3)


def integrals(functions: FloatArray) -> FloatArray:
    """4 pi int f(r) r^2 dr of each function [count], as the tables' form factors have it."""
    r = STEP * np.arange(functions.shape[1])
    return np.asarray(functions @ (4 * np.pi * STEP * r**2))


def form_factors(functions: FloatArray, longest: float) -> Callable[[FloatArray], FloatArray]:
    """Fourier transforms of the functions: wave numbers [n] up to ``longest``, 1/Bohr -> [n, count]."""
    r = STEP * np.arange(functions.shape[1])
    mesh = np.arange(0.0, longest + 0.04, 0.01)
    shells = 4 * np.pi * STEP * r**2 * functions
    return CubicSpline(mesh, np.sinc(np.outer(mesh, r) / np.pi) @ shells.T)


def short_waves(factors: Callable[[FloatArray], FloatArray], longest: float) -> FloatArray:
    """Quadratic form [count, count], of trace 1, of what functions have in waves shorter than those of the labels.

    Args:
        factors: Fourier transforms of the functions, to ``BEYOND * longest``.
        longest: Longest wave vector of the labels, 1/Bohr.
    """
    beyond = factors(np.linspace(longest, BEYOND * longest, 200))
    form = beyond.T @ beyond
    return np.asarray(form / np.trace(form))


def structure_factors(system: System, elements: Sequence[str], millers: NDArray[np.integer]) -> NDArray[np.complex128]:
    """S_e(G) = sum_{a in e} exp(-i G.r_a) [n, elements] of waves with the indices ``millers`` [n, 3]."""
    scaled = system.scaled_positions
    parts = [np.exp(-2j * np.pi * (millers @ scaled[system.species == e].T)).sum(axis=1) for e in elements]
    return np.stack(parts, axis=1)
