import numpy as np
import pytest

from rhoscale.density import Density
from rhoscale.errors import InputError
from rhoscale.grid import Grid
from rhoscale.refinement import FourierDensity, kinetic_energies, refine

CELL = np.array([[7.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.3, 0.2, 9.0]])


@pytest.fixture
def fourier() -> FourierDensity:
    rng = np.random.default_rng(0)
    rough = Density(Grid(CELL, (20, 24, 25)), rng.random((20, 24, 25)))
    return FourierDensity.from_density(rough, 5.0)


def test_only_waves_inside_the_sphere_are_kept(fourier: FourierDensity) -> None:
    energies = kinetic_energies(CELL, fourier.millers)
    assert energies.max() <= 5.0
    volume_of_sphere = 4 / 3 * np.pi * 10.0**1.5
    waves = volume_of_sphere * abs(np.linalg.det(CELL)) / (2 * np.pi) ** 3
    assert 2 * len(fourier.millers) - 1 == pytest.approx(waves, rel=0.05)


def test_grid_and_sphere_hold_the_same_density(fourier: FourierDensity) -> None:
    again = FourierDensity.from_density(fourier.on_grid(fourier.smallest_shape), 5.0)
    assert np.abs(fourier.coefficients).max() > 0.1
    np.testing.assert_allclose(again.coefficients, fourier.coefficients, atol=1e-14)
    np.testing.assert_array_equal(again.millers, fourier.millers)


def test_values_do_not_depend_on_the_grid_that_shows_them(fourier: FourierDensity) -> None:
    fine = fourier.on_grid((40, 48, 50)).values
    assert fine.std() > 1e-3
    np.testing.assert_allclose(fourier.on_grid((20, 24, 25)).values, fine[::2, ::2, ::2], atol=1e-13)
    np.testing.assert_allclose(fourier.on_grid((4, 6, 5)).values, fine[::10, ::8, ::10], atol=1e-13)


@pytest.mark.parametrize("shape", [(7, 9, 9), (8, 10, 10), (9, 10, 11)])
def test_refinement_is_exact_for_band_limited_densities(fourier: FourierDensity, shape: tuple[int, int, int]) -> None:
    fine = (24, 30, 33)
    refined = refine(fourier.on_grid(shape), fine)
    np.testing.assert_allclose(refined.values, fourier.on_grid(fine).values, atol=1e-13)


def test_refinement_keeps_points_and_electrons_of_any_density() -> None:
    rng = np.random.default_rng(1)
    rough = Density(Grid(CELL, (6, 8, 5)), rng.random((6, 8, 5)))
    refined = refine(rough, (12, 16, 15))
    np.testing.assert_allclose(refined.values[::2, ::2, ::3], rough.values, atol=1e-13)
    assert refined.integral() == pytest.approx(rough.integral(), rel=1e-13)
    with pytest.raises(InputError, match="finer grids only"):
        refine(rough, (4, 8, 5))


def test_waves_match_their_definition(fourier: FourierDensity) -> None:
    point = np.array([0.21, 0.47, 0.83])
    phases = np.exp(2j * np.pi * (fourier.millers @ point))
    weights = np.where((fourier.millers == 0).all(axis=1), 1.0, 2.0)
    direct = float(np.sum(weights * (fourier.coefficients * phases).real))
    shape = (100, 100, 100)
    assert fourier.on_grid(shape).values[21, 47, 83] == pytest.approx(direct, abs=1e-12)
