"""A program run for its caller ends with it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rhoscale.engines.process import run_measured

CALLER = """
import os
from pathlib import Path
from rhoscale.engines.process import run_measured
run_measured(["sh", "-c", "echo $$ > pid; exec sleep 60"], Path("."), os.environ, Path("log"))
"""


def test_what_a_program_used_is_counted(tmp_path: Path) -> None:
    loop = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3"
    use = run_measured(["sh", "-c", loop], tmp_path, os.environ, tmp_path / "log")
    assert use.returncode == 3
    assert 0 < use.cpu_seconds <= use.wall_seconds + 0.1


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such-program"):
        run_measured(["no-such-program"], tmp_path, os.environ, tmp_path / "log")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_kill_9_of_the_caller_ends_the_program(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CALLER], cwd=tmp_path) as caller:
        pid_file = tmp_path / "pid"
        _wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        program = int(pid_file.read_text())
        assert _runs(program)
        caller.send_signal(signal.SIGKILL)
        caller.wait()
    _wait_until(lambda: not _runs(program))


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in 30 seconds")
