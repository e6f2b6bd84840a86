"""Laws of the isolated pseudo-atom and of its exchange-correlation functional."""

import shutil

import numpy as np
import pytest

from rhoscale.engines.atom import RadialBasis, RadialProblem, solve_atom
from rhoscale.engines.atomic_density import atomic_density_table
from rhoscale.engines.espresso_program import EspressoProgram
from rhoscale.engines.gth import GTH, gth, gth_elements, gth_valences
from rhoscale.engines.interface import DFTSettings
from rhoscale.engines.pbe import pbe_derivatives, pbe_energy_density
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.errors import EngineError
from rhoscale.promolecule import promolecule_fourier
from rhoscale.system import System

BASIS = RadialBasis(60)
SHELLS = [("H", 1), ("Na", 1), ("Mg", 10), ("Al", 3), ("Si", 4), ("Ge", 4), ("Cu", 11), ("Ce", 12), ("U", 32)]


def bare_nucleus(element: str, occupations: tuple[int, ...], radius: float) -> GTH:
    """An atom with all its electrons: a nucleus with a Gaussian charge of a small radius."""
    return GTH(element, sum(occupations), occupations, radius, (), (), "")


def uniform_correlation(rs: float) -> float:
    """Correlation energy of an electron in the uniform gas, by taking Slater's exchange away."""
    n = 3 / (4 * np.pi * rs**3)
    exchange = -3 / (4 * np.pi) * (3 * np.pi**2 * n) ** (1 / 3)
    return float(pbe_energy_density(np.array([n]), np.zeros(1))[0] / n - exchange)


def test_correlation_of_the_uniform_gas_is_that_of_quantum_monte_carlo():
    """Ceperley and Alder (1980), as Perdew and Zunger (1981) give it: -0.0598, -0.0450, -0.0281 Hartree, to 3e-4."""
    assert [uniform_correlation(rs) for rs in (1.0, 2.0, 5.0)] == pytest.approx([-0.0598, -0.0450, -0.0281], abs=3e-4)


def test_steep_densities_reach_the_bound_of_lieb_and_oxford():
    """Correlation vanishes and exchange grows by 1 + kappa = 1.804 at most."""
    n = np.array([0.01])
    slater = -0.75 * (3 / np.pi) ** (1 / 3) * n ** (4 / 3)
    assert pbe_energy_density(n, np.array([1e6]))[0] / slater[0] == pytest.approx(1.804, abs=1e-4)


