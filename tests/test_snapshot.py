from pathlib import Path

import numpy as np
import pytest

from rhoscale.density import Density
from rhoscale.errors import FormatError
from rhoscale.grid import Grid
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System

CELL = np.array([[7.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.3, 0.2, 9.0]])


@pytest.fixture
def snapshot() -> Snapshot:
    rng = np.random.default_rng(0)
    values = rng.random((15, 16, 18))
    density = FourierDensity.from_density(Density(Grid(CELL, (15, 16, 18)), values), 5.0)
    system = System(CELL, rng.random((3, 3)) * 7, np.array(["Al", "Al", "Mg"]))
    return Snapshot(
        system,
        density,
        8.0,
        {"Al": PseudopotentialIdentity("Al", "q3", 3, "a"), "Mg": PseudopotentialIdentity("Mg", "q2", 2, "b")},
        energies={"total": -6.5},
        forces=rng.random((3, 3)),
        origin={"trajectory": "t-1", "temperature": 315.0},
        settings={"kmesh": [3, 3, 3]},
    )


def test_write_then_read_is_identity(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    snapshot.write(file)
    again = Snapshot.read(file)
    assert again.content_hash == snapshot.content_hash
    assert again.trajectory == "t-1"
    assert again.pseudopotentials["Mg"].valence == 2.0
    np.testing.assert_array_equal(again.density.millers, snapshot.density.millers)
    np.testing.assert_allclose(again.density.coefficients, snapshot.density.coefficients, rtol=1e-6)
    np.testing.assert_array_equal(again.system.positions, snapshot.system.positions)
    shape = (15, 16, 18)
    np.testing.assert_allclose(again.density.on_grid(shape).values, snapshot.density.on_grid(shape).values, atol=1e-6)


def test_identity_changes_with_any_content(snapshot: Snapshot) -> None:
    from dataclasses import replace

    hashes = {
        snapshot.content_hash,
        replace(snapshot, energies={"total": -6.6}).content_hash,
        replace(snapshot, settings={"kmesh": [2, 2, 2]}).content_hash,
        replace(snapshot, density=snapshot.density.truncated(4.0)).content_hash,
    }
    assert len(hashes) == 4


def test_damaged_files_are_refused(snapshot: Snapshot, tmp_path: Path) -> None:
    whole = snapshot.to_bytes()
    for name, content in {"cut": whole[:-100], "empty": b"", "other": b"not a snapshot at all"}.items():
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(FormatError, match="not a readable snapshot"):
            Snapshot.read(file)
    with pytest.raises(FormatError, match="not a readable snapshot"):
        Snapshot.read(tmp_path / "missing")
