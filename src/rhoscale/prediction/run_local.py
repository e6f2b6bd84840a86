"""Run a plan with the threads of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice

import numpy as np

from rhoscale.prediction.attempts import RETRIES, Predict, finish_tile
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile

Progress = Callable[[int, int], None]


def run_local(
    plan: PredictionPlan,
    predict: Predict,
    store: PredictionStore,
    *,
    threads: int = 1,
    retries: int = RETRIES,
    progress: Progress | None = None,
) -> None:
    """Predict and write all tiles that are not yet written, several at a time.

    A tile's bits depend on the plan alone, so neither the number of threads nor an interruption changes the
    result. A tile that fails is tried again; one that goes on failing stops the run after the tiles under way, and
    what is written stays.

    Args:
        plan: What to do.
        predict: The field in one tile; called from several threads.
        store: Where tiles go; says which are there already.
        threads: Tiles at a time.
        retries: How often a failed tile is tried again.
        progress: Told the points done and the points of the whole grid.

    Raises:
        RhoscaleError: A tile was refused or cannot be written.
        TileError: A tile failed for another reason, once more than ``retries`` times.
    """
    written = store.statistics()[:, 0]
    points = int(np.nansum(written))
    report = progress or (lambda _done, _all: None)
    report(points, plan.grid.size)
    waiting = (tile for tile in plan.tiles if np.isnan(written[tile.index]))
    work = partial(finish_tile, predict=predict, store=store, retries=retries)
    with ThreadPoolExecutor(threads) as pool:
        running: set[Future[int]] = set()
        try:
            _start(pool, work, running, waiting, 2 * threads)
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                points += sum(future.result() for future in finished)
                report(points, plan.grid.size)
                _start(pool, work, running, waiting, 2 * threads - len(running))
        finally:
            for future in running:
                future.cancel()


def _start(
    pool: ThreadPoolExecutor,
    work: Callable[[Tile], int],
    running: set[Future[int]],
    waiting: Iterator[Tile],
    count: int,
) -> None:
    """Hand over a few tiles only, so that millions of them are never queued."""
    running.update(pool.submit(work, tile) for tile in islice(waiting, count))
