"""Atoms in the bins of their cell, and those of all images near a bin."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.density import Density
from rhoscale.errors import InputError
from rhoscale.grid import Grid
from rhoscale.system import System

FloatArray = NDArray[np.float64]

BIN_WIDTH = 4.0  # Bohr
POINTS_AT_ONCE = 1 << 21


class AtomLattice(NamedTuple):
    """Atoms sorted by the bins of the cell: ``first[b] <= a < first[b + 1]`` are those of bin b.

    ``order`` holds their numbers in the system, ``kinds`` those of their elements among ``system.elements``, ``reach``
    how many bins away along each vector an atom may act.
    """

    cell: FloatArray
    counts: NDArray[np.int64]
    reach: NDArray[np.int64]
    radius: float
    first: NDArray[np.int64]
    atoms: FloatArray
    kinds: NDArray[np.int64]
    order: NDArray[np.int64]


def atom_lattice(system: System, longest: float) -> AtomLattice:
    """Sort the atoms of a system that act over at most ``longest`` Bohr."""
    heights = 1 / np.linalg.norm(np.linalg.inv(system.cell), axis=0)
    counts = np.maximum(1, np.floor(heights / BIN_WIDTH)).astype(np.int64)
    signs = np.stack(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5]), axis=-1).reshape(-1, 3)
    radius = float(np.linalg.norm(signs @ (system.cell / counts[:, None]), axis=1).max())
    scaled = system.scaled_positions
    index = np.minimum((scaled * counts).astype(np.int64), counts - 1)
    bins = (index[:, 0] * counts[1] + index[:, 1]) * counts[2] + index[:, 2]
    order = np.argsort(bins, kind="stable")
    return AtomLattice(
        cell=system.cell,
        counts=counts,
        reach=np.ceil(longest * counts / heights).astype(np.int64),
        radius=radius,
        first=np.searchsorted(bins[order], np.arange(int(counts.prod()) + 1)).astype(np.int64),
        atoms=np.ascontiguousarray((scaled @ system.cell)[order]),
        kinds=np.searchsorted(np.asarray(system.elements), system.species)[order].astype(np.int64),
        order=order,
    )


def at_points(
    lattice: AtomLattice, points: FloatArray, kernel: Callable[..., None], given: Any, workers: int = 1
) -> FloatArray:
    """Evaluate sums over atoms at points [n, 3] (Bohr, in any image of the cell), shape [n].

    The value at a point depends on nothing but the point: not on the other points, their order or the workers.

    Args:
        lattice: The atoms.
        points: Cartesian coordinates.
        kernel: ``kernel(lattice, given, groups, limits, points, values)`` sets values[p] for limits[g] <= p <
            limits[g + 1] of each bin groups[g].
        given: Handed to the kernel.
        workers: Threads.
    """
    inside, bins = _wrap(np.ascontiguousarray(points, dtype=np.float64), np.linalg.inv(lattice.cell), lattice)
    order = np.argsort(bins, kind="stable")
    wrapped, ordered = inside[order], bins[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    groups = ordered[starts]
    limits = np.append(starts, len(ordered))
    values = np.zeros(len(ordered))

    def run(part: NDArray[np.int64]) -> None:
        if len(part):
            low, high = part[0], part[-1] + 1
            kernel(lattice, given, groups[low:high], limits[low : high + 1], wrapped, values)

    parts = np.array_split(np.arange(len(groups)), max(1, workers))
    if workers <= 1:
        run(parts[0])
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, parts))
    result = np.empty_like(values)
    result[order] = values
    return result


def on_grid(lattice: AtomLattice, at: Callable[..., FloatArray], grid: Grid, workers: int = 1) -> Density:
    """Evaluate ``at(points, workers=...)`` at every point of a grid of the atoms' cell, some planes at a time.

    Raises:
        InputError: The grid belongs to another cell.
    """
    if not np.allclose(grid.cell, lattice.cell, atol=1e-8):
        raise InputError(
            f"the grid's cell {grid.cell.tolist()} is not the system's {lattice.cell.tolist()}; "
            f"make the grid from the system's cell"
        )
    values = np.empty(grid.shape)
    nx, ny, nz = grid.shape
    thickness = max(1, POINTS_AT_ONCE // (ny * nz))
    for start in range(0, nx, thickness):
        stop = min(nx, start + thickness)
        points = grid.points((start, 0, 0), (stop, ny, nz))
        values[start:stop] = at(points, workers=workers).reshape(stop - start, ny, nz)
    return Density(grid, values)


@njit(cache=True, nogil=True)
def _wrap(points: Any, inverse: Any, lattice: Any) -> Any:
    """Images of points inside the cell, and the bins that hold them."""
    inside = np.empty_like(points)
    bins = np.empty(len(points), dtype=np.int64)
    scaled = np.empty(3)
    for p in range(len(points)):
        index = 0
        for i in range(3):
            s = points[p, 0] * inverse[0, i] + points[p, 1] * inverse[1, i] + points[p, 2] * inverse[2, i]
            s -= np.floor(s)
            scaled[i] = s if s < 1.0 else 0.0
            index = index * lattice.counts[i] + min(int(scaled[i] * lattice.counts[i]), lattice.counts[i] - 1)
        bins[p] = index
        for i in range(3):
            inside[p, i] = (
                scaled[0] * lattice.cell[0, i] + scaled[1] * lattice.cell[1, i] + scaled[2] * lattice.cell[2, i]
            )
    return inside, bins


@njit(cache=True, nogil=True)
def atoms_near_bin(lattice: Any, cutoffs: Any, group: int, near: Any, found: Any) -> Any:
    """Collect the atoms, in all images, that any point of a bin can feel; the lists grow when needed.

    Returns:
        How many, their places [count, 3] and their numbers in the lattice [count].
    """
    cell, n = lattice.cell, lattice.counts
    b = (group // (n[2] * n[1]), group // n[2] % n[1], group % n[2])
    centre = (b[0] + 0.5) / n[0] * cell[0] + (b[1] + 0.5) / n[1] * cell[1] + (b[2] + 0.5) / n[2] * cell[2]
    count = 0
    for i in range(b[0] - lattice.reach[0], b[0] + lattice.reach[0] + 1):
        for j in range(b[1] - lattice.reach[1], b[1] + lattice.reach[1] + 1):
            for k in range(b[2] - lattice.reach[2], b[2] + lattice.reach[2] + 1):
                t0, t1, t2 = i // n[0], j // n[1], k // n[2]
                bin_index = ((i - t0 * n[0]) * n[1] + j - t1 * n[1]) * n[2] + k - t2 * n[2]
                for a in range(lattice.first[bin_index], lattice.first[bin_index + 1]):
                    x = lattice.atoms[a, 0] + t0 * cell[0, 0] + t1 * cell[1, 0] + t2 * cell[2, 0]
                    y = lattice.atoms[a, 1] + t0 * cell[0, 1] + t1 * cell[1, 1] + t2 * cell[2, 1]
                    z = lattice.atoms[a, 2] + t0 * cell[0, 2] + t1 * cell[1, 2] + t2 * cell[2, 2]
                    limit = cutoffs[lattice.kinds[a]] + lattice.radius
                    if (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 >= limit * limit:
                        continue
                    if count == len(near):
                        near = np.concatenate((near, np.empty_like(near)))
                        found = np.concatenate((found, np.empty_like(found)))
                    near[count, 0], near[count, 1], near[count, 2] = x, y, z
                    found[count] = a
                    count += 1
    return count, near, found
