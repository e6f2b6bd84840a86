"""Density files: what is written is read again; damaged files are named; files appear whole or not at all."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rhoscale.density import Density
from rhoscale.errors import FormatError, InputError, OutputError
from rhoscale.formats import DensityFile, read_density_file, write_density_file
from rhoscale.grid import Grid
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import System
from rhoscale.units import BOHR_PER_ANGSTROM

CELL = np.array([[7.3, 0.2, -0.4], [1.1, 6.1, 0.5], [-0.7, 0.9, 8.3]])
SHAPE = (4, 7, 5)
# name, largest relative error of a value, largest error of a length in Bohr
WRITTEN = {
    "density.cube": (6e-6, 1e-7),
    "density.cub": (6e-6, 1e-7),
    "CHGCAR": (1e-10, 1e-10),
    "CHGCAR_predicted": (1e-10, 1e-10),
    "al.chgcar": (1e-10, 1e-10),
    "density.xsf": (6e-7, 1e-10),
    "sprc.dens": (1e-10, 1e-8),
    "density.npz": (0.0, 0.0),
}


def some_system(cell: np.ndarray = CELL) -> System:
    positions = np.array([[0.05, 0.0, 0.02], [0.9, 0.25, 0.4], [0.45, 0.55, 0.5]]) @ cell
    return System(cell, positions, np.array(["Al", "Si", "Al"]))


def some_density(cell: np.ndarray = CELL, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Density:
    """No symmetry at all, so that any exchange of axes shows."""
    return Density(Grid(cell, shape), np.random.default_rng(seed).uniform(1e-3, 0.1, shape))


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


def write(tmp_path: Path, text: str, name: str = "a.cube") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


CUBE = """first
second
    1    0.0 0.0 0.0
    2    3.0 0.0 0.0
    1    0.5 4.0 0.0
    3    0.0 0.0 1.5
   13   13.0  0.5 1.0 1.5
"""
NUMBERS = "1 2 3 4 5 6\n"


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


POSCAR = """Al Si
{scale}
 4.0 0.0 0.0
 0.5 5.0 0.0
 0.0 0.0 6.0
 {symbols}
 1 2
{kind}
 0.0 0.0 0.0
 {atom}
 0.5 0.75 0.25

 2 1 3
"""
CHGCAR = POSCAR.format(scale="1.0", symbols="Al Si", kind="Direct", atom="0.25 0.5 0.75")


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


SPARC = """Electron density in Cube format printed by SPARC-X (Print time: Tue Oct 14 13:54:05 2025)
Cell length: 7.653391 6.000000 5.000001, boundary condition: P P P.
    2    0.000000     0.000000     0.000000
   11    0.695763     0.000000     0.000000
    1    0.000000     6.000000     0.000000
    2    0.000000     0.000000     2.500000
   13    3.000000    0.000000     0.000000     0.000000
   14    4.000000    3.826696     3.826696     0.000000
"""


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


XSF = """CRYSTAL
PRIMVEC
 4 0 0
 0 4 0
 0 0 4
