"""Density files exchanged with independent libraries, in a triclinic cell with three different numbers of points."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ase.io.cube import read_cube as ase_read_cube
from ase.io.cube import write_cube as ase_write_cube
from ase.io.xsf import read_xsf as ase_read_xsf
from ase.io.xsf import write_xsf as ase_write_xsf

from rhoscale.ase_bridge import from_atoms, to_atoms
from rhoscale.density import Density
from rhoscale.formats import read_density_file, write_density_file
from rhoscale.grid import Grid
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR, BOHR_PER_ANGSTROM

CELL = np.array([[7.3, 0.2, -0.4], [1.1, 6.1, 0.5], [-0.7, 0.9, 8.3]])
SHAPE = (6, 11, 8)
SYSTEM = System(
    CELL, np.array([[0.05, 0.0, 0.02], [0.4, 0.25, 0.9], [0.45, 0.55, 0.5]]) @ CELL, np.array(["Al", "Ge", "Si"])
)
DENSITY = Density(Grid(CELL, SHAPE), np.random.default_rng(3).uniform(1e-3, 0.1, SHAPE))
ATOMS = to_atoms(SYSTEM)


def assert_is_ours(system: System, density: Density, *, length: float, value: float) -> None:
    assert system.species.tolist() == SYSTEM.species.tolist()
    assert np.abs(system.cell - CELL).max() < length
    shift = system.scaled_positions - SYSTEM.scaled_positions
    assert np.abs(shift - np.round(shift)).max() < length
    assert density.values.shape == SHAPE
    assert (np.abs(density.values - DENSITY.values) < value * DENSITY.values).all()


def test_ase_reads_our_cube(tmp_path: Path) -> None:
    write_density_file(tmp_path / "a.cube", SYSTEM, DENSITY)
    with (tmp_path / "a.cube").open() as file:
        contents = ase_read_cube(file)
    assert_is_ours(from_atoms(contents["atoms"]), Density(DENSITY.grid, contents["data"]), length=1e-6, value=6e-6)


def test_we_read_the_cube_of_ase(tmp_path: Path) -> None:
    with (tmp_path / "a.cube").open("w") as file:
        ase_write_cube(file, ATOMS, DENSITY.values)
    read = read_density_file(tmp_path / "a.cube")
    assert_is_ours(read.system, read.density, length=1e-5, value=6e-7)
    assert read.note == ""


def test_ase_reads_our_xsf(tmp_path: Path) -> None:
    write_density_file(tmp_path / "a.xsf", SYSTEM, DENSITY)
    with (tmp_path / "a.xsf").open() as file:
        data, origin, spans, images = ase_read_xsf(file, index=slice(None), read_data=True)
    assert origin.tolist() == [0, 0, 0]
    assert spans == pytest.approx(ATOMS.cell.array, abs=1e-10)
    assert data[-1] == pytest.approx(data[0])
    assert_is_ours(from_atoms(images[0]), Density(DENSITY.grid, data[:-1, :-1, :-1]), length=1e-9, value=6e-7)


def test_we_read_the_xsf_of_ase_when_it_follows_the_format(tmp_path: Path) -> None:
    padded = np.pad(DENSITY.values, ((0, 1), (0, 1), (0, 1)), mode="wrap")
    with (tmp_path / "a.xsf").open("w") as file:
        ase_write_xsf(file, [ATOMS], data=padded, origin=np.zeros(3), span_vectors=ATOMS.cell.array)
    read = read_density_file(tmp_path / "a.xsf")
    assert_is_ours(read.system, read.density, length=1e-9, value=1e-3)  # ase writes six decimals


pymatgen_missing = pytest.mark.skipif(importlib.util.find_spec("pymatgen") is None, reason="pymatgen is not installed")


def structure_of(lattice: np.ndarray, species: list[str], scaled: np.ndarray) -> System:
    cell = lattice * BOHR_PER_ANGSTROM
    return System(cell, scaled @ cell, np.array(species))


@pymatgen_missing
def test_pymatgen_reads_our_chgcar(tmp_path: Path) -> None:
    from pymatgen.io.vasp.outputs import Chgcar

    write_density_file(tmp_path / "CHGCAR", SYSTEM, DENSITY)
    read = Chgcar.from_file(str(tmp_path / "CHGCAR"))
    system = structure_of(
        read.structure.lattice.matrix, [site.specie.symbol for site in read.structure], read.structure.frac_coords
    )
    values = read.data["total"] / (read.structure.volume * BOHR_PER_ANGSTROM**3)
    assert_is_ours(system, Density(DENSITY.grid, values), length=1e-9, value=1e-9)
    assert np.mean(read.data["total"]) == pytest.approx(DENSITY.integral(), rel=1e-9)  # electrons, as VASP has it


@pymatgen_missing
def test_we_read_the_chgcar_of_pymatgen_with_augmentation(tmp_path: Path) -> None:
    from pymatgen.core import Structure
    from pymatgen.io.vasp.outputs import Chgcar

    structure = Structure(CELL * ANGSTROM_PER_BOHR, SYSTEM.species.tolist(), SYSTEM.scaled_positions)
    data = {"total": DENSITY.values * DENSITY.grid.volume, "diff": np.ones(SHAPE)}
    augmentation = ["augmentation occupancies   1   3\n", "  0.1000000E+00  0.2000000E+00  0.3000000E+00\n"]
    Chgcar(structure, data, {"total": augmentation, "diff": augmentation}).write_file(str(tmp_path / "CHGCAR"))
    read = read_density_file(tmp_path / "CHGCAR")
    # pymatgen keeps six decimals of the cell, and so of the volume
    assert_is_ours(read.system, read.density, length=1e-6, value=1e-6)
    assert "augmentation" in read.note
    assert "magnetisation" in read.note


@pymatgen_missing
def test_pymatgen_reads_our_cube(tmp_path: Path) -> None:
    from pymatgen.io.common import VolumetricData

    write_density_file(tmp_path / "a.cube", SYSTEM, DENSITY)
    read = VolumetricData.from_cube(str(tmp_path / "a.cube"))
    numbers = [site.specie.symbol for site in read.structure]
    system = structure_of(read.structure.lattice.matrix, numbers, read.structure.frac_coords)
    assert_is_ours(system, Density(DENSITY.grid, read.data["total"]), length=1e-6, value=6e-6)


@pymatgen_missing
def test_we_read_the_cube_of_pymatgen(tmp_path: Path) -> None:
    from pymatgen.core import Structure
    from pymatgen.io.common import VolumetricData

    structure = Structure(CELL * ANGSTROM_PER_BOHR, SYSTEM.species.tolist(), SYSTEM.scaled_positions)
    VolumetricData(structure, {"total": DENSITY.values}).to_cube(str(tmp_path / "a.cube"))
    read = read_density_file(tmp_path / "a.cube")
    assert_is_ours(read.system, read.density, length=1e-5, value=6e-7)


def test_a_mix_up_would_have_been_seen() -> None:
    """The comparisons above allow 1e-3 at most; a length or an axis taken wrongly is off by far more."""
    reversed_order = DENSITY.values.transpose(2, 1, 0).reshape(SHAPE)
    assert np.median(np.abs(reversed_order - DENSITY.values) / DENSITY.values) > 0.3
    assert np.abs(CELL - CELL.T).max() > 0.5
    assert abs(BOHR_PER_ANGSTROM - 1) > 0.8


def test_ase_reads_our_sparc_file_as_the_cube_that_it_is(tmp_path: Path) -> None:
    write_density_file(tmp_path / "a.dens", SYSTEM, DENSITY)
    with (tmp_path / "a.dens").open() as file:
        contents = ase_read_cube(file)
    assert_is_ours(from_atoms(contents["atoms"]), Density(DENSITY.grid, contents["data"]), length=1e-7, value=1e-10)
