"""Points a second and core of the scalar-product descriptors, beside the paper's.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/descriptors.py

Processor time, one thread, best of several runs, so that other work on the machine counts as little as possible.
The paper: 4,300 points/s a core (175^3 points in 34.72 s on 36 cores, appendix B). ``bispectrum.py`` puts MALA's
descriptors beside them.
"""

from __future__ import annotations

import itertools
import time

import numpy as np

from rhoscale.descriptors import ScalarProducts, describer
from rhoscale.system import System

PAPER = 175**3 / 34.72 / 36
RUNS = 7

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
DIAMOND = np.concatenate([FCC, FCC + 0.25])


def crystal(basis: np.ndarray, a: float, repeats: int, spread: float, symbols: tuple[str, ...]) -> System:
    """A cubic crystal with Gaussian displacements, Bohr, and random species."""
    rng = np.random.default_rng(0)
    corners = np.array(list(itertools.product(range(repeats), repeat=3)))
    positions = (corners[:, None, :] + basis[None, :, :]).reshape(-1, 3) * a
    positions += rng.normal(0.0, spread, positions.shape)
    return System(np.eye(3) * a * repeats, positions, rng.permuted(np.resize(symbols, len(positions))))


def block(spacing: float, count: int = 40) -> np.ndarray:
    """A cubic block of a grid, Bohr."""
    return np.array(list(itertools.product(range(count), repeat=3))) * spacing + 3.0


def rate(system: System, spec: ScalarProducts, points: np.ndarray) -> float:
    """Points a second of processor time."""
    prepared = describer(system, spec)
    prepared(points, threads=1)
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        prepared(points, threads=1)
        seconds.append(time.process_time() - start)
    return len(points) / min(seconds)


def main() -> None:
    """Print the table."""
    al = ScalarProducts(("Al",))
    thermal = crystal(FCC, 7.65, 8, 0.35, ("Al",))
    alloy = crystal(DIAMOND, 10.5, 6, 0.3, ("Ge", "Si"))
    fine = block(0.3)
    few = np.random.default_rng(1).permutation(len(fine))[: len(fine) // 10]
    cases = {
        "Al, 60 + 45 features, grid 0.30 Bohr": (thermal, al, fine),
        "Al, 60 + 45 features, grid 0.51 Bohr": (thermal, al, block(0.51)),
        "Al, 60 + 45 features, grid 0.75 Bohr": (thermal, al, block(0.75)),
        "Al, 60 + 45 features, a tenth of 0.30 Bohr": (thermal, al, fine[few]),
        "Al, 60 distances only, grid 0.51 Bohr": (thermal, ScalarProducts(("Al",), 60, 0), block(0.51)),
        "Si-Ge, 255 features, grid 0.40 Bohr": (alloy, ScalarProducts(("Ge", "Si")), block(0.4)),
        "Al without thermal motion (all tied), 0.32 Bohr": (crystal(FCC, 7.65, 4, 0.0, ("Al",)), al, block(7.65 / 24)),
    }
    print(f"{'one core':50s} {'points/s':>10s} {'/ paper':>8s}")
    for name, (system, spec, points) in cases.items():
        speed = rate(system, spec, points)
        print(f"{name:50s} {speed:10,.0f} {speed / PAPER:8.0f}", flush=True)


if __name__ == "__main__":
    main()
