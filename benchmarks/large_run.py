"""One prediction with the bundled aluminium model, its time, memory and size as JSON.

    python benchmarks/large_run.py 29 al29.zarr --threads 2

predicts 4 x 29^3 = 97,556 atoms: a cubic cell of four, repeated, each atom displaced at random.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from functools import partial
from pathlib import Path

import numpy as np

import rhoscale
from rhoscale.prediction.run_local import run_local
from rhoscale.prediction.store import PredictionStore
from rhoscale.recipes.field import Request, about, plan_field, predict_field
from rhoscale.system import System

EDGE = 7.65  # Bohr
CORNERS = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def displaced_aluminium(repeats: int, amplitude: float = 0.25) -> System:
    """Face-centred cubic aluminium with Gaussian displacements, Bohr."""
    steps = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = EDGE * (steps + CORNERS).reshape(-1, 3)
    positions += np.random.default_rng(3).normal(0.0, amplitude, positions.shape)
    return System(np.eye(3) * EDGE * repeats, positions, np.full(len(positions), "Al"))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repeats", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-uncertainty", action="store_true")
    options = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    system = displaced_aluminium(options.repeats)
    model = rhoscale.load_model("al-pbe")
    plan = plan_field(system, model.trained, model.content_hash, Request(uncertainty=not options.no_uncertainty))
    store = PredictionStore.create(options.out, plan, system, about(system, model.trained))
    run = partial(run_local, threads=options.threads)
    summary = predict_field(plan, system, model.trained, store, run=run)
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    found = {
        "atoms": len(system),
        "points": plan.grid.size,
        "tiles": plan.n_tiles,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(processor, 1),
        "peak_memory_GiB": round(used.ru_maxrss / 2**20, 3),
        "memory_of_imports_GiB": round(before.ru_maxrss / 2**20, 3),
        "bytes": size,
        "bytes_per_atom": round(size / len(system)),
        "bytes_per_point": round(size / plan.grid.size, 3),
        "electrons_off": summary.totals.electrons / summary.electrons - 1.0,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
