"""Run a plan with the workers of a Dask cluster: processes of this machine, or those of any scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from rhoscale.errors import InputError
from rhoscale.prediction.attempts import RETRIES, Predict, finish_tile, given_up
from rhoscale.prediction.plan import PredictionPlan
from rhoscale.prediction.run_local import Progress
from rhoscale.prediction.store import PredictionStore
from rhoscale.prediction.tiles import Tile

T = TypeVar("T")

FEWEST_IN_FLIGHT = 8  # before any worker has come
PATIENCE = 30  # seconds for a scheduler to answer


def run_dask(
    plan: PredictionPlan,
    predict: Predict,
    store: PredictionStore,
    *,
    client: Client,
    retries: int = RETRIES,
    progress: Progress | None = None,
) -> None:
    """Predict and write all tiles that are not yet written, on the workers of a cluster.

    A worker gets ``predict`` once and then numbers of tiles; it writes to the store itself, so the store must lie on a
    disk that all workers see. The tiles of a worker that dies go to others. The bits are those of ``run_local``
    as long as the workers have the same kind of processor.

    Args:
        plan: What to do.
        predict: The field in one tile; pickled.
        store: On disk; says which tiles are there already.
        client: Connected to the scheduler.
        retries: How often a failed tile is tried again.
        progress: Told the points done and the points of the whole grid.

    Raises:
        InputError: The store is in memory, where no other process sees it.
        RhoscaleError: A tile was refused or cannot be written.
        TileError: A tile failed for another reason, or its workers died, again and again.
    """
    if store.location is None:
        raise InputError("the store is in this process's memory; expected a folder that all workers see; give a path")
    written = store.statistics()[:, 0]
    points = int(np.nansum(written))
    report = progress or (lambda _done, _all: None)
    report(points, plan.grid.size)
    waiting = (tile for tile in plan.tiles if np.isnan(written[tile.index]))
    # a task of its own, not scattered data: Dask repeats it when the workers that hold its result are lost
    work = client.submit(_itself, partial(finish_tile, predict=predict, store=store, retries=retries), pure=False)
    tiles: dict[object, Tile] = {}
    finished = as_completed([])
    try:
        _start(client, work, waiting, tiles, finished)
        for future in finished:
            points += _result(future, tiles.pop(future.key))
            report(points, plan.grid.size)
            _start(client, work, waiting, tiles, finished)
    finally:
        client.cancel([*finished.futures, work])


def on_workers(client: Client) -> partial[None]:
    """:func:`run_dask` with the workers of a client, to be given a plan.

    Raises:
        InputError: It is no client.
    """
    if not isinstance(client, Client):
        raise InputError(f"the client is {client!r}; expected a distributed.Client; make one with Client(address)")
    return partial(run_dask, client=client)


@contextmanager
def connect(workers: int | None = None, scheduler: str | None = None) -> Iterator[Client]:
    """Connect to the scheduler at an address, or start worker processes on this machine and end them afterwards.

    Raises:
        InputError: No scheduler answers.
    """
    if scheduler is None:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler} ({error}); expected an address like tcp://host:8786; "
            f"start one with `dask scheduler`, or use --workers for processes of this machine"
        ) from error
    with client:
        yield client


def _start(
    client: Client, work: Future, waiting: Iterator[Tile], tiles: dict[object, Tile], finished: as_completed
) -> None:
    """Hand over two tiles for each thread of the workers of the moment: a scheduler need not know millions of them."""
    free = max(FEWEST_IN_FLIGHT, 2 * sum(client.nthreads().values())) - len(tiles)
    for tile in islice(waiting, max(0, free)):
        future = client.submit(_apply, work, tile, key=f"tile-{tile.index}-{work.key}")
        tiles[future.key] = tile
        finished.add(future)


def _result(future: Future, tile: Tile) -> int:
    try:
        return int(future.result())
    except KilledWorker as error:
        raise given_up(tile, 1, f"the workers that had it died: {error}") from error


def _itself(value: T) -> T:
    return value


def _apply(work: partial[int], tile: Tile) -> int:
    return work(tile)
