from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from rhoscale.ase_bridge import from_atoms, read_system, to_atoms
from rhoscale.errors import FormatError, StructureError


def test_angstrom_becomes_bohr_and_comes_back() -> None:
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    system = from_atoms(atoms)
    assert system.volume == pytest.approx(4.05**3 * 1.8897261246**3)
    back = to_atoms(system)
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(back.cell.array, atoms.cell.array, atol=1e-12)
    assert back.get_chemical_symbols() == atoms.get_chemical_symbols()


@pytest.mark.parametrize("suffix", ["vasp", "cif", "xyz"])
def test_files_of_any_ase_format_are_read(suffix: str, tmp_path: Path) -> None:
    atoms = bulk("Si", "diamond", a=5.47, cubic=True)
    file = tmp_path / f"si.{suffix}"
    atoms.write(file)
    system = read_system(file)
    assert system.formula == "Si8"
    assert system.volume == pytest.approx((5.47 * 1.8897261246) ** 3, rel=1e-6)


def test_unusable_files_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "noise.xyz").write_text("this is not a structure\n")
    for name, words in {
        "empty.xyz": "is empty",
        "noise.xyz": "could not be read",
        "none.xyz": "no structure file",
    }.items():
        with pytest.raises(FormatError, match=words):
            read_system(tmp_path / name)
    molecule = bulk("Al")
    molecule.pbc = [True, True, False]
    with pytest.raises(StructureError, match="periodic along"):
        from_atoms(molecule)
