"""Energies of weight draws from one diagonalisation, against a diagonalisation of each draw.

python benchmarks/draw_energies.py al-pbe data/al test-32-004 --kmesh 2 2 2 --kshift 1 1 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rhoscale.datasets.store import SnapshotStore
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.energy_fields import ModelFields
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings


def main() -> None:
    """Print one line for each draw: estimate and diagonalisation, Hartree for the cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("task", help="snapshot: the beginning of its task's name")
    parser.add_argument("--kmesh", type=int, nargs=3, help="by default the label's")
    parser.add_argument("--kshift", type=int, nargs=3)
    parser.add_argument("--draws", type=int, default=4)
    options = parser.parse_args()
    store = SnapshotStore.open(options.data)
    snapshot = store.load(next(r for r in store.records() if r.task.startswith(options.task)))
    model, system = load_with_hash(options.model)[0], snapshot.system
    asked = EnergyOptions(kmesh=options.kmesh and tuple(options.kmesh), kshift=options.kshift and tuple(options.kshift))
    settings = asked.settings(system, label_settings(snapshot))
    engine = asked.make(system, settings, model.pseudopotentials, options.model)
    fields = ModelFields.of(system, model)
    here = engine.energies_from_density(system, fields.prediction.fourier)
    estimates = fields.drawn_energies(here, options.draws, 0)
    for (estimate, _), drawn in zip(estimates, fields.drawn(options.draws, 0), strict=True):
        there = engine.energies_from_density(system, drawn.fourier)
        true = there.energies["total"] - here.energies["total"]
        print(f"estimated {estimate:+.3e}, diagonalised {true:+.3e} Ha", flush=True)


if __name__ == "__main__":
    main()
