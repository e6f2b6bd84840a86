"""Laws of structure files: ASE's readers and ours give the same atoms; what is written is read; damage is refused."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_masses
from ase.io import read as ase_read
from ase.io import write as ase_write
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.ase_bridge import from_atoms, read_system, to_atoms
from rhoscale.errors import FormatError, InputError, OutputError, StructureError
from rhoscale.formats.lammps import symbol_of_mass
from rhoscale.formats.structure_file import structure_format, write_structure_file
from rhoscale.formats.structure_text import StructureText
from rhoscale.recipes.predict import read_structure
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR


def alloy(*, sheared: bool = False, seed: int = 0) -> Atoms:
    """54 to 64 atoms of three elements off their sites, some outside of the cell."""
    atoms = bulk("Si", "diamond", a=5.5, cubic=True).repeat(2)
    atoms.numbers[:] = np.random.default_rng(seed).choice([13, 14, 32], len(atoms))
    if sheared:
        atoms.set_cell([[11.0, 0, 0], [2.5, 10.5, 0], [-1.5, 3.0, 12.0]], scale_atoms=True)
    atoms.rattle(0.3, seed=seed)
    return atoms


def same(ours: System, theirs: System, digits: float = 1e-10) -> None:
    """Same species, cell and positions, up to lattice vectors."""
    assert len(ours) > 10
    assert ours.species.tolist() == theirs.species.tolist()
    np.testing.assert_allclose(ours.cell, theirs.cell, atol=digits)
    shift = np.linalg.solve(ours.cell.T, (ours.positions - theirs.positions).T).T
    assert np.abs((shift - np.rint(shift)) @ ours.cell).max() < digits


def dump_text(
    atoms: Atoms,
    columns: str = "id type element x y z",
    *,
    corner: tuple[float, float, float] = (0, 0, 0),
    head: str = "",
) -> str:
    """A dump of a restricted triclinic or orthogonal cell, lines in random order."""
    (lx, xy, xz), (ly, yz), lz = atoms.cell.array[:, 0], atoms.cell.array[1:, 1], atoms.cell.array[2, 2]
    low = np.array(corner)
    high = low + [lx, ly, lz]
    tilted = bool(xy or xz or yz)
    bound_low = low + [min(0, xy, xz, xy + xz), min(0, yz), 0]
    bound_high = high + [max(0, xy, xz, xy + xz), max(0, yz), 0]
    kinds = sorted(set(atoms.numbers.tolist()))
    scaled, place = atoms.get_scaled_positions(wrap=False), atoms.positions + low
    rows = []
    for n in np.random.default_rng(1).permutation(len(atoms)):
        values = {
            "id": n + 1,
            "type": kinds.index(atoms.numbers[n]) + 1,
            "element": atoms[n].symbol,
            "mass": atoms[n].mass,
        }
        values |= dict(zip(("x", "y", "z"), place[n], strict=True)) | dict(
            zip(("xs", "ys", "zs"), scaled[n], strict=True)
        )
        values |= {"xu": place[n, 0], "yu": place[n, 1], "zu": place[n, 2], "vx": 0.1, "c_pe": -3.4}
        rows.append(" ".join(str(values[c]) for c in columns.split()))
    box = [
        f"{a} {b}" + (f" {t}" if tilted else "") for a, b, t in zip(bound_low, bound_high, (xy, xz, yz), strict=True)
    ]
    bounds = "ITEM: BOX BOUNDS " + ("xy xz yz " if tilted else "") + "pp pp pp"
    lines = ["ITEM: TIMESTEP", "0", "ITEM: NUMBER OF ATOMS", str(len(atoms)), bounds, *box, f"ITEM: ATOMS {columns}"]
    return head + "\n".join([*lines, *rows, ""])


@pytest.mark.parametrize("sheared", [False, True])
def test_extended_xyz_is_read_as_ase_reads_it(sheared: bool, tmp_path: Path) -> None:
    atoms = alloy(sheared=sheared)
    atoms.arrays["forces"] = np.random.default_rng(0).standard_normal((len(atoms), 3))
    atoms.info.update(energy=-3.5, name='a "quoted" name', matrix=np.arange(9).reshape(3, 3))
    file = tmp_path / "a.xyz"
    ase_write(file, atoms, format="extxyz")
    assert structure_format(file) == "extended XYZ"
    ours, theirs = read_system(file), from_atoms(ase_read(file))
    assert np.array_equal(ours.positions, theirs.positions)
    same(ours, theirs)


@pytest.mark.parametrize(
    "properties",
    [
        "species:S:1:pos:R:3",
        "pos:R:3:species:S:1",
        "id:I:1:species:S:1:pos:R:3:v:R:3",
        "Z:I:1:pos:R:3",
        "pos:R:3:Z:I:1",
    ],
)
def test_columns_are_taken_by_their_names(properties: str, tmp_path: Path) -> None:
    atoms = alloy()
    fields = properties.split(":")[::3]
    rows = [
        "  ".join(
            {"species": a.symbol, "Z": str(a.number), "pos": "{} {}\t{}".format(*a.position), "id": "7"}.get(f, "1 2 3")
            for f in fields
        )
        for a in atoms
    ]
    lattice = " ".join(map(str, atoms.cell.array.ravel()))
    file = tmp_path / "a.txt"
    file.write_bytes(
        f'{len(atoms)}\r\nLattice="{lattice}" Properties={properties}\r\n'.encode() + "\r\n".join(rows).encode()
    )
    ours = read_system(file)
    same(ours, from_atoms(atoms))
    same(ours, from_atoms(ase_read(file, format="extxyz")))


def test_of_several_structures_the_one_asked_for_is_read(tmp_path: Path) -> None:
    frames = [alloy(seed=n) for n in range(3)]
    xyz, dump = tmp_path / "three.xyz", tmp_path / "three.dump"
    ase_write(xyz, frames, format="extxyz")
    dump.write_text(
        "".join(dump_text(f, head="ITEM: UNITS\nmetal\n" if n == 0 else "") for n, f in enumerate(frames)) + "\n \n"
    )
    for file in (xyz, dump):
        for index in (0, 1, 2, -1, -3):
            same(read_system(file, index=index), from_atoms(frames[index]), 1e-7)
        for index in (3, -4):
            with pytest.raises(FormatError, match=r"3 s.*asked for number"):
                read_system(file, index=index)


@pytest.mark.parametrize("sheared", [False, True])
@pytest.mark.parametrize("masses", [False, True])
def test_lammps_data_is_read_as_ase_reads_it(sheared: bool, masses: bool, tmp_path: Path) -> None:
    atoms = alloy(sheared=sheared)
    file = tmp_path / "a.data"
    order = ["Al", "Si", "Ge"]
    ase_write(file, atoms, format="lammps-data", specorder=order, masses=masses)
    assert structure_format(file) == "LAMMPS data"
    theirs = ase_read(file, format="lammps-data", Z_of_type={1: 13, 2: 14, 3: 32})
    same(read_system(file, elements=None if masses else order), from_atoms(theirs))
    if not masses:
        with pytest.raises(FormatError, match="--elements"):
            read_system(file)
        with pytest.raises(InputError, match="types up to 3"):
            read_system(file, elements=["Al", "Si"])


@pytest.mark.parametrize(
    ("style", "row"),
    [
        ("atomic", "{n} {t} {x} {y} {z}"),
        ("atomic", "{n} {t} {x} {y} {z} 0 -1 2"),
        ("charge", "{n} {t} 0.5 {x} {y} {z}"),
        ("molecular", "{n} 1 {t} {x} {y} {z}"),
        ("full", "{n} 1 {t} -1.0 {x} {y} {z} 0 0 0"),
        ("sphere", "{n} {t} 1.0 2.0 {x} {y} {z}"),
    ],
)
def test_styles_of_lammps_atoms(style: str, row: str, tmp_path: Path) -> None:
    atoms = alloy()
    types = {13: 1, 14: 2, 32: 3}
    rows = [row.format(n=n + 1, t=types[a.number], x=a.x, y=a.y, z=a.z) for n, a in enumerate(atoms)]
    file = tmp_path / "data.any"
    box = "0 11 xlo xhi\n0 11 ylo yhi\n0 11 zlo zhi\n"
    masses = "Masses\n\n1 27.0\n2 1.0 # Si\n3 72.6\n"
    head = f"made by hand\n\n64 atoms # all\n3 atom types\n{box}\n{masses}"
    tail = "\n\nVelocities\n\n" + "\n".join(f"{n + 1} 0 0 0" for n in range(64))
    file.write_text(f"{head}\nAtoms # {style}\n\n" + "\n".join(rows) + tail)
    same(read_system(file), from_atoms(atoms))
    if style != "sphere":  # ASE does not know this one
        same(from_atoms(ase_read(file, format="lammps-data", Z_of_type={1: 13, 2: 14, 3: 32})), from_atoms(atoms))


def test_type_labels_of_lammps_name_the_elements(tmp_path: Path) -> None:
    file = tmp_path / "labels.lmp"
    head = "by write_data, units = electron\n\n2 atoms\n2 atom types\n0 7.5 xlo xhi\n0 7.5 ylo yhi\n0 7.5 zlo zhi\n\n"
    file.write_text(
        head + "Atom Type Labels\n\n1 Ge\n2 Si\n\nMasses\n\nGe 72.6\nSi 28.1\n\nAtoms\n\n2 Si 1 1 1\n1 Ge 0 0 0\n"
    )
    system = read_system(file)
    assert system.species.tolist() == ["Ge", "Si"]
    np.testing.assert_allclose(system.positions, [[0, 0, 0], [1, 1, 1]], atol=1e-12)
    assert system.volume == pytest.approx(7.5**3)


@pytest.mark.parametrize("sheared", [False, True])
@pytest.mark.parametrize(
    "columns", ["id type element x y z", "element xs ys zs", "id mass vx xu yu zu c_pe", "x y z id element"]
)
def test_lammps_dumps_are_read_as_ase_reads_them(columns: str, sheared: bool, tmp_path: Path) -> None:
    atoms = alloy(sheared=sheared)
    file = tmp_path / "a.lammpstrj"
    file.write_text(dump_text(atoms, columns))
    assert structure_format(file) == "LAMMPS dump"
    same(read_system(file), from_atoms(ase_read(file, format="lammps-dump-text")))


def test_types_of_a_dump_are_elements_only_if_somebody_says_which(tmp_path: Path) -> None:
    atoms = alloy()
    file = tmp_path / "a.dump"
    file.write_text(dump_text(atoms, "id type x y z"))
    with pytest.raises(FormatError, match="which element type 1, 2, 3"):
        read_system(file)
    same(read_system(file, elements=["Al", "Si", "Ge"]), from_atoms(atoms))


@pytest.mark.parametrize("sheared", [False, True])
def test_scaled_and_plain_columns_of_a_dump_are_one_structure_wherever_the_box_begins(
    sheared: bool, tmp_path: Path
) -> None:
    atoms = alloy(sheared=sheared)
    for name, columns in (("plain", "id element x y z"), ("scaled", "id element xs ys zs")):
        (tmp_path / name).write_text(dump_text(atoms, columns, corner=(-3.0, 2.0, 5.5)))
    plain, scaled = read_system(tmp_path / "plain"), read_system(tmp_path / "scaled")
    same(plain, scaled)
    np.testing.assert_allclose(plain.positions[0] * ANGSTROM_PER_BOHR, atoms.positions[0] + [-3.0, 2.0, 5.5], atol=1e-9)


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_packed_text_is_read_and_damaged_packing_refused(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    atoms = alloy()
    whole, packed = tmp_path / "a.xyz", tmp_path / f"a.xyz{suffix}"
    ase_write(whole, atoms, format="extxyz")
    packed.write_bytes(pack(whole.read_bytes()))
    same(read_system(packed), read_system(whole))
    big = pack(whole.read_bytes() * 400)
    packed.write_bytes(big[: len(big) // 2])
    with pytest.raises(FormatError):
        read_system(packed)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1e5))
def test_what_is_written_is_read(seed: int, size: float) -> None:
    import tempfile

    rng = np.random.default_rng(seed)
    cell = (np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))) * size
    system = System(cell, rng.uniform(-size, size, (50, 3)), rng.choice(["C", "Si", "Ge"], 50))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.xyz", "a.npz"):
            write_structure_file(Path(folder) / name, system, comment='a "comment"\nof two \\ lines')
            back = read_system(Path(folder) / name)
            assert np.array_equal(back.species, system.species)
            np.testing.assert_allclose(back.cell, system.cell, rtol=1e-15)
            rounding = 4 * np.spacing(np.abs(system.positions).max())  # of the change of units, far from the origin
            limit = 0.0 if name == "a.npz" else 0.5e-8 / ANGSTROM_PER_BOHR + rounding
            assert np.abs(back.positions - system.positions).max() <= limit
        theirs = from_atoms(ase_read(Path(folder) / "a.xyz"))
        assert np.array_equal(theirs.positions, read_system(Path(folder) / "a.xyz").positions)


def test_written_rows_are_those_that_ase_writes(tmp_path: Path) -> None:
    atoms = alloy()
    write_structure_file(tmp_path / "ours.xyz", from_atoms(atoms))
    ase_write(tmp_path / "theirs.xyz", to_atoms(from_atoms(atoms)), format="extxyz")
    ours, theirs = ((tmp_path / f"{n}.xyz").read_text().splitlines() for n in ("ours", "theirs"))
    assert ours[2:] == theirs[2:]
    assert len(ours) == 66


def test_an_archive_of_a_density_is_a_structure_too(tmp_path: Path) -> None:
    system = from_atoms(alloy())
    arrays = {"cell": system.cell, "positions": system.positions, "species": system.species}
    np.savez(tmp_path / "density.npz", **arrays, density=np.ones((2, 2, 2)))
    same(read_structure(tmp_path / "density.npz"), system, 1e-15)
    for name, values in {
        "few.npz": {"cell": system.cell, "species": system.species},
        "count.npz": {**arrays, "species": system.species[:-1]},
        "kinds.npz": {**arrays, "species": np.ones(64)},
        "nan.npz": {**arrays, "positions": system.positions * np.nan},
    }.items():
        np.savez(tmp_path / name, **values)
        with pytest.raises(FormatError, match=name):
            read_system(tmp_path / name)
    (tmp_path / "half.npz").write_bytes((tmp_path / "density.npz").read_bytes()[:600])
    with pytest.raises(FormatError, match="no readable"):
        read_system(tmp_path / "half.npz")


XYZ = '3\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T T"\nAl 0 0 0\nAl 0 2 2\nSi 2 0 2\n'
DATA = (
    "comment\n\n3 atoms\n1 atom types\n0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi\n\nMasses\n\n1 26.98\n\n"
    "Atoms # atomic\n\n1 1 0 0 0\n2 1 0 2 2\n3 1 2 0 2\n"
)
DUMP = (
    "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS pp pp pp\n0 9\n0 9\n0 9\n"
    "ITEM: ATOMS id element x y z\n1 Al 0 0 0\n2 Al 0 2 2\n3 Al 2 0 2\n"
)


@pytest.mark.parametrize("text", [XYZ, DATA, DUMP])
def test_the_small_files_of_the_next_tests_are_fine(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(text)
    assert len(read_system(tmp_path / "a")) == 3


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (XYZ, "Si 2 0 2\n", "", "truncated: 3 atoms announced, 2 found"),
        (XYZ, "Si 2 0 2\n", "Si 2 0", r"reads 'Si 2 0'; expected 4 words"),
        (XYZ, "Si 2 0 2\n", "\n\n", "truncated"),
        (XYZ, "3\n", "2\n", "reads 'Si 2 0 2'; expected the number of atoms"),
        (XYZ, "3\n", "9999999999\n", "truncated: 9999999999 atoms announced, 3 found"),
        (XYZ, "0 2 2", "0 nan 2", r"1 of 3 atoms have values that are not finite numbers \(first: line 4\)"),
        (XYZ, "0 2 2", "0 2,5 2", "line 4 of the atoms reads '2,5'"),
        (XYZ, "Si", "Sx", "names an atom 'Sx'"),
        (XYZ, "Si", "Silicone-Rubber", "a name of at most 8 characters"),
        (XYZ, "pos:R:3", "position:R:3", "Properties with species and pos"),
        (XYZ, 'Lattice="9 0 0', 'Lattice="9 0', "9 numbers"),
        (XYZ, 'Lattice="9 0 0 0 9', 'Lattice="9 0 0 0 0', "volume"),
        (DATA, "3 1 2 0 2\n", "", "truncated: 3 atoms announced, 2 found"),
        (DATA, "3 1 2 0 2\n", "3 1 2 0\n", "expected 5 words"),
        (DATA, "3 atoms", "2 atoms", "line 17 after 2 atoms reads '3 1 2 0 2'; expected 2 atoms"),
        (DATA, "3 atoms", "3 atoms\n4 atoms", "2 lines before the atoms"),
        (DATA, "2 1 0 2 2", "2 1 0 inf 2", "not finite"),
        (DATA, "3 1 2", "2 1 2", r"occurs twice \(first: 2\)"),
        (DATA, "Atoms # atomic\n", "", "expected a section Atoms"),
        (DATA, "# atomic", "# ellipsoid", "expected 'Atoms # STYLE'"),
        (DATA, "0 9 zlo zhi\n", "", "the box has 2 lines"),
        (DATA, "1 26.98", "1 500", "which element type 1"),
        (DATA, "1 26.98", "1 heavy", "expected a number"),
        (DATA, "comment", "units = lj", "units 'lj'"),
        (DUMP, "3 Al 2 0 2\n", "", "truncated: 3 atoms announced, 2 found"),
        (DUMP, "ATOMS\n3", "ATOMS\n2", "reads '3 Al 2 0 2'; expected a line that begins with ITEM"),
        (DUMP, "0 2 2", "0 nan 2", "not finite"),
        (DUMP, "3 Al", "3 Qq", "the element Qq"),
        (DUMP, "element x y z", "element x y q", "the columns are"),
        (DUMP, "0 9\n0 9\n0 9\n", "0 9\n0 9\n0\n", "three bounds"),
        (DUMP, "ITEM: NUMBER OF ATOMS\n3\n", "", "NUMBER OF ATOMS"),
        (DUMP, "ITEM: TIMESTEP\n0\n", "ITEM: UNITS\nlj\n", "units 'lj'"),
    ],
)
def test_damaged_files_say_what_is_wrong(text: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in text
    (tmp_path / "a").write_text(text.replace(old, new, 1))
    with pytest.raises(FormatError, match=message):
        read_system(tmp_path / "a")


@pytest.mark.parametrize(("text", "old", "new"), [(XYZ, "T T T", "T T F"), (DUMP, "pp pp pp", "pp pp ff")])
def test_what_is_no_bulk_cell_is_refused(text: str, old: str, new: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(text.replace(old, new))
    with pytest.raises(StructureError, match="periodic"):
        read_system(tmp_path / "a")


def test_elements_belong_to_lammps_files_alone(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text(XYZ)
    bulk("Al").write(tmp_path / "POSCAR")
    for name in ("a.xyz", "POSCAR"):
        with pytest.raises(InputError, match="leave them out"):
            read_system(tmp_path / name, elements=["Al"])


def test_files_are_never_replaced_unasked(tmp_path: Path) -> None:
    system = from_atoms(alloy())
    write_structure_file(tmp_path / "a.xyz", system)
    with pytest.raises(OutputError, match="exists already"):
        write_structure_file(tmp_path / "a.xyz", system)
    write_structure_file(tmp_path / "a.xyz", system, force=True)
    with pytest.raises(OutputError, match="no format"):
        write_structure_file(tmp_path / "a.pdb", system)
    with pytest.raises(OutputError, match="wrap the atoms"):
        write_structure_file(tmp_path / "far.xyz", System(system.cell, system.positions + 1e7, system.species))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.xyz"]


def test_a_mass_tells_its_element_or_nothing() -> None:
    names = {13: "Al", 14: "Si", 27: "Co", 28: "Ni", 32: "Ge", 79: "Au"}
    assert {z: symbol_of_mass(atomic_masses[z]) for z in names} == names
    assert symbol_of_mass(27.0) == "Al"
    assert symbol_of_mass(58.81) is None  # between nickel and cobalt
    assert symbol_of_mass(39.5) is None


def test_tables_longer_than_the_buffer_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rhoscale.formats import structure_text

    values = np.random.default_rng(0).uniform(-100, 100, (500, 3))
    file = tmp_path / "table"
    file.write_text("".join(f"{'AB'[n % 2]} {x!r} {y!r} {z!r}\n" for n, (x, y, z) in enumerate(values.tolist())))
    monkeypatch.setattr(structure_text, "BUFFER", 200)
    table = StructureText(file, "test").table(500, ["label", "number", "number", "number"], "rows")
    assert np.array_equal(table.numbers, values)
    assert table.labels == ("A", "B")
    assert np.array_equal(table.codes, np.arange(500) % 2)
    monkeypatch.setattr(structure_text, "BUFFER", 20)
    with pytest.raises(FormatError, match="longer than 20"):
        StructureText(file, "test").table(500, ["label", "number", "number", "number"], "rows")
