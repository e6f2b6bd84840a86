"""Laws of tiling blocks: seams keep the variance, bonds and pairs are the known ones, compositions become exact."""

from __future__ import annotations

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from rhoscale.ase_bridge import to_atoms
from rhoscale.errors import InputError, StructureError
from rhoscale.structures.alloy import composition_counts, exact_composition
from rhoscale.structures.bond_lengths import length_distribution, match_lengths, near_bonds, with_neighbours
from rhoscale.structures.crystal import LATTICES, crystal, sublattices, supercell
from rhoscale.structures.pair_distances import close_pairs, pair_distribution
from rhoscale.structures.thermal_tiling import ThermalBlock, separate, tile, windows
from rhoscale.system import System
from rhoscale.units import ANGSTROM_PER_BOHR

A = 7.65
AL = crystal("fcc", ["Al"], A)


def shaken(cell: System, repeats: tuple[int, int, int], size: float, seed: int) -> System:
    whole = supercell(cell, repeats)
    return System(
        whole.cell, whole.positions + np.random.default_rng(seed).normal(0, size, (len(whole), 3)), whole.species
    )


def block_of(repeats: tuple[int, int, int], size: float, seed: int) -> ThermalBlock:
    return ThermalBlock.from_snapshot(AL, repeats, shaken(AL, repeats, size, seed))


@given(st.integers(4, 60), st.integers(3, 12), st.integers(0, 3))
def test_windows_cover_an_axis_and_their_squared_weights_add_up_to_one(cells: int, block: int, overlap: int) -> None:
    block = min(block, cells)
    sites = np.array([0.0, 0.25, 0.5])
    total, cores = np.zeros((cells, 3)), np.zeros(cells, dtype=int)
    for window in windows(cells, block, overlap):
        assert window.cells <= block
        np.add.at(total, (window.start + np.arange(window.cells)) % cells, window.weights(sites) ** 2)
        cores[window.start : window.start + window.length] += 1
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    assert (cores == 1).all()


def test_blocks_that_cannot_be_tiled_are_refused() -> None:
    for cells, block in ((5, 6), (5, 2)):
        with pytest.raises(InputError, match="cannot be tiled"):
            windows(cells, block, 2)
    with pytest.raises(InputError, match="one shape"):
        tile([block_of((4, 4, 4), 0.1, 0), block_of((4, 4, 5), 0.1, 1)], AL, (8, 8, 8), 2, np.random.default_rng(0))


def test_sites_outside_of_seams_are_copies_and_sites_in_seams_keep_the_variance() -> None:
    blocks = [block_of((6, 6, 6), 0.3, seed) for seed in range(3)]
    tiled, seam = tile(blocks, AL, (20, 17, 13), 2, np.random.default_rng(0))
    assert tiled.displacements.shape == (20, 17, 13, 4, 3)
    assert 0.2 < seam.mean() < 0.95
    known = np.concatenate([block.displacements.reshape(-1, 3) for block in blocks])
    copies = tiled.displacements[~seam]
    assert {tuple(x) for x in copies.tolist()} <= {tuple(x) for x in known.tolist()}
    assert len({tuple(x) for x in copies[:500].tolist()}) > 300  # no mere repetition
    assert tiled.displacements[seam].std() == pytest.approx(0.3, rel=0.02)
    assert not np.isin(tiled.displacements[seam][:, 0], known).any()


def test_an_axis_as_long_as_the_block_is_the_block_itself_in_another_place() -> None:
    block = block_of((4, 4, 4), 0.3, 0)
    tiled, seam = tile([block], AL, (4, 4, 4), 2, np.random.default_rng(3))
    assert not seam.any()
    moved = [np.roll(block.displacements, (i, j, k), (0, 1, 2)) for i in range(4) for j in range(4) for k in range(4)]
    assert sum(np.array_equal(tiled.displacements, other) for other in moved) == 1


