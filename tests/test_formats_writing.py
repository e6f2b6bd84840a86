"""Writing density files: they appear whole or not at all, and what is there is kept unless forced."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from density_files import CELL, WRITTEN, some_density, some_system
from rhoscale.errors import InputError, OutputError
from rhoscale.formats import read_density_file, write_density_file


@pytest.mark.parametrize("name", ["a.txt", "a.zarr", "a.safetensors", "density"])
def test_a_name_that_announces_no_format_is_refused_with_those_that_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"expected .cube, .cub, CHGCAR\*"):
        write_density_file(tmp_path / name, some_system(), some_density())


@pytest.mark.parametrize("name", WRITTEN)
def test_an_existing_file_is_kept_unless_forced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(OutputError, match="exists already; expected a new name; use --force"):
        write_density_file(tmp_path / name, some_system(), some_density())
    assert (tmp_path / name).read_text() == "precious"
    write_density_file(tmp_path / name, some_system(), some_density(), force=True)
    assert np.ptp(read_density_file(tmp_path / name).density.values) > 0


@contextmanager
def disk_space(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITTEN)
def test_without_space_no_part_of_a_file_stays_and_the_old_one_survives(tmp_path: Path, name: str) -> None:
    density = some_density(shape=(20, 20, 20))
    with disk_space(10_000), pytest.raises(OutputError, match="could not be written"):
        write_density_file(tmp_path / name, some_system(), density)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).write_text("precious")
    with disk_space(10_000), pytest.raises(OutputError, match="could not be written"):
        write_density_file(tmp_path / name, some_system(), density, force=True)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["precious"]


def test_a_folder_that_does_not_exist_or_is_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected a folder that exists"):
        write_density_file(tmp_path / "no" / "a.cube", some_system(), some_density())
    (tmp_path / "b.cube").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_density_file(tmp_path / "b.cube", some_system(), some_density(), force=True)


def test_a_density_of_another_cell_or_with_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cells of structure and density differ"):
        write_density_file(tmp_path / "a.cube", some_system(CELL * 1.1), some_density())
    broken = some_density()
    broken.values[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="1 of 140 values of the density are not finite"):
        write_density_file(tmp_path / "a.cube", some_system(), broken)
    assert list(tmp_path.iterdir()) == []
