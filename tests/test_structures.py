"""Laws of the builders: composition, distances, volume, periodic closure."""

import itertools
from collections import Counter

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.ase_bridge import to_atoms
from rhoscale.errors import StructureError
from rhoscale.structures.alloy import random_alloy
from rhoscale.structures.crystal import LATTICES, crystal, supercell
from rhoscale.structures.distances import distances_from, shortest_distance
from rhoscale.structures.strain import apply_strain, strain_matrix
from rhoscale.structures.vacancy import divacancy, remove_atoms, vacancies
from rhoscale.system import System

A = 7.65
ELEMENTS = {"zincblende": ["Si", "Ge"], "rocksalt": ["Na", "Cl"], "cesium-chloride": ["Cs", "Cl"]}
# Atoms in the conventional cell; nearest distance in lattice constants (C. Kittel, Introduction to Solid State Physics)
KNOWN = {
    "sc": (1, 1.0),
    "bcc": (2, np.sqrt(3) / 2),
    "fcc": (4, 1 / np.sqrt(2)),
    "diamond": (8, np.sqrt(3) / 4),
    "zincblende": (8, np.sqrt(3) / 4),
    "rocksalt": (8, 0.5),
    "cesium-chloride": (2, np.sqrt(3) / 2),
}


def aluminium(n: int = 2) -> System:
    return supercell(crystal("fcc", ["Al"], A), (n, n, n))


@pytest.mark.parametrize("lattice", LATTICES)
def test_crystals_have_the_known_atoms_and_nearest_distance(lattice: str) -> None:
    cell = crystal(lattice, ELEMENTS.get(lattice, ["Al"]), A)
    count, distance = KNOWN[lattice]
    assert len(cell) == count
    assert shortest_distance(cell) == pytest.approx(distance * A, rel=1e-12)


@pytest.mark.parametrize("lattice", ELEMENTS)
def test_the_neighbours_in_a_binary_crystal_are_of_the_other_element(lattice: str) -> None:
    cell = supercell(crystal(lattice, ELEMENTS[lattice], A), (2, 2, 2))
    distances = distances_from(cell, 0)
    nearest = np.flatnonzero(distances < distances.min() * 1.01)
    assert len(nearest) == {"zincblende": 4, "rocksalt": 6, "cesium-chloride": 8}[lattice]
    assert set(cell.species[nearest]) == set(cell.species) - {cell.species[0]}


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(LATTICES), st.tuples(*[st.integers(1, 3)] * 3))
def test_a_supercell_repeats_atoms_volume_and_surroundings(lattice: str, repeats: tuple[int, int, int]) -> None:
    cell = crystal(lattice, ELEMENTS.get(lattice, ["Al"]), A)
    whole = supercell(cell, repeats)
    assert len(whole) == len(cell) * np.prod(repeats)
    assert whole.volume == pytest.approx(cell.volume * np.prod(repeats))
    assert shortest_distance(whole) == pytest.approx(shortest_distance(cell))


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_an_alloy_has_its_composition_within_half_an_atom(fraction: float, seed: int) -> None:
    sites = supercell(crystal("diamond", ["Si"], 10.3), (2, 2, 2))
    alloy = random_alloy(sites, {"Si": 1 - fraction, "Ge": fraction}, np.random.default_rng(seed))
    assert abs(np.count_nonzero(alloy.species == "Ge") - 64 * fraction) <= 0.5 + 1e-9
    assert np.array_equal(alloy.positions, sites.positions)


def test_an_alloy_depends_on_its_seed_alone() -> None:
    sites = supercell(crystal("diamond", ["Si"], 10.3), (2, 2, 2))
    one, same, other = (
        random_alloy(sites, {"Si": 0.5, "Ge": 0.5}, np.random.default_rng(seed)).species for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_vacancies_leave_the_other_atoms_where_they_were() -> None:
    whole = aluminium()
    rest = vacancies(whole, 3, np.random.default_rng(0))
    assert len(rest) == 29
    kept = {tuple(p) for p in rest.positions.tolist()}
    assert kept < {tuple(p) for p in whole.positions.tolist()}


@pytest.mark.parametrize("seed", range(5))
def test_the_two_atoms_of_a_divacancy_were_neighbours(seed: int) -> None:
    whole = aluminium()
    rest = divacancy(whole, np.random.default_rng(seed))
    kept = {tuple(p) for p in rest.positions.tolist()}
    gone = [i for i, p in enumerate(whole.positions.tolist()) if tuple(p) not in kept]
    assert len(gone) == 2
    assert distances_from(whole, gone[0])[gone[1]] == pytest.approx(A / np.sqrt(2))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-0.1, 0.1), min_size=6, max_size=6))
