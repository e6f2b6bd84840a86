"""What one core, its memory and a disk can do at most: the ceilings that speeds are held against."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from rhoscale.errors import OutputError
from rhoscale.models.inference import has_bfloat16
from rhoscale.models.inference.product import multiply, pack

EDGE = 512  # of square matrices
ROWS = 48
MEMORY = 2**27  # bytes copied, beyond any cache
DISK = 2**26  # bytes written


@dataclass(frozen=True)
class Ceilings:
    """Best of what was measured, a second of processor time (of elapsed time for the disk).

    Attributes:
        float32: Operations of float32 products: NumPy's, PyTorch's and rhoscale's own (a multiply-add is two).
        bfloat16: The same in bfloat16, without NumPy; None where the processor has none.
        memory: Bytes read and written by a copy.
        disk: Bytes written and flushed.
        by: Operations a second of each library and precision.
    """

    float32: float
    bfloat16: float | None
    memory: float
    disk: float
    by: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def measure_ceilings(folder: Path | None = None) -> Ceilings:
    """Measure one core; the disk is that of ``folder``, by default of temporary files.

    Raises:
        OutputError: The folder cannot be written.
    """
    rng = np.random.default_rng(0)
    a = rng.normal(size=(EDGE, EDGE)).astype(np.float32)
    out = np.empty_like(a)
    tensor = torch.from_numpy(a)
    work = 2.0 * EDGE**3
    with threadpool_limits(1):  # the clock is that of one thread
        by = {
            "float32 numpy": work / best_seconds(lambda: np.matmul(a, a, out=out)),
            "float32 pytorch": work / best_seconds(lambda: tensor @ tensor),
            "float32 rhoscale": _own_product(a, bfloat16=False),
        }
        if has_bfloat16():
            low = tensor.bfloat16()
            by["bfloat16 pytorch"] = work / best_seconds(lambda: low @ low)
            by["bfloat16 rhoscale"] = _own_product(a, bfloat16=True)
    source = np.ones(MEMORY // 8)
    target = np.empty_like(source)
    return Ceilings(
        float32=max(v for k, v in by.items() if k.startswith("float32")),
        bfloat16=max((v for k, v in by.items() if k.startswith("bfloat16")), default=None),
        memory=2.0 * MEMORY / best_seconds(lambda: np.copyto(target, source)),
        disk=_disk(folder),
        by=by,
    )


def best_seconds(task: Callable[[], object], runs: int = 5, *, least: float = 0.02) -> float:
    """Least processor time of one call; quick ones are called so often that a run takes ``least`` seconds."""
    task()
    start = time.thread_time()
    task()
    calls = max(1, round(least / max(time.thread_time() - start, 1e-6)))
    found = []
    for _ in range(runs):
        start = time.thread_time()
        for _ in range(calls):
            task()
        found.append((time.thread_time() - start) / calls)
    return min(found)


def _own_product(a: np.ndarray, *, bfloat16: bool) -> float:
    """The kernel's product of a few rows with a matrix that stays in the second-level cache."""
    size = EDGE // 2
    matrices = pack([(a[:size, :size], np.zeros(size, np.float32))] * 8, bfloat16=bfloat16)
    rows = np.zeros(ROWS * size, dtype=matrices.weights.dtype)
    out = np.empty(ROWS * size, dtype=np.float32)

    def task() -> None:
        for m in range(8):
            multiply(rows, 0, ROWS, matrices, m, out)

    return 8 * 2.0 * ROWS * size**2 / best_seconds(task)


def _disk(folder: Path | None) -> float:
    values = np.random.default_rng(0).bytes(DISK)
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            start = time.perf_counter()
            file.write(values)
            file.flush()
            os.fsync(file.fileno())
            return DISK / (time.perf_counter() - start)
    except OSError as error:
        raise OutputError(
            f"cannot write {DISK / 2**20:.0f} MiB to {folder or tempfile.gettempdir()} ({error}); "
            f"expected a folder with room; name another with --folder"
        ) from error
