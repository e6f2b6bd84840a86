"""Whole predictions from a thousand to millions of atoms as users run them: time, memory, disk; and DFT's time beside.

    python benchmarks/scaling.py al-pbe runs/scaling --atoms 864 10976 97556 1372000 4116000
    python benchmarks/scaling.py sige-pbe runs/scaling --atoms 1000 97336 1404928
    python benchmarks/scaling.py al-pbe runs/scaling --report

builds thermal supercells with vacancies (`rhoscale build`) and predicts them with both deviations (`rhoscale predict`),
each command a process of its own, one line of `FOLDER/MODEL.jsonl` for each size. The report fits exponents, puts the
core-seconds of the DFT labels in `--data` beside them (paper: figure 18, tables I and II), and compares distributions
(figure 13). It needs `FOLDER/MODEL-ATOMS.histograms.npy` only, so stores may be deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.datasets.store import SnapshotStore
from rhoscale.prediction.statistics import QUANTITIES, kolmogorov_smirnov
from rhoscale.prediction.store import PredictionStore

CRYSTALS = {
    "al-pbe": "--lattice fcc --elements Al --constant 7.65 --temperature 933",
    "sige-pbe": "--lattice diamond --alloy Si=0.5,Ge=0.5 --constant 10.49 --temperature 933",
}
LABELS = {"al-pbe": "data/al-gamma", "sige-pbe": "data/sige"}


def timed(command: list[str]) -> tuple[str, dict[str, float]]:
    """Run ``rhoscale COMMAND``: what it printed, and its elapsed and processor time (s) and peak memory (GiB)."""
    start = time.perf_counter()
    program = Path(sys.executable).parent / "rhoscale"
    process = subprocess.Popen([program, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"rhoscale {' '.join(command)} ended with status {status}")
    elapsed = time.perf_counter() - start
    processor = used.ru_utime + used.ru_stime
    return printed, {"seconds": elapsed, "processor_seconds": processor, "peak_GiB": used.ru_maxrss / 2**20}


def run(model: str, folder: Path, atoms: int, threads: int) -> dict[str, Any]:
    """Build and predict one size; keep the counts of its densities and deviations."""
    structure, out = folder / f"{model}-{atoms}.npz", folder / f"{model}-{atoms}.zarr"
    built: dict[str, float] = {}
    if not structure.exists():
        supercell = [*CRYSTALS[model].split(), "--atoms", str(atoms), "--vacancies", "0.001", "--seed", "1"]
        _, built = timed(["build", *supercell, "--out", str(structure)])
    command = ["predict", str(structure), "--model", model, "--out", str(out), "--threads", str(threads), "--json"]
    printed, used = timed(command)
    report = json.loads(printed)
    store = PredictionStore.open(out)
    counts = sum(part.sum(axis=0, dtype=np.int64) for part in store.histograms())
    np.save(folder / f"{model}-{atoms}.histograms.npy", counts)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        "atoms": len(np.load(structure)["positions"]),
        "points": store.plan.grid.size,
        **used,
        "bytes": size,
        "build": built,
        "histograms": f"{model}-{atoms}.histograms.npy",
        "threads": threads,
        "report": {name: value for name, value in report.items() if name != "plan"},
    }


def exponent(sizes: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Power and factor of values = factor * sizes^power, by least squares of the logarithms."""
    power, logarithm = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(power), float(np.exp(logarithm))


def report(model: str, folder: Path, data: Path) -> None:
    """Print the tables."""
    rows = sorted((json.loads(line) for line in (folder / f"{model}.jsonl").open()), key=lambda row: row["atoms"])
    records = SnapshotStore.open(data).records()
    sizes = sorted({record.n_atoms for record in records if record.kind == "bulk"})
    labels = [[r.core_seconds for r in records if r.n_atoms == n and r.kind == "bulk"] for n in sizes]
    dft = np.array([np.mean(seconds) for seconds in labels])
    power, factor = exponent(np.array(sizes), dft)
    for n, seconds, mean in zip(sizes, labels, dft, strict=True):
        print(f"DFT, {data.name}: {n} atoms, {len(seconds)} labels, {mean:.0f} core-seconds")
    print(f"DFT: core-seconds = {factor:.3g} atoms^{power:.2f}\n")
    print("| atoms | points | s | processor s | points/s | peak GiB | GB | DFT, core-years | speed-up | KS distances |")
    largest = np.load(folder / rows[-1]["histograms"])
    for row in rows:
        expected = factor * row["atoms"] ** power
        counts = np.load(folder / row["histograms"])
        distances = [kolmogorov_smirnov(a, b) for a, b in zip(counts, largest, strict=True)]
        ks = ", ".join(f"{name} {d:.4f}" for name, d in zip(QUANTITIES, distances, strict=True))
        print(
            f"| {row['atoms']:,} | {row['points']:.3g} | {row['seconds']:.1f} | {row['processor_seconds']:.1f} | "
            f"{row['points'] / row['seconds']:.3g} | {row['peak_GiB']:.2f} | {row['bytes'] / 1e9:.3g} | "
            f"{expected / 3.156e7:.2g} | {expected / row['processor_seconds']:.2g} | {ks} |"
        )
    atoms = np.array([row["atoms"] for row in rows])
    for name in ("seconds", "processor_seconds", "peak_GiB", "bytes"):
        print(f"{name}: atoms^{exponent(atoms, np.array([row[name] for row in rows]))[0]:.3f}")


def main() -> None:
    """Run the sizes that are not there yet, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(CRYSTALS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--atoms", type=int, nargs="+", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="data set whose labels give DFT's time")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for atoms in options.atoms:
        if not (options.folder / f"{options.model}-{atoms}.histograms.npy").exists():
            row = run(options.model, options.folder, atoms, options.threads)
            with (options.folder / f"{options.model}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps({name: value for name, value in row.items() if name != "report"}), flush=True)
    if options.report:
        report(options.model, options.folder, options.data or Path(LABELS[options.model]))


if __name__ == "__main__":
    main()
