"""Labels with a coarse k-mesh, to study starts and energies: ``python benchmarks/scf_start_labels.py OUT [TASK ...]``.

All test and validation cells of data/al with up to 32 atoms, or the tasks given (one of 108 atoms takes a quarter of an
hour), 2x2x2 shifted k-points, 15 to 30 core-seconds each; those that are there are kept. Then ``rhoscale study
scf-start --model al-pbe --data OUT`` and ``rhoscale study energies``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rhoscale.datasets.store import SnapshotStore
from rhoscale.recipes.energy_settings import EnergyOptions, label_settings
from rhoscale.recipes.start import PredictedStart
from rhoscale.sampling.schedule import snapshot_of

DATA = Path(__file__).resolve().parent.parent / "data" / "al"
ATOMS = 32


def main(output: Path, tasks: list[str]) -> None:
    """Make the data set."""
    source = SnapshotStore.open(DATA)
    held_out = [*source.select(role="test"), *source.select(role="validation")]
    if unknown := set(tasks) - {record.task for record in held_out}:
        raise SystemExit(f"no test or validation cell of {DATA} is called {', '.join(sorted(unknown))}")
    if output.exists():
        target = SnapshotStore.open(output)
    else:
        target = SnapshotStore.create(output, name=output.name, description="structures of al, 2x2x2 shifted k-points")
    there = {record.task for record in target.records()}
    start = PredictedStart.load("al-pbe", source.pseudopotentials())
    for record in held_out:
        wanted = record.task in tasks if tasks else record.n_atoms <= ATOMS
        if not wanted or record.task in there:
            continue
        snapshot = source.load(record)
        settings = replace(label_settings(snapshot), kmesh=(2, 2, 2), kshift=(1, 1, 1))
        engine = EnergyOptions().make(snapshot.system, settings, snapshot.pseudopotentials, record.task)
        state = engine.ground_state(snapshot.system, initial_density=start(snapshot.system))
        print(f"{record.task}: {state.iterations} cycles, {state.cpu_seconds:.1f} core-s", flush=True)
        target.add(snapshot_of(state, dict(snapshot.origin)), task=record.task, batch=record.batch, role=record.role)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
