"""Whole predictions from a thousand to millions of atoms as users run them: time, memory, disk; and DFT's time beside.

    python benchmarks/scaling.py al-pbe runs/scaling --atoms 864 10976 97556 1372000 4116000
    python benchmarks/scaling.py sige-pbe runs/scaling --atoms 1000 97336 1404928
    python benchmarks/scaling.py al-pbe runs/scaling --atoms 864 --seeds $(seq 2 96)
    python benchmarks/scaling.py al-pbe runs/scaling --report --figure scaling.png

builds thermal supercells with vacancies (`rhoscale build`) and predicts them with both deviations (`rhoscale predict`),
each command a process of its own, one line of `FOLDER/MODEL.jsonl` for each size and seed. The report fits exponents,
puts the core-seconds of the DFT labels in `--data` beside them (paper: figure 18, tables I and II), and compares
distributions (figure 13); seeds of one size are taken together: mean times, summed counts. It needs the files
`FOLDER/*.histograms.npy` only, so stores may be deleted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.datasets.store import SnapshotStore
from rhoscale.prediction.statistics import QUANTITIES, bin_edges, kolmogorov_smirnov
from rhoscale.prediction.store import PredictionStore
from rhoscale.report.scaling import DFTCosts, PredictedSize, draw_scaling
from rhoscale.units import SECONDS_PER_YEAR

CRYSTALS = {
    "al-pbe": "--lattice fcc --elements Al --constant 7.65 --temperature 933",
    "sige-pbe": "--lattice diamond --alloy Si=0.5,Ge=0.5 --constant 10.49 --temperature 933",
}
BLOCKS = "--blocks 4 --block-atoms 100000"  # large ones: few atoms of what is tiled lie in seams
LABELS = {"al-pbe": "data/al-gamma", "sige-pbe": "data/sige"}
MEASURED = ("points", "seconds", "processor_seconds", "peak_GiB", "bytes")
LARGE = 50_000  # atoms from which on imports and the reading of kernels no longer count for much


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


def run(model: str, folder: Path, atoms: int, seed: int, threads: int) -> dict[str, Any]:
    """Build and predict one supercell; keep the counts of its densities and deviations."""
    name = run_name(model, atoms, seed)
    structure, out = folder / f"{name}.npz", folder / f"{name}.zarr"
    built: dict[str, float] = {}
    if not structure.exists():
        supercell = [
            *CRYSTALS[model].split(),
            *BLOCKS.split(),
            "--atoms",
            str(atoms),
            "--vacancies",
            "0.001",
            "--seed",
            str(seed),
        ]
        _, built = timed(["build", *supercell, "--out", str(structure)])
    command = ["predict", str(structure), "--model", model, "--out", str(out), "--threads", str(threads), "--json"]
    printed, used = timed(command)
    report = json.loads(printed)
    store = PredictionStore.open(out)
    counts = sum(part.sum(axis=0, dtype=np.int64) for part in store.histograms())
    np.save(folder / f"{name}.histograms.npy", counts)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        "atoms": len(np.load(structure)["positions"]),
        "points": store.plan.grid.size,
        **used,
        "bytes": size,
        "build": built,
        "histograms": f"{name}.histograms.npy",
        "threads": threads,
        "report": {name: value for name, value in report.items() if name != "plan"},
    }


def run_name(model: str, atoms: int, seed: int) -> str:
    """Name of the files of one supercell."""
    return f"{model}-{atoms}" + ("" if seed == 1 else f"-seed-{seed}")


def exponent(sizes: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Power and factor of values = factor * sizes^power, by least squares of the logarithms."""
    power, logarithm = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(power), float(np.exp(logarithm))


def measured_sizes(model: str, folder: Path) -> list[dict[str, Any]]:
    """One row for each number of atoms, smallest first: means over its seeds, their counts, and the sum."""
    runs = [json.loads(line) for line in (folder / f"{model}.jsonl").open()]
    rows = []
    for atoms in sorted({run["atoms"] for run in runs}):
        same = [run for run in runs if run["atoms"] == atoms]
        draws = [np.load(folder / run["histograms"]) for run in same]
        means = {name: float(np.mean([run[name] for run in same])) for name in MEASURED}
        rows.append({"atoms": atoms, "seeds": len(same), "draws": draws, "counts": sum(draws), **means})
    return rows


