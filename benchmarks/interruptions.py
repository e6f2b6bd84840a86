"""A prediction that is killed, loses workers or meets a full disk, against the same prediction left alone.

    pip install "rhoscale[dask]"
    rhoscale build --lattice fcc --elements Al --constant 7.65 --temperature 933 --atoms 1372000 --out al.npz
    python benchmarks/interruptions.py al-pbe al.npz runs/interruptions
    python benchmarks/interruptions.py al-pbe al.npz runs/interruptions --disk /mnt/small

Each way is the command that users give. ``kill``: SIGKILL when half of the tiles are done, then the same command again.
``workers``: three worker processes, of which two are killed, one at a third and one at half. ``disk``: everything on
the disk that is given, whose free space is filled up when half of the tiles are done, then freed; use one that nobody
else needs, for example a tmpfs. All files of fields, statistics and levels must be the same, byte for byte, as those of
a run left alone, which may be there already (``--alone``, for example of ``benchmarks/scaling.py``). ``--ways kill``
takes one way alone.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from rhoscale.errors import FormatError
from rhoscale.prediction.store import PredictionStore

POLL = 0.5  # s


def start(model: str, structure: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """Begin ``rhoscale predict``; messages are kept."""
    program = Path(sys.executable).parent / "rhoscale"
    command = [str(program), "predict", str(structure), "--model", model, "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process: subprocess.Popen[str], expected: int = 0) -> str:
    """What a run printed, once it ended as expected."""
    printed, _ = process.communicate()
    if process.returncode != expected:
        raise SystemExit(f"{process.args} ended with {process.returncode}; expected {expected}:\n{printed}")
    return printed


def wait_for(share: float, out: Path, process: subprocess.Popen[str]) -> float:
    """Wait until a share of the tiles is done; return the share that is."""
    while process.poll() is None:
        try:
            done = float(PredictionStore.open(out).done().mean())
        except FormatError:  # not begun
            done = 0.0
        if done >= share:
            return done
        time.sleep(POLL)
    raise SystemExit(f"{process.args} ended before {share:.0%} of its tiles were done:\n{finished(process)}")


def killed(begin: Callable[..., subprocess.Popen[str]], out: Path) -> str:
    """Kill a run in the middle and give the same command again."""
    process = begin(out)
    done = wait_for(0.5, out, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished(begin(out))
    return f"killed with {done:.0%} of the tiles done"


def without_workers(begin: Callable[..., subprocess.Popen[str]], out: Path) -> str:
    """Kill two of three workers."""
    process = begin(out, "--workers", "3")
    lost: list[str] = []
    for share in (1 / 3, 1 / 2):
        done = wait_for(share, out, process)
        worker = next(workers(process.pid))
        os.kill(worker.pid, signal.SIGKILL)
        lost.append(f"one at {done:.0%}")
    finished(process)
    return f"lost workers: {', '.join(lost)}"


def workers(parent: int) -> Iterator[psutil.Process]:
    """Processes below one that are at work, the busiest first."""
    below = psutil.Process(parent).children(recursive=True)
    yield from sorted(below, key=lambda p: -sum(p.cpu_times()[:2]))


def filled(begin: Callable[..., subprocess.Popen[str]], out: Path) -> str:
    """Fill the disk in the middle; the run must say so and go on when there is space again."""
    process = begin(out)
    done = wait_for(0.5, out, process)
    filler = out.parent / "filler"
    with filler.open("wb") as file:
        free = shutil.disk_usage(out.parent).free
        os.posix_fallocate(file.fileno(), 0, max(1, free - 2**16))
    message = finished(process, expected=2).strip().splitlines()[-3:]
    filler.unlink()
    finished(begin(out))
    return f"disk full with {done:.0%} of the tiles done: {' '.join(message)}"


def differences(one: Path, other: Path) -> list[str]:
    """Files that differ or are missing, but for the metadata."""

    def files(folder: Path) -> set[Path]:
        return {f.relative_to(folder) for f in folder.rglob("*") if f.is_file() and f.name != "zarr.json"}

    both = files(one) | files(other)
    return sorted(str(f) for f in both if not _same(one / f, other / f))


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def main() -> None:
    """Run each way once and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("structure", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--disk", type=Path, help="folder on a small disk that may be filled up")
    parser.add_argument("--alone", type=Path, help="store of a finished run of the same structure and model")
    parser.add_argument("--ways", nargs="+", choices=("kill", "workers", "disk"), default=["kill", "workers", "disk"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    def begin(out: Path, *more: str) -> subprocess.Popen[str]:
        return start(options.model, options.structure, out, *(more or ("--threads", str(options.threads))))

    alone = options.alone or options.folder / "alone.zarr"
    if not (alone.exists() and PredictionStore.open(alone).complete):
        began = time.perf_counter()
        finished(begin(alone))
        print(f"left alone: {time.perf_counter() - began:.0f} s", flush=True)
    ways = {"kill": (killed, options.folder), "workers": (without_workers, options.folder)}
    if options.disk is not None:
        ways["disk"] = (filled, options.disk)
    for name in [name for name in ways if name in options.ways]:
        way, folder = ways[name]
        out = folder / f"{name}.zarr"
        shutil.rmtree(out, ignore_errors=True)
        what = way(begin, out)
        differ = differences(alone, out)
        print(f"{name}: {what}; {len(differ)} files differ {differ[:5]}", flush=True)
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
