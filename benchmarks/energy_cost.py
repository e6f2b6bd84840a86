"""What one diagonalisation costs in pw.x, beside rhoscale's estimate: ``python benchmarks/energy_cost.py``.

Thermal cells of several sizes, cutoffs and k-meshes; the density is the promolecule. About two core-minutes.
"""

from __future__ import annotations

import numpy as np

from rhoscale.engines.interface import DFTSettings
from rhoscale.promolecule import promolecule_fourier
from rhoscale.recipes.atomic_tables import atomic_tables
from rhoscale.recipes.energy_cost import energy_cost
from rhoscale.recipes.energy_settings import EnergyOptions
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System

AL = crystal("fcc", ("Al",), 7.65)
SIGE = crystal("zincblende", ("Si", "Ge"), 10.6)
CASES = (  # cell, repeats, cutoff in Ry, k-points along each axis
    (AL, 1, 25.0, 1),
    (AL, 1, 25.0, 4),
    (AL, 1, 40.0, 3),
    (SIGE, 1, 25.0, 2),
    (AL, 2, 15.0, 1),
    (AL, 2, 25.0, 1),
    (AL, 2, 25.0, 2),
    (SIGE, 2, 20.0, 1),
    (AL, 3, 15.0, 1),
)


def main() -> None:
    """Print one line a case."""
    print("formula   cutoff Ry  k-points  plane waves  bands  core-s  estimated core-s")
    rng = np.random.default_rng(0)
    for cell, repeats, cutoff, k in CASES:
        perfect = supercell(cell, (repeats, repeats, repeats))
        system = System(perfect.cell, perfect.positions + rng.normal(0, 0.15, (len(perfect), 3)), perfect.species)
        settings = DFTSettings(cutoff=cutoff / 2, kmesh=(k, k, k), smearing="cold", width=0.02)
        engine = EnergyOptions().make(system, settings, None, "promolecule")
        density = promolecule_fourier(system, atomic_tables(engine.pseudopotentials), 4 * settings.cutoff)
        found = engine.energies_from_density(system, density)
        cost = energy_cost(system, settings, system.electrons(engine.pseudopotentials))
        print(
            f"{system.formula:10s}{cutoff:9g}{len(found.weights):10d}{cost.plane_waves:13d}"
            f"{found.eigenvalues.shape[1]:7d}{found.cpu_seconds:8.2f}{cost.core_seconds:18.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
