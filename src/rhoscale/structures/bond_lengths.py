"""Bond lengths of a thermal crystal, and atoms moved until these are distributed as in the dynamics.

Mixing displacement fields keeps their covariance, but a sum of two is closer to a Gaussian than each: the hard core of
the atoms, which makes short distances rarer than long ones, is partly lost, and so is what the bond lengths of an alloy
know of the elements. Both are restored by matching quantiles: with F the distribution of the lengths of one kind of
pair (shell, elements) in the dynamics and G the one found, each length L has the aim T(L) = F^-1(G(L)), and the atoms
take small steps down sum (L - T(L))^2 / 2, with G taken anew each time. In spirit this is reverse Monte Carlo
(R. L. McGreevy, L. Pusztai, Mol. Simul. 1, 359 (1988)), which refines a structure to a pair distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.system import System

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BINS = 4096
REACH = 2  # cells; the second shell of every lattice is within
SAME_SHELL = 1.01


@dataclass(frozen=True)
class Bonds:
    """Pairs of near sites that begin in one cell of a crystal, each pair once.

    Attributes:
        first: Site in the cell [bonds].
        cells: Cell of the other site, relative [bonds, 3].
        second: The other site [bonds].
        vectors: From site to site [bonds, 3], Bohr.
        shell: 0 for nearest neighbours, 1 for the next [bonds].
        neighbours: Largest number of bonds of one site.
    """

    first: IntArray
    cells: IntArray
    second: IntArray
    vectors: FloatArray
    shell: IntArray
    neighbours: int


@dataclass(frozen=True)
class LengthDistribution:
    """Lengths of bonds, counted in bins, for each kind: shell, element, element.

    Attributes:
        counts: [kinds, bins]; kind = (shell K + a) K + b for elements a <= b of K.
        longest: End of the last bin, Bohr; the first one begins at zero.
    """

    counts: IntArray
    longest: float

    @property
    def width(self) -> float:
        """Of a bin, Bohr."""
        return self.longest / self.counts.shape[1]

    def shifts_to(self, aim: LengthDistribution) -> FloatArray:
        """F^-1(G(L)) - L at the middle of each bin [kinds, bins]; zero for kinds that ``aim`` does not know."""
        edges = np.arange(self.counts.shape[1] + 1) * self.width
        middles = 0.5 * (edges[1:] + edges[:-1])
        shifts = np.zeros(self.counts.shape)
        for here, there, shift in zip(self.counts, aim.counts, shifts, strict=True):
            if here.sum() == 0 or there.sum() == 0:
                continue
            aimed = np.concatenate([[0.0], np.cumsum(there) / there.sum()])
            rises = np.flatnonzero(np.diff(aimed) > 0)
            inside = np.union1d(rises, rises + 1)  # both ends of a bin, so that an empty stretch stays empty
            quantile = (np.cumsum(here) - 0.5 * here) / here.sum()
            found = here > 0
            shift[found] = np.interp(quantile[found], aimed[inside], edges[inside]) - middles[found]
        return shifts


def near_bonds(cell: System, shells: int = 2) -> Bonds:
    """The bonds of the nearest sites of a crystal; the second shell holds the angles of an open lattice as well."""
    steps = np.stack(np.meshgrid(*[np.arange(-REACH, REACH + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = cell.scaled_positions @ cell.cell
    vectors = (sites + (steps @ cell.cell)[:, None])[:, None] - sites[None, :, None]  # [cells, first, second, 3]
    lengths = np.linalg.norm(vectors, axis=-1)
    bounds: list[float] = []
    for _ in range(shells):
        bounds.append(float(lengths[lengths > (bounds[-1] if bounds else 1e-6)].min()) * SAME_SHELL)
    near = (lengths > 1e-6) & (lengths < bounds[-1])
    # of a pair and its reverse the one that points to a later cell, or in the same cell to a later site
    order = steps @ np.array([100, 10, 1])
    site = np.arange(len(cell))
    later = (order[:, None, None] > 0) | ((order == 0)[:, None, None] & (site[:, None] < site)[None])
    cells, first, second = np.nonzero(near & later)
    picked = lengths[cells, first, second]
    shell = np.searchsorted(bounds, picked)
    neighbours = int(near.sum(axis=(0, 2)).max())
    return Bonds(first, steps[cells], second, vectors[cells, first, second], shell, neighbours)


def length_distribution(
    bonds: Bonds, displacements: FloatArray, codes: NDArray[np.uint8], kinds: int, active: NDArray[np.bool_]
) -> LengthDistribution:
    """Count the lengths of all bonds with an active end.

    Args:
        bonds: Of the crystal.
        displacements: Of the atoms from their sites [nx, ny, nz, sites, 3], Bohr.
        codes: Number of the element on each site [nx, ny, nz, sites].
        kinds: How many elements.
        active: Atoms whose bonds count [nx, ny, nz, sites].
    """
    counts = np.zeros((int(bonds.shell.max() + 1) * kinds**2, BINS), dtype=np.int64)
    longest = 2.0 * float(np.linalg.norm(bonds.vectors, axis=1).max())
    _walk(
        bonds.first, bonds.cells, bonds.second, bonds.vectors, bonds.shell, displacements, codes, kinds, active,
        BINS / longest, counts, np.zeros((0, 0)), 0.0, np.zeros((0, 0, 0, 0, 3)),
    )  # fmt: skip
    return LengthDistribution(counts, longest)


def match_lengths(
    bonds: Bonds,
    displacements: FloatArray,
    codes: NDArray[np.uint8],
    active: NDArray[np.bool_],
    aims: Sequence[LengthDistribution],
    kinds: int,
    passes: int,
) -> FloatArray:
    """Move the active atoms until their bonds are distributed as in the dynamics.

    Args:
        bonds: Of the crystal.
        displacements: Of the atoms from their sites [nx, ny, nz, sites, 3], Bohr.
        codes: Number of the element on each site.
        active: Atoms that may move.
        aims: Distributions in the dynamics, one for each block.
        kinds: How many elements.
        passes: Steps.

    Returns:
        The displacements after that.
    """
    aim = LengthDistribution(np.sum([a.counts for a in aims], axis=0), aims[0].longest)
    moved = displacements.copy()
    # sum e e^T over the bonds of an atom is neighbours / 3 on average, and twice that for two atoms against each other
    step = 1.5 / bonds.neighbours
    for _ in range(passes):
        here = length_distribution(bonds, moved, codes, kinds, active)
        change = np.zeros_like(moved)
        _walk(
            bonds.first, bonds.cells, bonds.second, bonds.vectors, bonds.shell, moved, codes, kinds, active,
            1.0 / here.width, here.counts, here.shifts_to(aim), step, change,
        )  # fmt: skip
        moved += np.where(active[..., None], change, 0.0)
    return moved


def with_neighbours(bonds: Bonds, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The chosen sites and those that have a bond to one of them [nx, ny, nz, sites]."""
    all_of_them = chosen.copy()
    for first, cells, second in zip(bonds.first, bonds.cells, bonds.second, strict=True):
        shift = tuple(int(c) for c in cells)
        all_of_them[..., second] |= np.roll(chosen[..., first], shift, axis=(0, 1, 2))
        all_of_them[..., first] |= np.roll(chosen[..., second], tuple(-c for c in shift), axis=(0, 1, 2))
    return all_of_them


