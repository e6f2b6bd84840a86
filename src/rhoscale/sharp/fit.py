"""The sharp part that takes most out of the short waves of converged densities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rhoscale.promolecule.radial_basis import BEYOND
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.sharp.harmonics import DEGREE_OF, DEGREES
from rhoscale.sharp.part import FUNCTIONS, SharpPart
from rhoscale.sharp.surroundings import FUNCTIONS as NEIGHBOURS
from rhoscale.sharp.surroundings import surroundings
from rhoscale.sharp.waves import angular_factors, hankel_transforms
from rhoscale.system import System

FloatArray = NDArray[np.float64]

SHORT_WAVES = 3.0  # 1/Bohr; waves from here on are fitted
WAVES_AT_ONCE = 1 << 12
RIDGE = 1e-7  # of the square of each column: keeps the long waves, to which nothing is fitted, from growing


def fit_sharp(labels: Sequence[tuple[System, FourierDensity]], elements: Sequence[str]) -> SharpPart:
    """Fit the weights to the short waves of densities,

        sum_{|G| > 3/Bohr} |Omega (c_G - t_G)|^2 -> min.

    Args:
        labels: Structures and their converged densities.
        elements: Chemical symbols, all of the structures' among them.
    """
    known = tuple(sorted(elements))
    longest = max(float(np.sqrt(2 * kinetic_energies(d.cell, d.millers).max())) for _, d in labels)
    channels = 1 + len(known) * NEIGHBOURS * DEGREES
    size = len(known) * channels * FUNCTIONS
    normal, right = np.zeros((size, size)), np.zeros(size)
    transforms = hankel_transforms(BEYOND * longest)
    for system, density in labels:
        around = surroundings(system, known)
        short = np.flatnonzero(np.sqrt(2 * kinetic_energies(density.cell, density.millers)) > SHORT_WAVES)
        for start in range(0, len(short), WAVES_AT_ONCE):
            waves = short[start : start + WAVES_AT_ONCE]
            design = _design(system, known, around, density.millers[waves], transforms)
            target = density.coefficients[waves] * system.volume
            both = np.concatenate([design.real, design.imag])
            normal += both.T @ both
            right += both.T @ np.concatenate([target.real, target.imag])
    normal += _beyond(normal, channels, transforms, longest)
    scale = 1 / np.sqrt(np.maximum(np.diag(normal), 1e-12 * np.diag(normal).max()))
    conditioned = normal * np.outer(scale, scale) + RIDGE * np.eye(size)
    weights = scale * np.linalg.solve(conditioned, scale * right)
    weights = weights.reshape(len(known), channels, FUNCTIONS)
    return SharpPart(known, weights[:, 0], weights[:, 1:].reshape(len(known), -1, DEGREES, FUNCTIONS))


def _design(
    system: System,
    elements: tuple[str, ...],
    around: FloatArray,
    millers: NDArray[np.integer],
    transforms: Sequence[Callable[[FloatArray], FloatArray]],
) -> NDArray[np.complex128]:
    """Waves of each function by itself [n, elements x (1 + elements' x n x l) x k]."""
    lengths, angular = angular_factors(system.cell, millers)
    radial = [transform(lengths) for transform in transforms]
    columns = np.zeros((len(millers), len(elements), 1 + around.shape[1] * DEGREES, FUNCTIONS), dtype=np.complex128)
    for e, element in enumerate(elements):
        mine = system.species == element
        phases = np.exp(-2j * np.pi * (millers @ system.scaled_positions[mine].T))
        columns[:, e, 0] = phases.sum(axis=1)[:, None] * radial[0]
        for channel in range(around.shape[1]):
            summed = (phases @ around[mine, channel]) * angular
            for l in range(DEGREES):
                column = summed[:, l == DEGREE_OF].sum(axis=1)
                columns[:, e, 1 + channel * DEGREES + l] = column[:, None] * radial[l]
    return columns.reshape(len(millers), -1)


def _beyond(
    normal: FloatArray, channels: int, transforms: Sequence[Callable[[FloatArray], FloatArray]], longest: float
) -> FloatArray:
    """What functions have in waves beyond those of the labels, weighed like what they have in those.

    Args:
        normal: Normal equations of the labels, in blocks of one element and channel.
        channels: Of an element: its sphere, and l = 0 ... 4 of each channel of its surroundings.
        transforms: Of the radial functions, to ``BEYOND * longest``.
        longest: Wave number of the labels, 1/Bohr.
    """
    waves = np.linspace(longest, BEYOND * longest, 200)
    forms = [values.T @ values for values in (f(waves) for f in transforms)]
    forms = [form / np.trace(form) for form in forms]
    found = np.zeros_like(normal)
    for start in range(0, len(normal), FUNCTIONS):
        channel = start // FUNCTIONS % channels
        block = slice(start, start + FUNCTIONS)
        form = forms[(channel - 1) % DEGREES if channel else 0]
        found[block, block] = np.trace(normal[block, block]) / FUNCTIONS * form
    return found
