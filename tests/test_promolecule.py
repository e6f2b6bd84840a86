"""Laws of atomic density tables and of their periodic sum."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.engines.atomic_density import atomic_density_table, density_table_of_file
from rhoscale.engines.pseudopotentials import PseudopotentialFile, gth_pseudopotential
from rhoscale.errors import FormatError, InputError, ModelError, StructureError
from rhoscale.grid import Grid
from rhoscale.promolecule import (
    AtomicDensityTable,
    Promolecule,
    promolecule,
    promolecule_fourier,
    promolecule_on_grid,
)
from rhoscale.system import PseudopotentialIdentity, System

TABLES = {e: atomic_density_table(e) for e in ("Al", "Si", "Ge")}
TRICLINIC = np.array([[9.0, 0.7, -1.1], [2.3, 8.2, 0.9], [-1.7, 3.1, 10.4]])


def random_system(seed: int = 0, atoms: int = 5, cell: np.ndarray = TRICLINIC) -> System:
    rng = np.random.default_rng(seed)
    species = np.array(["Al", "Si", "Ge"])[rng.integers(0, 3, atoms)]
    return System(cell, rng.uniform(-1, 2, (atoms, 3)) @ cell, species)


def direct_sum(system: System, points: np.ndarray) -> np.ndarray:
    """The definition: every image of every atom within reach, one by one."""
    longest = max(table.cutoff for table in TABLES.values())
    n = np.ceil(longest * np.linalg.norm(np.linalg.inv(system.cell), axis=0)).astype(int) + 1
    images = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in n), indexing="ij"), axis=-1).reshape(-1, 3)
    total = np.zeros(len(points))
    for position, element in zip(system.scaled_positions @ system.cell, system.species, strict=True):
        for p, point in enumerate(points):
            distances = np.linalg.norm(point - position - images @ system.cell, axis=1)
            total[p] += TABLES[str(element)].density(distances[distances < longest]).sum()
    return total


CELLS = {
    "triclinic": TRICLINIC,
    "smaller than a bin": np.diag([3.0, 5.0, 4.0]),
    "long": np.diag([4.1, 30.0, 13.0]),
    "skewed": np.array([[5.0, 0, 0], [4.9, 2, 0], [0.3, 9, 7]]),
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_the_binned_sum_is_the_sum_over_all_images(cell):
    system = random_system(1, 4, cell)
    points = np.random.default_rng(2).uniform(0, 1, (12, 3)) @ cell
    expected = direct_sum(system, points)
    assert expected.min() > 1e-5
    np.testing.assert_allclose(promolecule(system, TABLES, points), expected, rtol=1e-11)


@pytest.mark.parametrize("element", sorted(TABLES))
def test_tables_hold_the_valence_electrons_and_end_smoothly(element):
    table = TABLES[element]
    assert table.form_factor(np.zeros(1)) == pytest.approx(table.pseudopotential.valence, rel=1e-12)
    assert 1e-9 < table.values[-120] < 3e-8
    assert table.values[-1] == 0
    near_end = table.cutoff - np.array([0.1, 0.01, 0.0, -0.1])
    assert (np.abs(table.density(near_end)) < 2e-12).all()


def test_the_integral_is_the_number_of_electrons():
    system = random_system(3)
    electrons = system.electrons({e: t.pseudopotential for e, t in TABLES.items()})
    density = promolecule_on_grid(system, TABLES, Grid(system.cell, (36, 36, 40)))
    assert density.integral() == pytest.approx(electrons, rel=1e-6)
    assert promolecule_fourier(system, TABLES, 5.0).electrons == pytest.approx(electrons, rel=1e-9)


def test_waves_and_atoms_give_one_density():
    """Atoms at sharp points; the form factors of all three elements are below 1e-8 at 30 / Bohr (450 Hartree)."""
    cell = 0.5 * TRICLINIC
    system = System(cell, np.array([[0.1, 0.2, 0.3], [2.0, 3.0, 1.0]]), np.array(["Ge", "Si"]))
    grid = Grid(cell, (50, 48, 60))
    waves = promolecule_fourier(system, TABLES, 450.0).on_grid(grid.shape).values
    atoms = promolecule_on_grid(system, TABLES, grid).values
    assert np.ptp(atoms) > 0.03
    np.testing.assert_allclose(waves, atoms, rtol=0, atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_images_order_and_company_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    system = random_system(seed, 6)
    points = rng.uniform(-1, 2, (30, 3)) @ system.cell
    values = promolecule(system, TABLES, points)
    assert np.ptp(values) > 1e-4
    lattice = rng.integers(-3, 4, (30, 3)) @ system.cell
    np.testing.assert_allclose(promolecule(system, TABLES, points + lattice), values, rtol=1e-9)
    order = rng.permutation(6)
    moved = system.positions[order] + rng.integers(-3, 4, (6, 3)) @ system.cell
    permuted = System(system.cell, moved, system.species[order])
    np.testing.assert_allclose(promolecule(permuted, TABLES, points), values, rtol=1e-9)
    some = rng.permutation(30)[:11]
    assert (promolecule(system, TABLES, points[some]) == values[some]).all()
    assert (promolecule(system, TABLES, points, workers=3) == values).all()


def test_turning_the_crystal_turns_the_density():
    system = random_system(5)
    Q = np.linalg.qr(np.random.default_rng(6).standard_normal((3, 3)))[0]
    points = np.random.default_rng(7).uniform(0, 1, (20, 3)) @ system.cell
    turned = System(system.cell @ Q, system.positions @ Q, system.species)
    values = promolecule(system, TABLES, points)
    assert np.ptp(values) > 1e-3
    np.testing.assert_allclose(promolecule(turned, TABLES, points @ Q), values, rtol=1e-9)


def test_a_supercell_repeats_its_cell():
    system = random_system(8, 4)
    copies = [system.positions + np.array([i, j, 0]) @ system.cell for i in range(2) for j in range(3)]
    large = System(system.cell * np.array([[2], [3], [1]]), np.concatenate(copies), np.tile(system.species, 6))
    points = np.random.default_rng(9).uniform(0, 1, (20, 3)) @ large.cell
    np.testing.assert_allclose(
        promolecule(large, TABLES, points), promolecule(system, TABLES, points), rtol=1e-10, atol=1e-14
    )


def test_the_density_has_no_jump_along_a_line():
    """Across bins, cell faces and the ends of tables the second difference falls with the square of the step."""
    system = random_system(10)
    start, direction = np.array([0.3, -0.2, 0.1]), np.array([30.0, 17.0, -25.0])
    sharpest = []
    for n in (4000, 8000):
        line = promolecule(system, TABLES, start + np.linspace(0, 1, n + 1)[:, None] * direction)
        assert np.ptp(line) > 1e-2
        sharpest.append(np.abs(np.diff(line, 2)).max())
    assert sharpest[1] / sharpest[0] == pytest.approx(0.25, rel=0.05)


def test_slabs_of_a_grid_are_the_whole_grid(monkeypatch):
    system = random_system(11)
    grid = Grid(system.cell, (7, 6, 5))
    whole = promolecule_on_grid(system, TABLES, grid)
    monkeypatch.setattr("rhoscale.promolecule.lattice.POINTS_AT_ONCE", 61)
    sliced = Promolecule(system, TABLES).on_grid(grid, workers=2)
    assert np.ptp(whole.values) > 1e-2
    assert (sliced.values == whole.values).all()


def test_tables_survive_storage_and_notice_damage():
    table = TABLES["Ge"]
    values, meta = table.to_parts()
    again = AtomicDensityTable.from_parts(values, json.loads(json.dumps(meta)))
    assert again.content_hash == table.content_hash
    assert again.pseudopotential == gth_pseudopotential("Ge").identity
    assert (again.values == table.values).all()
    assert len({t.content_hash for t in TABLES.values()}) == 3
    with pytest.raises(ModelError, match=r"atomic density of Ge has hash .* damaged or exchanged"):
        AtomicDensityTable.from_parts(values * 1.0001, meta)


def test_a_shorter_table_is_close_and_still_neutral():
    short = atomic_density_table("Al", tolerance=1e-6)
    assert short.cutoff < TABLES["Al"].cutoff - 5
    assert short.form_factor(np.zeros(1)) == pytest.approx(3, rel=1e-12)
    assert short.density(np.array([2.0])) == pytest.approx(TABLES["Al"].density(np.array([2.0])), rel=2e-3)


def test_the_density_in_a_users_file_gives_the_same_table():
    table = density_table_of_file(gth_pseudopotential("Si"))
    r = np.linspace(0, 7, 200)
    np.testing.assert_allclose(table.density(r), TABLES["Si"].density(r), rtol=1e-4, atol=1e-7)


def test_files_without_a_density_are_refused():
    file = gth_pseudopotential("Si")
    start = file.text.index("<PP_RHOATOM")
    without = PseudopotentialFile(file.identity, file.text[:start] + "</UPF>")
    with pytest.raises(FormatError, match=r"601 radii and 0 values of the atomic density"):
        density_table_of_file(without)
    zero = PseudopotentialFile(file.identity, file.text[:start] + f"<PP_RHOATOM>{'0.0 ' * 601}</PP_RHOATOM></UPF>")
    with pytest.raises(InputError, match=r"holds 0 electrons .* expected 4; use another"):
        density_table_of_file(zero)
    word = PseudopotentialFile(file.identity, file.text[:start] + "<PP_RHOATOM>none</PP_RHOATOM></UPF>")
    with pytest.raises(FormatError, match=r"section PP_RHOATOM .* holds what is no number"):
        density_table_of_file(word)


def test_bad_input_is_refused():
    system = random_system(12)
    with pytest.raises(StructureError, match=r"no atomic density for Ge, Si; there are ones for Al"):
        promolecule(
            System(system.cell, system.positions[:3], np.array(["Al", "Si", "Ge"])), {"Al": TABLES["Al"]}, [[0]]
        )
    with pytest.raises(InputError, match="is not the system's"):
        promolecule_on_grid(system, TABLES, Grid(np.eye(3) * 9, (4, 4, 4)))
    with pytest.raises(InputError, match="expected at least 8 finite values"):
        AtomicDensityTable(PseudopotentialIdentity("Al", "x", 3.0, "0"), 0.02, np.full(20, np.nan))
