"""The triple products of the benchmark: their squares follow from the cosines between their vectors."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from rhoscale.descriptors import ScalarProducts
from rhoscale.descriptors.scalar_products.reference import nearest
from rhoscale.system import System
from toy_model import thermal_aluminium

ROOT = Path(__file__).parent.parent


def test_triple_products_of_the_benchmark_follow_from_cosines() -> None:
    source = spec_from_file_location("triple_products", ROOT / "benchmarks" / "triple_products.py")
    assert source is not None
    assert source.loader is not None
    benchmark = module_from_spec(source)
    source.loader.exec_module(benchmark)
    cell = thermal_aluminium(1, amplitude=0.3)
    sites = np.concatenate([cell.positions + 7.65 * np.array(shift) for shift in np.ndindex(2, 2, 2)])
    sites += np.random.default_rng(3).normal(0, 0.1, sites.shape)
    system = System(15.3 * np.eye(3), sites, ["Al"] * 32)
    points = np.random.default_rng(4).random((5, 3)) * 15.3
    found = benchmark.triple_products(points, system, ScalarProducts(("Al",), 20, 4, 3)).reshape(5, 4, 3)
    assert np.ptp(found) > 0.5
    for point, products in zip(points, found, strict=True):
        for vector, each in zip(nearest(system, "Al", point, 4), products, strict=True):
            around = vector + nearest(system, "Al", point + vector, 3, without_itself=True)
            for pair, value in zip(([0, 1], [0, 2], [1, 2]), each, strict=True):
                three = np.array([vector, *around[pair]])
                u = three / np.linalg.norm(three, axis=1, keepdims=True)
                assert value**2 == pytest.approx(np.linalg.det(u @ u.T), abs=1e-9)
