"""The smooth descriptor at speed: sixteen neighbouring points share their atoms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from rhoscale.descriptors.bricks import cut_into_bricks
from rhoscale.descriptors.interface import Features
from rhoscale.descriptors.lanes import WIDTH
from rhoscale.descriptors.neighbours import CellList, cluster_cell_list, collect, periodic_cell_list
from rhoscale.descriptors.smooth.blocks import box, nearest_first, place_points, write_rows
from rhoscale.descriptors.smooth.kernel import (
    CHUNK,
    angular_rows,
    density_rows,
    neighbour_density,
    power_spectrum,
)
from rhoscale.descriptors.smooth.radial import CHUNK as RADIAL_CHUNK
from rhoscale.descriptors.smooth.radial import radial_sums
from rhoscale.descriptors.smooth.spec import HIGHEST_DEGREE, Smooth
from rhoscale.errors import HaloError, InputError, ModelError
from rhoscale.system import System

FloatArray = NDArray[np.float64]

BRICKS_PER_TASK = 32


@dataclass(frozen=True)
class SmoothDescriber:
    """Smooth features among fixed atoms; may be called from several threads at once.

    Attributes:
        spec: Which features.
        atoms: The atoms, sorted.
    """

    spec: Smooth
    atoms: CellList

    def __call__(self, points: FloatArray, threads: int | None = None) -> Features:
        """Describe points [n, 3], Bohr, by float32 features [n, size]; the result does not depend on ``threads``.

        Raises:
            InputError: The points are not finite coordinates [n, 3].
        """
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"points must be finite coordinates [n, 3] in Bohr; got shape {points.shape}")
        features = np.empty((len(points), self.spec.size), dtype=np.float32)
        if len(points) == 0:
            return features
        bricks = cut_into_bricks(points)
        starts = range(0, len(bricks.bricks) - 1, BRICKS_PER_TASK)

        def work(start: int) -> None:
            stop = min(start + BRICKS_PER_TASK, len(bricks.bricks) - 1)
            _describe_bricks(points, bricks, start, stop, self.atoms, *self._tables, features)

        workers = min(threads or config.NUMBA_NUM_THREADS, len(starts))  # type: ignore[attr-defined]
        if workers == 1:
            for start in starts:
                work(start)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, starts))
        return features

    @cached_property
    def _tables(self) -> tuple[NDArray[np.int64], NDArray[np.float32], FloatArray]:
        """Highest degree (-1: sums only), rank of the cutoff and counts of each set; its constants; the cutoffs."""
        sets: list[tuple[int, tuple[int, ...], float]] = [(-1, (s.count,), s.cutoff) for s in self.spec.radial]
        sets += [(len(s.counts) - 1, s.counts, s.cutoff) for s in self.spec.angular]
        cutoffs = np.unique([cutoff for _, _, cutoff in sets])
        soft = self.spec.softening
        shapes = np.zeros((len(sets), 3 + HIGHEST_DEGREE), dtype=np.int64)
        constants = np.empty((len(sets), 4), dtype=np.float32)
        for i, (degree, counts, cutoff) in enumerate(sets):
            shapes[i, :2] = degree, np.searchsorted(cutoffs, cutoff)
            shapes[i, 2 : 2 + len(counts)] = counts
            scale = 2.0 / (np.hypot(cutoff, soft) - soft)
            constants[i] = (1.0 / cutoff**2, scale, -1.0 - scale * soft, soft**2)
        return shapes, constants, cutoffs


def smooth_describer(system: System, spec: Smooth) -> SmoothDescriber:
    """Prepare the features of any points in a crystal.

    Raises:
        ModelError: The crystal holds an element that the specification does not know.
    """
    _check_elements(system.elements, spec)
    return SmoothDescriber(spec, periodic_cell_list(system, spec.elements))


def cluster_describer(positions: FloatArray, species: NDArray[np.str_], spec: Smooth, halo: float) -> SmoothDescriber:
    """Prepare the features of a tile from its own atoms and those of its halo, standing alone.

    Args:
        positions: [n, 3], Bohr; every atom of the crystal within ``halo`` of any point that will be asked for.
        species: Chemical symbols [n].
        spec: Which features.
        halo: Bohr.

    Raises:
        HaloError: The halo is thinner than the reach of the features.
        ModelError: There is an element that the specification does not know.
    """
    _check_elements(tuple(np.unique(species).tolist()), spec)
    if halo < spec.reach:
        raise HaloError(
            f"the features reach {spec.reach:g} Bohr, beyond the {halo:g} Bohr halo; use halo={spec.reach:g} or more"
        )
    kinds = np.searchsorted(np.asarray(spec.elements), species).astype(np.int64)
    return SmoothDescriber(spec, cluster_cell_list(np.asarray(positions, np.float64), kinds, len(spec.elements)))


def _check_elements(elements: tuple[str, ...], spec: Smooth) -> None:
    unknown = sorted(set(elements) - set(spec.elements))
    if unknown:
        raise ModelError(
            f"the features know {', '.join(spec.elements)}; the structure also holds {', '.join(unknown)}; "
            f"use a model of all these elements"
        )


@njit(nogil=True, cache=True)
def _describe_bricks(  # type: ignore[no-untyped-def]
    points, bricks, start, stop, atoms, shapes, constants, cutoffs, features
):
    kinds = len(atoms.starts)
    capacity = 512
    vectors, near, squares, chosen = _make_lists(kinds, capacity)
    centre, middle, half, offset = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    found = np.zeros(kinds, dtype=np.int64)
    ends = np.zeros((kinds, len(cutoffs)), dtype=np.int64)
    block = np.empty(3 * WIDTH, dtype=np.float32)
    scratch = _make_scratch(kinds, shapes)
    table = np.empty((features.shape[1] + WIDTH) * WIDTH, dtype=np.float32)
    rows = features.reshape(-1)
    for brick in range(start, stop):
        first, last = bricks.bricks[brick], bricks.bricks[brick + 1]
        box(points, bricks.order[bricks.blocks[first] : bricks.blocks[last]], centre, half)
        radius = cutoffs[-1] + np.sqrt(np.sum(half * half))
        for kind in range(kinds):
            found[kind] = collect(atoms, kind, centre, radius, vectors[kind], chosen[:-1])
        if found.max() > capacity:
            capacity = found.max() + found.max() // 4
            vectors, near, squares, chosen = _make_lists(kinds, capacity)
            for kind in range(kinds):
                collect(atoms, kind, centre, radius, vectors[kind], chosen[:-1])
        for b in range(first, last):
            members = bricks.order[bricks.blocks[b] : bricks.blocks[b + 1]]
            box(points, members, middle, half)
            for axis in range(3):
                offset[axis] = middle[axis] - centre[axis]
            for kind in range(kinds):
                nearest_first(
                    vectors[kind], found[kind], offset, half, cutoffs, squares, chosen, near[kind], ends[kind]
                )
            for some in range(0, len(members), WIDTH):
                together = members[some : some + WIDTH]
                place_points(points, together, middle, block)
                _describe_block(block, near, ends, shapes, constants, scratch, table)
                write_rows(table, together, features.shape[1], rows)


@njit(nogil=True, cache=True)
def _make_lists(kinds, capacity):  # type: ignore[no-untyped-def]
    """Atoms around a brick and, sorted, around a block; their squared distances and numbers."""
    return (
        np.empty((kinds, 3, capacity)),
        np.empty((kinds, 3, capacity), dtype=np.float32),
        np.empty(capacity),
        np.empty(capacity + 1, dtype=np.int64),
    )


@njit(nogil=True, cache=True)
def _make_scratch(kinds, shapes):  # type: ignore[no-untyped-def]
    """States of the radial sums; radial and angular functions of a chunk of atoms; neighbour densities."""
    count = shapes[:, 2:].max() + 1
    rows = angular_rows(max(0, shapes[:, 0].max()))
    largest = 0
    for s in range(len(shapes)):
        if shapes[s, 0] >= 0:
            largest = max(largest, density_rows(shapes[s, 2 : 3 + shapes[s, 0]]))
    return (
        np.empty(3 * RADIAL_CHUNK * WIDTH, dtype=np.float32),
        np.zeros(CHUNK * count * WIDTH, dtype=np.float32),
        np.zeros(CHUNK * rows * WIDTH, dtype=np.float32),
        np.empty((kinds + 1, largest * WIDTH), dtype=np.float32),
    )


@njit(nogil=True, cache=True, forceinline=True)
def _describe_block(block, near, ends, shapes, constants, scratch, table):  # type: ignore[no-untyped-def]
    state, functions, angles, sums = scratch
    kinds = len(near)
    row = 0
    for s in range(len(shapes)):
        degree, cutoff = shapes[s, 0], shapes[s, 1]
        if degree < 0:
            count = shapes[s, 2]
            for kind in range(kinds):
                table[row * WIDTH : (row + count + 7) * WIDTH] = 0.0
                radial_sums(block, near[kind], ends[kind, cutoff], constants[s], count, state, table, row)
                row += count
            continue
        counts = shapes[s, 2 : 3 + degree]
        used = density_rows(counts) * WIDTH
        sums[:, :used] = 0.0
        for kind in range(kinds):
            neighbour_density(
                block, near[kind], ends[kind, cutoff], constants[s], counts, functions, angles, sums[kind]
            )
        if kinds == 1:
            row = power_spectrum(sums[0], sums[0], True, counts, table, row)
            continue
        for kind in range(kinds):
            for i in range(used):
                sums[kinds, i] += sums[kind, i]
        for kind in range(kinds):
            row = power_spectrum(sums[kinds], sums[kind], False, counts, table, row)
