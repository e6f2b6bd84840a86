"""The atoms that act on a tile, taken out of a cell list that may lie on disk."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from rhoscale.cluster import Cluster
from rhoscale.descriptors.neighbours import CellList
from rhoscale.grid import Grid
from rhoscale.prediction.tiles import Tile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def atoms_around(atoms: CellList, elements: tuple[str, ...], grid: Grid, tile: Tile, halo: float) -> Cluster:
    """Cut out every atom, images included, within ``halo`` of any point of a tile.

    Only the bins around the tile are touched, so of arrays that are mapped from disk only these parts are read. Which
    atoms are cut out, and in which order, depends on nothing but the arguments.

    Args:
        atoms: All atoms of the crystal, sorted; its first index counts ``elements``.
        elements: Chemical symbols of the kinds.
        grid: Of the same cell.
        tile: Box of its points.
        halo: Bohr.
    """
    ends = np.array([tile.start, np.subtract(tile.stop, 1)]) / np.array(grid.shape)
    margin = halo / atoms.heights
    first, last = ends[0] - margin, ends[1] + margin
    corners = np.array(list(product(*ends.T))) @ grid.cell
    low, high = corners.min(axis=0), corners.max(axis=0)
    bins, shifts = _bins(atoms, first, last)
    positions, species = [], []
    for kind, element in enumerate(elements):
        found = _take(atoms, atoms.starts[kind], bins, shifts)
        scaled = found @ atoms.inverse
        near = (scaled >= first) & (scaled <= last) & (found >= low - halo) & (found <= high + halo)
        found = found[near.all(axis=1)]
        positions.append(found)
        species.append(np.full(len(found), element))
    return Cluster(np.concatenate(positions), np.concatenate(species), low, high, halo)


def _bins(atoms: CellList, first: FloatArray, last: FloatArray) -> tuple[IntArray, FloatArray]:
    """Numbers of the bins that meet a box in scaled coordinates, and the shift of their image [bins, 3], Bohr."""
    counts = np.asarray(atoms.counts)
    axes = [
        np.arange(a, b + 1)
        for a, b in zip(np.floor(first * counts).astype(int), np.floor(last * counts).astype(int), strict=True)
    ]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    images, inside = np.divmod(index, counts)
    return (inside[:, 0] * counts[1] + inside[:, 1]) * counts[2] + inside[:, 2], images @ np.asarray(atoms.cell)


def _take(atoms: CellList, starts: IntArray, bins: IntArray, shifts: FloatArray) -> FloatArray:
    """Positions [n, 3] of the atoms of these bins, each moved by its bin's shift."""
    begins = np.asarray(starts[bins])
    counts = np.asarray(starts[bins + 1]) - begins
    skipped = begins - np.concatenate([[0], np.cumsum(counts)[:-1]])
    index = np.repeat(skipped, counts) + np.arange(int(counts.sum()))
    return np.asarray(np.asarray(atoms.positions[index]) + np.repeat(shifts, counts, axis=0))
