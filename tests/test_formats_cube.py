"""Cube files: any layout, unit, origin and repetition of end points gives the periodic cell that was meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from density_files import CELL, CUBE, NUMBERS, some_system, write
from rhoscale.density import Density
from rhoscale.errors import FormatError
from rhoscale.formats import read_density_file, write_density_file
from rhoscale.grid import Grid
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM


@pytest.mark.parametrize(
    "layout", ["1 2 3 4 5 6", "1 2 3\n4 5 6\n", "1\n2\n3\n4\n5\n6", " 1.0E+00 2.d0\t3.\r\n 4 5e0 6\n\n"]
)
def test_cube_numbers_may_be_laid_out_in_any_way(tmp_path: Path, layout: str) -> None:
    read = read_density_file(write(tmp_path, CUBE + layout))
    assert read.density.values.tolist() == [[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]
    assert read.system.cell.tolist() == [[6.0, 0.0, 0.0], [0.5, 4.0, 0.0], [0.0, 0.0, 4.5]]
    assert read.system.positions.tolist() == [[0.5, 1.0, 1.5]]
    assert read.note == ""


def test_negative_numbers_of_points_mean_angstrom(tmp_path: Path) -> None:
    bohr = read_density_file(write(tmp_path, CUBE + NUMBERS))
    text = (
        CUBE.replace("    2    3.0", "   -2    3.0")
        .replace("    1    0.5", "   -1    0.5")
        .replace("    3    0.0", "   -3    0.0")
    )
    angstrom = read_density_file(write(tmp_path, text + NUMBERS))
    assert angstrom.system.cell == pytest.approx(bohr.system.cell * BOHR_PER_ANGSTROM)
    assert angstrom.system.positions == pytest.approx(bohr.system.positions * BOHR_PER_ANGSTROM)
    assert angstrom.density.values.tolist() == bohr.density.values.tolist()
    assert "Angstrom" in angstrom.note


def test_cube_with_an_origin_is_moved_to_zero_with_its_atoms(tmp_path: Path) -> None:
    read = read_density_file(write(tmp_path, CUBE.replace("0.0 0.0 0.0\n    2", "-3.0 0.25 1.0\n    2") + NUMBERS))
    assert read.system.positions.tolist() == [[3.5, 0.75, 0.5]]
    assert "[-3.0, 0.25, 1.0]" in read.note


def test_cube_of_one_numbered_data_set_is_read(tmp_path: Path) -> None:
    text = CUBE.replace("    1    0.0", "   -1    0.0") + "    1    7\n"
    assert read_density_file(write(tmp_path, text + NUMBERS)).density.values.ravel().tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "text",
    [
        CUBE.replace("    1    0.0", "   -1    0.0") + "    2   7   8\n" + NUMBERS + NUMBERS,
        CUBE.replace("0.0 0.0 0.0\n    2", "0.0 0.0 0.0  2\n    2") + NUMBERS + NUMBERS,
        CUBE + NUMBERS + NUMBERS,
    ],
)
def test_cube_of_several_data_sets_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FormatError, match="expected one density; split the file"):
        read_density_file(write(tmp_path, text))


def smooth_density(shape: tuple[int, int, int], offset: float) -> tuple[System, Density]:
    """An atom's worth of charge, 3 electrons, around ``offset`` steps from the first point."""
    cell = np.diag([7.0, 7.5, 8.0])
    grid = Grid(cell, shape)
    step = np.array([offset / n for n in shape]) @ cell
    delta = grid.points() - step
    scaled = delta @ np.linalg.inv(cell)
    delta = (scaled - np.round(scaled)) @ cell
    values = np.exp(-(delta**2).sum(axis=1) / 2.0).reshape(shape)
    density = Density(grid, values * (3.0 / (values.sum() * grid.volume_element)))
    return System(cell, step[None, :], np.array(["Al"])), density


@pytest.mark.parametrize("second_line", ["any text", "castep2cube"])
def test_cube_that_repeats_its_end_points_is_read_as_the_periodic_cell(tmp_path: Path, second_line: str) -> None:
    system, density = smooth_density((12, 10, 14), 0.3)
    padded = np.pad(density.values, ((0, 1), (0, 1), (0, 1)), mode="wrap")
    shape = padded.shape
    bigger = Grid(density.grid.cell * np.array(shape)[:, None] / np.array(density.grid.shape)[:, None], shape)
    atoms = System(bigger.cell, system.positions, system.species)
    write_density_file(tmp_path / "a.cube", atoms, Density(bigger, padded))
    text = (tmp_path / "a.cube").read_text().replace("OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z", second_line)
    read = read_density_file(write(tmp_path, text))
    assert read.density.grid.shape == density.grid.shape
    assert read.system.cell == pytest.approx(system.cell, abs=1e-6)
    assert read.density.integral() == pytest.approx(3.0, abs=1e-5)
    assert "repeats" in read.note


def test_a_mirror_before_the_first_point_is_not_taken_for_repeated_end_points(tmp_path: Path) -> None:
    system, density = smooth_density((12, 10, 14), -0.5)
    assert density.values[0] == pytest.approx(density.values[-1])
    write_density_file(tmp_path / "a.cube", system, density)
    read = read_density_file(tmp_path / "a.cube")
    assert read.density.grid.shape == density.grid.shape
    assert read.note == ""


def test_uniform_density_keeps_its_points(tmp_path: Path) -> None:
    density = Density(Grid(CELL, (3, 3, 3)), np.full((3, 3, 3), 0.02))
    write_density_file(tmp_path / "a.cube", some_system(), density)
    assert read_density_file(tmp_path / "a.cube").density.grid.shape == (3, 3, 3)