def dft_costs(data: Path) -> DFTCosts:
    """Mean core-seconds of the labels by their number of atoms; prints what they follow from."""
    records = [record for record in SnapshotStore.open(data).records() if record.kind == "bulk"]
    atoms = sorted({record.n_atoms for record in records})
    labels = [[record.core_seconds for record in records if record.n_atoms == n] for n in atoms]
    means = np.array([np.mean(seconds) for seconds in labels])
    power, factor = exponent(np.array(atoms), means)
    for n, seconds, mean in zip(atoms, labels, means, strict=True):
        print(f"DFT, {data.name}: {n} atoms, {len(seconds)} labels, {mean:.0f} core-seconds")
    print(f"DFT: core-seconds = {factor:.3g} atoms^{power:.2f}\n")
    return DFTCosts(np.array(atoms), means, power, factor)


def report(rows: list[dict[str, Any]], dft: DFTCosts) -> None:
    """Print the tables."""
    print(
        "| atoms (seeds) | points | s | processor s | points/s | GiB | GB | DFT, core-years | speed-up | KS distances |"
    )
    for row in rows:
        expected = dft.at(row["atoms"])
        ks = words(distances(row["counts"], rows[-1]["counts"]))
        print(
            f"| {row['atoms']:,} ({row['seeds']}) | {row['points']:.3g} | {row['seconds']:.1f} | "
            f"{row['processor_seconds']:.1f} | {row['points'] / row['seconds']:.3g} | {row['peak_GiB']:.2f} | "
            f"{row['bytes'] / 1e9:.3g} | {expected / SECONDS_PER_YEAR:.2g} | "
            f"{expected / row['processor_seconds']:.2g} | {ks} |"
        )
    for row in (row for row in rows if row["seeds"] > 1):
        single = np.array([distances(draw, rows[-1]["counts"]) for draw in row["draws"]])
        halves = distances(sum(row["draws"][::2]), sum(row["draws"][1::2]))
        print(f"{row['atoms']:,} atoms: one seed from the largest size at least {words(single.min(axis=0))},")
        print(f"    at most {words(single.max(axis=0))}; every other seed from the rest {words(halves)}")
    for smallest in (0, LARGE):
        fitted = [row for row in rows if row["atoms"] >= smallest]
        atoms = np.array([row["atoms"] for row in fitted])
        powers = {name: exponent(atoms, np.array([row[name] for row in fitted]))[0] for name in MEASURED}
        print(f"from {atoms[0]:,} atoms on:", ", ".join(f"{name} atoms^{power:.3f}" for name, power in powers.items()))


def distances(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Kolmogorov-Smirnov distance of each quantity."""
    return [kolmogorov_smirnov(a, b) for a, b in zip(first, second, strict=True)]


def words(values: Iterable[float]) -> str:
    """Numbers with the names of the quantities."""
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(QUANTITIES, values, strict=True))


def draw(file: Path, model: str, rows: list[dict[str, Any]], dft: DFTCosts) -> None:
    """Draw them."""
    drawn = [
        PredictedSize(
            row["atoms"], row["processor_seconds"], row["peak_GiB"], dict(zip(QUANTITIES, row["counts"], strict=True))
        )
        for row in rows
    ]
    with file.open("xb") as picture:
        draw_scaling(picture, drawn, dft, bin_edges(), f"{model}: predictions with both deviations, two cores")


def main() -> None:
    """Run the supercells that are not there yet, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(CRYSTALS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--atoms", type=int, nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="data set whose labels give DFT's time")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--figure", type=Path, help="PNG to draw, a new file")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for atoms, seed in product(options.atoms, options.seeds):
        if not (options.folder / f"{run_name(options.model, atoms, seed)}.histograms.npy").exists():
            row = run(options.model, options.folder, atoms, seed, options.threads)
            with (options.folder / f"{options.model}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps({name: value for name, value in row.items() if name != "report"}), flush=True)
    if options.report or options.figure:
        rows = measured_sizes(options.model, options.folder)
        dft = dft_costs(options.data or Path(LABELS[options.model]))
        report(rows, dft)
        if options.figure:
            draw(options.figure, options.model, rows, dft)


if __name__ == "__main__":
    main()
