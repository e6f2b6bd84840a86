"""Predict the density of thermal aluminium, with its uncertainty and a verdict.

python examples/01_predict.py
"""

from ase.build import bulk

import rhoscale

model = rhoscale.load_model("al-pbe")
atoms = bulk("Al", "fcc", a=4.05, cubic=True).repeat(2)  # 32 atoms, Angstrom
atoms.rattle(stdev=0.12, seed=1)  # about what 600 K do

prediction = model.predict(atoms, spacing=0.5)  # Bohr
electrons = prediction.density.mean() * prediction.grid.volume  # 3 valence electrons an atom

print("grid:", prediction.density.shape)
print(f"electrons: {electrons:.3f}")
print(f"density: {prediction.density.min():.4f} to {prediction.density.max():.4f} electrons/Bohr^3")
print(f"standard deviation: mean {prediction.total.mean():.1e}, largest {prediction.total.max():.1e}")
print(f"of it for lack of data: mean {prediction.epistemic.mean():.1e}")
print("verdict:", prediction.verdict.range)
print(f"expected error: {100 * prediction.verdict.expected_l1:.2f} % (L1 per electron)")
