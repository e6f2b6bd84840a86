"""A folder of snapshots, each a file named by its content and a record of what it is for.

    dataset.toml                 description, pseudopotentials, splits as they were frozen
    records/<task>.json          one a finished task: snapshot, batch, role, subsets, cost; written once
    snapshots/<hash>.safetensors one a snapshot; written once
    pseudopotentials/*.upf       those of the labels, where they are the user's own
    work/                        scratch of running tasks; no part of the data

Files are only ever added, each whole or not at all: processes that write side by side cannot harm each other, and
a killed one leaves nothing half.
"""

from __future__ import annotations

import json
import os
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from rhoscale.datasets.split import Record, check_roles, split_lists
from rhoscale.errors import DatasetError, FormatError, OutputError
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity

FORMAT = "rhoscale-dataset-1"
_NAME_LENGTH = 20


@dataclass(frozen=True)
class SnapshotStore:
    """A data set on disk.

    Attributes:
        path: Its folder.
        header: What ``dataset.toml`` says.
    """

    path: Path
    header: Mapping[str, Any] = field(repr=False)

    @classmethod
    def create(cls, path: str | Path, *, name: str, description: str) -> SnapshotStore:
        """Make the folders of a data set, or open it if it is there.

        Raises:
            OutputError: The folder cannot be written.
            DatasetError: It holds a data set of another name, or files that belong to none.
        """
        folder = Path(path)
        if not (folder / "dataset.toml").exists():
            _refuse_foreign(folder)
            try:
                for part in ("records", "snapshots", "work"):
                    (folder / part).mkdir(parents=True, exist_ok=True)
                _write(folder / ".gitignore", "work/\n")
                _write(folder / "dataset.toml", _header_text({"name": name, "description": description}))
            except OSError as error:
                raise OutputError(f"cannot make the data set {folder} ({error}); choose a writable folder") from error
        store = cls.open(folder)
        if store.header.get("name") != name:
            raise DatasetError(
                f"{folder} holds the data set {store.header.get('name')!r}, not {name!r}; choose another output folder"
            )
        return store

    @classmethod
    def open(cls, path: str | Path) -> SnapshotStore:
        """Open a data set and check that no trajectory serves two roles.

        Raises:
            FormatError: There is no data set, or a file of it is damaged.
            DatasetError: Its lists contradict each other.
        """
        folder = Path(path)
        try:
            header = tomllib.loads((folder / "dataset.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(
                f"{folder} is not a readable data set ({error}); expected a dataset.toml in it; check the path, or "
                f"restore that file"
            ) from error
        if header.get("format") != FORMAT:
            raise FormatError(
                f"{folder} has format {header.get('format')!r}; expected {FORMAT!r}; give the folder of a data set"
            )
        lost = [part for part in ("records", "snapshots") if not (folder / part).is_dir()]
        if lost:
            raise FormatError(
                f"{folder} has a dataset.toml but no folder {' and no folder '.join(lost)}; expected both beside it; "
                f"copy the whole data set again"
            )
        store = cls(folder, header)
        check_roles(store.records())
        return store

    @cached_property
    def work(self) -> Path:
        """Scratch folder of running tasks."""
        folder = self.path / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def pseudopotential_folder(self) -> Path:
        """Where the UPF files of the labels are, if they are the user's own; there may be no such folder."""
        return self.path / "pseudopotentials"

    def keep_pseudopotential(self, name: str, content: bytes) -> None:
        """Keep the UPF file of a pseudopotential of the labels; a file that is there stays.

        Raises:
            OutputError: It cannot be written.
        """
        file = self.pseudopotential_folder / name
        if file.exists():
            return
        try:
            file.parent.mkdir(exist_ok=True)
            _write(file, content)
        except OSError as error:
            raise OutputError(
                f"cannot keep the pseudopotential {file} ({error}); expected a writable folder with space; make space "
                f"and give the same command again"
            ) from error

    def records(self) -> list[Record]:
        """All records, in the order of their tasks' names.

        Raises:
            FormatError: A record is damaged.
        """
        return [self._read_record(file) for file in sorted((self.path / "records").glob("*.json"))]

    def record(self, task: str) -> Record | None:
        """The record of a task, or None if it is not finished."""
        file = self._record_path(task)
        return self._read_record(file) if file.exists() else None

    def select(
        self, *, role: str | None = None, subset: str | None = None, batch: str | Sequence[str] | None = None
    ) -> list[Record]:
        """Records of a role, a subset, one or more batches, or of all these at once.

        Raises:
            DatasetError: Nothing in the data set has that role, subset or batch.
        """
        records = self.records()
        batches = [batch] if isinstance(batch, str) else batch
        known = {
            "role": {r.role for r in records},
            "subset": {s for r in records for s in r.subsets},
            "batch": {r.batch for r in records},
        }
        asked = [("role", role), ("subset", subset), *[("batch", b) for b in batches or ()]]
        for what, value in asked:
            if value is not None and value not in known[what]:
                there = ", ".join(sorted(known[what])) or "none"
                raise DatasetError(
                    f"no snapshot of {self.path} has {what} {value!r}; there are {there}; name one of these"
                )
        return [
            r
            for r in records
            if (role is None or r.role == role)
            and (subset is None or subset in r.subsets)
            and (batches is None or r.batch in batches)
        ]

    def load(self, snapshot: str | Record) -> Snapshot:
        """Read a snapshot by its record or content hash.

        Raises:
            FormatError: The file is missing or damaged, be it by a single bit.
        """
        path = self.snapshot_path(snapshot)
        found = Snapshot.read(path)
        expected = snapshot.snapshot if isinstance(snapshot, Record) else snapshot
        if not found.content_hash.startswith(expected):
            raise FormatError(
                f"{path} has the content {found.content_hash[:12]}; expected {expected[:12]}, as its record says: it "
                f"was damaged or exchanged; copy it again, or delete it and its record and generate it anew"
            )
        return found

    def snapshot_path(self, snapshot: str | Record) -> Path:
        """File of a snapshot."""
        content_hash = snapshot.snapshot if isinstance(snapshot, Record) else snapshot
        return self.path / "snapshots" / f"{content_hash[:_NAME_LENGTH]}.safetensors"

    def add(self, snapshot: Snapshot, *, task: str, batch: str, role: str, subsets: Sequence[str] = ()) -> Record:
        """Keep a snapshot; if the task is finished already, its first result stays.

        Raises:
            DatasetError: The role is unknown, the trajectory serves another role, the task is kept with another role,
                batch or subsets, or a pseudopotential differs from the one of the same element in the data set.
            OutputError: The files cannot be written.
        """
        record = _record_of(snapshot, task, batch, role, tuple(subsets))
        existing = self.record(task)
        if existing is not None:
            return self._same_use(existing, record)
        check_roles([*self.records(), record])
        self._check_pseudopotentials(snapshot)
        file = self.snapshot_path(record)
        try:
            _write(file, snapshot.to_bytes())
            if not _write_once(self._record_path(task), json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"):
                first = self._read_record(self._record_path(task))
                if first.snapshot != record.snapshot:
                    file.unlink()
                return self._same_use(first, record)
        except OSError as error:
            raise OutputError(f"cannot keep {task} in {self.path} ({error}); make space, then go on") from error
        return record

    def freeze(self) -> None:
        """Write pseudopotentials, costs and the split lists into ``dataset.toml``."""
        records = self.records()
        identities = self.pseudopotentials()
        summary = {
            **{k: self.header[k] for k in ("name", "description") if k in self.header},
            "snapshots": len(records),
            "core_hours": round(sum(r.core_seconds + r.sampling_core_seconds for r in records) / 3600, 2),
            "pseudopotentials": [p.to_dict() for p in identities.values()],
            **split_lists(records),
        }
        try:
            _write(self.path / "dataset.toml", _header_text(summary))
        except OSError as error:
            raise OutputError(
                f"cannot write the lists of {self.path} ({error}); every finished snapshot is kept; make space and "
                f"give the same command again"
            ) from error

    def pseudopotentials(self) -> dict[str, PseudopotentialIdentity]:
        """Identity for each element of the data set, from its snapshots.

        One snapshot of each composition is read: :meth:`add` has refused any that differed.
        """
        found: dict[str, PseudopotentialIdentity] = {}
        compositions: set[str] = set()
        for record in self.records():
            if record.formula not in compositions:
                compositions.add(record.formula)
                found.update(self.load(record).pseudopotentials)
        return dict(sorted(found.items()))

    def _check_pseudopotentials(self, snapshot: Snapshot) -> None:
        known = self.pseudopotentials()
        for element, identity in snapshot.pseudopotentials.items():
            if element in known and known[element] != identity:
                old = known[element]
                raise DatasetError(
                    f"{self.path} holds {element} with {old.name} (sha256 {old.sha256[:12]}), the new snapshot has "
                    f"{identity.name} (sha256 {identity.sha256[:12]}); one data set has one pseudopotential for an "
                    f"element: use another folder"
                )

    def _same_use(self, kept: Record, record: Record) -> Record:
        """The kept record, unless it serves another purpose than the new one."""
        old, new = ((r.role, r.batch, list(r.subsets)) for r in (kept, record))
        if old != new:
            raise DatasetError(
                f"{kept.task} is kept with role, batch and subsets {old}; got {new}; splits are fixed: leave it as it "
                f"is, or delete {self._record_path(kept.task)} first"
            )
        return kept

    def _record_path(self, task: str) -> Path:
        return self.path / "records" / f"{task}.json"

    def _read_record(self, file: Path) -> Record:
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            return _checked(Record(**{**values, "subsets": tuple(values["subsets"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FormatError(
                f"{file} is not a readable record ({error}); expected it as it was written; restore it, or delete it "
                f"and make its snapshot again"
            ) from error


def _checked(record: Record) -> Record:
    """The record, if each of its values has the type that it should."""
    numbers = {"n_atoms", "core_seconds", "sampling_core_seconds"}
    for key, value in asdict(record).items():
        if key == "subsets":
            good = all(isinstance(s, str) for s in value)
        elif key in numbers or (key == "temperature" and value is not None):
            good = isinstance(value, int | float) and isfinite(value)
        else:
            good = isinstance(value, str) or key == "temperature"
        if not good:
            raise TypeError(f"{key} is {value!r}")
    return record


def _refuse_foreign(folder: Path) -> None:
    """Refuse to make a data set among other files; what a killed :meth:`SnapshotStore.create` left is none."""
    own = {"records", "snapshots", "pseudopotentials", "work"}
    there = [f.name for f in folder.iterdir()] if folder.is_dir() else []
    foreign = sorted(name for name in there if name not in own and not name.startswith("."))
    if foreign:
        raise DatasetError(
            f"{folder} is no data set and holds {', '.join(foreign[:3])}; expected a data set, or an empty or new "
            f"folder to make one in; name another folder"
        )


def _record_of(snapshot: Snapshot, task: str, batch: str, role: str, subsets: tuple[str, ...]) -> Record:
    origin, settings = snapshot.origin, snapshot.settings
    temperature = origin.get("temperature")
    return Record(
        task=task,
        snapshot=snapshot.content_hash,
        batch=batch,
        role=role,
        subsets=subsets,
        trajectory=snapshot.trajectory,
        formula=snapshot.system.formula,
        n_atoms=len(snapshot.system),
        kind=str(origin.get("kind", "unknown")),
        temperature=None if temperature is None else float(temperature),
        core_seconds=float(settings.get("cpu_seconds", 0.0)),
        sampling_core_seconds=float(origin.get("sampling_core_seconds", 0.0)),
    )


def _write(path: Path, content: str | bytes) -> None:
    with _beside(path, content) as temporary:
        temporary.replace(path)


def _write_once(path: Path, text: str) -> bool:
    """Write a file that must not exist; false if it does. A link, unlike a rename, never replaces."""
    with _beside(path, text) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


@contextmanager
def _beside(path: Path, content: str | bytes) -> Iterator[Path]:
    """A whole file of that content in the same folder, under a name that no other process or thread uses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _header_text(values: Mapping[str, Any]) -> str:
    lines = [f'format = "{FORMAT}"']
    tables: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            tables += ["", f"[{key}]", *(f"{_toml(k)} = {_toml(v)}" for k, v in value.items())]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for item in value:
                tables += ["", f"[[{key}]]", *(f"{k} = {_toml(v)}" for k, v in item.items())]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + "".join(f"  {_toml(v)},\n" for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans look the same in TOML