PRIMCOORD
1 1
Al 0 0 0
BEGIN_BLOCK_DATAGRID_3D
name
BEGIN_DATAGRID_3D_x
2 2 2
0 0 0
4 0 0
0 4 0
0 0 4
1 1 1 1 1 1 1 1
END_DATAGRID_3D
"""
DAMAGED = {
    "empty": ("a.cube", "", "is empty; expected a cube file"),
    "header cut": ("a.cube", CUBE[:40], "expected"),
    "volume cut": ("a.cube", CUBE + "1 2 3 4", r"2 x 1 x 3 points has 6 values, 4 found"),
    "no number": ("a.cube", CUBE + "1 2 oops 4 5 6", r"value 3 of the volume reads 'oops'; expected a number"),
    "not finite": ("a.cube", CUBE + "1 2 nan 4 inf 6", "2 of 6 values of the volume are not finite"),
    "atom number": (
        "a.cube",
        CUBE.replace("   13   13.0", "  413   13.0") + NUMBERS,
        "atomic number 413; expected 1 to 118",
    ),
    "zero volume": ("a.cube", CUBE.replace("0.0 0.0 1.5", "0.0 0.0 0.0") + NUMBERS, "a.cube: the cell has volume"),
    "mixed signs": ("a.cube", CUBE.replace("    3    0.0", "   -3    0.0") + NUMBERS, "three positive numbers"),
    "no atoms": ("a.cube", "a\nb\n 0 0 0 0\n 1 3 0 0\n 1 0 3 0\n 1 0 0 3\n 1.0\n", "n > 0"),
    "axis order": (
        "a.cube",
        CUBE.replace("second", "OUTER LOOP: Z, MIDDLE LOOP: Y, INNER LOOP: X") + NUMBERS,
        "axes run Z Y X",
    ),
    "a picture": ("a.cube", "\x89PNG" + "x" * 9000, "longer than 4096 bytes"),
    "huge counts": (
        "a.cube",
        CUBE.replace("    2    3.0", "999999    3.0") + NUMBERS,
        "999999 x 1 x 3 points has 2999997",
    ),
    "chgcar of vasp 4": (
        "CHGCAR",
        POSCAR.format(scale=1, symbols="", kind="Direct", atom="0 0 0").replace(" \n", "", 1) + NUMBERS,
        "VASP 5",
    ),
    "chgcar cut": ("CHGCAR", CHGCAR + "1 2", "2 x 1 x 3 points has 6 values, 2 found"),
    "chgcar symbol": ("CHGCAR", CHGCAR.replace(" Al Si", " Qq Si") + NUMBERS, "'Qq'; expected a chemical symbol"),
    "chgcar grid": ("CHGCAR", CHGCAR.replace(" 2 1 3\n", " 2 1\n") + NUMBERS, "three numbers of grid points"),
    "xsf cut": (
        "a.xsf",
        XSF.replace("1 1 1 1 1 1 1 1\n", "1 1\n").replace("END_DATAGRID_3D\n", ""),
        "has 8 values, 2 found",
    ),
    "xsf short": ("a.xsf", XSF.replace("1 1 1 1 1 1 1 1\n", "1 1\n"), "reads 'END_DATAGRID_3D'; expected a number"),
    "xsf long": ("a.xsf", XSF.replace("1 1 1 1 1 1 1 1\n", "1 1 1 1 1 1 1 1 1\n"), "numbers follow after the 8"),
    "xsf span": ("a.xsf", XSF.replace("0 0 4\n1 1", "0 0 5\n1 1"), "the data grid spans"),
    "xsf molecule": ("a.xsf", "ATOMS\nAl 0 0 0\n", "expected CRYSTAL, a bulk cell"),
    "xsf without a grid": ("a.xsf", XSF.split("BEGIN")[0], "expected BEGIN_DATAGRID_3D"),
    "xsf atom": ("a.xsf", XSF.replace("Al 0 0 0", "Al 0 x 0"), "an atom: symbol, position"),
    "dens lengths": ("a.dens", SPARC.replace("7.653391 6.0", "9.9 6.0") + "1 " * 22, "cell lengths"),
    "npz": ("a.npz", "PK\x03\x04 cut", "no readable .npz archive"),
    "snapshot": ("a.safetensors", "something", "not a readable snapshot"),
    "unknown": ("a.txt", "hello", r"no known density format by name or content; expected one of .cube"),
    "unknown and empty": ("a.txt", "", r"no known density format"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_and_named(tmp_path: Path, case: str) -> None:
    name, text, message = DAMAGED[case]
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=message) as caught:
        read_density_file(tmp_path / name)
    assert name in str(caught.value)
    assert str(caught.value).count(";") >= 1


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no file .*nowhere.cube; expected a density file \(.cube"):
        read_density_file(tmp_path / "nowhere.cube")
    with pytest.raises(FormatError, match="no known density format"):
        read_density_file(tmp_path)


def test_npz_lacking_an_array_says_which(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", cell=CELL, density=some_density().values)
    with pytest.raises(FormatError, match="lacks positions, species"):
        read_density_file(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.txt", "a.zarr", "a.safetensors", "density"])
def test_a_name_that_announces_no_format_is_refused_with_those_that_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"expected .cube, .cub, CHGCAR\*"):
        write_density_file(tmp_path / name, some_system(), some_density())


@pytest.mark.parametrize("name", WRITTEN)
def test_an_existing_file_is_kept_unless_forced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(OutputError, match="exists already; expected a new name; use --force"):
        write_density_file(tmp_path / name, some_system(), some_density())
    assert (tmp_path / name).read_text() == "precious"
    write_density_file(tmp_path / name, some_system(), some_density(), force=True)
    assert np.ptp(read_density_file(tmp_path / name).density.values) > 0


@contextmanager
def disk_space(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITTEN)
def test_without_space_no_part_of_a_file_stays_and_the_old_one_survives(tmp_path: Path, name: str) -> None:
    density = some_density(shape=(20, 20, 20))
    with disk_space(10_000), pytest.raises(OutputError, match="could not be written"):
        write_density_file(tmp_path / name, some_system(), density)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).write_text("precious")
    with disk_space(10_000), pytest.raises(OutputError, match="could not be written"):
        write_density_file(tmp_path / name, some_system(), density, force=True)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["precious"]


def test_a_folder_that_does_not_exist_or_is_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected a folder that exists"):
        write_density_file(tmp_path / "no" / "a.cube", some_system(), some_density())
    (tmp_path / "b.cube").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_density_file(tmp_path / "b.cube", some_system(), some_density(), force=True)


def test_a_density_of_another_cell_or_with_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cells of structure and density differ"):
        write_density_file(tmp_path / "a.cube", some_system(CELL * 1.1), some_density())
    broken = some_density()
    broken.values[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="1 of 140 values of the density are not finite"):
        write_density_file(tmp_path / "a.cube", some_system(), broken)
    assert list(tmp_path.iterdir()) == []
