"""Orbitals of a run in few waves, rewritten in the waves of a run in more."""

import struct
from pathlib import Path

import numpy as np
import pytest

from rhoscale.errors import FormatError
from rhoscale.formats.espresso import espresso_waves, read_record, write_record
from rhoscale.formats.espresso_orbitals import COUNTS, HEADER, widen_orbitals

CELL = np.array([[9.0, 0.3, -0.2], [1.1, 8.6, 0.4], [0.5, -0.9, 10.1]])
RECIPROCAL = 2 * np.pi * np.linalg.inv(CELL).T
KPOINT = np.array([0.05, -0.07, 0.11])
BANDS = 3


def waves_within(cutoff: float) -> np.ndarray:
    """The waves of a run in the order in which it lists those of its density, four times the cutoff."""
    waves = espresso_waves(CELL, 4 * cutoff, gamma_only=False)
    return waves[0.5 * ((KPOINT + waves @ RECIPROCAL) ** 2).sum(axis=1) <= cutoff]


def write(path: Path, waves: np.ndarray, orbitals: np.ndarray, spinors: int = 1) -> None:
    with path.open("wb") as file:
        write_record(file, struct.pack(HEADER, 2, *KPOINT, 1, 0, 1.0))
        write_record(file, struct.pack(COUNTS, len(waves), len(waves), spinors, len(orbitals)))
        write_record(file, RECIPROCAL.astype("<f8").tobytes())
        write_record(file, waves.astype("<i4").tobytes())
        for orbital in orbitals:
            write_record(file, orbital.astype("<c16").tobytes())


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as file:
        assert struct.unpack(HEADER, read_record(file, path, "k", 44)) == (2, *KPOINT, 1, 0, 1.0)
        first, count, spinors, bands = struct.unpack(COUNTS, read_record(file, path, "counts", 16))
        assert (first, spinors) == (count, 1)
        assert np.array_equal(np.frombuffer(read_record(file, path, "b", 72)).reshape(3, 3), RECIPROCAL)
        waves = np.frombuffer(read_record(file, path, "waves", 12 * count), dtype="<i4").reshape(-1, 3)
        orbitals = [np.frombuffer(read_record(file, path, "band", 16 * count), dtype="<c16") for _ in range(bands)]
        assert file.read() == b""
    return waves, np.array(orbitals)


def made(count: int, spinors: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(BANDS, count * spinors)) + 1j * rng.normal(size=(BANDS, count * spinors))


def test_orbitals_are_the_same_functions_in_the_waves_of_the_other_run(tmp_path: Path) -> None:
    few, many = waves_within(3.0), waves_within(5.0)
    orbitals = made(len(few))
    write(tmp_path / "wfc2.dat", few, orbitals)
    widen_orbitals(tmp_path / "wfc2.dat", espresso_waves(CELL, 20.0, gamma_only=False), 5.0)
    waves, wide = read(tmp_path / "wfc2.dat")
    assert waves.tolist() == many.tolist()
    assert 1.8 * len(few) < len(waves)
    points = np.random.default_rng(1).uniform(0, 9, (20, 3))
    before, after = (c @ np.exp(1j * points @ (w @ RECIPROCAL).T).T for c, w in ((orbitals, few), (wide, waves)))
    assert np.abs(before - after).max() < 1e-11 * np.abs(before).max()
    assert [p.name for p in tmp_path.iterdir()] == ["wfc2.dat"]


@pytest.mark.parametrize(("spinors", "cutoff", "found"), [(1, 2.0, "waves beyond a cutoff of 2"), (2, 5.0, "2 spinor")])
def test_orbitals_that_the_other_run_cannot_hold_are_refused(
    spinors: int, cutoff: float, found: str, tmp_path: Path
) -> None:
    few = waves_within(3.0)
    write(tmp_path / "wfc2.dat", few, made(len(few), spinors), spinors)
    before = (tmp_path / "wfc2.dat").read_bytes()
    with pytest.raises(FormatError, match=found):
        widen_orbitals(tmp_path / "wfc2.dat", espresso_waves(CELL, 4 * cutoff, gamma_only=False), cutoff)
    assert (tmp_path / "wfc2.dat").read_bytes() == before


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    few = waves_within(3.0)
    write(tmp_path / "wfc2.dat", few, made(len(few)))
    whole = (tmp_path / "wfc2.dat").read_bytes()
    (tmp_path / "wfc2.dat").write_bytes(whole[:-100])
    with pytest.raises(FormatError, match=r"wfc2.dat is truncated in the record of band 3"):
        widen_orbitals(tmp_path / "wfc2.dat", espresso_waves(CELL, 20.0, gamma_only=False), 5.0)
