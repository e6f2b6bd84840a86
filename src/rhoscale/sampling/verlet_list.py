"""Lists of near pairs that serve many steps of dynamics (L. Verlet, Phys. Rev. 159, 98 (1967)), cells of any size.

Pairs are listed a skin beyond the potential's reach, and stay until an atom has moved by half of it. A row is ordered
by atom and image, so a sum over the pairs within reach has the same bits whenever the list was made: a trajectory that
was killed goes on bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numba import njit
from numpy.typing import NDArray

from rhoscale.errors import StructureError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BINS_PER_REACH = 1.5
FARTHEST_CELL = 1e9


@dataclass(frozen=True)
class NearPairs:
    """Pairs of atoms, those of atom i at ``begins[i]`` to ``begins[i + 1]``.

    Attributes:
        begins: [n + 1].
        second: The other atom [pairs].
        shifts: Vector to add to the other atom's position [pairs, 3], Angstrom.
    """

    begins: IntArray
    second: IntArray
    shifts: FloatArray

    def __len__(self) -> int:
        return len(self.second)


class VerletList:
    """Pairs within reach, periodic images included, renewed when atoms have moved too far.

    Args:
        reach: Distance that must not be missed, Angstrom.
        skin: How much farther pairs are listed, Angstrom.
        twice: List each pair in the rows of both its atoms, not only in that of the lower number.
    """

    def __init__(self, reach: float, skin: float, *, twice: bool) -> None:
        self.reach, self.skin, self.twice = reach, skin, twice
        self._then: tuple[FloatArray, FloatArray, NDArray[np.bool_]] | None = None
        self._pairs = NearPairs(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))

    def pairs(self, atoms: Atoms) -> NearPairs:
        """All pairs within reach, and some beyond."""
        positions, cell, periodic = atoms.positions, atoms.cell.array, atoms.pbc
        if self._then is not None:
            before, cell_before, periodic_before = self._then
            same = len(before) == len(positions) and (cell_before == cell).all() and (periodic_before == periodic).all()
            if same and _none_moved(positions, before, (0.5 * self.skin) ** 2):
                return self._pairs
        self._pairs = near_pairs(atoms, self.reach + self.skin, twice=self.twice)
        self._then = positions.copy(), cell.copy(), periodic.copy()
        return self._pairs


def near_pairs(atoms: Atoms, farthest: float, *, twice: bool) -> NearPairs:
    """Find all pairs up to ``farthest`` Angstrom, an atom's own images included.

    Args:
        atoms: Periodic along any of its axes, in a cell of any size and shape.
        farthest: Angstrom.
        twice: List each pair in the rows of both its atoms, not only in that of the lower number.

    Raises:
        StructureError: Atoms are nowhere, or a billion cells away.
    """
    cell = atoms.cell.complete().array
    inverse = np.linalg.inv(cell)
    with np.errstate(invalid="ignore"):
        scaled = atoms.positions @ inverse
    if not np.abs(scaled).max() < FARTHEST_CELL:
        raise StructureError(
            f"an atom lies {np.abs(scaled).max():.2g} cells away from its own; expected less than {FARTHEST_CELL:g}; "
            f"if this is dynamics, take a smaller time step or a potential that holds these atoms together"
        )
    # along an axis without images the bins cover the atoms alone
    low = np.where(atoms.pbc, 0.0, scaled.min(axis=0))
    span = np.where(atoms.pbc, 1.0, np.maximum(scaled.max(axis=0) - low, 1e-6) * (1 + 1e-9))
    heights = span / np.linalg.norm(inverse, axis=0)
    most = 1 + round(len(atoms) ** (1 / 3))
    bins = np.clip((BINS_PER_REACH * heights / farthest).astype(np.int64), 1, most)
    scaled = (scaled - low) / span
    return NearPairs(
        *_near_pairs(scaled, atoms.positions, cell, atoms.pbc, bins, farthest / heights + 1e-9, farthest**2, twice)
    )


@njit(cache=True, nogil=True)
def _none_moved(now, before, limit2):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    for i in range(len(now)):
        square = 0.0
        for x in range(3):
            square += (now[i, x] - before[i, x]) ** 2
        if not square < limit2:  # an atom without a place has moved as well
            return False
    return True


@njit(cache=True, nogil=True)
def _near_pairs(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    scaled, positions, cell, periodic, bins, margin, farthest2, twice
):
    """Look around each atom j in turn, then sort by the first atom, which keeps the order of the second."""
    n = len(scaled)
    inside, turns, number = np.empty((n, 3)), np.empty((n, 3), np.int64), np.empty(n, np.int64)
    for i in range(n):
        number[i] = 0
        for x in range(3):
            turns[i, x] = np.floor(scaled[i, x]) if periodic[x] else 0
            inside[i, x] = scaled[i, x] - turns[i, x]
            number[i] = number[i] * bins[x] + min(int(inside[i, x] * bins[x]), bins[x] - 1)
    order = np.argsort(number, kind="mergesort")
    starts = np.searchsorted(number[order], np.arange(bins[0] * bins[1] * bins[2] + 1))
    home = np.empty((n, 3))  # of each atom in the order of bins, in the cell
    for place in range(n):
        i = order[place]
        for x in range(3):
            home[place, x] = positions[i, x]
            for axis in range(3):
                home[place, x] -= turns[i, axis] * cell[axis, x]
    place_of = np.empty(n, np.int64)
    place_of[order] = np.arange(n)
    found, near = 0, np.empty(n, np.int64)
    pairs, images = np.empty((64 * n, 2), np.int64), np.empty((64 * n, 3))
    low, high, image = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.int64)
    for j in range(n):
        for x in range(3):
            low[x] = np.floor((inside[j, x] - margin[x]) * bins[x])
            high[x] = np.floor((inside[j, x] + margin[x]) * bins[x])
            if not periodic[x]:
                low[x], high[x] = max(low[x], 0), min(high[x], bins[x] - 1)
        for p in range(low[0], high[0] + 1):
            image[0] = p // bins[0]
            for q in range(low[1], high[1] + 1):
                image[1] = q // bins[1]
                row = ((p - image[0] * bins[0]) * bins[1] + q - image[1] * bins[1]) * bins[2]
                r = low[2]
                while r <= high[2]:
                    image[2] = r // bins[2]
                    first = r - image[2] * bins[2]
                    last = min(bins[2] - 1, first + high[2] - r)
                    r += last - first + 1
                    begin, end = starts[row + first], starts[row + last + 1]
                    count = _near_one(home, place_of[j], image, cell, begin, end, farthest2, near)
                    while found + count > len(pairs):
                        pairs, images = _doubled(pairs), _doubled(images)
                    for c in range(count):
                        i = order[near[c]]
                        if _counts(i, j, image, twice):
                            pairs[found, 0], pairs[found, 1] = i, j
                            for x in range(3):
                                images[found, x] = turns[i, x] - turns[j, x] - image[x]
                            found += 1
    return _by_first(n, pairs[:found], images, cell)


@njit(cache=True, nogil=True)
def _near_one(home, here, image, cell, begin, end, farthest2, near):  # type: ignore[no-untyped-def] # pragma: no cover
    """Places from begin to end whose atoms, in one image of the cell, are near the atom at ``here``."""
    sx = image[0] * cell[0, 0] + image[1] * cell[1, 0] + image[2] * cell[2, 0] - home[here, 0]
    sy = image[0] * cell[0, 1] + image[1] * cell[1, 1] + image[2] * cell[2, 1] - home[here, 1]
    sz = image[0] * cell[0, 2] + image[1] * cell[1, 2] + image[2] * cell[2, 2] - home[here, 2]
    count = np.uint64(0)
    for place in range(begin, end):
        vx, vy, vz = home[place, 0] + sx, home[place, 1] + sy, home[place, 2] + sz
        near[count] = place
        # without a branch, which would be guessed wrong half of the time
        count += np.uint64(vx * vx + vy * vy + vz * vz < farthest2)
    return np.int64(count)


@njit(cache=True, nogil=True)
def _counts(i, j, image, twice):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """Whether atom i of an image and atom j of the cell are a pair to list, and not an atom and itself."""
    if i != j:
        return twice or i < j
    for x in range(3):
        if image[x] != 0:
            return twice or image[x] < 0
    return False


@njit(cache=True, nogil=True)
def _by_first(n, pairs, images, cell):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    begins = np.zeros(n + 1, np.int64)
    for p in range(len(pairs)):
        begins[pairs[p, 0] + 1] += 1
    begins = np.cumsum(begins)
    ends, second, shifts = begins[:-1].copy(), np.empty(len(pairs), np.int64), np.empty((len(pairs), 3))
    for p in range(len(pairs)):
        to = ends[pairs[p, 0]]
        ends[pairs[p, 0]] += 1
        second[to] = pairs[p, 1]
        for x in range(3):
            shifts[to, x] = images[p, 0] * cell[0, x] + images[p, 1] * cell[1, x] + images[p, 2] * cell[2, x]
    return begins, second, shifts


@njit(cache=True, nogil=True)
def _doubled(values):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    larger = np.empty((2 * len(values), values.shape[1]), values.dtype)
    larger[: len(values)] = values
    return larger
