"""Predict a cell that training never saw and compare it with its DFT density.

python examples/03_compare_with_dft.py
"""

from pathlib import Path

import numpy as np

import rhoscale
from rhoscale.ase_bridge import to_atoms
from rhoscale.density import Density
from rhoscale.formats import read_density_file
from rhoscale.metrics import field_errors

DATA = Path(__file__).resolve().parent.parent / "data" / "al"

held_out = read_density_file(DATA / "snapshots" / "9f3da02735b09bdd54d6.safetensors")  # batch test-32, 631 K
truth = held_out.density

model = rhoscale.load_model("al-pbe")
prediction = model.predict(to_atoms(held_out.system), shape=truth.grid.shape)

predicted = Density(truth.grid, prediction.density.astype(np.float64))
errors = field_errors(predicted, truth, held_out.electrons)
inside = np.abs(predicted.values - truth.values) <= 2 * prediction.total

print(held_out.system.formula, "on", truth.grid.shape, "points")
print(f"error: {100 * errors.l1:.3f} % (L1 per electron)")
print(f"expected before: {100 * prediction.verdict.expected_l1:.3f} %, {prediction.verdict.range} the model's range")
print(f"root mean square: {errors.rmse:.1e} electrons/Bohr^3")
print(f"within two standard deviations: {100 * inside.mean():.1f} % of the points")
