"""Points a second and core of the smooth descriptors, beside what the arithmetic alone would need.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/smooth.py
    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/smooth.py "degree 9"  # only cases whose names hold this

Processor time, one thread, best of several runs. The ceiling is a float32 matrix product (NumPy) in the same run;
operations are counted for atoms inside the cutoffs only, so that what sixteen points share in vain counts as loss.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rhoscale.descriptors import Smooth, describer
from rhoscale.descriptors.bricks import cut_into_bricks
from rhoscale.descriptors.smooth import AngularSet, RadialSet, SurroundingsSet
from rhoscale.recipes.operations import smooth_operations
from rhoscale.system import System

RUNS = 7
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
DIAMOND = np.concatenate([FCC, FCC + 0.25])


@dataclass(frozen=True)
class Case:
    """A structure, a specification and the points to describe."""

    name: str
    system: System
    spec: Smooth
    points: np.ndarray


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


def seconds(task: Callable[[], object]) -> float:
    """Least processor time of several runs, of more where they are short."""
    task()
    times: list[float] = []
    while len(times) < RUNS or sum(times) < 1.0:
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


def ceiling(size: int = 1024) -> float:
    """Operations a second of a float32 matrix product."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    return 2 * size**3 / seconds(lambda: a @ a)


def main(part: str = "") -> None:
    """Print the table of the cases whose names hold ``part``."""
    al, wide = Smooth(("Al",)), Smooth.wide(("Al",))
    sums = Smooth(("Al",), angular=())
    spectrum = Smooth(("Al",), radial=(), angular=(AngularSet((8, 8, 6, 4, 3), 9.0),))
    bundled = (AngularSet((10, 10, 10, 9, 8, 7, 6, 5, 4, 4), 11.0),)  # of the models al-pbe and sige-pbe
    about = Smooth(
        ("Al",), angular=(AngularSet((10, 10, 10, 9, 8), 11.0),), surroundings=SurroundingsSet(4, 8.0, 2, 9.0)
    )
    alike = Smooth(
        ("Ge", "Si"), angular=(AngularSet((10, 10, 8, 6, 4), 11.0),), surroundings=SurroundingsSet(5, 8.0, 3, 9.0)
    )
    near = Smooth(
        ("Al",), angular=(AngularSet((10, 10, 8, 6, 4), 11.0),), surroundings=SurroundingsSet(5, 8.0, 3, 11.0)
    )
    far = Smooth(("Al",), angular=(AngularSet((8, 8, 6, 4), 11.0),), surroundings=SurroundingsSet(8, 11.0, 4, 12.0))
    prior = Smooth(("Al",), radial=(RadialSet(16, 14.0),), angular=())
    thermal = crystal(FCC, 7.65, 8, 0.35, ("Al",))
    alloy = crystal(DIAMOND, 10.5, 6, 0.3, ("Ge", "Si"))
    fine = block(0.3)
    few = np.random.default_rng(1).permutation(len(fine))[: len(fine) // 10]
    cases = [
        Case("Al, default, grid 0.30 Bohr", thermal, al, fine),
        Case("Al, default, grid 0.51 Bohr", thermal, al, block(0.51)),
        Case("Al, default, grid 0.65 Bohr", thermal, al, block(0.65)),
        Case("Al, default, grid 0.75 Bohr", thermal, al, block(0.75)),
        Case("Al, default, a tenth of 0.30 Bohr", thermal, al, fine[few]),
        Case("Al, radial sums only, grid 0.51 Bohr", thermal, sums, block(0.51)),
        Case("Al, 16 long radial sums, grid 0.51 Bohr", thermal, prior, block(0.51)),
        Case("Al, power spectrum only, grid 0.51 Bohr", thermal, spectrum, block(0.51)),
        Case("Al, wide, grid 0.51 Bohr", thermal, wide, block(0.51)),
        Case("Si-Ge, default, grid 0.51 Bohr", alloy, Smooth(("Ge", "Si")), block(0.51)),
        Case("Al, to degree 9, grid 0.51 Bohr", thermal, Smooth(("Al",), angular=bundled), block(0.51, 16)),
        Case("Al, to degree 9, grid 0.64 Bohr", thermal, Smooth(("Al",), angular=bundled), block(0.64, 16)),
        Case("Al, to degree 9, grid 0.96 Bohr", thermal, Smooth(("Al",), angular=bundled), block(0.96, 16)),
        Case("Si-Ge, to degree 9, grid 0.51 Bohr", alloy, Smooth(("Ge", "Si"), angular=bundled), block(0.51, 16)),
        Case("Si-Ge, to degree 9, grid 0.76 Bohr", alloy, Smooth(("Ge", "Si"), angular=bundled), block(0.76, 16)),
        Case("Al, surroundings, grid 0.96 Bohr", thermal, about, block(0.96, 16)),
        Case("Al, surroundings to 8 Bohr, grid 0.96 Bohr", thermal, near, block(0.96, 16)),
        Case("Al, surroundings to 11 Bohr, grid 0.96 Bohr", thermal, far, block(0.96, 16)),
        Case("Si-Ge, surroundings, grid 0.76 Bohr", alloy, alike, block(0.76, 16)),
    ]
    top = ceiling()
    print(f"ceiling: {top / 1e9:.0f} Gflop/s")
    print(
        f"{'one core':44s} {'features':>8s} {'points/s':>10s} {'ns':>6s} {'order ns':>9s} {'flop':>7s} "
        f"{'of ceiling':>10s}"
    )
    for case in (case for case in cases if part in case.name):
        describe = describer(case.system, case.spec)
        points = case.points
        each = seconds(lambda: describe(points, threads=1)) / len(points)  # noqa: B023 - called at once
        order = seconds(lambda: cut_into_bricks(points)) / len(points)  # noqa: B023
        work = smooth_operations(case.spec, len(case.system) / case.system.volume)
        print(
            f"{case.name:44s} {case.spec.size:8d} {1 / each:10,.0f} {each * 1e9:6.0f} {order * 1e9:9.0f} "
            f"{work:7,.0f} {work / each / top:10.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
