"""Which snapshots train, validate and test: fixed, and by trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rhoscale.errors import DatasetError

ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class Record:
    """What one snapshot of a data set is for.

    Attributes:
        task: Name of the task that made it; unique in the data set.
        snapshot: Content hash.
        batch: Part of the recipe that it belongs to.
        role: ``train``, ``validation`` or ``test``.
        subsets: Named selections that it is part of.
        trajectory: Identifier that all snapshots of one trajectory share.
        formula: Symbols and counts.
        n_atoms: Atoms in the cell.
        kind: ``bulk``, ``vacancy``, ``divacancy``, ``strain``, ...
        temperature: Kelvin, or None if unknown.
        core_seconds: Processor time of the label.
        sampling_core_seconds: Processor time of ab-initio dynamics before it.
    """

    task: str
    snapshot: str
    batch: str
    role: str
    subsets: tuple[str, ...]
    trajectory: str
    formula: str
    n_atoms: int
    kind: str
    temperature: float | None
    core_seconds: float
    sampling_core_seconds: float = 0.0


def check_roles(records: Sequence[Record]) -> None:
    """Refuse a trajectory that serves two roles: its snapshots are relatives, a test on one of them proves little.

    Raises:
        DatasetError: A role is unknown, or a trajectory serves two.
    """
    seen: dict[str, Record] = {}
    for record in records:
        if record.role not in ROLES:
            raise DatasetError(
                f"{record.task} has role {record.role!r}; expected one of {', '.join(ROLES)}; mend its record or give "
                f"one of these"
            )
        first = seen.setdefault(record.trajectory, record)
        if first.role != record.role:
            raise DatasetError(
                f"trajectory {record.trajectory} serves as {first.role} ({first.task}) and as {record.role} "
                f"({record.task}); expected one role a trajectory; give one of them another seed"
            )


def split_lists(records: Sequence[Record]) -> dict[str, dict[str, list[str]]]:
    """Names of tasks by role and by subset, as ``dataset.toml`` keeps them."""
    subsets = sorted({s for r in records for s in r.subsets})
    return {
        "roles": {role: [r.task for r in records if r.role == role] for role in ROLES},
        "subsets": {s: [r.task for r in records if s in r.subsets] for s in subsets},
    }
