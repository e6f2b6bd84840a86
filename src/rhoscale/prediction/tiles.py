"""Boxes of grid points: tiles are written whole, each in one file; blocks are evaluated whole, each in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from rhoscale.grid import Shape


@dataclass(frozen=True)
class Tile:
    """The box start <= (i, j, k) < stop of a grid.

    Attributes:
        index: Number of the tile, C order.
        start: First point along each axis.
        stop: One past the last point along each axis.
    """

    index: int
    start: Shape
    stop: Shape

    @property
    def shape(self) -> Shape:
        """Points along each axis."""
        return _shape(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape))

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """Where the tile lies in the array of the whole grid."""
        i, j, k = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (i, j, k)

    def blocks(self, block_shape: Shape) -> Iterator[Tile]:
        """Cut the tile in boxes of at most ``block_shape`` points, C order; indices count within the tile."""
        for block in cut(self.shape, block_shape):
            start = _shape(a + b for a, b in zip(self.start, block.start, strict=True))
            stop = _shape(a + b for a, b in zip(self.start, block.stop, strict=True))
            yield Tile(block.index, start, stop)


def cut(shape: Shape, tile_shape: Shape) -> Iterator[Tile]:
    """Cut a grid in tiles, C order; those at the far faces are smaller where the counts do not divide."""
    edges = [range(0, n, t) for n, t in zip(shape, tile_shape, strict=True)]
    for index, start in enumerate(product(*edges)):
        yield _tile(index, start, shape, tile_shape)


def nth_tile(shape: Shape, tile_shape: Shape, index: int) -> Tile:
    """The tile of this number of :func:`cut`, without those before."""
    counts = [-(-n // t) for n, t in zip(shape, tile_shape, strict=True)]
    start = [int(i) * t for i, t in zip(np.unravel_index(index, counts), tile_shape, strict=True)]
    return _tile(index, start, shape, tile_shape)


def _tile(index: int, start: Sequence[int], shape: Shape, tile_shape: Shape) -> Tile:
    stop = _shape(min(a + t, n) for a, t, n in zip(start, tile_shape, shape, strict=True))
    return Tile(index, _shape(iter(start)), stop)


def count_tiles(shape: Shape, tile_shape: Shape) -> int:
    """Number of tiles that :func:`cut` gives."""
    return int(np.prod([-(-n // t) for n, t in zip(shape, tile_shape, strict=True)]))


def even_edge(points: int, largest: int) -> int:
    """The edge of equal boxes, at most ``largest``, that cover an axis with the fewest boxes."""
    return -(-points // -(-points // largest))


def _shape(counts: Iterator[int]) -> Shape:
    i, j, k = counts
    return (i, j, k)
