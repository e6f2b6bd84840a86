"""Which engines can be used here, and how to get the others."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from rhoscale.engines.espresso_program import EspressoProgram, find_program
from rhoscale.engines.espresso_qepy import EspressoQEpy, qepy_version
from rhoscale.engines.interface import DFTSettings, Engine
from rhoscale.engines.pseudopotentials import PseudopotentialFile
from rhoscale.engines.superposition import SuperpositionEngine
from rhoscale.errors import EngineError, InputError

ENGINES = ("pw.x", "qepy", "toy")
AUTO = "auto"
GET_PROGRAM = "Debian, Ubuntu: apt install quantum-espresso libopenblas0-pthread"
GET_QEPY = "pip install rhoscale[qe] (Linux x86-64, Python 3.11 to 3.13; GPL)"


@dataclass(frozen=True)
class EngineStatus:
    """Whether one engine can be used.

    Attributes:
        name: As :func:`make_engine` takes it.
        usable: Whether it can be started.
        version: Of the program or package; empty where there is none.
        where: Path of the program or package; empty where there is none.
        hint: What it is good for, or how to get it.
    """

    name: str
    usable: bool
    version: str
    where: str
    hint: str


def find_engines(program: str | Path | None = None) -> list[EngineStatus]:
    """Look for every engine; the pw.x program at the given path, or on PATH."""
    return [
        _program_status(program),
        _qepy_status(),
        EngineStatus("toy", True, "", "", "instant; tests and examples only"),
    ]


def make_engine(
    name: str,
    settings: DFTSettings,
    pseudopotentials: Mapping[str, PseudopotentialFile],
    *,
    program: str | Path | None = None,
    threads: int = 1,
    scratch: str | Path | None = None,
    keep_files: bool = False,
) -> Engine:
    """Make an engine by name; ``auto`` takes the pw.x program if there is one, else QEpy, never the toy.

    Args:
        name: ``pw.x``, ``qepy``, ``toy`` or ``auto``.
        settings: Cutoffs, k-mesh, smearing, convergence.
        pseudopotentials: File for each element; the toy takes only the valences.
        program: Path of ``pw.x``; found on PATH if None.
        threads: Threads of one run.
        scratch: Folder in which each run gets a folder of its own; the system's temporary folder if None.
        keep_files: Whether a successful run's folder stays.

    Raises:
        InputError: There is no engine of that name.
        EngineError: It is not usable here; the message says how to get it.
    """
    if name == AUTO:
        name = _first_usable(program)
    if name == "pw.x":
        return EspressoProgram(
            settings, pseudopotentials, program=program, threads=threads, scratch=scratch, keep_files=keep_files
        )
    if name == "qepy":
        return EspressoQEpy(settings, pseudopotentials, threads=threads, scratch=scratch, keep_files=keep_files)
    if name == "toy":
        return SuperpositionEngine(settings, {e: file.identity.valence for e, file in pseudopotentials.items()})
    raise InputError(f"engine {name!r} is unknown; expected one of {', '.join((*ENGINES, AUTO))}")


def _first_usable(program: str | Path | None) -> str:
    if program is not None or _found(None) is not None:
        return "pw.x"
    if util.find_spec("qepy") is not None:
        return "qepy"
    raise EngineError(
        f"no DFT program is usable here; expected Quantum ESPRESSO's pw.x on PATH or the Python package qepy; "
        f"{GET_PROGRAM}; or {GET_QEPY}"
    )


def _found(program: str | Path | None) -> Path | None:
    try:
        return find_program(program)
    except EngineError:
        return None


def _program_status(program: str | Path | None) -> EngineStatus:
    path = _found(program)
    if path is None:
        return EngineStatus("pw.x", False, "", "", GET_PROGRAM)
    version = program_version(path)
    hint = "Quantum ESPRESSO as a program" if version else f"does not start as pw.x should; {GET_PROGRAM}"
    return EngineStatus("pw.x", bool(version), version, str(path), hint)


def _qepy_status() -> EngineStatus:
    spec = util.find_spec("qepy")
    if spec is None:
        return EngineStatus("qepy", False, "", "", GET_QEPY)
    where = str(Path(spec.origin).parent) if spec.origin else ""
    return EngineStatus("qepy", True, qepy_version(), where, "Quantum ESPRESSO in Python; slower than the program")


def program_version(program: Path) -> str:
    """Version in the heading that ``pw.x`` prints, for example ``6.7MaX``; empty if it prints none."""
    with tempfile.TemporaryDirectory(prefix="rhoscale-") as folder:  # on an empty input it leaves a file CRASH
        try:
            answer = subprocess.run(
                [program],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=30,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    found = re.search(r"Program PWSCF v\.(\S+)", answer.stdout)
    return found.group(1) if found else ""
