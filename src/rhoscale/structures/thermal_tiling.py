"""Thermal supercells of any size: displacements from the sites, tiled from blocks of molecular dynamics.

What is tiled are displacements, not atoms, so each site of the large crystal gets exactly one atom. The supercell is
cut into boxes; each takes a window of a periodic block, from a random place in it (a translation by lattice vectors,
under which a thermal crystal is as likely as before). Where two windows meet, they overlap by a few cells, mixed as

    u = cos(theta) u_1 + sin(theta) u_2,    theta from 0 to pi/2 across the overlap,

which keeps the covariance of displacements: for independent u_1, u_2 of one covariance C(r, r'),
<u(r) u(r')> = cos(theta - theta') C(r, r'), and theta changes slowly. In a harmonic crystal, where displacements are
Gaussian, the seam is then as good as the block, up to that cosine; a mean (1 - t) u_1 + t u_2 would have half the
variance in its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError, StructureError
from rhoscale.structures.pair_distances import ClosePairs, close_pairs
from rhoscale.system import System

FloatArray = NDArray[np.float64]
Repeats = tuple[int, int, int]

MOST_PASSES = 100
LISTED_BEYOND = 0.3  # Bohr; one search through all atoms then serves many passes


@dataclass(frozen=True)
class ThermalBlock:
    """One snapshot of a periodic block of a crystal.

    Attributes:
        displacements: Of each atom from its site [nx, ny, nz, sites, 3], Bohr; their mean is zero.
        species: Element on each site [nx, ny, nz, sites].
    """

    displacements: FloatArray = field(repr=False)
    species: NDArray[np.str_] = field(repr=False)

    @property
    def repeats(self) -> Repeats:
        """Cells along each axis."""
        nx, ny, nz = self.displacements.shape[:3]
        return nx, ny, nz

    @classmethod
    def from_snapshot(cls, cell: System, repeats: Repeats, snapshot: System) -> ThermalBlock:
        """Take the displacements of a snapshot whose atoms are those of ``supercell(cell, repeats)``, in its order.

        Raises:
            StructureError: An atom is nearer to another site than to its own: the crystal has molten, or atoms have
                changed places, and displacements from sites say nothing.
        """
        shape = (*repeats, len(cell))
        corners = np.stack(np.meshgrid(*(np.arange(n) for n in repeats), indexing="ij"), axis=-1).reshape(-1, 1, 3)
        sites = (corners + cell.scaled_positions) / np.asarray(repeats)
        moved = snapshot.scaled_positions - sites.reshape(-1, 3)
        # The drift first: a block that travelled as a whole would be cut at half of its own length
        drift = np.angle(np.exp(2j * np.pi * moved).mean(axis=0)) / (2 * np.pi)
        moved -= drift
        displacements = (moved - np.rint(moved)) @ snapshot.cell
        displacements -= displacements.mean(axis=0)
        if (strayed := _strayed(cell, displacements.reshape(-1, len(cell), 3))) is not None:
            raise StructureError(
                f"an atom of a block moved {strayed:.2f} Bohr from its site and is nearer to another; expected none, "
                f"as in a solid; choose a lower temperature or, for a liquid, a single block of dynamics as large as "
                f"the supercell"
            )
        return cls(displacements.reshape(*shape, 3), snapshot.species.reshape(shape))


def _strayed(cell: System, displacements: FloatArray) -> float | None:
    """How far the farthest atom moved that is nearer to another site than to its own, or None if there is none.

    Args:
        cell: Cell of the crystal.
        displacements: Of the atoms on each of its sites [cells, sites, 3], Bohr.
    """
    steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    strayed = []
    for number, site in enumerate(cell.scaled_positions):
        others = ((steps + cell.scaled_positions - site) @ cell.cell).reshape(-1, 3)
        squares = np.square(others).sum(axis=1)
        others, squares = others[squares > 0], squares[squares > 0]
        lengths = np.linalg.norm(displacements[:, number], axis=1)
        far = lengths > 0.5 * np.sqrt(squares.min())
        beyond = (displacements[far, number] @ others.T > 0.5 * squares).any(axis=1)
        strayed += lengths[far][beyond].tolist()
    return max(strayed, default=None)


@dataclass(frozen=True)
class Window:
    """A stretch of an axis: cells ``start`` to ``start + length`` and ``overlap`` more, shared with the next one."""

    start: int
    length: int
    overlap: int

    @property
    def cells(self) -> int:
        """Cells in all."""
        return self.length + self.overlap

    def weights(self, sites: FloatArray) -> FloatArray:
        """sin(theta) while coming in, cos(theta) while going out, one between: [cells, sites].

        Args:
            sites: Places of the sites in their cell along this axis, in units of it [sites].
        """
        if self.overlap == 0:
            return np.ones((self.cells, len(sites)))
        along = np.arange(self.cells)[:, None] + sites
        coming = np.sin(0.5 * np.pi * np.clip(along / self.overlap, 0.0, 1.0))
        return coming * np.cos(0.5 * np.pi * np.clip((along - self.length) / self.overlap, 0.0, 1.0))


def windows(cells: int, block: int, overlap: int) -> list[Window]:
    """Cut an axis into windows that fit into a block with their overlap; an axis as long as the block stays whole.

    Args:
        cells: Of the supercell along the axis.
        block: Cells of the block.
        overlap: Cells that two windows share; at most a third of the block, lest three windows meet.

    Raises:
        InputError: The block is longer than the axis, or too short to have seams.
    """
    if cells == block:
        return [Window(0, cells, 0)]
    if block > cells or block < 3:
        raise InputError(
            f"a block of {block} cells cannot be tiled into {cells} cells; expected at least 3 cells in a block, and "
            f"no more than in the supercell; choose another size of blocks or supercell"
        )
    overlap = min(overlap, block // 3)
    count = -(-cells // (block - overlap))
    edges = [round(n * cells / count) for n in range(count + 1)]
    return [Window(a, b - a, overlap) for a, b in pairwise(edges)]


def tile(
    blocks: Sequence[ThermalBlock], cell: System, repeats: Repeats, overlap: int, rng: np.random.Generator
) -> tuple[ThermalBlock, NDArray[np.bool_]]:
    """Fill a supercell with windows of the blocks, each block about equally often, places drawn at random.

    Species are those of the block with the largest weight at a site.

    Args:
        blocks: Of one shape.
        cell: The crystal's cell.
        repeats: Cells of the supercell along each axis.
        overlap: Cells that neighbouring windows share; see :func:`windows`.
        rng: Source of order and places.

    Returns:
        The supercell, and which of its sites lie in a seam [nx, ny, nz, sites].

    Raises:
        InputError: The blocks differ in shape, or do not fit; see :func:`windows`.
    """
    shape = blocks[0].repeats
    if any(block.repeats != shape for block in blocks):
        raise InputError(f"blocks have shapes {[b.repeats for b in blocks]}; expected one shape; make them alike")
    axes = [windows(n, b, overlap) for n, b in zip(repeats, shape, strict=True)]
    boxes = [(x, y, z) for x in axes[0] for y in axes[1] for z in axes[2]]
    chosen = rng.permutation(np.arange(len(boxes)) % len(blocks))
    places = rng.integers(0, shape, (len(boxes), 3))
    displacements = np.zeros((*repeats, len(cell), 3))
    species = np.empty(displacements.shape[:-1], dtype=blocks[0].species.dtype)
    largest = np.zeros(species.shape, dtype=np.float32)
    for box, number, place in zip(boxes, chosen, places, strict=True):
        block = blocks[number]
        into = np.ix_(*((w.start + np.arange(w.cells)) % n for w, n in zip(box, repeats, strict=True)))
        out_of = np.ix_(*((p + np.arange(w.cells)) % n for w, p, n in zip(box, place, shape, strict=True)))
        x, y, z = (w.weights(cell.scaled_positions[:, axis]) for axis, w in enumerate(box))
        weight = x[:, None, None] * y[None, :, None] * z[None, None, :]
        displacements[into] += weight[..., None] * block.displacements[out_of]
        species[into] = np.where(weight > largest[into], block.species[out_of], species[into])
        largest[into] = np.maximum(weight, largest[into])
    return ThermalBlock(displacements, species), largest < 1.0 - 1e-6


def separate(system: System, limits: dict[tuple[str, str], float]) -> tuple[System, int]:
    """Push pairs apart that are nearer than the limit of their elements, both atoms by half of what is missing.

    A few pairs in the seams, and around vacancies of an alloy whose elements were changed, come closer than any in the
    dynamics.

    Args:
        system: Atoms.
        limits: Smallest distance of each pair of elements in the dynamics, Bohr.

    Returns:
        The structure, and how many pairs were too close at first.

    Raises:
        StructureError: Pairs are still too close after many passes.
    """
    positions, too_close = system.positions.copy(), -1
    pairs, moved = _candidates(system, limits), np.zeros_like(positions)
    for _ in range(MOST_PASSES):
        if np.abs(moved).max() > 0.25 * LISTED_BEYOND:  # 0.5 / sqrt(3) along one axis would do
            positions += moved
            pairs, moved = _candidates(System(system.cell, positions, system.species), limits), np.zeros_like(positions)
        vectors = pairs.vectors + moved[pairs.second] - moved[pairs.first]
        lengths = np.linalg.norm(vectors, axis=1)
        near = np.flatnonzero(lengths < pairs.limits)
        too_close = len(near) if too_close < 0 else too_close
        if len(near) == 0:
            return System(system.cell, positions + moved, system.species), too_close
        # a hundred thousandth more than needed, so that rounding does not bring the pair back
        step = vectors[near] * (0.5 * (pairs.limits[near] * (1 + 1e-5) / lengths[near] - 1.0))[:, None]
        np.add.at(moved, pairs.first[near], -step)
        np.add.at(moved, pairs.second[near], step)
    raise StructureError(
        f"{len(near)} pairs are still closer than in the dynamics after {MOST_PASSES} passes; expected none; "
        f"choose larger blocks or wider seams"
    )


def _candidates(system: System, limits: dict[tuple[str, str], float]) -> ClosePairs:
    """Pairs that can come nearer than their limit while no atom moves by half of ``LISTED_BEYOND``."""
    pairs = close_pairs(system, {pair: limit + LISTED_BEYOND for pair, limit in limits.items()})
    return replace(pairs, limits=pairs.limits - LISTED_BEYOND)
