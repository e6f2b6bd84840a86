"""Quantum ESPRESSO's ``wfcN.dat``: the orbitals of one k-point, coefficients of plane waves in Fortran records."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import FormatError
from rhoscale.formats.espresso import read_record, write_record
from rhoscale.formats.whole_file import whole_file

HEADER = "<i3d2id"  # k-point's number, k (1/Bohr), spin, gamma-only flag, factor of the coefficients
COUNTS = "<4i"  # waves of the run, waves in the file, spinor components, bands


def widen_orbitals(path: str | Path, waves: NDArray[np.int32], cutoff: float) -> None:
    """Rewrite the orbitals of a ``pw.x`` run in the waves of a run with a higher cutoff; new coefficients are zero.

    ``pw.x`` reads the coefficients by their place in the list, so the list is that run's own: the waves with
    |k + G|^2 / 2 <= cutoff, in its order. A wave more or less on the very edge of the sphere spoils the start of the
    run that reads the file, never its result.

    Args:
        path: ``wfcN.dat`` in the ``.save`` folder of a finished run.
        waves: Waves of the density of the run that will read it, in its order [n, 3] (``espresso_waves``).
        cutoff: Of the orbitals of that run, Hartree.

    Raises:
        FormatError: The file is damaged, has spinors, or has waves that the other run lacks.
        OutputError: The file cannot be written.
    """
    file = Path(path)
    with file.open("rb") as stream:
        header = read_record(stream, file, "k-point", struct.calcsize(HEADER))
        _, count, spinors, bands = struct.unpack(COUNTS, read_record(stream, file, "counts", struct.calcsize(COUNTS)))
        vectors = read_record(stream, file, "reciprocal vectors", 72)
        own = np.frombuffer(read_record(stream, file, "Miller indices", 12 * count), dtype="<i4").reshape(-1, 3)
        orbitals = [
            np.frombuffer(read_record(stream, file, f"band {i + 1}", 16 * count * spinors), dtype="<c16")
            for i in range(bands)
        ]
    reciprocal = np.frombuffer(vectors, dtype="<f8").reshape(3, 3)
    kpoint = np.array(struct.unpack(HEADER, header)[1:4])
    listed = waves[((kpoint + waves @ reciprocal) ** 2).sum(axis=1) <= 2 * cutoff]
    places = _places(own, listed)
    if spinors != 1 or (places < 0).any():
        raise FormatError(
            f"{file} has {spinors} spinor components and {np.count_nonzero(places < 0)} waves beyond a cutoff of "
            f"{cutoff:g} Hartree; expected 1 and none; give orbitals of a run with a lower cutoff and without spinors"
        )
    with whole_file(file, force=True) as stream:
        write_record(stream, header)
        write_record(stream, struct.pack(COUNTS, len(listed), len(listed), 1, bands))
        write_record(stream, vectors)
        write_record(stream, listed.astype("<i4").tobytes())
        for orbital in orbitals:
            wide = np.zeros(len(listed), dtype="<c16")
            wide[places] = orbital
            write_record(stream, wide.tobytes())


def _places(asked: NDArray[np.int32], listed: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each of some waves [m, 3] is in a list of waves [n, 3]; -1 where it is not, shape [m]."""
    limits = np.abs(np.concatenate([asked, listed])).max(axis=0)
    table = np.full(tuple(2 * limits + 1), -1, dtype=np.int64)
    table[tuple((listed + limits).T)] = np.arange(len(listed))
    return np.asarray(table[tuple((asked + limits).T)])
