"""Laws of the compiled EMT: ASE's energies and forces; forces derive from the energy; a kept list changes no bit."""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators import emt as of_ase

from rhoscale.errors import StructureError
from rhoscale.sampling.emt import EMT, SKIN
from rhoscale.sampling.exponential import exponentials
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.verlet_list import near_pairs

SHEAR = np.array([[0.97, 0.05, 0.0], [0.0, 1.04, -0.03], [0.02, 0.0, 1.01]])


def metal(repeats: tuple[int, int, int], shake: float = 0.2, *, cubic: bool = True) -> Atoms:
    atoms = bulk("Al", "fcc", a=3.99, cubic=cubic) * repeats
    atoms.rattle(shake, seed=1)
    return atoms


def strained() -> Atoms:
    atoms = metal((2, 2, 3))
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    return atoms


def vacant() -> Atoms:
    atoms = metal((2, 2, 2))
    del atoms[[3, 17]]
    return atoms


def alloy(elements: tuple[str, ...]) -> Atoms:
    atoms = metal((3, 2, 2), 0.3)
    atoms.set_cell(atoms.cell.array * 0.95, scale_atoms=True)
    atoms.symbols[:] = np.random.default_rng(2).choice(elements, len(atoms))
    return atoms


def far_away() -> Atoms:
    """Atoms that have travelled through the walls of the cell."""
    atoms = metal((2, 2, 2))
    atoms.positions += np.random.default_rng(3).integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    return atoms


def surface() -> Atoms:
    atoms = metal((2, 2, 2))
    atoms.center(vacuum=4.0, axis=2)
    atoms.pbc = (True, True, False)
    return atoms


CELLS: dict[str, Callable[[], Atoms]] = {
    "shaken": lambda: metal((2, 2, 2)),
    "larger than the cutoff": lambda: metal((4, 4, 4)),
    "two atoms among their images": lambda: metal((2, 1, 1), cubic=False),
    "strained": strained,
    "vacant": vacant,
    "Al-Cu": lambda: alloy(("Al", "Cu")),
    "Al-Cu-Ni": lambda: alloy(("Al", "Cu", "Ni")),
    "all": lambda: alloy(("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt", "H", "C", "N", "O")),
    "far away": far_away,
    "surface": surface,
    "cluster": lambda: Atoms("Al3", [(0, 0, 0), (2.5, 0, 0), (0, 9.0, 1.0)]),
}


@pytest.mark.parametrize("name", CELLS)
def test_energies_and_forces_are_those_of_ase(name: str) -> None:
    atoms = CELLS[name]()
    ours, theirs = EMT(), of_ase.EMT()
    forces = theirs.get_forces(atoms)
    assert np.abs(forces).max() > 0.3
    assert ours.get_potential_energy(atoms) == pytest.approx(theirs.get_potential_energy(atoms), rel=1e-13, abs=1e-9)
    np.testing.assert_allclose(ours.get_forces(atoms), forces, atol=1e-10)


def test_a_crystal_of_one_atom_and_an_atom_alone_have_the_energies_of_ase() -> None:
    for atoms in (bulk("Al", a=3.99), bulk("Cu"), Atoms("Al")):
        assert EMT().get_potential_energy(atoms) == pytest.approx(of_ase.EMT().get_potential_energy(atoms), abs=1e-12)


def test_forces_are_the_derivative_of_the_energy() -> None:
    atoms, calculator, step = alloy(("Al", "Cu")), EMT(), 1e-5
    forces = calculator.get_forces(atoms).copy()
    assert np.abs(forces).max() > 1.0
    for atom, axis in ((0, 0), (5, 1), (30, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(calculator.get_potential_energy(moved))
        # pairs that cross the end of the list, where the potential is cut at 7e-6 of itself, would show as more
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 2, 2), (4, 4, 4)])
def test_a_kept_list_of_neighbours_changes_no_bit(repeats: tuple[int, int, int]) -> None:
    kept, atoms = EMT(), metal(repeats)
    for turn in range(12):
        atoms.rattle(0.15 * SKIN, seed=turn)
        np.testing.assert_array_equal(kept.get_forces(atoms), EMT().get_forces(atoms))
    atoms.set_cell(atoms.cell.array * 1.02, scale_atoms=True)
    np.testing.assert_array_equal(kept.get_forces(atoms), EMT().get_forces(atoms))


def test_pairs_are_listed_once_or_twice_in_cells_of_any_size() -> None:
    for atoms in (metal((1, 1, 1)), metal((5, 1, 2)), strained(), far_away(), surface(), metal((4, 4, 4))):
        once, both = near_pairs(atoms, 6.0, twice=False), near_pairs(atoms, 6.0, twice=True)
        assert 2 * len(once) == len(both)
        first = np.repeat(np.arange(len(atoms)), np.diff(both.begins))
        lengths = np.linalg.norm(atoms.positions[both.second] + both.shifts - atoms.positions[first], axis=1)
        assert lengths.max() < 6.0
        images = np.stack(np.meshgrid(*[np.arange(-3, 4) if p else [0] for p in atoms.pbc], indexing="ij"), -1)
        places = atoms.get_positions(wrap=True)
        vectors = places - places[0] + images.reshape(-1, 1, 3) @ atoms.cell.array
        assert np.count_nonzero(np.linalg.norm(vectors, axis=-1) < 6.0) - 1 == both.begins[1]


@pytest.mark.parametrize("place", [np.nan, np.inf, 1e30])
def test_atoms_that_flew_apart_are_an_error(place: float) -> None:
    atoms, calculator = metal((2, 2, 2)), EMT()
    calculator.get_forces(atoms)
    atoms.positions[5, 0] = place
    with pytest.raises(StructureError, match="cells away from its own"):
        calculator.get_forces(atoms)


def test_the_exponential_is_that_of_the_library() -> None:
    values = np.concatenate([np.linspace(-60, 60, 10001), [-1e4, 0.0]])
    expected = np.exp(np.maximum(values, -300))
    exponentials(values)
    np.testing.assert_allclose(values, expected, rtol=1e-15)


def test_other_elements_are_refused() -> None:
    with pytest.raises(StructureError, match="EMT does not know Si; expected H, C"):
        classical_calculator("emt").get_potential_energy(bulk("Si"))
