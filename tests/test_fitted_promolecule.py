"""A sum of spherical atoms fitted to labels: nearer to them than isolated atoms, each with its own charge."""

from __future__ import annotations

import numpy as np
import pytest

from rhoscale.density import Density
from rhoscale.grid import Grid
from rhoscale.promolecule import AtomicDensityTable, fit_promolecule, promolecule, promolecule_fourier
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System

CUTOFF = 20.0  # Hartree


def atom(element: str, valence: float, decay: float) -> AtomicDensityTable:
    identity = PseudopotentialIdentity(element, f"{element}-test", valence, "0" * 64)
    return AtomicDensityTable.tabulate(
        identity, lambda r: valence * (decay / np.pi) ** 1.5 * np.exp(-decay * r**2), tolerance=1e-12
    )


ATOMS = {"Ge": atom("Ge", 4.0, 0.5), "Si": atom("Si", 4.0, 0.8)}
IDENTITIES = {e: table.pseudopotential for e, table in ATOMS.items()}


def alloy(seed: int, length: float = 11.0) -> System:
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    scaled = np.concatenate([corners, corners + 0.25]) + rng.normal(0.0, 0.01, (8, 3))
    return System(length * np.eye(3), length * scaled, ["Si", "Ge"] * 4)


def labelled(system: System) -> tuple[System, FourierDensity]:
    return system, promolecule_fourier(system, ATOMS, CUTOFF)


def test_labels_that_are_sums_of_atoms_give_the_atoms_back() -> None:
    tables = fit_promolecule([labelled(alloy(seed)) for seed in range(3)], IDENTITIES)
    unseen = alloy(7, length=10.6)
    grid = Grid(unseen.cell, (20, 20, 20))
    expected = promolecule(unseen, ATOMS, grid.points())
    found = promolecule(unseen, tables, grid.points())
    assert np.abs(found - expected).mean() < 2e-3 * expected.mean()


def test_each_atom_keeps_its_valence_whatever_the_labels_say() -> None:
    system = alloy(1)
    noise = np.random.default_rng(0).normal(0.0, 0.01, (16, 16, 16))
    values = promolecule(system, ATOMS, Grid(system.cell, (16, 16, 16)).points()).reshape(16, 16, 16) + noise
    label = FourierDensity.from_density(Density(Grid(system.cell, (16, 16, 16)), values), 8.0)
    tables = fit_promolecule([(system, label)], IDENTITIES)
    for table in tables.values():
        assert table.form_factor(np.zeros(1))[0] == pytest.approx(table.pseudopotential.valence, rel=1e-9)
