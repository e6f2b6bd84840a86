"""Structures that no prediction is made for: atoms on each other and other pseudopotentials are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from known_waves import SYSTEM
from rhoscale.errors import ModelError, StructureError
from rhoscale.prediction.refusals import closest_pair, refuse_other_pseudopotentials, refuse_overlaps
from rhoscale.system import PseudopotentialIdentity, System


def test_atoms_on_each_other_are_named_also_across_the_cell_face() -> None:
    doubled = System(np.eye(3) * 8.0, [[0.1, 4.0, 4.0], [4.0, 4.0, 4.0], [7.8, 4.0, 4.0]], ["Al", "Al", "Si"])
    with pytest.raises(StructureError, match=r"atoms 0 \(Al\) and 2 \(Si\) are 0\.300 Bohr apart; expected at least 1"):
        refuse_overlaps(doubled)
    refuse_overlaps(SYSTEM)
    closest = closest_pair(SYSTEM, 20.0)
    assert closest is not None
    refuse_overlaps(SYSTEM, closest_known=closest[0] / 0.76)
    with pytest.raises(StructureError, match=f"{closest[0]:.3f} Bohr apart"):
        refuse_overlaps(SYSTEM, closest_known=closest[0] / 0.74)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_closest_pair_agrees_with_a_search_over_all_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = np.eye(3) * 6 + rng.normal(size=(3, 3))
    system = System(cell, rng.uniform(-9, 9, size=(7, 3)), ["Al"] * 7)
    shifts = (np.array(list(np.ndindex(7, 7, 7))) - 3) @ cell
    between = system.positions[:, None] - system.positions[None]
    wrapped = (between @ np.linalg.inv(cell)) % 1.0 @ cell
    distances = np.linalg.norm(wrapped[:, :, None] + shifts, axis=-1)
    distances[distances < 1e-9] = np.inf
    smallest = distances.min()
    found = closest_pair(system, 6.0)
    assert (found is None) == (smallest >= 6.0)
    if found is not None:
        assert found[0] == pytest.approx(smallest)


def test_another_pseudopotential_is_refused() -> None:
    ours = {"Al": PseudopotentialIdentity("Al", "GTH-PBE-q3", 3.0, "a" * 64)}
    refuse_other_pseudopotentials(["Al"], ours, ours, "toy")
    theirs = {"Al": PseudopotentialIdentity("Al", "ONCV", 3.0, "b" * 64)}
    with pytest.raises(ModelError, match=r"Al: pseudopotential ONCV .* is not that of model \"toy\", GTH-PBE-q3"):
        refuse_other_pseudopotentials(["Al"], theirs, ours, "toy")
    with pytest.raises(ModelError, match="no pseudopotential of Al was given"):
        refuse_other_pseudopotentials(["Al"], {}, ours, "toy")