def test_displacements_do_not_see_drift_nor_wrapping() -> None:
    whole = supercell(AL, (4, 4, 4))
    moved = np.random.default_rng(0).normal(0, 0.3, (len(whole), 3))
    moved -= moved.mean(axis=0)
    snapshot = System(whole.cell, whole.positions + moved + [5.3, -40.2, 13.0], whole.species)
    wrapped = System(whole.cell, snapshot.scaled_positions @ whole.cell, whole.species)
    block = ThermalBlock.from_snapshot(AL, (4, 4, 4), wrapped)
    assert block.repeats == (4, 4, 4)
    np.testing.assert_allclose(block.displacements.reshape(-1, 3), moved, atol=1e-9)


def test_a_molten_block_is_refused() -> None:
    with pytest.raises(StructureError, match="as in a solid"):
        block_of((4, 4, 4), 1.2, 0)


@pytest.mark.parametrize(("direction", "fits"), [((1, 0, 0), True), ((1, 1, 0), False), ((1, 1, 1), True)])
def test_an_atom_may_stray_as_long_as_its_own_site_is_the_nearest(direction: tuple[int, ...], fits: bool) -> None:
    """Half way to the next site is 2.70 Bohr; towards a hole of the lattice there is more room."""
    sites = supercell(AL, (4, 4, 4))
    positions = sites.positions.copy()
    positions[5] += 2.8 * np.array(direction) / np.linalg.norm(direction)
    snapshot = System(sites.cell, positions, sites.species)
    if fits:
        ThermalBlock.from_snapshot(AL, (4, 4, 4), snapshot)
    else:
        with pytest.raises(StructureError, match=r"moved 2\.79 Bohr from its site and is nearer to another"):
            ThermalBlock.from_snapshot(AL, (4, 4, 4), snapshot)


SHELLS = {"sc": (6, 12), "bcc": (8, 6), "fcc": (12, 6), "diamond": (4, 12), "zincblende": (4, 12), "rocksalt": (6, 12)}


@pytest.mark.parametrize("lattice", [x for x in LATTICES if x in SHELLS])
def test_bonds_are_the_known_neighbours_each_pair_once(lattice: str) -> None:
    cell = crystal(lattice, ["Si", "Ge"][: sublattices(lattice)], A)
    bonds = near_bonds(cell)
    per_site = np.array([np.count_nonzero(bonds.shell == shell) * 2 / len(cell) for shell in (0, 1)])
    assert tuple(per_site) == SHELLS[lattice]
    assert bonds.neighbours == sum(SHELLS[lattice])
    alone = np.zeros((5, 5, 5, len(cell)), dtype=bool)
    alone[2, 2, 2, 0] = True
    assert with_neighbours(bonds, alone).sum() == 1 + sum(SHELLS[lattice])


def test_bond_lengths_are_the_distances_of_the_first_shell() -> None:
    cell, repeats = crystal("diamond", ["Si"], 10.3), (3, 4, 3)
    snapshot = shaken(cell, repeats, 0.2, 0)
    block = ThermalBlock.from_snapshot(cell, repeats, snapshot)
    codes = np.zeros(block.species.shape, dtype=np.uint8)
    found = length_distribution(near_bonds(cell), block.displacements, codes, 1, np.ones(codes.shape, dtype=bool))
    lengths = (
        neighbor_list("d", to_atoms(snapshot), 6.0 * ANGSTROM_PER_BOHR) / ANGSTROM_PER_BOHR
    )  # the gap after shell 1
    assert found.counts[0].sum() == len(lengths) / 2 == len(snapshot) * 2
    middles = (np.arange(found.counts.shape[1]) + 0.5) * found.width
    assert (found.counts[0] * middles).sum() / found.counts[0].sum() == pytest.approx(lengths.mean(), abs=found.width)


