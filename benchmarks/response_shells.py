"""How a crystal answers the error of a density, shell by shell of wave numbers, against the electron gas.

    rhoscale study energies --model al-pbe --data data/al --no-baselines --limit 3 --out out/energies
    python benchmarks/response_shells.py al-pbe data/al out/energies

With delta the error of a prediction and R the change of its one diagonalisation, both from the study's folder,
- <R_G delta_G*> / <|delta_G|^2> stands beside 1 - chi_0 K of the gas without and with the gap of the levels, and what
an energy lacks beside its estimates.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.response import dielectric_function
from rhoscale.engines.second_order import LOCAL_FIELDS, second_order_energy
from rhoscale.recipes.bundled import load_with_hash
from rhoscale.recipes.energy_fields import ModelFields
from rhoscale.recipes.energy_runs import EnergyRuns, run_key
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings
from rhoscale.refinement import kinetic_energies

SHELLS = (0.0, 0.5, 0.8, 1.1, 1.4, 1.8, 2.2, 3.0)  # 1/Bohr


def main() -> None:
    """Print a table for each test or validation cell whose prediction is in the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("study", type=Path, help="folder of `rhoscale study energies`")
    given = parser.parse_args()
    store, (model, _) = SnapshotStore.open(given.data), load_with_hash(given.model)
    runs = EnergyRuns(given.study / "runs")
    for record in store.records():
        if record.role == "train":
            continue
        snapshot = store.load(record)
        settings = label_settings(snapshot)
        assert settings is not None
        engine = EnergyOptions().make(snapshot.system, settings, model.pseudopotentials, given.model)
        prediction = ModelFields.of(snapshot.system, model).prediction.fourier
        if not (runs.folder / f"{run_key(engine, snapshot.system, prediction)}.json").exists():
            continue
        found, _ = runs.energies(engine, snapshot.system, prediction)
        waves = np.sqrt(2 * kinetic_energies(snapshot.system.cell, snapshot.density.millers))
        moving = waves > 0
        millers, waves = snapshot.density.millers[moving], waves[moving]
        error = prediction.coefficients_of(millers) - snapshot.density.coefficients[moving]
        answer = -np.real(found.change.coefficients_of(millers) * np.conj(error))
        density, electrons = snapshot.electrons / snapshot.system.volume, snapshot.electrons
        print(f"{record.task}: gap {found.gap:.3f} Ha; wave numbers, crystal, gas, gas with the gap")
        gases = [dielectric_function(waves, density, gap) for gap in (0.0, found.gap)]
        for low, high in itertools.pairwise(SHELLS):
            shell = (waves > low) & (waves <= high)
            weights = np.abs(error[shell]) ** 2
            row = answer[shell].sum() / weights.sum(), *(np.average(gas[shell], weights=weights) for gas in gases)
            print(f"  {low:.1f}-{high:.1f}", *(f"{value:8.3f}" for value in row))
        lacking = snapshot.energies["total"] - found.energies["total"]
        whole = [second_order_energy(found.change, electrons, gap) / LOCAL_FIELDS for gap in (0.0, found.gap)]
        ratios = (whole[0], whole[1], LOCAL_FIELDS * whole[1]) / np.float64(lacking)
        print(
            f"  lacking {lacking:.2e} Ha; estimated / true: gas {ratios[0]:.3f}, with the gap {ratios[1]:.3f}, less "
            f"local fields {ratios[2]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
