"""The sharp part of a density: what varies too fast for a coarse grid is two-body, and cheap to sum on any grid.

Near a nucleus the density follows its own atom, whatever its surroundings. A radial function for each element, fitted
to the short waves of converged densities, takes that out: what is left, rho - sum_a t(|r - r_a|), is band-limited on a
grid that would lose several times as much of rho itself. The tables are no densities of atoms: their long waves mean
nothing, because what is subtracted before a refinement is added exactly after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rhoscale.density import Density
from rhoscale.grid import Grid, Shape
from rhoscale.promolecule.fourier import promolecule_fourier
from rhoscale.promolecule.radial_basis import BEYOND, form_factors, radial_functions, short_waves, structure_factors
from rhoscale.promolecule.real_space import promolecule_on_grid
from rhoscale.promolecule.table import STEP, AtomicDensityTable
from rhoscale.refinement import FourierDensity, kinetic_energies, refine
from rhoscale.system import PseudopotentialIdentity, System

Tables = Mapping[str, AtomicDensityTable]

REACH = 4.5  # Bohr; 4.0 to 6.5 serve alike (Al)
FUNCTIONS = 14  # radial functions of an element
SHORT_WAVES = 3.0  # 1/Bohr; waves from here on are fitted, 2.5 to 3.5 serve alike (Al)
RIDGE = 1e-8  # of the mean diagonal: keeps the long waves, to which nothing is fitted, from growing


def fit_sharp(
    labels: Sequence[tuple[System, FourierDensity]], pseudopotentials: Mapping[str, PseudopotentialIdentity]
) -> dict[str, AtomicDensityTable]:
    """Fit radial functions t_e to the short waves of densities,

        sum_{|G| > 3/Bohr} |Omega c_G - sum_e t_e(|G|) S_e(G)|^2 -> min,    S_e(G) = sum_{a in e} exp(-i G.r_a).

    Args:
        labels: Structures and their converged densities.
        pseudopotentials: Identity for each element; the tables carry it.
    """
    elements = sorted(pseudopotentials)
    longest = max(float(np.sqrt(2 * kinetic_energies(d.cell, d.millers).max())) for _, d in labels)
    functions = radial_functions(REACH, FUNCTIONS)
    factors = form_factors(functions, BEYOND * longest)
    size = FUNCTIONS * len(elements)
    normal, right = np.zeros((size, size)), np.zeros(size)
    for system, density in labels:
        wave_numbers = np.sqrt(2 * kinetic_energies(density.cell, density.millers))
        short = wave_numbers > SHORT_WAVES
        structure = structure_factors(system, elements, density.millers[short])
        design = (structure[:, :, None] * factors(wave_numbers[short])[:, None, :]).reshape(-1, size)
        normal += (design.conj().T @ design).real
        right += (design.conj().T @ (density.coefficients[short] * system.volume)).real
    strength = np.trace(normal) / size
    normal += strength * np.kron(np.eye(len(elements)), short_waves(factors, longest))
    solution = np.linalg.solve(normal + RIDGE * strength * np.eye(size), right).reshape(len(elements), FUNCTIONS)
    return {
        e: AtomicDensityTable(pseudopotentials[e], STEP, weights @ functions)
        for e, weights in zip(elements, solution, strict=True)
    }


def refine_sharp(density: Density, system: System, tables: Tables, shape: Shape) -> Density:
    """Refine a density on a grid: the sharp part exactly at the new points, the rest by its Fourier series.

    Args:
        density: On a coarse grid.
        system: Its structure.
        tables: Sharp parts of its elements; with none the density is refined as it is.
        shape: Of the new grid, not coarser.
    """
    if not tables or shape == density.grid.shape:
        return refine(density, shape)
    rest = refine(density - promolecule_on_grid(system, tables, density.grid), shape)
    return rest + promolecule_on_grid(system, tables, rest.grid)


@dataclass(frozen=True)
class SamplingLoss:
    """What a grid loses of a density.

    Attributes:
        spacing: Largest distance of neighbouring points, Bohr.
        loss: L1 per electron after refinement with the sharp part apart.
        plain: The same by the Fourier series of the density itself.
    """

    spacing: float
    loss: float
    plain: float


def sampling_loss(system: System, density: FourierDensity, tables: Tables, spacing: float) -> SamplingLoss:
    """Sample a density on a coarse grid, refine it to one that holds all its waves, and compare.

    Raises:
        StructureError: An element has no table.
    """
    grid = Grid.from_spacing(system.cell, spacing, fast_fourier=False)
    sharp = promolecule_fourier(system, tables, density.cutoff)
    shape = np.maximum(density.smallest_shape, np.maximum(sharp.smallest_shape, grid.shape))
    fine: Shape = (int(shape[0]), int(shape[1]), int(shape[2]))

    def lost(coarse: Density, exact: Density) -> float:
        difference = refine(coarse, fine) - exact
        return float(np.abs(difference.values).sum()) * difference.grid.volume_element / density.electrons

    coarse, exact = density.on_grid(grid.shape), density.on_grid(fine)
    apart = lost(coarse - sharp.on_grid(grid.shape), exact - sharp.on_grid(fine))
    return SamplingLoss(max(grid.spacings), apart, lost(coarse, exact))
