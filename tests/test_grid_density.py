import numpy as np
import pytest

from rhoscale.density import Density
from rhoscale.errors import InputError
from rhoscale.grid import Grid

CELL = np.array([[7.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.3, 0.2, 9.0]])


def test_block_points_are_the_grid_cut_in_pieces() -> None:
    grid = Grid(CELL, (4, 5, 6))
    whole = grid.points().reshape(4, 5, 6, 3)
    block = grid.points((1, 2, 3), (3, 5, 6)).reshape(2, 3, 3, 3)
    np.testing.assert_array_equal(block, whole[1:3, 2:5, 3:6])
    np.testing.assert_allclose(whole[1, 2, 3], CELL[0] / 4 + 2 * CELL[1] / 5 + 3 * CELL[2] / 6)


def test_spacing_is_an_upper_bound() -> None:
    for spacing in (0.3, 0.51, 1.7):
        grid = Grid.from_spacing(CELL, spacing)
        assert max(grid.spacings) <= spacing + 1e-9
    assert Grid.from_spacing(CELL, 1.0, fast_fourier=False).shape == (7, 9, 10)
    with pytest.raises(InputError, match="positive number"):
        Grid.from_spacing(CELL, float("nan"))


def test_integral_of_a_constant_is_its_value_times_the_volume() -> None:
    density = Density(Grid(CELL, (3, 4, 5)), np.full((3, 4, 5), 0.02))
    assert density.integral() == pytest.approx(0.02 * abs(np.linalg.det(CELL)))
    assert (density * 2.0 - density).integral() == pytest.approx(density.integral())


def test_densities_on_different_grids_do_not_mix() -> None:
    first = Density(Grid(CELL, (3, 4, 5)), np.ones((3, 4, 5)))
    second = Density(Grid(CELL * 1.01, (3, 4, 5)), np.ones((3, 4, 5)))
    with pytest.raises(InputError, match="different grids"):
        first + second
    with pytest.raises(InputError, match="do not fit"):
        Density(Grid(CELL, (3, 4, 5)), np.ones((5, 4, 3)))
