"""Density files: what is written is read again; CHGCAR, XSF and SPARC files are read as their programs mean them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from density_files import CELL, CHGCAR, NUMBERS, POSCAR, SHAPE, SPARC, WRITTEN, some_density, some_system, write
from rhoscale.errors import FormatError
from rhoscale.formats import DensityFile, read_density_file, write_density_file
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM


def assert_same_structure(read: System, written: System, length: float) -> None:
    assert np.abs(read.cell - written.cell).max() <= length
    order = (
        np.argsort(written.species, kind="stable") if read.species.tolist() != written.species.tolist() else slice(None)
    )
    assert read.species.tolist() == written.species[order].tolist()
    shift = read.scaled_positions - written.scaled_positions[order]
    assert np.abs((shift - np.round(shift)) @ written.cell).max() <= 10 * length + 1e-12


@pytest.mark.parametrize("name", WRITTEN)
def test_written_then_read_is_the_same(tmp_path: Path, name: str) -> None:
    value, length = WRITTEN[name]
    system, density = some_system(), some_density()
    write_density_file(tmp_path / name, system, density, comment="a test")
    read = read_density_file(tmp_path / name)
    assert_same_structure(read.system, system, length)
    assert read.density.grid.shape == SHAPE
    assert np.abs(density.values - density.values.mean()).max() > 0.01
    assert (np.abs(read.density.values - density.values) <= value * density.values).all()
    assert read.density.values.flags.c_contiguous
    assert read.density.grid.cell.tolist() == read.system.cell.tolist()
    assert read.electrons is None


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 13)),
    st.lists(st.floats(-1.5, 1.5), min_size=9, max_size=9),
    st.sampled_from(sorted(WRITTEN)),
    st.integers(0, 2**31),
)
def test_any_cell_and_any_numbers_of_points_survive(
    tmp_path: Path, shape: tuple[int, int, int], skew: list[float], name: str, seed: int
) -> None:
    cell = np.diag([6.0, 9.0, 13.0]) + np.array(skew).reshape(3, 3)
    value, length = WRITTEN[name]
    system, density = some_system(cell), some_density(cell, shape, seed)
    write_density_file(tmp_path / name, system, density, force=True)
    read = read_density_file(tmp_path / name)
    assert_same_structure(read.system, system, length)
    assert read.density.grid.shape == shape
    assert (np.abs(read.density.values - density.values) <= value * density.values).all()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_without_its_name_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    write_density_file(tmp_path / name, some_system(), some_density())
    plain = tmp_path / "result.dat"
    plain.write_bytes((tmp_path / name).read_bytes())
    read, named = read_density_file(plain), read_density_file(tmp_path / name)
    assert np.ptp(read.density.values) > 0
    assert (read.density.values == named.density.values).all()


def test_snapshot_is_read_with_electrons_and_coefficients(tmp_path: Path) -> None:
    density = some_density(shape=(9, 8, 10))
    fourier = FourierDensity.from_density(density, 2.0)
    Snapshot(some_system(), fourier, 10.0, {}).write(tmp_path / "s.safetensors")
    read = read_density_file(tmp_path / "s.safetensors")
    assert read.electrons == 10.0
    assert read.fourier is not None
    expected = fourier.on_grid(read.density.grid.shape).values
    assert np.ptp(expected) > 1e-3
    assert np.abs(read.density.values - expected).max() < 1e-7 * expected.max()


def read_chgcar(tmp_path: Path, text: str) -> DensityFile:
    return read_density_file(write(tmp_path, text, "CHGCAR"))


def test_chgcar_is_density_times_volume_with_the_first_axis_fastest(tmp_path: Path) -> None:
    read = read_chgcar(tmp_path, CHGCAR + NUMBERS)
    volume = 120.0 * BOHR_PER_ANGSTROM**3
    assert read.density.values * volume == pytest.approx(np.array([[[1.0, 3.0, 5.0]], [[2.0, 4.0, 6.0]]]))
    assert read.density.integral() == pytest.approx(3.5)  # the mean of the file's values
    assert read.system.species.tolist() == ["Al", "Si", "Si"]
    assert read.system.positions[1] == pytest.approx(np.array([1.25, 2.5, 4.5]) * BOHR_PER_ANGSTROM)
    assert read.note == ""


@pytest.mark.parametrize(
    ("scale", "kind", "atom"),
    [
        ("2.0", "Direct", "0.25 0.5 0.75"),
        ("-960.0", "Direct", "0.25 0.5 0.75"),  # the wanted volume: 8 * 120
        ("2.0 2.0 2.0", "Direct", "0.25 0.5 0.75"),
        ("2.0 ! lattice constant", "Direct", "0.25 0.5 0.75"),
        ("2.0", "Cartesian", "1.25 2.5 4.5"),
        ("2.0", "Selective dynamics\nDirect", "0.25 0.5 0.75 T F T"),
    ],
)
def test_chgcar_scaling_applies_to_cell_and_positions(tmp_path: Path, scale: str, kind: str, atom: str) -> None:
    text = POSCAR.format(scale=scale, symbols="Al_pv/1a2b Si", kind=kind, atom=atom)
    read = read_chgcar(tmp_path, text + NUMBERS)
    assert read.system.species.tolist() == ["Al", "Si", "Si"]
    assert read.system.volume == pytest.approx(960.0 * BOHR_PER_ANGSTROM**3)
    assert read.system.positions[1] == pytest.approx(np.array([2.5, 5.0, 9.0]) * BOHR_PER_ANGSTROM)
    assert read.density.integral() == pytest.approx(3.5)


def test_chgcar_of_a_spin_polarised_paw_run_gives_the_total_and_says_what_it_left(tmp_path: Path) -> None:
    augmentation = "augmentation occupancies   1   4\n  0.1E+00  0.2E+00\n -0.3E-01 0.4\n"
    text = CHGCAR + NUMBERS + augmentation + "  0.0 0.0 0.0\n 2 1 3\n 9 9 9 9 9 9\n" + augmentation
    read = read_chgcar(tmp_path, text)
    assert read.density.integral() == pytest.approx(3.5)
    assert "augmentation" in read.note
    assert "magnetisation" in read.note


def test_xsf_that_does_not_repeat_its_end_points_is_taken_as_periodic_with_a_note(tmp_path: Path) -> None:
    write_density_file(tmp_path / "a.xsf", some_system(), some_density(shape=(2, 2, 2)))
    text = (tmp_path / "a.xsf").read_text()
    head, tail = text.split("    3     3     3\n")
    vectors = "".join(tail.splitlines(keepends=True)[:4])
    read = read_density_file(
        write(tmp_path, head + "2 2 2\n" + vectors + "1 2 3 4 5 6 7 8\nEND_DATAGRID_3D\n", "a.xsf")
    )
    assert read.density.values[:, 0, 0].tolist() == [1.0, 2.0]
    assert "periodic grid" in read.note


def test_xsf_names_the_unit_that_it_took(tmp_path: Path) -> None:
    write_density_file(tmp_path / "a.xsf", some_system(), some_density())
    assert "electrons per Bohr^3" in read_density_file(tmp_path / "a.xsf").note


def test_sparc_density_comes_with_its_electrons_and_the_cell_of_its_second_line(tmp_path: Path) -> None:
    rows = "".join(f"  {i:.6E}  {i + 0.5:.6E}\n\n" for i in range(11))
    read = read_density_file(write(tmp_path, SPARC + rows, "a.dens"))
    assert read.electrons == 7.0
    assert np.diag(read.system.cell) == pytest.approx([7.653391, 6.0, 5.000001], abs=1e-12)
    assert read.density.values[3].tolist() == [[3.0, 3.5]]


def test_sparc_file_that_is_not_periodic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="boundary conditions P P D; expected P P P"):
        read_density_file(write(tmp_path, SPARC.replace("P P P.", "P P D.") + "1 " * 22, "a.dens"))


def test_written_sparc_file_begins_its_second_line_as_sparc_wants(tmp_path: Path) -> None:
    write_density_file(tmp_path / "a.dens", some_system(), some_density())
    line = (tmp_path / "a.dens").read_text().splitlines()[1]
    lengths = np.linalg.norm(CELL, axis=1)
    assert line.startswith("Cell length: ")
    assert [float(word.rstrip(",")) for word in line.split()[2:5]] == pytest.approx(lengths, abs=1e-9)
    assert line.endswith("boundary condition: P P P.")
