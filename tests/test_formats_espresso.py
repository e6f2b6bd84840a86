"""Quantum ESPRESSO's density files: three files of one run agree; what is written is what ``pw.x`` starts from."""

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rhoscale.density import Density
from rhoscale.engines.pseudopotentials import gth_pseudopotential
from rhoscale.errors import FormatError, InputError, OutputError
from rhoscale.formats import read_density_file, write_density_file
from rhoscale.formats.espresso import (
    coefficients_at,
    espresso_waves,
    read_charge_density_dat,
    write_charge_density_dat,
)
from rhoscale.formats.espresso_hdf5 import read_charge_density_hdf5, write_charge_density_hdf5
from rhoscale.grid import Grid
from rhoscale.refinement import FourierDensity

# pw.x and pp.x 6.7, the run of alsi.in: Al and Si in a triclinic cell, local-density pseudopotentials, 6 Ry
DATA = Path(__file__).parent / "data" / "formats"
CUTOFF = 12.0  # ecutrho of that run, Hartree
GAMMA = {"alsi": False, "alsi_gamma": True}


def dat(case: str) -> Path:
    return DATA / f"{case}.save" / "charge-density.dat"


def test_three_files_of_one_run_are_the_same_density() -> None:
    save, cube, xsf = (read_density_file(DATA / name) for name in ("alsi.save", "alsi.cube", "alsi.xsf"))
    largest = save.density.values.max()
    assert save.density.grid.shape == cube.density.grid.shape == xsf.density.grid.shape
    assert len(set(save.density.grid.shape)) == 3
    assert save.density.values.std() > 0.2 * save.density.values.mean()
    assert np.abs(cube.density.values - save.density.values).max() < 1e-5 * largest  # five digits
    assert np.abs(xsf.density.values - save.density.values).max() < 1e-6 * largest  # six digits
    for other, length in ((cube, 2e-5), (xsf, 1e-8)):
        assert other.system.species.tolist() == ["Al", "Si"]
        assert np.abs(other.system.cell - save.system.cell).max() < length
        shift = other.system.scaled_positions - save.system.scaled_positions
        assert np.abs(shift - np.round(shift)).max() < 1e-5


@pytest.mark.parametrize("case", GAMMA)
def test_save_folder_holds_its_electrons(case: str) -> None:
    read = read_density_file(DATA / f"{case}.save")
    assert read.electrons == 7.0
    assert read.density.integral() == pytest.approx(7.0, abs=1e-9)
    assert read.fourier is not None
    assert read.fourier.cutoff == CUTOFF
    assert read.fourier.electrons == pytest.approx(7.0, abs=1e-9)


@pytest.mark.parametrize("case", GAMMA)
def test_list_of_waves_is_that_of_the_program_in_its_order(case: str) -> None:
    contents = read_charge_density_dat(dat(case))
    waves = espresso_waves(contents.density.cell, CUTOFF, gamma_only=GAMMA[case])
    assert contents.gamma_only == GAMMA[case]
    assert waves.tolist() == contents.millers.tolist()
    assert len(waves) > 300


def test_order_of_almost_equal_waves_is_that_of_the_program() -> None:
    """A rotated cube given with eight decimals: squares that should be equal differ by about the tolerance of 1e-8."""
    recorded = np.load(DATA / "rotated_cubic_waves.npz")  # pw.x 6.7, 8 Ry
    cell, cutoff, expected = recorded["cell"], float(recorded["cutoff"]), recorded["millers"].astype(int)
    assert espresso_waves(cell, cutoff, gamma_only=False).tolist() == expected.tolist()
    squares = ((expected @ np.linalg.inv(cell / np.linalg.norm(cell[0])).T) ** 2).sum(axis=1)
    steps = np.diff(squares)
    assert np.count_nonzero(steps < 0) > 100  # no plain sort would give this order
    assert steps.min() > -1e-7