@njit(cache=True, nogil=True)
def _walk(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    first,
    cells,
    second,
    vectors,
    shell,
    displacements,
    codes,
    kinds,
    active,
    bins_per_bohr,
    counts,
    shifts,
    step,
    change,
):
    """Go through the bonds with an active end: count their lengths or, given shifts, add the atoms' steps to change."""
    nx, ny, nz, sites = codes.shape
    xs, ys, zs = _numbers(nx, ny * nz * sites), _numbers(ny, nz * sites), _numbers(nz, sites)
    bins, moving = np.uint64(counts.shape[1]), shifts.size > 0
    active, codes, displacements = active.ravel(), codes.ravel(), displacements.ravel()
    counts, shifts, change = counts.ravel(), shifts.ravel(), change.ravel()  # those that are written lie in one piece
    one, three, reach = np.uint64(1), np.uint64(3), np.uint64(REACH)
    to = (cells + REACH).astype(np.uint64)
    begins, ends, shells = first.astype(np.uint64), second.astype(np.uint64), (shell * kinds * kinds).astype(np.uint64)
    for x in range(np.uint64(nx)):
        for y in range(np.uint64(ny)):
            for z in range(np.uint64(nz)):
                here = xs[x + reach] + ys[y + reach] + zs[z + reach]
                for b in range(np.uint64(len(begins))):
                    p = here + begins[b]
                    q = xs[x + to[b, 0]] + ys[y + to[b, 1]] + zs[z + to[b, 2]] + ends[b]
                    if not (active[p] or active[q]):
                        continue
                    low, high = np.uint64(min(codes[p], codes[q])), np.uint64(max(codes[p], codes[q]))
                    p, q = three * p, three * q
                    dx = vectors[b, 0] + displacements[q] - displacements[p]
                    dy = vectors[b, 1] + displacements[q + one] - displacements[p + one]
                    dz = vectors[b, 2] + displacements[q + one + one] - displacements[p + one + one]
                    length = np.sqrt(dx * dx + dy * dy + dz * dz)
                    place = min(np.uint64(length * bins_per_bohr), bins - one)
                    place += (shells[b] + low * np.uint64(kinds) + high) * bins
                    if not moving:
                        counts[place] += 1
                        continue
                    scale = step * shifts[place] / length
                    change[p] -= scale * dx
                    change[p + one] -= scale * dy
                    change[p + one + one] -= scale * dz
                    change[q] += scale * dx
                    change[q + one] += scale * dy
                    change[q + one + one] += scale * dz


@njit(cache=True, nogil=True)
def _numbers(length, stride):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    """Number of the first site of the cells -REACH to length + REACH along an axis.

    Which cell comes after the last is looked up, as a division takes longer than the rest of a bond; in numbers without
    sign, as a negative index would be checked for.
    """
    return (np.arange(-REACH, length + REACH) % length * stride).astype(np.uint64)
