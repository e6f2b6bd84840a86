import numpy as np
import pytest

from rhoscale.errors import StructureError
from rhoscale.system import PseudopotentialIdentity, System

CELL = np.diag([7.0, 8.0, 9.0])
ALUMINIUM = PseudopotentialIdentity("Al", "GTH-PBE-q3", 3.0, "0" * 64)


def test_electrons_are_those_of_the_pseudopotentials() -> None:
    system = System(CELL, np.zeros((2, 3)) + [[0.0], [3.0]], np.array(["Al", "Al"]))
    assert system.electrons({"Al": ALUMINIUM}) == 6.0
    with pytest.raises(StructureError, match="no pseudopotential for Al"):
        system.electrons({})


def test_scaled_positions_lie_in_the_cell_for_any_image() -> None:
    cell = np.array([[7.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 0.5, 9.0]])
    inside = np.array([[0.1, 0.99, 0.5], [0.0, 0.0, 0.0]])
    shifted = (inside + [[3, -2, 1], [-1, 0, 5]]) @ cell
    system = System(cell, shifted, np.array(["Al", "Al"]))
    assert (system.scaled_positions < 1.0).all()
    assert (system.scaled_positions >= 0.0).all()
    difference = system.scaled_positions - inside
    np.testing.assert_allclose(difference - np.round(difference), 0.0, atol=1e-12)


def test_hash_tells_structures_apart_and_is_stable() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    system = System(CELL, positions, np.array(["Al", "Al"]))
    again = System(CELL.copy(), positions + 1e-13, np.array(["Al", "Al"]))
    moved = System(CELL, positions + 1e-3, np.array(["Al", "Al"]))
    other = System(CELL, positions, np.array(["Al", "Mg"]))
    assert system.content_hash() == again.content_hash()
    assert len({s.content_hash() for s in (system, moved, other)}) == 3


@pytest.mark.parametrize(
    ("cell", "positions", "species", "message"),
    [
        (CELL, [[0.0, np.nan, 0.0]], ["Al"], "not finite"),
        (np.diag([7.0, 8.0, 0.0]), [[0.0, 0.0, 0.0]], ["Al"], "volume 0"),
        (np.full((3, 3), np.nan), [[0.0, 0.0, 0.0]], ["Al"], "finite vectors"),
        (CELL, np.zeros((0, 3)), [], "n > 0"),
        (CELL, [[0.0, 0.0, 0.0]], ["Al", "Al"], "as many species"),
    ],
)
def test_unusable_structures_are_refused(cell: object, positions: object, species: object, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        System(np.asarray(cell), np.asarray(positions), np.asarray(species))


def test_a_system_cannot_be_changed() -> None:
    system = System(CELL, np.zeros((1, 3)), np.array(["Al"]))
    with pytest.raises(ValueError, match="read-only"):
        system.positions[0, 0] = 1.0
