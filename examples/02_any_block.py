"""Stream a prediction to disk and read any block of it, on any grid.

python examples/02_any_block.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
from ase.build import bulk

import rhoscale

store = Path(sys.argv[1] if len(sys.argv) > 1 else "out") / "al-256.zarr"
atoms = bulk("Al", "fcc", a=4.05, cubic=True).repeat(4)  # any size: memory does not grow with it
atoms.rattle(stdev=0.12, seed=1)

model = rhoscale.load_model("al-pbe")
rhoscale.predict_to_store(atoms, model, store, spacing=0.5, force=True)  # without force, an interrupted call goes on

density = rhoscale.open_density(store)  # reads nothing yet
block = density[0:16, 0:16, 20:24]
sigma = density.total[0:16, 0:16, 20:24]
print("whole grid:", density.shape)
print("block:", block.shape, f"mean {block.mean():.5f} +- {sigma.mean():.5f} electrons/Bohr^3")

fine = density.refine(shape=tuple(2 * n for n in density.shape))  # the same field, twice as many points an axis
there = fine[0:32:2, 0:32:2, 40:48:2]
print("refined grid:", fine.shape)
print(f"largest difference at the same points: {np.abs(there - block).max():.1e}")
