"""A thermal supercell put together from snapshots of blocks, and how like the dynamics it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.recipes.build_plan import SEAM_CELLS, BuildPlan
from rhoscale.structures.alloy import exact_composition
from rhoscale.structures.bond_lengths import Bonds, length_distribution, match_lengths, near_bonds, with_neighbours
from rhoscale.structures.crystal import supercell
from rhoscale.structures.pair_distances import PairDistribution, mean_distribution, pair_distribution
from rhoscale.structures.thermal_tiling import ThermalBlock, separate, tile
from rhoscale.structures.vacancy import remove_atoms
from rhoscale.system import System

DISTRIBUTION_TO = 1.5  # lattice constants: five shells of fcc, about a hundred neighbours
SHELLS = 150
MATCHING_PASSES = 20


@dataclass(frozen=True)
class Likeness:
    """How the supercell compares with the dynamics, and the blocks with each other.

    Attributes:
        difference: Of the pair distribution functions, share of the neighbours.
        spread: The same of one block against the mean of all, as far as there are several.
        smallest, smallest_of_blocks: Smallest distances, Bohr.
        rms, rms_of_blocks: Root mean square displacement along one axis, Bohr.
        pushed: Pairs in seams that came closer than any in the dynamics, and were pushed apart.
        exchanged: Atoms of an alloy whose element was changed to make the composition exact.
    """

    difference: float
    spread: float
    smallest: float
    smallest_of_blocks: float
    rms: float
    rms_of_blocks: float
    pushed: int
    exchanged: int

    def __str__(self) -> str:
        alloy = f"\n{self.exchanged} atoms changed their element for the exact composition" if self.exchanged else ""
        return (
            f"pair distribution differs from the dynamics by {100 * self.difference:.2f} % of the neighbours "
            f"(one block from the mean of the blocks: {100 * self.spread:.2f} %)\n"
            f"smallest distance {self.smallest:.3f} Bohr (dynamics {self.smallest_of_blocks:.3f}); {self.pushed} pairs "
            f"in seams were pushed apart\n"
            f"displacement along an axis {self.rms:.4f} Bohr rms (dynamics {self.rms_of_blocks:.4f}){alloy}"
        )


@dataclass(frozen=True)
class Assembled:
    """A tiled supercell.

    Attributes:
        system: The atoms.
        sites: The same atoms on their sites.
        blocks: What it was tiled from.
        distributions: Pair distributions of the blocks.
        pushed, exchanged: See :class:`Likeness`.
    """

    system: System
    sites: System
    blocks: Sequence[ThermalBlock]
    distributions: list[PairDistribution]
    pushed: int
    exchanged: int


def assemble(plan: BuildPlan, snapshots: Sequence[System]) -> Assembled:
    """Tile the supercell from snapshots of the blocks and take out vacancies.

    The composition of an alloy is exact for the atoms that are left: where windows of the blocks hold a few atoms too
    many of one element, atoms drawn at random change their element.

    Raises:
        StructureError: A block is no solid, or pairs stay too close; see :class:`ThermalBlock`, :func:`separate`.
    """
    config, farthest = plan.config, DISTRIBUTION_TO * plan.edge
    blocks = [ThermalBlock.from_snapshot(plan.cell, plan.block, snapshot) for snapshot in snapshots]
    distributions = [pair_distribution(snapshot, farthest, SHELLS) for snapshot in snapshots]
    bonds, seed = near_bonds(plan.cell), config.seed
    tiled, moving = tile(blocks, plan.cell, plan.repeats, SEAM_CELLS, np.random.default_rng([seed, 0x711E]))
    empty = np.random.default_rng([seed, 0xDEFEC7]).choice(plan.sites, plan.vacancies, replace=False)
    exchanged = 0
    if config.alloy:
        species = _exact(tiled.species.ravel(), empty, config.alloy, np.random.default_rng([seed, 0xA110]))
        species = species.reshape(tiled.species.shape)
        exchanged = int(np.count_nonzero(species != tiled.species))
        moving |= with_neighbours(bonds, species != tiled.species)
        tiled = ThermalBlock(tiled.displacements, species)
    displacements = _matched(bonds, tiled, moving, blocks)
    sites = supercell(plan.cell, plan.repeats)
    sites = System(sites.cell, sites.positions, tiled.species.ravel())
    full = System(sites.cell, sites.positions + displacements.reshape(-1, 3), sites.species)
    system, pushed = separate(remove_atoms(full, empty), mean_distribution(distributions).shortest)
    system = System(system.cell, system.scaled_positions @ system.cell, system.species)
    return Assembled(system, remove_atoms(sites, empty), blocks, distributions, pushed, exchanged)


def likeness(plan: BuildPlan, assembled: Assembled, system: System) -> Likeness:
    """Compare a supercell with the dynamics of its blocks.

    Args:
        plan: Of the supercell.
        assembled: What was tiled.
        system: What came of it.
    """
    parts = assembled.distributions
    dynamics, here = mean_distribution(parts), pair_distribution(system, DISTRIBUTION_TO * plan.edge, SHELLS)
    steps = system.scaled_positions - assembled.sites.scaled_positions
    return Likeness(
        difference=here.difference(dynamics),
        spread=float(np.mean([part.difference(dynamics) for part in parts])),
        smallest=here.smallest,
        smallest_of_blocks=dynamics.smallest,
        rms=_rms((steps - np.round(steps)) @ system.cell),
        rms_of_blocks=_rms(np.stack([block.displacements for block in assembled.blocks])),
        pushed=assembled.pushed,
        exchanged=assembled.exchanged,
    )


def _exact(
    species: NDArray[np.str_], empty: NDArray[np.int64], alloy: Mapping[str, float], rng: np.random.Generator
) -> NDArray[np.str_]:
    """Species of all sites, in exact proportion on those that are not empty."""
    there = np.ones(len(species), dtype=bool)
    there[empty] = False
    result = species.copy()
    result[there] = exact_composition(species[there], alloy, rng)
    return result


def _matched(
    bonds: Bonds, tiled: ThermalBlock, moving: NDArray[np.bool_], blocks: Sequence[ThermalBlock]
) -> NDArray[np.float64]:
    """Displacements whose bonds are distributed as those of the blocks."""
    names = np.unique(np.concatenate([np.unique(block.species) for block in blocks]))
    codes = [np.searchsorted(names, block.species).astype(np.uint8) for block in (tiled, *blocks)]
    aims = [
        length_distribution(bonds, block.displacements, code, len(names), np.ones(code.shape, dtype=bool))
        for block, code in zip(blocks, codes[1:], strict=True)
    ]
    return match_lengths(bonds, tiled.displacements, codes[0], moving, aims, len(names), MATCHING_PASSES)


def _rms(displacements: NDArray[np.float64]) -> float:
    return float(np.sqrt((displacements**2).mean()))
