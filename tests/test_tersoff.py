"""Laws of the compiled potential: ASE's energies and forces; forces are the derivative of the energy."""

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.tersoff import Tersoff, TersoffParameters

from rhoscale.errors import StructureError
from rhoscale.sampling.forces import classical_calculator
from rhoscale.sampling.tersoff import PARAMETERS, SKIN, Tersoff1989, pair_parameters


def of_ase() -> Tersoff:
    """ASE's calculator with the same parameters."""
    entries = {}
    for i, j, k in product(PARAMETERS, repeat=3):
        beta, n, c, d, h = PARAMETERS[i][4:9]
        A, B, lam, mu, _, _ = pair_parameters(i, j)
        # In the three-body term the cutoff is that of the pair (i, k), in the pair term that of (i, j); ASE reads the
        # pair parameters where j = k.
        inner, outer = pair_parameters(i, k)[4:]
        pair = {"A": A, "B": B, "lambda1": lam, "lambda2": mu} if j == k else dict.fromkeys(PAIR, 0.0)
        cut = {"R": 0.5 * (inner + outer), "D": 0.5 * (outer - inner)}
        entries[i, j, k] = TersoffParameters(
            m=3.0, gamma=1.0, lambda3=0.0, c=c, d=d, h=h, n=n, beta=beta, **pair, **cut
        )
    return Tersoff(entries)


PAIR = ("A", "B", "lambda1", "lambda2")


def alloy(seed: int, elements: tuple[str, ...], shake: float, stretch: float = 1.0) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.5 * stretch, cubic=True)
    atoms.symbols[:] = np.random.default_rng(seed).choice(elements, len(atoms))
    atoms.rattle(shake, seed=seed)
    return atoms


@pytest.mark.parametrize("shake", [0.05, 0.4])
@pytest.mark.parametrize("elements", [("Si",), ("Si", "Ge"), ("C", "Si")])
def test_energies_and_forces_are_those_of_ase(elements: tuple[str, ...], shake: float) -> None:
    atoms = alloy(1, elements, shake, 0.85 if "C" in elements else 1.0)
    ours, theirs = Tersoff1989(), of_ase()
    assert ours.get_potential_energy(atoms) == pytest.approx(theirs.get_potential_energy(atoms), rel=1e-12)
    forces = theirs.get_forces(atoms)
    assert np.abs(forces).max() > 0.3
    np.testing.assert_allclose(ours.get_forces(atoms), forces, atol=1e-9)


def test_forces_are_the_derivative_of_the_energy() -> None:
    atoms, calculator, step = alloy(2, ("Si", "Ge", "C"), 0.3), Tersoff1989(), 1e-5
    forces = calculator.get_forces(atoms).copy()
    assert np.abs(forces).max() > 1.0
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(calculator.get_potential_energy(moved))
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-6)


def test_a_kept_list_of_neighbours_changes_no_bit() -> None:
    kept, atoms = Tersoff1989(), alloy(3, ("Si", "Ge"), 0.1)
    for turn in range(12):
        atoms.rattle(0.15 * SKIN, seed=turn)
        np.testing.assert_array_equal(kept.get_forces(atoms), Tersoff1989().get_forces(atoms))
    atoms.set_cell(atoms.cell.array * 1.02, scale_atoms=True)
    np.testing.assert_array_equal(kept.get_forces(atoms), Tersoff1989().get_forces(atoms))


def test_other_elements_are_refused_and_recipes_can_name_it() -> None:
    with pytest.raises(StructureError, match="does not know Al; expected C, Si, Ge"):
        Tersoff1989().get_potential_energy(bulk("Al"))
    for name in ("tersoff", "rhoscale.sampling.tersoff:Tersoff1989"):  # the second is in the provenance of older files
        assert isinstance(classical_calculator(name), Tersoff1989)
