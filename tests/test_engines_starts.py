"""Runs that start from a given density: the same answer in fewer cycles, first in fewer waves where that pays."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from real_engines import MESH, cubic_aluminium, dft_engines, made
from rhoscale.engines.espresso_run import RunStart
from rhoscale.engines.interface import DFTSettings
from rhoscale.system import System


@dft_engines
@pytest.mark.dft
@pytest.mark.parametrize("kmesh", [(1, 1, 1), (2, 2, 2)])
def test_starting_from_the_answer_takes_fewer_cycles_to_the_same_answer(
    name: str, kmesh: tuple[int, int, int], tmp_path: Path
) -> None:
    settings = DFTSettings(cutoff=7.5, kmesh=kmesh, smearing="cold", width=0.04, density_cutoff=40.0)
    engine, system = made(name, settings, tmp_path), cubic_aluminium()
    first = engine.ground_state(system)
    again = engine.ground_state(system, initial_density=first.density)
    assert again.iterations <= first.iterations - 3
    assert again.energies["total"] == pytest.approx(first.energies["total"], abs=1e-7)


def many_atoms(seed: int) -> System:
    """Sixteen atoms, so that a given density is first made use of in fewer waves."""
    cells = np.array([[x, y, 0] for x in (0, 1) for y in (0, 1)])
    sites = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    positions = 7.65 * (cells[:, None] + sites).reshape(-1, 3)
    shifts = np.random.default_rng(seed).normal(0, 0.2, (16, 3))
    return System(np.diag([15.3, 15.3, 7.65]), positions + shifts, np.array(["Al"] * 16))


def diagonalisations(folder: Path) -> list[float]:
    """Average numbers of iterations of the eigensolver that a run's log tells."""
    return [float(n) for n in re.findall(r"avg # of iterations = *(\S+)", (folder / "pw.out").read_text())]


@dft_engines
@pytest.mark.dft
def test_a_given_density_is_first_made_use_of_in_fewer_waves(name: str, tmp_path: Path) -> None:
    """Orbitals and change of the density bring the run itself nearer to its end, which is the same."""
    settings = replace(MESH, cutoff=10.0, kmesh=(1, 1, 2), density_cutoff=40.0, convergence=1e-9)
    run = made(name, settings, tmp_path)._run  # type: ignore[attr-defined]
    system = many_atoms(0)
    right, folder = run.kept_ground_state(system, RunStart())
    wrong = run.ground_state(many_atoms(1), None).density
    part = right.density.coefficients + 0.03 * (wrong.coefficients - right.density.coefficients)
    given = replace(right.density, coefficients=part)
    alone, plain = run.kept_ground_state(system, RunStart(given))
    first, start, _ = run._nearer_start(system, given)
    assert start.density is not given
    nearer, after = run.kept_ground_state(system, start)
    assert nearer.energies["total"] == pytest.approx(right.energies["total"], abs=1e-7)
    assert nearer.iterations < alone.iterations
    assert sum(diagonalisations(after)) < 0.8 * sum(diagonalisations(plain))
    assert len({folder, plain, first, after}) == 4
    whole = run.ground_state(system, given)
    assert whole.iterations == nearer.iterations
    assert whole.energies["total"] == pytest.approx(nearer.energies["total"], abs=1e-10)
    assert set(tmp_path.iterdir()) == {folder, plain, first, after}

    _, start, _ = run._nearer_start(system, right.density)
    assert start.density is right.density  # nearer than fewer waves can tell


@dft_engines
@pytest.mark.dft
@pytest.mark.parametrize(("cutoff", "runs"), [(5.0, 1), (10.0, 2)])
def test_few_waves_are_not_made_fewer(name: str, cutoff: float, runs: int, tmp_path: Path) -> None:
    settings = replace(MESH, cutoff=cutoff, kmesh=(1, 1, 2), density_cutoff=4 * cutoff)
    run = replace(made(name, settings, tmp_path)._run, keep_files=True)  # type: ignore[attr-defined]
    given = run.ground_state(many_atoms(1), None).density
    before = len(list(tmp_path.iterdir()))
    run.ground_state(many_atoms(0), given)
    assert len(list(tmp_path.iterdir())) == before + runs
