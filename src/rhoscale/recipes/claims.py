"""Who is at what: file locks, which end with their process however it ends, and scratch folders held by them."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def claim(path: Path, *, blocking: bool) -> Iterator[bool]:
    """Hold a file lock, which ends with the process however it ends; gives whether it was free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder of this call; those that killed calls left are removed, those of failed runs stay till then."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        with claim(old / "lock", blocking=False) as free:
            if free:
                shutil.rmtree(old, ignore_errors=True)
    mine = Path(tempfile.mkdtemp(dir=folder))
    with claim(mine / "lock", blocking=True):
        yield mine
