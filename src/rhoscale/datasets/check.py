"""Whether the files of a data set are whole and agree with each other."""

from __future__ import annotations

import numpy as np

from rhoscale.datasets.split import Record, check_roles, split_lists
from rhoscale.datasets.store import SnapshotStore
from rhoscale.errors import DatasetError, FormatError
from rhoscale.snapshot import Snapshot
from rhoscale.structures.distances import shortest_distance
from rhoscale.system import PseudopotentialIdentity

CHARGE_TOLERANCE = 1e-5
CLOSEST_ATOMS = 1.0  # Bohr; below even a stretched H2


def check_store(store: SnapshotStore) -> list[str]:
    """Read every snapshot of a data set and list what is wrong; an empty list is a sound data set.

    Checked: files exist and have the content of their names; records repeat what the snapshots say; densities are
    finite and integrate to the electrons of the pseudopotentials; no atoms overlap; one pseudopotential for an
    element; each trajectory in one role; what the frozen lists say is what the records say; no file without a record.
    """
    records = store.records()
    problems: list[str] = []
    try:
        check_roles(records)
    except DatasetError as error:
        problems.append(str(error))
    identities: dict[str, PseudopotentialIdentity] = {}
    for record in records:
        try:
            snapshot = store.load(record)
        except FormatError as error:
            problems.append(str(error))
            continue
        problems += [f"{record.task}: {what}" for what in _snapshot_problems(record, snapshot)]
        for element, identity in snapshot.pseudopotentials.items():
            if identities.setdefault(element, identity) != identity:
                problems.append(f"{record.task}: its pseudopotential of {element} differs from that of other snapshots")
    kept = {store.snapshot_path(r).name for r in records}
    extra = sorted(f.name for f in (store.path / "snapshots").glob("*.safetensors") if f.name not in kept)
    problems += [f"snapshots/{name} has no record; delete it, or restore its record" for name in extra]
    return problems + _frozen_problems(store, records)


def _snapshot_problems(record: Record, snapshot: Snapshot) -> list[str]:
    found = []
    stated = (record.formula, record.n_atoms, record.trajectory)
    actual = (snapshot.system.formula, len(snapshot.system), snapshot.trajectory)
    if stated != actual:
        found.append(f"the record says {stated}, the snapshot {actual}")
    if not np.isfinite(snapshot.density.coefficients).all():
        found.append("its density has coefficients that are not finite")
        return found
    counted = snapshot.system.electrons(snapshot.pseudopotentials)
    if abs(counted - snapshot.electrons) > 1e-9 * counted:
        found.append(f"states {snapshot.electrons:g} electrons where its pseudopotentials count {counted:g}")
    integral = snapshot.density.electrons
    if abs(integral - counted) > CHARGE_TOLERANCE * counted:
        found.append(f"its density integrates to {integral:.6f} electrons instead of {counted:g}")
    closest = shortest_distance(snapshot.system)
    if closest < CLOSEST_ATOMS:
        found.append(f"two atoms are {closest:.2f} Bohr apart")
    return found


def _frozen_problems(store: SnapshotStore, records: list[Record]) -> list[str]:
    # Lists may lag behind the records while tasks are being made; what they do say must hold.
    found = []
    for what, lists in split_lists(records).items():
        for name, tasks in store.header.get(what, {}).items():
            lost = sorted(set(tasks) - set(lists.get(name, [])))
            if lost:
                found.append(
                    f"dataset.toml lists {', '.join(lost)} in {what} {name!r}, the records do not; restore the records"
                )
    return found
