"""The scalar-product descriptors of many points: bricks of blocks of sixteen, shared among threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import config, njit
from numpy.typing import NDArray

from rhoscale.descriptors.bricks import Bricks, cut_into_bricks
from rhoscale.descriptors.interface import Features
from rhoscale.descriptors.lanes import LANES
from rhoscale.descriptors.neighbours import (
    CellList,
    cluster_cell_list,
    holds_all,
    periodic_cell_list,
    radius_of,
    within,
)
from rhoscale.descriptors.scalar_products.one_point import describe_one
from rhoscale.descriptors.scalar_products.sixteen import (
    COARSEST_STEP,
    SLACK,
    Scratch,
    choose_candidates,
    close_ranks,
    make_scratch,
    place_candidates,
    place_neighbours,
    sort_columns,
    write_cosines,
    write_distances,
    write_keys,
)
from rhoscale.descriptors.scalar_products.spec import ScalarProducts
from rhoscale.descriptors.scalar_products.tables import NeighbourTable, neighbour_table
from rhoscale.errors import HaloError, InputError, ModelError, StructureError
from rhoscale.system import System

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BRICKS_PER_TASK = 32


@dataclass(frozen=True)
class ScalarProductDescriber:
    """Scalar-product descriptors among fixed atoms.

    Attributes:
        spec: Which features.
        atoms: The atoms, sorted.
        table: Their neighbours.
        halo: All atoms within this of every point are known, Bohr; infinite for a crystal.
    """

    spec: ScalarProducts
    atoms: CellList
    table: NeighbourTable
    halo: float = np.inf

    def __call__(self, points: FloatArray, threads: int | None = None) -> Features:
        """Describe points [n, 3], Bohr, by float32 features [n, size].

        Raises:
            InputError: The points are not finite coordinates [n, 3].
            HaloError: Atoms are needed beyond the halo of a cluster.
        """
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"points must be finite coordinates [n, 3] in Bohr; got shape {points.shape}")
        features = np.empty((len(points), self.spec.size), np.float32)
        if len(points) == 0:
            return features
        reach = np.zeros(len(points), np.float32)
        bricks = cut_into_bricks(points)
        starts = range(0, len(bricks.bricks) - 1, BRICKS_PER_TASK)

        def work(start: int) -> None:
            stop = min(start + BRICKS_PER_TASK, len(bricks.bricks) - 1)
            self._describe(points, bricks, start, stop, features, reach)

        workers = min(threads or config.NUMBA_NUM_THREADS, len(starts))  # type: ignore[attr-defined]
        if workers == 1:
            for start in starts:
                work(start)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(work, starts))
        self._check_halo(reach)
        return features

    def _describe(
        self, points: FloatArray, bricks: Bricks, start: int, stop: int, features: Features, reach: Features
    ) -> None:
        spec = self.spec
        counts = (spec.distances, spec.angle_atoms, spec.neighbours)
        for kind in range(len(spec.elements)):
            pairs = np.array([p for p, (a, _) in enumerate(spec.pairs) if a == kind], dtype=np.int64)
            columns = np.array([spec.distance_column(kind), *(spec.cosine_column(int(p)) for p in pairs)])
            _describe_bricks(
                self.atoms,
                self.table,
                kind,
                pairs,
                columns,
                counts,
                points,
                bricks,
                start,
                stop,
                features,
                reach,
            )

    def _check_halo(self, reach: Features) -> None:
        short = reach > self.halo
        if short.any():
            farthest = float(reach.max())
            advice = (
                f"use halo={farthest + 0.5:.1f} or fewer" if np.isfinite(farthest) else "use a larger halo or fewer"
            )
            raise HaloError(
                f"the {self.spec.distances} nearest atoms of each element, or the neighbours of the nearest "
                f"{self.spec.angle_atoms}, lie beyond the {self.halo:g} Bohr halo for {int(short.sum())} of "
                f"{len(reach)} points (farthest {farthest:.1f}); {advice} nearest atoms"
            )


def scalar_product_describer(system: System, spec: ScalarProducts) -> ScalarProductDescriber:
    """Prepare the descriptors of any points in a crystal.

    Raises:
        ModelError: The crystal holds an element that the specification does not know.
        StructureError: It lacks an element that the specification needs.
    """
    unknown = sorted(set(system.elements) - set(spec.elements))
    if unknown:
        raise ModelError(
            f"the descriptors know {', '.join(spec.elements)}; the structure also holds {', '.join(unknown)}; "
            f"use a model of all these elements"
        )
    missing = sorted(set(spec.elements) - set(system.elements))
    if missing:
        raise StructureError(
            f"the descriptors take distances to the nearest {', '.join(missing)} atoms, and {system.formula} has none; "
            f"use a model of {', '.join(system.elements)} alone"
        )
    atoms = periodic_cell_list(system, spec.elements)
    return ScalarProductDescriber(spec, atoms, neighbour_table(atoms, spec))


def cluster_describer(
    positions: FloatArray, species: NDArray[np.str_], spec: ScalarProducts, halo: float
) -> ScalarProductDescriber:
    """Prepare the descriptors of a tile from its own atoms and those of its halo, standing alone.

    Args:
        positions: [n, 3], Bohr; every atom of the crystal within ``halo`` of any point that will be asked for.
        species: Chemical symbols [n].
        spec: Which features.
        halo: Bohr.

    Raises:
        HaloError: An element has no atom within the halo.
        ModelError: There is an element that the specification does not know.
    """
    present = set(np.unique(species).tolist())
    if not present <= set(spec.elements):
        raise ModelError(
            f"the descriptors know {', '.join(spec.elements)}; the atoms are {', '.join(sorted(present))}; "
            f"use a model of all these elements"
        )
    if present < set(spec.elements):
        raise HaloError(
            f"no {', '.join(sorted(set(spec.elements) - present))} atom within the {halo:g} Bohr halo; "
            f"expected {spec.distances} of each element; use a larger halo"
        )
    kinds = np.searchsorted(np.asarray(spec.elements), species).astype(np.int64)
    atoms = cluster_cell_list(np.asarray(positions, dtype=np.float64), kinds, len(spec.elements))
    return ScalarProductDescriber(spec, atoms, neighbour_table(atoms, spec), float(halo))


@njit(nogil=True, cache=True)
def _describe_bricks(
    atoms: CellList,
    table: NeighbourTable,
    kind: int,
    pairs: IntArray,
    columns: IntArray,
    counts: Any,
    points: FloatArray,
    bricks: Bricks,
    start: int,
    stop: int,
    features: Features,
    reach: Features,
) -> None:
    """Write the features of the points of some bricks that start from atoms of one kind."""
    capacity = 256
    needed = (counts[1] + 1 if counts[1] > 0 else 0, max(counts[0], counts[1] + 1))
    n_vectors = len(pairs) * counts[2] * 3
    n_features = counts[0] + len(pairs) * counts[1] * counts[2]
    scratch = make_scratch(capacity, n_vectors, n_features)
    vectors = np.empty((3, capacity))
    indices = np.empty(capacity, np.int64)
    for brick in range(start, stop):
        first, last = bricks.bricks[brick], bricks.bricks[brick + 1]
        centre, spread = _middle(points, bricks.order[bricks.blocks[first] : bricks.blocks[last]])
        radius = 1.1 * radius_of(atoms, kind, needed[1]) + 2.0 * spread
        while True:
            n = within(atoms, kind, centre, radius, vectors, indices)
            if n > capacity:
                capacity = n + n // 4
                vectors = np.empty((3, capacity))
                indices = np.empty(capacity, np.int64)
                scratch = make_scratch(capacity, n_vectors, n_features)
                continue
            if holds_all(atoms, kind, n):
                break
            if n >= needed[1]:
                wanted = _distance_of(vectors, n, needed[1]) + 2.0 * spread + 1e-6
                if wanted <= radius:
                    break
                radius = wanted
            else:
                radius *= 1.3
        for block in range(first, last):
            members = bricks.order[bricks.blocks[block] : bricks.blocks[block + 1]]
            marks = np.uint32(0xFFFF)
            if n >= needed[1]:
                marks = _describe_block(
                    table, pairs, columns, counts, needed, points, members, centre, vectors, indices, n, scratch,
                    features, reach,
                )  # fmt: skip
            for lane in range(len(members)):
                if marks >> np.uint32(lane) & np.uint32(1):
                    i = members[lane]
                    asked = describe_one(atoms, table, kind, pairs, columns, counts, points[i], features[i])
                    reach[i] = max(reach[i], np.float32(asked))


@njit(nogil=True, cache=True)
def _describe_block(
    table: NeighbourTable,
    pairs: IntArray,
    columns: IntArray,
    counts: Any,
    needed: Any,
    points: FloatArray,
    members: IntArray,
    brick_centre: FloatArray,
    vectors: FloatArray,
    indices: IntArray,
    n: int,
    scratch: Scratch,
    features: Features,
    reach: Features,
) -> np.uint32:
    """Describe up to sixteen points; returns, by bits, those that must be described one by one instead."""
    n_distances, n_atoms, k = counts
    middle, spread = _middle(points, members)
    for lane in range(LANES):
        i = members[min(lane, len(members) - 1)]
        for c in range(3):
            scratch.points[c * LANES + lane] = points[i, c] - middle[c]
    centre = middle - brick_centre
    n_near, n_chosen, farthest = choose_candidates(vectors, n, centre, spread, needed, scratch)
    place_candidates(vectors, n_chosen, centre, scratch)
    bits = 0
    while (1 << bits) < n_near:
        bits += 1
    # a power of two, so that unpacking rounds once
    scale = 2.0 ** np.floor(np.log2((2.0 ** min(32 - bits, 31) - 4 * SLACK) / farthest))
    if COARSEST_STEP * scale < 1.0:
        return np.uint32(0xFFFF)
    write_keys(n_chosen, bits, scale, scratch)
    sort_columns(scratch.keys, n_chosen)
    write_distances(n_distances, bits, scale, scratch)
    scratch.reach[:] = scratch.features[(n_distances - 1) * LANES : n_distances * LANES]
    marks = np.uint32(0)
    if n_atoms > 0:
        marks = close_ranks(n_atoms, bits, scale, scratch.keys)
        if place_neighbours(table, pairs, indices, n_near, len(indices), scratch):
            return np.uint32(0xFFFF)
        write_cosines(n_atoms, len(pairs) * k, k, len(indices), bits, n_distances, scratch)
    for lane in range(len(members)):
        row = features[members[lane]]
        for m in range(n_distances):
            row[columns[0] + m] = scratch.features[m * LANES + lane]
        for p in range(len(pairs)):
            for m in range(n_atoms * k):
                row[columns[1 + p] + m] = scratch.features[(n_distances + p * n_atoms * k + m) * LANES + lane]
        reach[members[lane]] = max(reach[members[lane]], scratch.reach[lane])
    return marks


@njit(nogil=True, cache=True)
def _middle(points: FloatArray, members: IntArray) -> tuple[FloatArray, float]:
    """Middle of the box around some points, and their largest distance from it."""
    low = np.full(3, np.inf)
    high = np.full(3, -np.inf)
    for i in members:
        for c in range(3):
            low[c] = min(low[c], points[i, c])
            high[c] = max(high[c], points[i, c])
    middle = 0.5 * (low + high)
    largest = 0.0
    for i in members:
        d = points[i] - middle
        largest = max(largest, d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    return middle, np.sqrt(largest)


@njit(nogil=True, cache=True)
def _distance_of(vectors: FloatArray, n: int, rank: int) -> float:
    """Distance of the atom of a rank (1 for the nearest)."""
    squares = vectors[0, :n] ** 2 + vectors[1, :n] ** 2 + vectors[2, :n] ** 2
    return np.sqrt(np.partition(squares, rank - 1)[rank - 1])
