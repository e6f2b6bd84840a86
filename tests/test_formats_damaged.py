"""Density files that are damaged, cut short, of an unknown format or not there are refused and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from density_files import CELL, CHGCAR, CUBE, NUMBERS, POSCAR, SPARC, some_density
from rhoscale.errors import FormatError
from rhoscale.formats import read_density_file

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
