"""The smooth descriptor at speed: sixteen neighbouring points share their atoms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.cluster import Cluster
from rhoscale.descriptors.bricks import Bricks, cut_into_bricks, share_bricks
from rhoscale.descriptors.interface import Features
from rhoscale.descriptors.lanes import WIDTH
from rhoscale.descriptors.neighbours import CellList, cluster_cell_list, collect, periodic_cell_list
from rhoscale.descriptors.smooth.atoms import CHUNK, angular_rows, place_atoms
from rhoscale.descriptors.smooth.blocks import box, nearest_first, place_points, write_rows
from rhoscale.descriptors.smooth.kernel import add_densities, density_rows, normalise, power_spectrum
from rhoscale.descriptors.smooth.radial import CHUNK as RADIAL_CHUNK
from rhoscale.descriptors.smooth.radial import radial_sums
from rhoscale.descriptors.smooth.spec import (
    HIGHEST_DEGREE,
    HIGHEST_DEGREE_ABOUT_ATOMS,
    AngularSet,
    Smooth,
    SurroundingsSet,
)
from rhoscale.descriptors.smooth.surroundings import HARMONICS, NORMS_ABOUT_ATOMS, add_surroundings, seen_rows
from rhoscale.errors import HaloError, InputError, ModelError
from rhoscale.processor import zeros
from rhoscale.system import System

FloatArray = NDArray[np.float64]

SUMS, DENSITIES, SURROUNDINGS = 0, 1, 2  # what a pass over the atoms makes; the last two go together
ATOMS_WIDTH = 12.0  # Bohr, of a block of atoms: farther apart than points, they share fewer neighbours


class Tables(NamedTuple):
    """A specification in numbers.

    Attributes:
        shapes: Of each pass over atoms: highest degree (-1: without neighbour densities), rank of its cutoff, counts.
        constants: Of the functions of each.
        makes: Of each: ``SUMS``, ``DENSITIES``, ``SURROUNDINGS``, or the last two, whose functions are then the same.
        cutoffs: All that differ, rising, Bohr.
        densities: Whether neighbour densities themselves are asked for in place of their power spectra.
        about: Of the surroundings: count (0: none), neighbours, degree, first row of their features.
    """

    shapes: NDArray[np.int64]
    constants: NDArray[np.float32]
    makes: NDArray[np.int64]
    cutoffs: FloatArray
    densities: bool
    about: tuple[int, int, int, int]

    @classmethod
    def of(cls, spec: Smooth, *, densities: bool = False) -> Tables:
        """Prepare a specification."""
        sets: list[tuple[int, tuple[int, ...], float, int]] = [(-1, (s.count,), s.cutoff, SUMS) for s in spec.radial]
        sets += [(len(s.counts) - 1, s.counts, s.cutoff, DENSITIES) for s in spec.angular]
        about, numbers = spec.surroundings, (0, 0, 0, 0)
        if about is not None:
            numbers = (about.count, about.neighbours, about.degree, spec.size - spec.surroundings_size)
            if spec.shared is None:
                sets.append((-1, (about.count,), about.cutoff, SURROUNDINGS))
            else:
                both = len(spec.radial) + spec.shared
                sets[both] = (*sets[both][:3], DENSITIES | SURROUNDINGS)
        cutoffs = np.unique([cutoff for _, _, cutoff, _ in sets])
        shapes = np.zeros((len(sets), 3 + HIGHEST_DEGREE), dtype=np.int64)
        for i, (degree, counts, cutoff, _) in enumerate(sets):
            shapes[i, :2] = degree, np.searchsorted(cutoffs, cutoff)
            shapes[i, 2 : 2 + len(counts)] = counts
        constants = np.array([_constants(s[2], spec.softening) for s in sets], dtype=np.float32).reshape(-1, 4)
        return cls(shapes, constants, np.array([s[3] for s in sets], dtype=np.int64), cutoffs, densities, numbers)


def _constants(cutoff: float, soft: float) -> tuple[float, float, float, float]:
    scale = 2.0 / (np.hypot(cutoff, soft) - soft)
    return 1.0 / cutoff**2, scale, -1.0 - scale * soft, soft**2


@dataclass(frozen=True)
class SmoothDescriber:
    """Smooth features among fixed atoms; may be called from several threads at once.

    Attributes:
        spec: Which features.
        atoms: The atoms, sorted.
        known: What is around each of them [atoms, elements x neighbours x 25], zero where no point asks; empty without
            surroundings.
    """

    spec: Smooth
    atoms: CellList
    known: Features

    @classmethod
    def among(cls, spec: Smooth, atoms: CellList, box: Cluster | None = None) -> SmoothDescriber:
        """Prepare sorted atoms, for points anywhere or in the box of a cluster.

        Raises:
            InputError: The functions about an atom were not made of their primitives.
        """
        chosen, positions = spec.surroundings, atoms.positions
        if chosen is None:
            return cls(spec, atoms, np.empty((0, 0), dtype=np.float32))
        if chosen.uncontracted:
            raise InputError(
                f"the surroundings have {chosen.primitives} primitives and no contraction; expected one; let "
                f"rhoscale.descriptors.smooth.contracted find it on some structures, as training does"
            )
        low, high = (-np.inf, np.inf) if box is None else (box.low - chosen.cutoff, box.high + chosen.cutoff)
        asked = np.all((positions > low) & (positions < high), axis=1)
        known = np.zeros((len(positions), len(spec.elements) * chosen.neighbours * HARMONICS), dtype=np.float32)
        known[asked] = _known_at(positions[asked], chosen, spec, atoms)
        return cls(spec, atoms, known)

    def __call__(self, points: FloatArray, threads: int | None = None) -> Features:
        """Describe points [n, 3], Bohr, by float32 features [n, size]; the result does not depend on ``threads``.

        Raises:
            InputError: The points are not finite coordinates [n, 3].
        """
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"points must be finite coordinates [n, 3] in Bohr; got shape {points.shape}")
        features = np.empty((len(points), self.spec.size), dtype=np.float32)
        if len(points) > 0:
            _describe(points, cut_into_bricks(points), self.atoms, self._tables, self.known, features, threads)
        return features

    @cached_property
    def _tables(self) -> Tables:
        return Tables.of(self.spec)


def _describe(
    points: FloatArray,
    bricks: Bricks,
    atoms: CellList,
    tables: Tables,
    known: Features,
    rows: Features,
    threads: int | None = None,
) -> None:
    """Write the rows of points, brick by brick."""
    share_bricks(bricks, lambda a, b: _describe_bricks(points, bricks, a, b, atoms, tables, known, rows), threads)


def densities_at(positions: FloatArray, chosen: SurroundingsSet, spec: Smooth, atoms: CellList) -> Features:
    """Neighbour densities c^e_nlm at some atoms, of the primitives where there are such, [atoms, e, n, 25]."""
    degrees = HIGHEST_DEGREE_ABOUT_ATOMS + 1
    count = chosen.primitives or chosen.neighbours
    angular = AngularSet((count,) * degrees, chosen.neighbour_cutoff)
    tables = Tables.of(Smooth(spec.elements, (), (angular,), softening=spec.softening), densities=True)
    shape = (len(positions), len(spec.elements), count * HARMONICS)
    found = np.empty((shape[0], shape[1] * shape[2]), dtype=np.float32)
    if len(found) > 0:
        bricks = cut_into_bricks(positions, ATOMS_WIDTH)
        _describe(positions, bricks, atoms, tables, np.empty((0, 0), dtype=np.float32), found, threads=1)
    by_degree = np.split(found.reshape(shape), count * np.arange(1, degrees) ** 2, axis=2)
    return np.concatenate([c.reshape(*shape[:2], count, c.shape[2] // count) for c in by_degree], axis=3)


def _known_at(positions: FloatArray, chosen: SurroundingsSet, spec: Smooth, atoms: CellList) -> Features:
    """What the kernel reads of some atoms: :func:`densities_at`, contracted, times N_lm once more."""
    found = densities_at(positions, chosen, spec, atoms)
    if chosen.contraction is not None:
        by_row = np.zeros((HARMONICS, chosen.neighbours, chosen.primitives), dtype=np.float32)
        for degree, rows in enumerate(chosen.contraction):
            by_row[degree**2 : (degree + 1) ** 2] = rows
        found = np.einsum("hnp,aeph->aenh", by_row, found)
    return (found * NORMS_ABOUT_ATOMS).reshape(len(positions), len(spec.elements) * chosen.neighbours * HARMONICS)


def smooth_describer(system: System, spec: Smooth) -> SmoothDescriber:
    """Prepare the features of any points in a crystal.

    Raises:
        ModelError: The crystal holds an element that the specification does not know.
    """
    check_elements(system.elements, spec)
    return SmoothDescriber.among(spec, periodic_cell_list(system, spec.elements))


def cluster_describer(cluster: Cluster, spec: Smooth) -> SmoothDescriber:
    """Prepare the features of points in the box of a tile from its own atoms and those of its halo, standing alone.

    Raises:
        HaloError: The halo is thinner than the reach of the features.
        ModelError: There is an element that the specification does not know.
    """
    check_elements(tuple(np.unique(cluster.species).tolist()), spec)
    if cluster.halo < spec.reach:
        raise HaloError(
            f"the features reach {spec.reach:g} Bohr, beyond the {cluster.halo:g} Bohr halo; "
            f"use halo={spec.reach:g} or more"
        )
    kinds = np.searchsorted(np.asarray(spec.elements), cluster.species).astype(np.int64)
    atoms = cluster_cell_list(np.asarray(cluster.positions, np.float64), kinds, len(spec.elements))
    return SmoothDescriber.among(spec, atoms, cluster)


def check_elements(elements: tuple[str, ...], spec: Smooth) -> None:
    """Refuse elements that the features do not know.

    Raises:
        ModelError: There is one.
    """
    unknown = sorted(set(elements) - set(spec.elements))
    if unknown:
        raise ModelError(
            f"the features know {', '.join(spec.elements)}; the structure also holds {', '.join(unknown)}; "
            f"use a model of all these elements"
        )


@njit(nogil=True, cache=True)
def _describe_bricks(points, bricks, start, stop, atoms, tables, known, features):  # type: ignore[no-untyped-def]
    kinds, cutoffs = len(atoms.starts), tables.cutoffs
    capacity = 512
    vectors, near, squares, chosen, indices, numbers = _make_lists(kinds, capacity)
    centre, middle, half, offset = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    found = np.zeros(kinds, dtype=np.int64)
    ends = np.zeros((kinds, len(cutoffs)), dtype=np.int64)
    block = zeros(3 * WIDTH, np.float32)
    scratch = _make_scratch(kinds, tables)
    table = zeros((features.shape[1] + WIDTH) * WIDTH, np.float32)
    rows, around = features.reshape(-1), known.reshape(-1)
    for brick in range(start, stop):
        first, last = bricks.bricks[brick], bricks.bricks[brick + 1]
        box(points, bricks.order[bricks.blocks[first] : bricks.blocks[last]], centre, half)
        radius = cutoffs[-1] + np.sqrt(np.sum(half * half))
        for kind in range(kinds):
            found[kind] = collect(atoms, kind, centre, radius, vectors[kind], indices[kind])
        if found.max() > capacity:
            capacity = found.max() + found.max() // 4
            vectors, near, squares, chosen, indices, numbers = _make_lists(kinds, capacity)
            for kind in range(kinds):
                collect(atoms, kind, centre, radius, vectors[kind], indices[kind])
        for b in range(first, last):
            members = bricks.order[bricks.blocks[b] : bricks.blocks[b + 1]]
            box(points, members, middle, half)
            for axis in range(3):
                offset[axis] = middle[axis] - centre[axis]
            for kind in range(kinds):
                nearest_first(
                    vectors[kind], indices[kind], found[kind], offset, half, cutoffs, squares, chosen,
                    near[kind], numbers[kind], ends[kind],
                )  # fmt: skip
            for some in range(0, len(members), WIDTH):
                together = members[some : some + WIDTH]
                place_points(points, together, middle, block)
                _describe_block(block, near, numbers, ends, tables, around, scratch, table)
                write_rows(table, together, features.shape[1], rows)


@njit(nogil=True, cache=True)
def _make_lists(kinds, capacity):  # type: ignore[no-untyped-def]
    """Atoms around a brick and, sorted, around a block; their squared distances, order and numbers."""
    return (
        np.empty((kinds, 3, capacity)),
        np.empty((kinds, 3, capacity), dtype=np.float32),
        np.empty(capacity),
        np.empty(capacity + 1, dtype=np.int64),
        np.empty((kinds, capacity), dtype=np.int64),
        np.empty((kinds, capacity), dtype=np.int64),
    )


@njit(nogil=True, cache=True)
def _make_scratch(kinds, tables):  # type: ignore[no-untyped-def]
    """States of the radial sums; functions of a chunk of atoms, where they are, what is seen of them; densities."""
    shapes, about = tables.shapes, tables.about
    count, largest, rows = 0, 0, angular_rows(0)
    for s in range(len(shapes)):
        count = max(count, shapes[s, 2:].max())
        if shapes[s, 0] >= 0:
            largest = max(largest, density_rows(shapes[s, 2 : 3 + shapes[s, 0]]))
            rows = max(rows, angular_rows(shapes[s, 0]))
    return (
        zeros(3 * RADIAL_CHUNK * WIDTH, np.float32),
        zeros(CHUNK * (count + 1) * WIDTH, np.float32),
        zeros(CHUNK * rows * WIDTH, np.float32),
        zeros(CHUNK * seen_rows(kinds, about[1], about[2]) * WIDTH, np.float32),
        zeros((kinds + 1) * largest * WIDTH, np.float32).reshape((kinds + 1, largest * WIDTH)),
        np.empty(CHUNK + 1, dtype=np.int64),
    )


@njit(nogil=True, cache=True, forceinline=True)
def _pass(block, atoms, numbers, last, radial, counts, degree, makes, about, known, kind, scratch, sums, table):  # type: ignore[no-untyped-def]
    """One pass over the atoms of a kind: neighbour densities to ``sums``, surroundings to their rows of the table."""
    _, functions, angles, seen, _, kept = scratch
    stride = angular_rows(degree)
    even = (counts.max() + 1) // 2 * 2
    pieces = (last + CHUNK - 1) // CHUNK
    most = (last + pieces - 1) // max(pieces, 1)
    begin = 0
    while begin < last:
        size, begin = place_atoms(
            block, atoms, numbers, begin, last, most, radial, even, functions, angles, stride, kept
        )
        if size == 0:
            break
        if makes & SURROUNDINGS:
            shape = (about[0], about[1], about[2], about[4])
            add_surroundings(size, even, shape, kept, known, kind, functions, angles, stride, seen, table, about[3])
        if degree >= 0:
            add_densities(size, even, counts, functions, angles, stride, sums)
    if degree >= 0:
        normalise(counts, sums)


@njit(nogil=True, cache=True, forceinline=True)
def _describe_block(block, near, numbers, ends, tables, known, scratch, table):  # type: ignore[no-untyped-def]
    state, sums = scratch[0], scratch[4]
    shapes, constants = tables.shapes, tables.constants
    kinds = len(near)
    row = 0
    for s in range(len(shapes)):
        degree, cutoff, makes = shapes[s, 0], shapes[s, 1], tables.makes[s]
        if makes == SUMS:
            count = shapes[s, 2]
            for kind in range(kinds):
                table[row * WIDTH : (row + count + 7) * WIDTH] = 0.0
                radial_sums(block, near[kind], ends[kind, cutoff], constants[s], count, state, table, row)
                row += count
            continue
        if makes & SURROUNDINGS:
            table[tables.about[3] * WIDTH : len(table)] = 0.0
        counts = shapes[s, 2 : 3 + max(degree, 0)]
        used = density_rows(counts) * WIDTH if degree >= 0 else 0
        sums[:, :used] = 0.0
        for kind in range(kinds):
            _pass(
                block, near[kind], numbers[kind], ends[kind, cutoff], constants[s], counts, degree, makes,
                (*tables.about, kinds), known, kind, scratch, sums[kind], table,
            )  # fmt: skip
        if degree < 0:
            continue
        if tables.densities:
            for kind in range(kinds):
                table[row * WIDTH : row * WIDTH + used] = sums[kind, :used]
                row += used // WIDTH
            continue
        if kinds == 1:
            row = power_spectrum(sums[0], sums[0], True, counts, table, row)
            continue
        for kind in range(kinds):
            for i in range(used):
                sums[kinds, i] += sums[kind, i]
        for kind in range(kinds):
            row = power_spectrum(sums[kinds], sums[kind], False, counts, table, row)
