"""Do scalar triple products add anything to the paper's descriptors? Short fits with and without them, all else equal.

The paper says no (appendix C): a normalised triple product is a corner's solid angle (polar sine), which follows from
the dot products of the three directions,

    |u_i . (u_j x u_l)|^2 = 1 + 2 c_ij c_jl c_il - c_ij^2 - c_jl^2 - c_il^2,

of which set II holds c_ij and c_il but not every c_jl. Here i are the M_a nearest atoms of a point and j < l two of the
k nearest atoms of i. The absolute value makes the feature invariant under reflection and exchange of j and l.

    python benchmarks/triple_products.py [--seeds 3]      # data, network and fit of recipes/select-al.toml
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rhoscale.datasets.points import Draw, points_of
from rhoscale.descriptors import ScalarProducts, describe
from rhoscale.recipes.config import read_config
from rhoscale.recipes.select import snapshots_of
from rhoscale.recipes.selection_plan import SelectConfig
from rhoscale.recipes.selection_score import short_fit_error, with_columns
from rhoscale.recipes.training_data import effective_data
from rhoscale.selection import columns_within
from rhoscale.system import System

FloatArray = NDArray[np.float64]

RECIPE = Path(__file__).parent.parent / "recipes" / "select-al.toml"
PAPER = ScalarProducts(("Al",), distances=60, angle_atoms=15, neighbours=3)
MORE_COSINES = replace(PAPER, neighbours=6)


def triple_products(points: FloatArray, system: System, spec: ScalarProducts) -> FloatArray:
    """Absolute normalised triple products [n, M_a k (k - 1) / 2] around points [n, 3], Bohr, of one element's atoms.

    For cells without exact ties, larger than the spheres of M_a atoms and their neighbours.
    """
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3))) @ system.cell
    home = system.scaled_positions @ system.cell
    images = cKDTree((home[:, None, :] + shifts).reshape(-1, 3))
    scaled = points @ np.linalg.inv(system.cell)
    points = (scaled - np.floor(scaled)) @ system.cell
    distances, near = images.query(points, k=spec.angle_atoms)
    away, around = images.query(images.data[near], k=spec.neighbours + 1)  # the first is the atom itself
    heights = 1.0 / np.linalg.norm(np.linalg.inv(system.cell), axis=0)
    reach = distances.max() + away.max()
    if reach >= heights.min():
        raise ValueError(f"the atoms of a triple lie up to {reach:.1f} Bohr away; a cell is {heights.min():.1f} thick")
    u = _directions(images.data[near] - points[:, None, :])
    w = _directions(images.data[around[..., 1:]] - points[:, None, None, :])
    first, second = np.triu_indices(spec.neighbours, 1)
    crossed = np.cross(w[:, :, first], w[:, :, second])
    return np.abs(np.einsum("nac,natc->nat", u, crossed)).reshape(len(points), -1)


def _directions(vectors: FloatArray) -> FloatArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-2)


def errors(config: SelectConfig, seeds: int) -> Mapping[str, tuple[int, list[float]]]:
    """Number of features and validation error of each seed, for each set of features."""
    train, validation = snapshots_of(config)

    def features(system: System, points: FloatArray) -> NDArray[np.float32]:
        triples = triple_products(points, system, PAPER).astype(np.float32)
        return np.concatenate([describe(points, system, MORE_COSINES), triples], axis=1)

    draw = Draw(config.data.spacing, config.data.fraction, seed=config.fit.seed)
    points = points_of(train.snapshots, features, draw)
    grids = [points_of([s], features, Draw(config.data.validation_spacing)) for s in validation.snapshots]
    count = effective_data(config.posterior, train, points, config.data.spacing)
    paper = columns_within(PAPER, MORE_COSINES)
    triples = np.arange(MORE_COSINES.size, points.features.shape[1])
    sets = {
        "sets I and II: 60 distances, 15 x 3 cosines": paper,
        "and 15 x 3 triple products": np.concatenate([paper, triples]),
        "and 15 x 3 more cosines (k = 6)": np.arange(MORE_COSINES.size),
    }
    found: dict[str, tuple[int, list[float]]] = {name: (len(columns), []) for name, columns in sets.items()}
    for seed in range(seeds):
        seeded = replace(config, fit=replace(config.fit, seed=seed))
        for name, columns in sets.items():
            held_out = [with_columns(g, columns) for g in grids]
            found[name][1].append(short_fit_error(seeded, with_columns(points, columns), held_out, count))
            print(f"  seed {seed}, {name}: {found[name][1][-1]:.3e}", flush=True)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="short fits with and without triple products")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each set of features")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = errors(read_config(RECIPE, SelectConfig), arguments.seeds)
    print(f"{'features':46s} {'number':>6s}  RMSE on validation snapshots, e/Bohr^3: mean, each seed")
    for name, (size, values) in found.items():
        each = ", ".join(f"{v:.3e}" for v in values)
        print(f"{name:46s} {size:6d}  {np.mean(values):.3e}   {each}")


if __name__ == "__main__":
    main()
