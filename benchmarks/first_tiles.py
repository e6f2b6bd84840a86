"""A part of a large prediction, timed and extrapolated: for models whose whole run would take hours.

    python benchmarks/first_tiles.py models/al-pbe-paper runs/scaling/al-pbe-1372000.npz runs/first-tiles --minutes 10

The command that users give, ended after some minutes. The speed is that between the first tile that
was done and the last one, so loading is apart; the whole takes as many points at that speed. Give the same command
again with more minutes and it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from rhoscale.errors import FormatError
from rhoscale.prediction.store import PredictionStore

POLL = 0.5  # s


def points_done(out: Path) -> int:
    """Points of the tiles that are written."""
    try:
        store = PredictionStore.open(out)
    except FormatError:  # not begun
        return 0
    sizes = np.array([tile.size for tile in store.plan.tiles])
    return int(sizes[store.done()].sum())


def main() -> None:
    """Run, interrupt, extrapolate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("structure", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    out = options.folder / f"{Path(options.model).name}-{options.structure.stem}.zarr"
    program = Path(sys.executable).parent / "rhoscale"
    command = [str(program), "predict", str(options.structure), "--model", options.model, "--out", str(out)]
    before, began = points_done(out), time.perf_counter()
    seen: list[tuple[float, int]] = []  # when, points
    process = subprocess.Popen([*command, "--threads", str(options.threads)])
    while process.poll() is None and time.perf_counter() - began < 60 * options.minutes:
        time.sleep(POLL)
        points = points_done(out)
        if points > (seen[-1][1] if seen else before):
            seen.append((time.perf_counter(), points))
    process.terminate()
    process.wait()
    if len(seen) < 2:
        raise SystemExit(f"{len(seen)} tiles done in {options.minutes:g} minutes; expected two; give more --minutes")
    (first, few), (last, many) = seen[0], seen[-1]
    speed = (many - few) / (last - first)
    plan = PredictionStore.open(out).plan
    print(f"{many - few:.3g} of {plan.grid.size:.3g} points in {last - first:.0f} s: {speed:.3g} points/s")
    print(f"all of it: {plan.grid.size / speed / 3600:.2f} hours")


if __name__ == "__main__":
    main()