def test_order_depends_on_the_length_unit_of_the_run() -> None:
    waves = espresso_waves(np.diag([7.0, 8.0, 9.0]), CUTOFF, gamma_only=False, alat=1e-6)
    assert waves.tolist() == sorted(waves.tolist())  # in so small a unit all squares are equal within the tolerance
    usual = espresso_waves(np.diag([7.0, 8.0, 9.0]), CUTOFF, gamma_only=False)
    assert usual[0].tolist() == [0, 0, 0]
    assert sorted(usual.tolist()) == waves.tolist()


@pytest.mark.parametrize("case", GAMMA)
def test_written_again_the_file_differs_by_rounding_only(tmp_path: Path, case: str) -> None:
    original = read_charge_density_dat(dat(case))
    write_charge_density_dat(tmp_path / "a.dat", original.density, cutoff=CUTOFF, gamma_only=GAMMA[case])
    again = read_charge_density_dat(tmp_path / "a.dat")
    assert (tmp_path / "a.dat").stat().st_size == dat(case).stat().st_size
    assert again.millers.tolist() == original.millers.tolist()
    assert (again.density.coefficients == original.density.coefficients).all()
    assert np.abs(again.density.cell - original.density.cell).max() < 1e-12


def test_coefficients_of_opposite_waves_are_conjugate_and_missing_ones_zero() -> None:
    density = read_charge_density_dat(dat("alsi")).density
    waves = espresso_waves(density.cell, 1.3 * CUTOFF, gamma_only=False)
    values = coefficients_at(density, waves)
    assert np.abs(values.imag).max() > 1e-3
    assert (coefficients_at(density, -waves) == values.conj()).all()
    beyond = len(waves) - (2 * len(density.millers) - 1)
    assert np.count_nonzero(values == 0) == beyond > 0


def test_half_sphere_and_sphere_hold_the_same_density(tmp_path: Path) -> None:
    density = read_charge_density_dat(dat("alsi")).density
    read = []
    for gamma_only in (True, False):
        write_charge_density_dat(tmp_path / "a.dat", density, cutoff=CUTOFF, gamma_only=gamma_only, force=True)
        read.append(read_charge_density_dat(tmp_path / "a.dat"))
    half, whole = read
    assert len(whole.millers) == 2 * len(half.millers) - 1
    assert half.density.millers.tolist() == whole.density.millers.tolist()
    assert (half.density.coefficients == whole.density.coefficients).all()


