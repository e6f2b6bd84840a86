"""Deviations between the points of the compute grid: interpolated, against computed there, and what both cover.

python benchmarks/fine_sigmas.py al-pbe data/al --batch test-32 --batch test-vacancy-32
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.datasets.store import SnapshotStore
from rhoscale.grid import Grid
from rhoscale.metrics.calibration import LEVELS


def main() -> None:
    """Print the means over the snapshots of the batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch", action="append", required=True)
    given = parser.parse_args()
    store, model = SnapshotStore.open(given.data), rhoscale.load_model(given.model)
    on_fine = replace(model, trained=replace(model.trained, compute_spacing=model.trained.whole_spacing, sharp=None))
    off, covered = [], []
    for record in store.select(role="test", batch=given.batch):
        snapshot = store.load(record)
        grid = Grid.from_spacing(snapshot.system.cell, model.trained.whole_spacing)
        atoms, label = to_atoms(snapshot.system), snapshot.density.on_grid(grid.shape).values
        interpolated, computed = (one.predict(atoms, shape=grid.shape) for one in (model, on_fine))
        assert interpolated.total is not None
        assert computed.total is not None
        off.append(np.quantile(np.abs(interpolated.total / computed.total - 1), (0.5, 0.95)))
        covered.append(
            [
                [np.mean(np.abs(found.density - label) <= found.half_width(level) * found.total) for level in LEVELS]
                for found in (interpolated, computed)
            ]
        )
        print(f"{record.task}: off by {off[-1][0]:.3f} (median), {off[-1][1]:.3f} (95 %)", flush=True)
    print("interpolated deviations are off by {:.3f} (median), {:.3f} (95 %)".format(*np.mean(off, axis=0)))
    for name, shares in zip(("interpolated", "computed there"), 100 * np.mean(covered, axis=0), strict=True):
        print(
            f"{name:15s} cover",
            *(f"{share:.1f} ({100 * level:g})" for level, share in zip(LEVELS, shares, strict=True)),
        )


if __name__ == "__main__":
    main()