def test_strain_moves_cell_and_atoms_alike(strain: list[float]) -> None:
    whole = aluminium()
    deformed = apply_strain(whole, strain)
    assert deformed.volume == pytest.approx(whole.volume * np.linalg.det(np.eye(3) + strain_matrix(strain)))
    wrapped = (deformed.scaled_positions - whole.scaled_positions + 0.5) % 1.0 - 0.5
    assert np.abs(wrapped).max() < 1e-12


def test_a_number_as_strain_stretches_all_distances_by_it() -> None:
    assert shortest_distance(apply_strain(aluminium(), 0.04)) == pytest.approx(1.04 * A / np.sqrt(2))
    assert np.array_equal(strain_matrix(0.04), strain_matrix([0.04, 0.04, 0.04, 0, 0, 0]))


def test_distances_see_across_cell_faces() -> None:
    cell = System(np.eye(3) * 10, np.array([[0.5, 5, 5], [9.5, 5, 5]]), np.array(["Al", "Al"]))
    assert distances_from(cell, 0)[1] == pytest.approx(1.0)
    assert distances_from(cell, 0)[0] == pytest.approx(10.0)


def test_structures_that_cannot_be_are_refused() -> None:
    whole = aluminium()
    rng = np.random.default_rng(0)
    for make in (
        lambda: crystal("fcd", ["Al"], A),
        lambda: crystal("fcc", ["Al", "Mg"], A),
        lambda: crystal("fcc", ["Al"], -1.0),
        lambda: supercell(whole, (0, 1, 1)),
        lambda: random_alloy(whole, {"Al": 0.5, "Mg": 0.4}, rng),
        lambda: random_alloy(whole, {"Al": 1.5, "Mg": -0.5}, rng),
        lambda: vacancies(whole, 32, rng),
        lambda: divacancy(vacancies(whole, 30, rng), rng),
        lambda: remove_atoms(whole, list(range(32))),
        lambda: apply_strain(whole, -1.0),
        lambda: strain_matrix([0.1, 0.2]),
    ):
        with pytest.raises(StructureError):
            make()


@pytest.mark.parametrize("lattice", LATTICES)
def test_primitive_cells_make_the_same_crystal(lattice: str) -> None:
    elements = ELEMENTS.get(lattice, ["Al"])
    conventional, small = (crystal(lattice, elements, 10.0, primitive=p) for p in (False, True))
    assert len(small) == (1 if lattice in ("sc", "bcc", "fcc") else 2)
    assert small.volume / len(small) == pytest.approx(conventional.volume / len(conventional))
    seen = []
    for system in (conventional, small):
        first, second, distances = neighbor_list("ijd", to_atoms(system), 6.0)
        kinds = np.sort(np.stack([system.species[first], system.species[second]]), axis=0).T
        seen.append(Counter((a, b, round(d, 5)) for (a, b), d in zip(kinds, distances, strict=True)))
    assert {key: n / len(conventional) for key, n in seen[0].items()} == pytest.approx(
        {key: n / len(small) for key, n in seen[1].items()}
    )


def test_supercells_of_a_primitive_cell_keep_images_farther_away() -> None:
    round_cell = supercell(crystal("diamond", ["Si"], 10.0, primitive=True), (4, 4, 4))
    assert len(round_cell) == 128
    shifts = [np.array(s) @ round_cell.cell for s in itertools.product((-1, 0, 1), repeat=3) if any(s)]
    assert min(np.linalg.norm(s) for s in shifts) == pytest.approx(1.1225 * round_cell.volume ** (1 / 3), rel=1e-3)
