"""Blocks of a stored prediction on its fine grid: what reading costs, and the sharp part beside the machine's ceiling.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/refined_blocks.py runs/scaling/al-pbe-97556.zarr

Best of several rounds, processor time. The bound counts the products of 25 harmonics with 14 radial functions for each
atom within reach of a point, in double precision, at the speed of NumPy's matrix product in the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from rhoscale import StoredField, open_density
from rhoscale.prediction.atoms_around import atoms_around
from rhoscale.prediction.tiles import Tile
from rhoscale.sharp import SharpSum
from rhoscale.sharp.harmonics import HARMONICS
from rhoscale.sharp.part import FUNCTIONS, REACH

ROUNDS = 5
EDGES = (24, 48, 96, 192)
SIZE = 1500  # of the matrices


def seconds(work: Callable[[], object]) -> float:
    """Least processor time of several rounds; the first call compiles."""
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def reading(field: StoredField, edge: int) -> float:
    """Seconds a point of a block in a corner."""
    block = slice(0, edge), slice(0, edge), slice(0, edge)
    return seconds(lambda: field[block]) / edge**3


def sharp_part(field: StoredField, edge: int) -> None:
    """Surroundings an atom, sum a point, bound."""
    atoms, part = field.store.cell_list(), field.store.sharp
    if part is None:
        raise SystemExit(f"{sys.argv[1]} has no sharp part; expected a prediction by a model that has one")
    tile = Tile(0, (0, 0, 0), (edge, edge, edge))
    near = atoms_around(atoms, field.store.elements, field.grid, tile, part.halo)
    found = SharpSum.of_cluster(near, part)
    points = field.grid.points(tile.start, tile.stop)
    prepared = seconds(lambda: SharpSum.of_cluster(near, part)) / len(near)
    summed = seconds(lambda: found.at(points)) / len(points)
    matrix = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    ceiling = 2 * SIZE**3 / seconds(lambda: matrix @ matrix)
    in_reach = len(field.store.cell_list().positions) / field.grid.volume * 4 / 3 * np.pi * REACH**3
    bound = in_reach * 2 * HARMONICS * FUNCTIONS / ceiling
    print(f"ceiling {ceiling / 1e9:.0f} Gflop/s; {in_reach:.1f} atoms in reach of a point")
    print(f"surroundings and coefficients: {prepared * 1e6:.1f} microseconds an atom")
    print(f"sum over atoms: {summed * 1e9:.0f} ns a point, {bound / summed:.0%} of the bound {bound * 1e9:.0f} ns")


def main() -> None:
    """Print the tables."""
    field = open_density(sys.argv[1])
    shape = ", ".join(map(str, field.shape))
    print(f"fine grid {shape} from {', '.join(map(str, field.store.plan.compute_shape))}")
    sharp_part(field, 48)
    for edge in EDGES:
        if edge > min(field.shape):
            continue
        each = [reading(one, edge) * 1e9 for one in (field, field.total)]
        print(f"{edge}^3 points: density {each[0]:,.0f} ns a point, total deviation {each[1]:,.0f}")


if __name__ == "__main__":
    main()