DAMAGES = {
    "empty": (lambda _: b"", "ends before the record of header"),
    "cut in the waves": (
        lambda data: data[:3000],
        r"truncated in the record of Miller indices: \d+ bytes expected, \d+ found",
    ),
    "cut before the coefficients": (
        lambda data: data[: 20 + 80 + 8 + 12 * struct.unpack("<i", data[8:12])[0]],
        r"ends before the record of coefficients \(\d+ bytes expected, 0 found\)",
    ),
    "another file": (lambda _: b"#!/bin/sh\n" * 100, "record of header has length"),
    "other byte order": (lambda data: data[3::-1] + data[4:], "little-endian"),
    "no waves": (lambda data: data[:8] + struct.pack("<i", 0) + data[12:], "announces 0 waves"),
    "no volume": (lambda data: data[:24] + bytes(72) + data[96:], "expected three independent ones"),
    "not a number": (
        lambda data: data[:-20] + struct.pack("<d", np.nan) + data[-12:],
        "1 coefficients that are not finite",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_file_is_refused(tmp_path: Path, damage: str) -> None:
    spoil, message = DAMAGES[damage]
    shutil.copytree(DATA / "alsi.save", tmp_path / "a.save")
    file = tmp_path / "a.save" / "charge-density.dat"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(FormatError, match=message):
        read_density_file(tmp_path / "a.save")


def test_a_save_folder_lacking_a_part_or_mixed_from_two_runs_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DATA / "alsi.save", tmp_path / "a.save")
    xml = tmp_path / "a.save" / "data-file-schema.xml"
    text = xml.read_text()
    xml.write_text(text.replace("<a1>7.300", "<a1>7.400"))
    with pytest.raises(FormatError, match=r"cells that differ by 0.1 Bohr; expected files of one run"):
        read_density_file(tmp_path / "a.save")
    xml.write_text(text[: len(text) // 2])
    with pytest.raises(FormatError, match=r"no whole data-file-schema.xml"):
        read_density_file(tmp_path / "a.save" / "charge-density.dat")
    xml.write_text(re.sub("<nelec>.*</nelec>", "", text))
    with pytest.raises(FormatError, match="band_structure/nelec"):
        read_density_file(tmp_path / "a.save")
    xml.unlink()
    with pytest.raises(FormatError, match=r"no file .*; expected it beside the charge density"):
        read_density_file(tmp_path / "a.save")
    (tmp_path / "a.save" / "charge-density.dat").unlink()
    with pytest.raises(FormatError, match="holds no charge density"):
        read_density_file(tmp_path / "a.save")


def test_density_on_a_grid_is_written_into_a_save_folder_for_its_run(tmp_path: Path) -> None:
    shutil.copytree(DATA / "alsi_gamma.save", tmp_path / "a.save")
    run = read_density_file(tmp_path / "a.save")
    changed = Density(run.density.grid, run.density.values * 0.5)
    with pytest.raises(OutputError, match="exists already"):
        write_density_file(tmp_path / "a.save", run.system, changed)
    write_density_file(tmp_path / "a.save", run.system, changed, force=True)
    read = read_density_file(tmp_path / "a.save")
    assert read_charge_density_dat(tmp_path / "a.save" / "charge-density.dat").gamma_only
    assert read.density.values == pytest.approx(changed.values, abs=1e-12)
    other = Density(Grid(run.system.cell[::-1], (8, 8, 8)), np.ones((8, 8, 8)))
    system = type(run.system)(run.system.cell[::-1], run.system.positions, run.system.species)
    with pytest.raises(OutputError, match=r"expected the same structure; run pw\.x"):
        write_density_file(tmp_path / "a.save", system, other, force=True)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan])
def test_cutoff_must_be_positive(tmp_path: Path, cutoff: float) -> None:
    density = read_charge_density_dat(dat("alsi")).density
    with pytest.raises(InputError, match="expected a positive energy in Hartree"):
        write_charge_density_dat(tmp_path / "a.dat", density, cutoff=cutoff, gamma_only=False)


@pytest.mark.parametrize("case", GAMMA)
def test_hdf5_holds_what_the_records_hold(tmp_path: Path, case: str) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    shutil.copytree(DATA / f"{case}.save", tmp_path / "a.save")
    original = read_charge_density_dat(dat(case))
    file = tmp_path / "a.save" / "charge-density.hdf5"
    write_charge_density_hdf5(file, original.density, cutoff=CUTOFF, gamma_only=GAMMA[case])
    read = read_charge_density_hdf5(file)
    assert read.gamma_only == GAMMA[case]
    assert read.millers.tolist() == original.millers.tolist()
    assert (read.density.coefficients == original.density.coefficients).all()
    with h5py.File(file) as store:  # the names of write_rhog, Modules/io_base.f90
        assert store.attrs["gamma_only"] == (b".TRUE." if GAMMA[case] else b".FALSE.")
        assert (int(store.attrs["ngm_g"]), int(store.attrs["nspin"])) == (len(read.millers), 1)
        assert store["rhotot_g"].shape == (2 * len(read.millers),)
        assert store["MillerIndices"].attrs["bg2"] == pytest.approx(2 * np.pi * np.linalg.inv(read.density.cell)[:, 1])
    (tmp_path / "a.save" / "charge-density.dat").unlink()
    assert read_density_file(tmp_path / "a.save").electrons == 7.0
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(FormatError, match=r"no readable charge-density.hdf5"):
        read_density_file(file)


def test_without_h5py_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "charge-density.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(FormatError, match="pip install h5py"):
        read_density_file(tmp_path / "charge-density.hdf5")
    density = read_charge_density_dat(dat("alsi")).density
    with pytest.raises(OutputError, match="pip install h5py"):
        write_charge_density_hdf5(tmp_path / "a.hdf5", density, cutoff=CUTOFF, gamma_only=False)


PW_INPUT = """&control
 calculation = 'scf', prefix = 'run', outdir = './', pseudo_dir = './', disk_io = 'low'
/
&system
 ibrav = 0, nat = 2, ntyp = 2, ecutwfc = 8, nosym = .true.
 occupations = 'smearing', smearing = 'mv', degauss = 0.05
/
&electrons
 conv_thr = 1e-9, startingpot = '{start}'
/
ATOMIC_SPECIES
Al 1.0 {Al}
Si 1.0 {Si}
CELL_PARAMETERS bohr
7.3 0.2 -0.4
1.1 6.1 0.5
-0.7 0.9 8.3
ATOMIC_POSITIONS crystal
Al 0.05 0.0 0.02
Si 0.45 0.55 0.5
{kpoints}
"""
KPOINTS = {"gamma": "K_POINTS gamma", "mesh": "K_POINTS automatic\n2 2 1 1 0 0"}
PP_INPUT = """&inputpp
 prefix = 'run', outdir = './', plot_num = 0, filplot = 'run.pp'
/
&plot
 iflag = 3, output_format = {code}, fileout = 'run.{suffix}'
/
"""


def run(program: str, text: str, folder: Path) -> str:
    (folder / "run.in").write_text(text)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = ["nice", "-n", "15", program, "-in", "run.in"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "JOB DONE" in done.stdout, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.mark.dft
@pytest.mark.skipif(not (shutil.which("pw.x") and shutil.which("pp.x")), reason="pw.x and pp.x are not on the PATH")
@pytest.mark.parametrize("kpoints", KPOINTS)
def test_programs_and_we_understand_each_other(tmp_path: Path, kpoints: str) -> None:
    names = {element: gth_pseudopotential(element).write(tmp_path).name for element in ("Al", "Si")}
    first = run("pw.x", PW_INPUT.format(start="atomic", kpoints=KPOINTS[kpoints], **names), tmp_path)
    ours = read_density_file(tmp_path / "run.save")
    for code, suffix, digits in ((6, "cube", 1e-5), (5, "xsf", 1e-6)):
        run("pp.x", PP_INPUT.format(code=code, suffix=suffix), tmp_path)
        theirs = read_density_file(tmp_path / f"run.{suffix}").density.values
        assert np.abs(theirs - ours.density.values).max() < digits * theirs.max()
        assert np.ptp(theirs) > 0.02

    # from a density on another grid, by way of the interface, the self-consistent cycle ends at once
    assert ours.fourier is not None
    finer = ours.fourier.on_grid((27, 24, 32))
    write_density_file(tmp_path / "run.save", ours.system, finer, force=True)
    second = run("pw.x", PW_INPUT.format(start="file", kpoints=KPOINTS[kpoints], **names), tmp_path)
    cycles = [int(re.findall(r"achieved in\s+(\d+) iterations", text)[0]) for text in (first, second)]
    energies = [float(re.findall(r"^!\s+total energy\s+=\s+(\S+)", text, re.MULTILINE)[0]) for text in (first, second)]
    assert cycles[0] > 4
    assert cycles[1] <= 2
    assert energies[1] == pytest.approx(energies[0], abs=1e-8)


@pytest.mark.dft
@pytest.mark.skipif(not shutil.which("pw.x"), reason="pw.x is not on the PATH")
def test_waves_in_another_order_would_not_start_a_run(tmp_path: Path) -> None:
    """``pw.x`` goes by place, not by index: the order of the list is what the test above proves."""
    names = {element: gth_pseudopotential(element).write(tmp_path).name for element in ("Al", "Si")}
    text = PW_INPUT.format(start="atomic", kpoints=KPOINTS["mesh"], **names)
    run("pw.x", text, tmp_path)
    file = tmp_path / "run.save" / "charge-density.dat"
    density = read_charge_density_dat(file).density
    swapped = FourierDensity.from_coefficients(
        density.cell, density.millers[:, [1, 0, 2]], density.coefficients, density.cutoff
    )
    write_charge_density_dat(file, swapped, cutoff=16.0, gamma_only=False, force=True)
    output = run("pw.x", text.replace("atomic", "file", 1), tmp_path)
    assert int(re.findall(r"achieved in\s+(\d+) iterations", output)[0]) > 4
