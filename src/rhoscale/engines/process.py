"""A program run to its end, with what it used."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessUse:
    """How a process ended (negative: minus the signal) and what it used, seconds."""

    returncode: int
    wall_seconds: float
    cpu_seconds: float


def run_measured(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> ProcessUse:
    """Run a program in a folder, its output to a log, and count its processor time.

    An interrupt of the caller kills the program; on Linux so does the caller's own death, however it came.

    Raises:
        OSError: The program cannot be started.
    """
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            _dying_with_caller(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        _, status, use = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return ProcessUse(process.returncode, time.monotonic() - started, use.ru_utime + use.ru_stime)


def _dying_with_caller(command: Sequence[str]) -> list[str]:
    setpriv = shutil.which("setpriv")  # util-linux; replaces itself by the program, so its pid is the program's
    if setpriv is None or shutil.which(command[0]) is None:
        return list(command)
    return [setpriv, "--pdeathsig", "KILL", "--", *command]
