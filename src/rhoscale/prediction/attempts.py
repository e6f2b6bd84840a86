"""One tile from its prediction to the disk: tried again where that may help, then reported by its number."""

from __future__ import annotations

from collections.abc import Callable

from rhoscale.errors import OutputError, RhoscaleError, TileError
from rhoscale.prediction.one_tile import TilePrediction
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile

RETRIES = 2

Predict = Callable[[Tile], TilePrediction]


def finish_tile(tile: Tile, predict: Predict, store: PredictionStore, retries: int = RETRIES) -> int:
    """Predict one tile and write it; returns its number of points.

    What a model refuses it would refuse again; a full disk, lost connection or crash is tried again.

    Raises:
        RhoscaleError: The tile was refused or, of the kind ``OutputError``, could not be written.
        TileError: It failed for another reason, ``retries`` + 1 times.
    """
    for attempt in range(retries + 1):
        try:
            store.write(predict(tile))
            return tile.size
        except OutputError:
            if attempt == retries:
                raise
        except RhoscaleError:
            raise
        except Exception as error:  # whatever a worker's memory, network or file system does
            if attempt == retries:
                raise given_up(tile, retries + 1, f"{type(error).__name__}: {error}") from error
    raise AssertionError("a tile either ends or raises")


def given_up(tile: Tile, times: int, reason: str) -> TileError:
    """The error that names a tile which failed again and again."""
    return TileError(
        f"tile {tile.index}, points {tile.start} to {tile.stop}, failed {times} times ({reason}); expected a finished "
        f"tile; what is written stays: mend the cause and give the same command again, or raise --retries"
    )