def test_derivatives_of_the_energy_density_are_finite_differences():
    rng = np.random.default_rng(3)
    n, g = rng.uniform(1e-4, 0.5, 40), rng.uniform(1e-6, 0.3, 40)
    e, by_density, by_gradient = pbe_derivatives(n, g)
    np.testing.assert_allclose(e, pbe_energy_density(n, g), rtol=1e-14)
    assert np.abs(by_gradient).max() > 1e-3
    for k, found in ((0, by_density), (1, by_gradient)):
        step = 1e-4 * (n, g)[k]
        up = pbe_energy_density(*(x + step * (i == k) for i, x in enumerate((n, g))))
        down = pbe_energy_density(*(x - step * (i == k) for i, x in enumerate((n, g))))
        np.testing.assert_allclose(found, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("term", ["hartree", "xc"])
def test_each_operator_is_the_derivative_of_its_energy(term):
    atom = solve_atom(gth("Ge"), BASIS)
    energy = getattr(RadialProblem(gth("Ge"), BASIS), term)
    D = (atom.coefficients.T * atom.occupations) @ atom.coefficients
    direction = atom.coefficients.T @ np.array([[0.7, 0.3], [0.3, -0.2]]) @ atom.coefficients
    slope = np.sum(energy(D)[1] * direction)
    assert abs(slope) > 0.1
    h = 1e-4
    assert slope == pytest.approx((energy(D + h * direction)[0] - energy(D - h * direction)[0]) / (2 * h), rel=1e-6)


def test_an_electron_alone_has_the_levels_of_hydrogen():
    problem = RadialProblem(bare_nucleus("Xx", (6, 6, 10), 1e-4), RadialBasis(100, r_max=80.0))
    _, levels, momenta, filled = problem.orbitals(np.zeros((100, 100)))
    assert levels == pytest.approx([-242.0, -242 / 4, -242 / 9, -242 / 4, -242 / 9], rel=5e-4)  # -Z^2 / (2 n^2)
    assert momenta == (0, 0, 0, 1, 2)
    assert filled.tolist() == [2, 2, 2, 6, 10]


def test_helium_has_its_published_pbe_energy():
    """-2.8929 Hartree: Kurth, Perdew, Blaha, Int. J. Quantum Chem. 75, 889 (1999); point nucleus by extrapolation."""
    basis = RadialBasis(120, r_max=30.0, half_way=0.3)
    wide, narrow = (solve_atom(bare_nucleus("He", (2,), r), basis).energies["total"] for r in (0.002, 0.001))
    assert narrow - (wide - narrow) / 3 == pytest.approx(-2.8929, abs=6e-5)


@pytest.mark.parametrize(("element", "valence"), SHELLS)
def test_the_density_integrates_to_the_valence_electrons_and_energies_add_up(element, valence):
    atom = solve_atom(gth(element, valence))
    r = 0.01 * np.arange(4001)
    density = atom.density(r)
    assert (density >= 0).all()
    assert density.max() > 1e-3
    assert 0.01 * np.sum(4 * np.pi * r**2 * density) == pytest.approx(valence, rel=1e-6)
    assert (atom.levels < 0).all()
    parts = sum(value for name, value in atom.energies.items() if name != "total")
    assert atom.energies["total"] == pytest.approx(parts, rel=1e-12)


@pytest.mark.parametrize(("element", "valence"), [("Al", 3), ("Mg", 10), ("Ce", 12)])
def test_a_larger_basis_gives_the_same_atom(element, valence):
    r = np.linspace(0, 15, 300)
    usual, larger = (solve_atom(gth(element, valence), basis) for basis in (RadialBasis(), RadialBasis(112)))
    assert usual.energies["total"] == pytest.approx(larger.energies["total"], abs=2e-8)
    np.testing.assert_allclose(usual.density(r), larger.density(r), rtol=0, atol=2e-5 * larger.density(r).max())


def test_an_atom_that_does_not_converge_is_an_error():
    with pytest.raises(EngineError, match=r"Al GTH-PBE-q3 atom did not become self-consistent: after 3 cycles"):
        solve_atom(gth("Al"), BASIS, max_iterations=3)


@pytest.mark.slow
def test_every_potential_of_the_table_has_bound_atoms():
    for element in gth_elements():
        for valence in gth_valences(element):
            atom = solve_atom(gth(element, valence))
            assert (atom.levels < 0).all()
            assert atom.density(np.linspace(0, 10, 50)).max() > 1e-4


@pytest.mark.dft
@pytest.mark.skipif(shutil.which("pw.x") is None, reason="pw.x is not on PATH")
def test_the_atom_is_that_of_plane_waves_in_a_large_box():
    """Pseudopotential file, radial solver and promolecule at once: nothing but the parameters is shared with pw.x."""
    system = System(np.eye(3) * 22.0, np.zeros((1, 3)), np.array(["Mg"]))
    settings = DFTSettings(cutoff=15.0, smearing="fixed", width=0.0, density_cutoff=20.0)
    state = EspressoProgram(settings, {"Mg": gth_pseudopotential("Mg")}).ground_state(system)
    assert state.energies["total"] == pytest.approx(solve_atom(gth("Mg")).energies["total"], abs=1e-4)
    superposed = promolecule_fourier(system, {"Mg": atomic_density_table("Mg")}, 20.0)
    shape = (72, 72, 72)
    box, atom = state.density.on_grid(shape), superposed.on_grid(shape)
    assert box.values.max() > 5e-3
    assert np.abs((box - atom).values).sum() * box.grid.volume_element / 2 < 1.5e-3