def test_matching_brings_bond_lengths_to_the_aim_and_leaves_the_others_alone() -> None:
    bonds, shape = near_bonds(AL), (8, 8, 8, 4)
    codes, everywhere = np.zeros(shape, dtype=np.uint8), np.ones(shape, dtype=bool)
    narrow, wide = block_of((8, 8, 8), 0.2, 0).displacements, block_of((8, 8, 8), 0.3, 1).displacements
    aim = length_distribution(bonds, narrow, codes, 1, everywhere)
    active = np.zeros(shape, dtype=bool)
    active[:5] = True
    moved = match_lengths(bonds, wide, codes, active, [aim], 1, 20)

    def spread(displacements: np.ndarray) -> float:
        counts = length_distribution(bonds, displacements, codes, 1, active).counts[0]
        x = np.arange(len(counts)) * aim.width
        return float(np.sqrt(np.average(x**2, weights=counts) - np.average(x, weights=counts) ** 2))

    goal, before, after = spread(narrow), spread(wide), spread(moved)
    assert before > 1.3 * goal
    assert after == pytest.approx(goal, rel=0.03)
    assert np.array_equal(moved[5:], wide[5:])
    assert np.abs(match_lengths(bonds, narrow, codes, everywhere, [aim], 1, 5) - narrow).max() < 2 * aim.width


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(3.0, 30.0))
def test_pairs_are_those_of_ase_in_any_cell(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    cell = (np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))) * size
    system = System(cell, rng.uniform(-size, 2 * size, (30, 3)), rng.choice(["Si", "Ge"], 30))
    found = pair_distribution(system, 8.0, 20)
    i, j, d = neighbor_list("ijd", to_atoms(system), 8.0 * ANGSTROM_PER_BOHR)
    d = d / ANGSTROM_PER_BOHR
    shells = 4 / 3 * np.pi * np.diff(found.edges**3) * 30 / system.volume * 30 / 2
    np.testing.assert_allclose(found.values * shells, np.histogram(d, found.edges)[0] / 2, atol=1e-6)
    for (a, b), shortest in found.shortest.items():
        mine = d[(system.species[i] == a) & (system.species[j] == b)]
        assert shortest == (pytest.approx(mine.min(), rel=1e-9) if len(mine) else np.inf)
    limit = float(np.quantile(d, 0.3)) * (1 + 1e-9) if len(d) else 1.0
    close = close_pairs(system, {(a, b): limit for a in ("Ge", "Si") for b in ("Ge", "Si")})
    assert len(close.first) == np.count_nonzero(d < limit) / 2
    np.testing.assert_allclose(
        np.linalg.norm(close.vectors, axis=1).max(initial=0), d[d < limit].max(initial=0), rtol=1e-9
    )


def test_atoms_too_close_are_separated_and_no_others_moved() -> None:
    system = shaken(AL, (5, 5, 5), 0.5, 0)
    limits = {("Al", "Al"): 4.4}
    before = close_pairs(system, limits)
    moved, count = separate(system, limits)
    assert count == len(before.first) > 5
    assert pair_distribution(moved, 6.0).smallest >= 4.4
    still = np.linalg.norm(moved.positions - system.positions, axis=1) == 0
    assert still.mean() > 0.5
    assert not still[before.first].any()
    with pytest.raises(StructureError, match="still closer"):
        separate(system, {("Al", "Al"): 7.0})


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.05, 1.0), min_size=2, max_size=4))
def test_a_composition_is_made_exact_with_the_fewest_changes(seed: int, weights: list[float]) -> None:
    rng = np.random.default_rng(seed)
    names = ["Si", "Ge", "C", "Sn"][: len(weights)]
    composition = dict(zip(names, np.array(weights) / sum(weights), strict=True))
    species = rng.choice(names, 200, p=list(composition.values()))
    exact = exact_composition(species, composition, rng)
    counts = [np.count_nonzero(exact == name) for name in names]
    assert counts == composition_counts(composition, 200).tolist()
    surplus = sum(max(0, np.count_nonzero(species == name) - n) for name, n in zip(names, counts, strict=True))
    assert np.count_nonzero(exact != species) == surplus
