"""What a coarse grid loses of real densities, with and without their sharp part taken out: L1 per electron.

python benchmarks/compute_grid.py data/al --train train-32 train-hot-32 train-vacancy-32 \\
    --test test-32 test-vacancy-32 test-108
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rhoscale.datasets.store import SnapshotStore
from rhoscale.grid import Grid
from rhoscale.prediction.interpolation import fourier_weights, interpolate, periodic_values, windowed_weights
from rhoscale.sharp import SharpSum, fit_sharp, sampling_loss, sharp_fourier

SPACINGS = (1.10, 1.00, 0.90, 0.80, 0.70, 0.60)
FITTED = 12


def main() -> None:
    """Print one row a spacing: mean and worst over the test snapshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    given = parser.parse_args()
    store = SnapshotStore.open(given.data)
    train = [store.load(r) for r in store.select(role="train", batch=given.train)]
    test = [store.load(r) for r in store.select(role="test", batch=given.test)]
    chosen = [train[int(i)] for i in np.linspace(0, len(train) - 1, min(FITTED, len(train))).round()]
    part = fit_sharp([(s.system, s.density) for s in chosen], sorted(store.pseudopotentials()))
    print(f"{len(test)} test snapshots; L1 per electron (%), mean and worst")
    print("spacing   itself            sharp part apart  window of it      both")
    waves = [sharp_fourier(s.system, part, s.density.cutoff) for s in test]
    for spacing in SPACINGS:
        found = [sampling_loss(s.density, sharp, spacing) for s, sharp in zip(test, waves, strict=True)]
        window, whole = [], []
        for s in test[:5]:
            grid = Grid.from_spacing(s.system.cell, spacing, fast_fourier=False)
            sharp = SharpSum(s.system, part)
            rest = s.density.on_grid(grid.shape).values - sharp.on_grid(grid).values
            fine = s.density.smallest_shape
            one, other = (
                interpolate(periodic_values(rest), grid.shape, fine, (0, 0, 0), fine, k)
                for k in (fourier_weights, windowed_weights)
            )
            exact = s.density.on_grid(fine).values
            exact = exact - sharp.on_grid(Grid(s.system.cell, fine)).values
            window.append(float(np.abs(one - other).mean()) * s.system.volume / s.electrons)
            whole.append(float(np.abs(other - exact).mean()) * s.system.volume / s.electrons)
        columns = ([f.plain for f in found], [f.loss for f in found], window, whole)
        print(f"{spacing:<8}", *(f"{100 * np.mean(c):8.4f} {100 * np.max(c):8.4f}" for c in columns))


if __name__ == "__main__":
    main()
