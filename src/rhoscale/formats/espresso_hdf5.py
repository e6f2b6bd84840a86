"""Quantum ESPRESSO's ``charge-density.hdf5``, as programs built with HDF5 write it; needs ``h5py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.errors import FormatError, OutputError
from rhoscale.formats.espresso import ChargeDensityFile, charge_density_file, coefficients_at, espresso_waves
from rhoscale.formats.whole_file import whole_file
from rhoscale.refinement import FourierDensity

VECTORS = ("bg1", "bg2", "bg3")


def read_charge_density_hdf5(path: str | Path) -> ChargeDensityFile:
    """Read the Fourier coefficients from attributes and data sets instead of records.

    Attributes ``gamma_only``, ``ngm_g``, ``nspin``; data set ``MillerIndices`` with the reciprocal vectors as
    attributes ``bg1`` to ``bg3`` (Bohr^-1); data set ``rhotot_g``, real and imaginary parts in turn.

    Raises:
        FormatError: The file is missing, damaged or something else, or ``h5py`` is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"no file {file}; expected charge-density.hdf5 of Quantum ESPRESSO; check the path")
    h5py = _h5py(FormatError, f"{file} cannot be read")
    try:
        with h5py.File(file, "r") as store:
            flag = store.attrs["gamma_only"]
            text = flag.decode() if isinstance(flag, bytes) else str(flag)
            n_waves, n_spin = int(store.attrs["ngm_g"]), int(store.attrs["nspin"])
            indices = store["MillerIndices"]
            reciprocal = np.array([indices.attrs[name] for name in VECTORS], dtype=np.float64)
            millers = np.asarray(indices, dtype=np.int32).reshape(-1, 3)
            numbers = np.ascontiguousarray(store["rhotot_g"], dtype=np.float64).ravel()
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(
            f"{file} is no readable charge-density.hdf5 ({error}); expected a whole file of Quantum ESPRESSO; "
            f"copy it again or redo the run"
        ) from error
    if len(millers) != n_waves or len(numbers) != 2 * n_waves:
        raise FormatError(
            f"{file} announces {n_waves} waves but holds {len(millers)} and {len(numbers) // 2} coefficients; "
            f"expected as many of both; redo the run"
        )
    return charge_density_file(
        file,
        reciprocal,
        millers,
        numbers.view(np.complex128),
        gamma_only="true" in text.lower(),
        spin_components=n_spin,
    )


def write_charge_density_hdf5(
    path: str | Path,
    density: FourierDensity,
    *,
    cutoff: float,
    gamma_only: bool,
    alat: float | None = None,
    force: bool = False,
) -> None:
    """Write a density for a ``pw.x`` built with HDF5; arguments as for ``write_charge_density_dat``.

    Raises:
        InputError: The cutoff is not positive.
        OutputError: The file exists already or cannot be written, or ``h5py`` is not installed.
    """
    h5py = _h5py(OutputError, f"{path} cannot be written")
    millers = espresso_waves(density.cell, cutoff, gamma_only=gamma_only, alat=alat)
    reciprocal = 2 * np.pi * np.linalg.inv(density.cell).T
    with whole_file(path, force=force) as file, h5py.File(file, "w") as store:
        store.attrs["gamma_only"] = np.bytes_(".TRUE." if gamma_only else ".FALSE.")
        store.attrs["ngm_g"] = np.int32(len(millers))
        store.attrs["nspin"] = np.int32(1)
        indices = store.create_dataset("MillerIndices", data=millers)
        for name, vector in zip(VECTORS, reciprocal, strict=True):
            indices.attrs[name] = vector
        store.create_dataset("rhotot_g", data=coefficients_at(density, millers).view(np.float64))


def _h5py(kind: type[FormatError] | type[OutputError], wrong: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise kind(f"{wrong} without the Python package h5py; expected it installed; pip install h5py") from error
    return h5py
