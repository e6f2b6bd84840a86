"""What an energy costs, before it is computed: counts that pw.x confirms, growth, and refusals."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhoscale.engines.interface import DFTSettings
from rhoscale.errors import InputError
from rhoscale.recipes.energy_cost import GIB, energy_cost, number_of_bands, refuse_over_budget
from rhoscale.recipes.energy_settings import kmesh_of_spacing
from rhoscale.structures.crystal import crystal, supercell
from rhoscale.system import System

COLD = DFTSettings(cutoff=12.5, smearing="cold", width=0.02)
ALUMINIUM = crystal("fcc", ("Al",), 7.65)
counts = st.tuples(*[st.integers(1, 6)] * 3)
shifts = st.tuples(*[st.sampled_from((0, 0.5, 1))] * 3)


@given(counts, shifts)
def test_kpoints_are_the_mesh_less_one_of_each_pair_of_opposites(
    mesh: tuple[int, int, int], shift: tuple[float, float, float]
) -> None:
    steps = [range(int(2 * s), int(4 * n + 2 * s), 4) for n, s in zip(mesh, shift, strict=True)]  # k = step / (4 n)
    kept: set[tuple[int, ...]] = set()
    for point in product(*steps):
        opposite = tuple(-x % (4 * n) for x, n in zip(point, mesh, strict=True))
        if opposite not in kept:
            kept.add(tuple(x % (4 * n) for x, n in zip(point, mesh, strict=True)))
    assert replace(COLD, kmesh=mesh, kshift=shift).kpoints == len(kept)


@pytest.mark.parametrize(
    ("electrons", "smearing", "bands"),
    [(12, "cold", 10), (32, "cold", 20), (96, "cold", 58), (256, "cold", 154), (324, "cold", 194), (32, "fixed", 16)],
)
def test_bands_are_as_many_as_the_program_takes(electrons: float, smearing: str, bands: int) -> None:
    """Counted in runs of pw.x 6.7 on Al4, Si4Ge4, Al32, Si32Ge32 and Al108; the last is Si4Ge4 as an insulator."""
    assert number_of_bands(electrons, replace(COLD, smearing=smearing)) == bands


def test_the_cost_of_large_cells_grows_with_the_third_power_of_their_size() -> None:
    settings = replace(COLD, kmesh=(1, 1, 1))
    seconds = [
        energy_cost(supercell(ALUMINIUM, (n, 1, 1)), settings, 12.0 * n).core_seconds for n in (1000, 2000, 4000)
    ]
    assert seconds[0] > 1e5
    assert seconds[1] / seconds[0] == pytest.approx(8.0, rel=0.05)
    assert seconds[2] / seconds[1] == pytest.approx(8.0, rel=0.05)


def test_the_gamma_point_costs_half_a_kpoint_and_runs_add_up() -> None:
    cell = supercell(ALUMINIUM, (2, 2, 2))
    gamma = energy_cost(cell, COLD, 96.0)
    point = energy_cost(cell, replace(COLD, kshift=(1, 1, 1)), 96.0)
    assert gamma.kpoints == point.kpoints == 1
    assert point.plane_waves == pytest.approx(2 * gamma.plane_waves, abs=1)
    assert energy_cost(cell, COLD, 96.0, runs=7).core_seconds == pytest.approx(7 * gamma.core_seconds)
    assert energy_cost(cell, COLD, 96.0, runs=7).memory == gamma.memory


def test_the_estimate_holds_for_runs_that_were_measured() -> None:
    """Core-seconds of pw.x 6.7 (docs/energies.md): 32 atoms at 25 Ry, 5 x 5 x 5; 108 atoms at 15 Ry, Gamma."""
    labels = energy_cost(supercell(ALUMINIUM, (2, 2, 2)), replace(COLD, kmesh=(5, 5, 5)), 96.0)
    assert (labels.kpoints, labels.bands) == (63, 58)
    assert labels.core_seconds == pytest.approx(143.4, rel=0.5)
    assert labels.memory == pytest.approx(565e6, rel=0.3)
    gamma = energy_cost(supercell(ALUMINIUM, (3, 3, 3)), replace(COLD, cutoff=7.5), 324.0)
    assert gamma.core_seconds == pytest.approx(8.0, rel=0.7)


def test_what_is_over_the_budget_is_refused_with_what_to_do() -> None:
    cost = energy_cost(supercell(ALUMINIUM, (4, 4, 4)), replace(COLD, kmesh=(3, 3, 3)), 768.0)
    refuse_over_budget(cost, 1e6, 1e4 * GIB)
    with pytest.raises(InputError, match=r"core-minutes.*at most 1 core-minutes.*third power.*raise --budget"):
        refuse_over_budget(cost, 1.0, 1e4 * GIB)
    with pytest.raises(InputError, match=r"at most 0\.1 GiB; raise --memory"):
        refuse_over_budget(cost, 1e6, 0.1 * GIB)


@given(st.floats(4.0, 40.0), st.floats(0.05, 0.5), st.integers(0, 1000))
def test_the_mesh_is_the_coarsest_of_the_spacing(length: float, spacing: float, seed: int) -> None:
    skew = np.random.default_rng(seed).uniform(-0.2, 0.2, (3, 3))
    system = System((np.eye(3) + skew) * length, np.zeros((1, 3)), np.array(["Al"]))
    reciprocal = np.linalg.norm(2 * np.pi * np.linalg.inv(system.cell).T, axis=1)
    for n, width in zip(kmesh_of_spacing(system, spacing), reciprocal, strict=True):
        assert width / n <= spacing * (1 + 1e-6)
        assert n == 1 or width / (n - 1) > spacing


def test_the_default_mesh_is_that_of_the_labels() -> None:
    assert kmesh_of_spacing(supercell(ALUMINIUM, (2, 2, 2)), 0.0825) == (5, 5, 5)
