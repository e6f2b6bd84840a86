"""What a prediction will do, decided before it starts: frozen, printable, JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from rhoscale.errors import FormatError, InputError
from rhoscale.grid import Grid, Shape
from rhoscale.prediction.tiles import Tile, count_tiles, cut, even_edge
from rhoscale.system import System

MIB, GIB = float(2**20), float(2**30)
BLOCK_EDGE = 16  # 4096 points: enough for the matrix products, and their features stay in the cache
LARGEST_TILE = 8  # blocks along an edge: files of some MB, about 1,700 of them for four million Al atoms
ENOUGH_TILES = 16  # below this number the last tiles leave workers idle
FILES_PER_TILE = 5
FILE_SYSTEM_BLOCK = 4096
LARGEST_CHUNK = 64  # points along an edge of what is compressed together: less overhead than blocks, still a quick read
ATOM_BYTES = 80  # as given and in the cell list with about a bin to three atoms
CLUSTER_BYTES = 1024  # of one atom around a tile: its place in the cell lists and its row of a neighbour table
ROUNDING = 1e-5  # of the mean density; the best models are wrong by 250 times as much


@dataclass(frozen=True)
class Workload:
    """What one point of a model costs, and how far it looks.

    Attributes:
        features: Descriptor values a point.
        activations: Numbers that the network holds at once a point, all draws it runs together included.
        halo: Distance beyond which an atom does not act on a point, Bohr.
    """

    features: int
    activations: int = 0
    halo: float = 0.0


@dataclass(frozen=True)
class PredictionPlan:
    """Everything that decides the bits of a prediction, and what it will take.

    Attributes:
        formula: Symbols and counts of the structure.
        structure: Hash of the structure.
        model: Name of the model.
        model_hash: Hash of the model's content.
        cell: Cell vectors as rows, Bohr.
        compute_shape: Grid on which the model is evaluated and which the store keeps.
        output_shape: Grid that was asked for; handed out by exact refinement of the compute grid.
        tile_shape: Points of a tile; each is written once and whole.
        block_shape: Points that are evaluated in one call.
        halo: Distance beyond which an atom does not act on a point, Bohr.
        uncertainty: Whether standard deviations are predicted.
        draws: Draws of the weights, one set for the whole plan; 0: the spread to first order in the weights.
        seed: Of the draws.
        sigma_limit: Total standard deviation beyond which a point counts as outside the model's range, e/Bohr^3.
        density_step: The density is rounded to multiples of this power of two, e/Bohr^3; 0 leaves it as it is.
        bytes_per_worker: Memory that one worker needs for a tile.
        disk_bytes: Size of the store if nothing could be compressed.
        points_per_second: Measured speed of one worker, for the estimated time; no part of the plan's identity.
    """

    formula: str
    structure: str
    model: str
    model_hash: str
    cell: tuple[tuple[float, float, float], ...]
    compute_shape: Shape
    output_shape: Shape
    tile_shape: Shape
    block_shape: Shape
    halo: float
    uncertainty: bool
    draws: int
    seed: int
    sigma_limit: float | None
    density_step: float
    bytes_per_worker: int
    disk_bytes: int
    points_per_second: float | None = None

    @property
    def grid(self) -> Grid:
        """The compute grid."""
        return Grid(np.array(self.cell), self.compute_shape)

    @property
    def output_grid(self) -> Grid:
        """The grid that was asked for."""
        return Grid(np.array(self.cell), self.output_shape)

    @property
    def tiles(self) -> Iterator[Tile]:
        """The tiles of the compute grid, C order."""
        return cut(self.compute_shape, self.tile_shape)

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return count_tiles(self.compute_shape, self.tile_shape)

    @property
    def chunk_shape(self) -> Shape:
        """Points that are compressed together; they divide a tile."""
        return _shape(_chunk_edge(t) for t in self.tile_shape)

    @property
    def bytes_per_tile(self) -> int:
        """Size of a whole tile on disk if nothing could be compressed."""
        return int(np.prod(self.tile_shape)) * _bytes_per_point(self.uncertainty)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides the bits: two plans of one identity give the same field."""
        values = replace(self, points_per_second=None).to_dict()
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def estimated_seconds(self, workers: int) -> float | None:
        """Time that the tiles will take, seconds; None before a speed was measured."""
        if self.points_per_second is None:
            return None
        return self.grid.size / (self.points_per_second * min(workers, self.n_tiles))

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """The fields as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "JSON") -> PredictionPlan:
        """Rebuild from :meth:`to_dict`, also when JSON has turned tuples into lists.

        Args:
            values: The fields.
            where: What they come from, for the message.

        Raises:
            FormatError: One is missing, unknown or of another kind.
        """
        try:
            shapes = {key: tuple(values[key]) for key in ("compute_shape", "output_shape", "tile_shape", "block_shape")}
            return cls(**{**values, **shapes, "cell": tuple(tuple(row) for row in values["cell"])})
        except (KeyError, TypeError) as error:
            raise FormatError(
                f"the plan in {where} is damaged ({type(error).__name__}: {error}); expected it as it was written; "
                f"copy it again or predict again"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> PredictionPlan:
        """Rebuild from :meth:`to_json`."""
        return cls.from_dict(json.loads(text))

    def __str__(self) -> str:
        spacing = " x ".join(f"{h:.3f}" for h in self.grid.spacings)
        output = " x ".join(f"{h:.3f}" for h in self.output_grid.spacings)
        spread = f"{self.draws} draws, seed {self.seed}" if self.draws else "to first order in the weights"
        uncertainty = spread if self.uncertainty else "none"
        rounding = f"density to multiples of {self.density_step:.2g} e/Bohr^3" if self.density_step else "none"
        return "\n".join(
            (
                f"structure     {self.formula} ({self.structure[:12]}), {self.grid.volume:.1f} Bohr^3",
                f"model         {self.model} ({self.model_hash[:12]}), halo {self.halo:g} Bohr",
                f"compute grid  {_by(self.compute_shape)} = {self.grid.size:,} points, {spacing} Bohr apart",
                f"output grid   {_by(self.output_shape)} = {self.output_grid.size:,} points, {output} Bohr apart",
                f"tiles         {self.n_tiles} of {_by(self.tile_shape)}, {self.bytes_per_tile / MIB:.3g} MiB each, "
                f"blocks of {_by(self.block_shape)}",
                f"rounding      {rounding}",
                f"uncertainty   {uncertainty}",
                f"memory        {self.bytes_per_worker / GIB:.3f} GiB a worker",
                f"disk          {self.disk_bytes / GIB:.3f} GiB before compression",
            )
        )


def plan_prediction(
    system: System,
    grid: Grid,
    workload: Workload,
    *,
    model: str,
    model_hash: str,
    output_shape: Shape | None = None,
    uncertainty: bool = True,
    draws: int = 0,
    seed: int = 0,
    sigma_limit: float | None = None,
    density_step: float = 0.0,
    memory: float = GIB,
    tile_shape: Shape | None = None,
) -> PredictionPlan:
    """Cut the compute grid in tiles that fit the memory.

    Args:
        system: The structure.
        grid: Compute grid.
        workload: Size of the model's work at one point.
        model: Name of the model.
        model_hash: Hash of its content.
        output_shape: Grid to hand out; by default the compute grid.
        uncertainty: Whether to predict standard deviations.
        draws: Draws of the weights; 0: the spread to first order in the weights.
        seed: Of the draws.
        sigma_limit: Standard deviation that marks the end of the model's range, electrons per Bohr^3.
        density_step: What to round the density to (:func:`rounding_step`); 0 leaves it as it is.
        memory: Bytes that one worker may use.
        tile_shape: Points of a tile, raised to whole blocks; by default as many as the memory and an even load allow.

    Raises:
        InputError: A tile needs more memory than allowed, or an option makes no sense.
    """
    if uncertainty and (draws < 0 or draws == 1):
        raise InputError(
            f"{draws} draws have no spread; expected at least 2, or 0 for the spread to first order in the weights; "
            f"change --draws or use --no-uncertainty"
        )
    if uncertainty and draws and seed < 0:
        raise InputError(f"seed {seed} of the draws; expected 0 or more; change --seed")
    if not 0 < memory < np.inf:
        raise InputError(f"{memory / GIB:g} GiB of memory a worker; expected a positive number; change --memory")
    block = _shape(even_edge(n, BLOCK_EDGE) for n in tile_shape or grid.shape)
    bytes_of = partial(_bytes_per_worker, block=block, workload=workload, grid=grid, atoms=len(system))
    tile = _whole_blocks(tile_shape, block) if tile_shape else _tile_shape(grid.shape, block, bytes_of, memory)
    needed = bytes_of(tile)
    if needed > memory:
        smaller = _tile_shape(grid.shape, block, bytes_of, memory)
        fits = bytes_of(smaller) <= memory
        advice = f"tile_shape={smaller} would fit" if fits else "allow more with --memory"
        raise InputError(f"plan needs {needed / GIB:.3g} GiB a worker but {memory / GIB:.3g} GiB are allowed; {advice}")
    return PredictionPlan(
        formula=system.formula,
        structure=system.content_hash(),
        model=model,
        model_hash=model_hash,
        cell=tuple((float(a), float(b), float(c)) for a, b, c in grid.cell),
        compute_shape=grid.shape,
        output_shape=output_shape or grid.shape,
        tile_shape=tile,
        block_shape=block,
        halo=workload.halo,
        uncertainty=uncertainty,
        draws=draws if uncertainty else 0,
        seed=seed,
        sigma_limit=sigma_limit if uncertainty else None,
        density_step=density_step,
        bytes_per_worker=needed,
        disk_bytes=_disk_bytes(grid, tile, len(system), uncertainty),
    )


def rounding_step(mean_density: float) -> float:
    """The largest power of two up to 1e-5 of a mean density, electrons per Bohr^3.

    Rounding to its multiples costs at most 2.5e-6 L1 per electron, and no electrons on average.
    """
    return float(2.0 ** np.floor(np.log2(ROUNDING * mean_density)))


def _tile_shape(shape: Shape, block: Shape, bytes_of: Callable[[Shape], int], memory: float) -> Shape:
    """The largest tile of whole blocks that fits the memory and leaves enough tiles to share out."""
    for edge in range(LARGEST_TILE, 1, -1):
        tile = _shape(b * even_edge(-(-n // b), edge) for n, b in zip(shape, block, strict=True))
        fits = bytes_of(tile) <= memory
        if fits and count_tiles(shape, tile) >= ENOUGH_TILES:
            return tile
    return block


def _whole_blocks(tile_shape: Shape, block: Shape) -> Shape:
    return _shape(b * -(-t // b) for t, b in zip(tile_shape, block, strict=True))


def _chunk_edge(tile: int) -> int:
    return max(n for n in range(1, min(tile, LARGEST_CHUNK) + 1) if tile % n == 0)


def _bytes_per_worker(tile: Shape, block: Shape, workload: Workload, grid: Grid, atoms: int) -> int:
    points = 24 + 4 * workload.features + 4 * workload.activations + 16
    fields = 3 * 4 + 2 * 8 + 8  # three results a point; two copies of them while a file is packed; numbers of bins
    edges = np.array(tile) * np.array(grid.spacings) + 2 * workload.halo
    around = np.prod(edges) / grid.volume * atoms
    return int(np.prod(block)) * points + int(np.prod(tile)) * fields + int(around * CLUSTER_BYTES)


def _bytes_per_point(uncertainty: bool) -> int:
    return 8 if uncertainty else 4


def _disk_bytes(grid: Grid, tile: Shape, atoms: int, uncertainty: bool) -> int:
    files = count_tiles(grid.shape, tile) * FILES_PER_TILE * FILE_SYSTEM_BLOCK
    levels = grid.size * (6 if uncertainty else 4) // 7  # an eighth of the points, an eighth of those, ...
    return grid.size * _bytes_per_point(uncertainty) + levels + files + atoms * ATOM_BYTES


def _shape(counts: Iterable[int]) -> Shape:
    i, j, k = counts
    return (i, j, k)


def _by(shape: Shape) -> str:
    return " x ".join(str(n) for n in shape)
