"""Blocks of molecular dynamics side by side, one on each core: compiled forces run without the interpreter's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from rhoscale.recipes.cores import usable_cores
from rhoscale.recipes.thermal_blocks import BlockRun, thermal_block
from rhoscale.system import System

Progress = Callable[[int, int], None]


class _StoppedError(Exception):
    """Another block failed, or the user interrupted."""


def thermal_blocks(
    runs: Sequence[BlockRun], progress: Progress | None = None, *, cores: int | None = None
) -> list[tuple[System, dict[str, Any]]]:
    """Run the blocks that are not there and read the others; the same bits on any number of cores.

    After an error or an interrupt the others stop within a step; all go on from where they were last kept.

    Args:
        runs: The blocks.
        progress: Called with steps done in all blocks and steps in all; from several threads, one at a time.
        cores: Blocks at a time; by default as many as the process has cores.

    Returns:
        Snapshot and record of each block; see :func:`thermal_block`, whose errors these are.
    """
    tally = _Tally(sum(run.dynamics.steps for run in runs), progress)
    pool = ThreadPoolExecutor(max_workers=at_a_time(len(runs), cores))
    try:
        futures = [pool.submit(_one, run, tally) for run in runs]
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            if future.done():
                future.result()
        return [future.result() for future in futures]
    finally:
        tally.stop.set()
        pool.shutdown(cancel_futures=True)


def at_a_time(runs: int, cores: int | None = None) -> int:
    """Blocks that run side by side."""
    return max(1, min(cores or usable_cores(), runs))


def _one(run: BlockRun, tally: _Tally) -> tuple[System, dict[str, Any]]:
    result = thermal_block(run, partial(tally.at, run.file.name))
    tally.at(run.file.name, run.dynamics.steps)
    return result


class _Tally:
    """Steps done by blocks in several threads."""

    def __init__(self, whole: int, progress: Progress | None) -> None:
        self.stop, self._lock = threading.Event(), threading.Lock()
        self._done: dict[str, int] = {}
        self._whole, self._progress = whole, progress

    def at(self, block: str, step: int) -> None:
        """Note where a block stands."""
        if self.stop.is_set():
            raise _StoppedError
        with self._lock:
            self._done[block] = step
            if self._progress is not None:
                self._progress(sum(self._done.values()), self._whole)
