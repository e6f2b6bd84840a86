"""Labels with a coarse k-mesh, cheap enough to study starts: ``python benchmarks/scf_start_labels.py OUT``.

The first three structures of data/al's batch test-32, 2x2x2 shifted k-points, about 15 core-seconds each; then
``rhoscale study scf-start --model al-pbe --data OUT``.
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
CELLS = 3


def main(output: Path) -> None:
    """Make the data set."""
    source = SnapshotStore.open(DATA)
    target = SnapshotStore.create(output, name=output.name, description="structures of al, 2x2x2 shifted k-points")
    start = PredictedStart.load("al-pbe", source.pseudopotentials())
    for record in source.select(role="test", batch="test-32")[:CELLS]:
        snapshot = source.load(record)
        settings = replace(label_settings(snapshot), kmesh=(2, 2, 2), kshift=(1, 1, 1))
        engine = EnergyOptions().make(snapshot.system, settings, snapshot.pseudopotentials, record.task)
        state = engine.ground_state(snapshot.system, initial_density=start(snapshot.system))
        print(f"{record.task}: {state.iterations} cycles, {state.cpu_seconds:.1f} core-s", flush=True)
        target.add(snapshot_of(state, dict(snapshot.origin)), task=record.task, batch=record.batch, role="test")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
