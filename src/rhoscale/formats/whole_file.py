"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rhoscale.errors import OutputError


@contextmanager
def whole_file(path: str | Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when everything is written.

    Raises:
        OutputError: The file exists and ``force`` is not given, or it cannot be written (no such folder,
            no space left, no permission).
    """
    target = Path(path)
    refuse_existing(target, force=force)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{target} could not be written ({error.strerror or error}); expected a folder that exists and has space; "
            f"make room or choose another folder"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_existing(target: Path, *, force: bool) -> None:
    """Refuse a path that is taken.

    Raises:
        OutputError: The path is a folder, or a file and ``force`` is not given.
    """
    if target.is_dir():
        raise OutputError(f"{target} is a folder; expected the name of a file to write; give the file a name in it")
    if target.exists() and not force:
        raise OutputError(f"{target} exists already; expected a new name; use --force to replace it")
