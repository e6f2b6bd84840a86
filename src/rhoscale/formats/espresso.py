"""Quantum ESPRESSO's ``charge-density.dat``: the density's Fourier coefficients in Fortran records."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rhoscale.errors import FormatError, InputError, OutputError
from rhoscale.formats.whole_file import whole_file
from rhoscale.refinement import FourierDensity, kinetic_energies

FloatArray = NDArray[np.float64]

LARGEST_RECORD = 2**31 - 9  # bytes; gfortran splits longer records


@dataclass(frozen=True)
class ChargeDensityFile:
    """What a ``charge-density.dat`` (or ``.hdf5``) holds.

    Attributes:
        density: Total density; its cutoff is the kinetic energy of the largest wave in the file.
        gamma_only: Whether the file lists half of the sphere, as runs at the Gamma point alone do.
        millers: Integer coordinates of the waves in the file's own order [n, 3].
        spin_components: 1 without spin, 2 collinear, 4 non-collinear; ``density`` is the first, the total.
    """

    density: FourierDensity
    gamma_only: bool
    millers: NDArray[np.int32]
    spin_components: int


def read_charge_density_dat(path: str | Path) -> ChargeDensityFile:
    """Read the Fourier coefficients c_G of rho(r) = sum_G c_G exp(i G.r) that ``pw.x`` wrote.

    Records (little endian, 4-byte markers): gamma-only flag, number of waves, spin components; reciprocal vectors
    (2 pi included, Bohr^-1); Miller indices; complex coefficients (electrons per Bohr^3), total density first.

    Raises:
        FormatError: The file is missing, empty, truncated or something else.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"no file {file}; expected charge-density.dat of Quantum ESPRESSO; check the path")
    with file.open("rb") as stream:
        gamma_only, n_waves, n_spin = struct.unpack("<3i", read_record(stream, file, "header", 12))
        if n_waves < 1 or n_spin not in (1, 2, 4):
            raise FormatError(
                f"{file} announces {n_waves} waves and {n_spin} spin components; expected at least one wave and 1, 2 "
                f"or 4 components; give a charge-density.dat written by Quantum ESPRESSO 6.1 or later"
            )
        reciprocal = np.frombuffer(read_record(stream, file, "reciprocal vectors", 72), dtype="<f8").reshape(3, 3)
        millers = np.frombuffer(read_record(stream, file, "Miller indices", 12 * n_waves), dtype="<i4").reshape(-1, 3)
        values = np.frombuffer(read_record(stream, file, "coefficients", 16 * n_waves), dtype="<c16")
    return charge_density_file(file, reciprocal, millers, values, gamma_only=bool(gamma_only), spin_components=n_spin)


def charge_density_file(
    file: Path,
    reciprocal: FloatArray,
    millers: NDArray[np.int32],
    values: NDArray[np.complex128],
    *,
    gamma_only: bool,
    spin_components: int,
) -> ChargeDensityFile:
    """Build the density from the parts of a file; ``reciprocal`` has the reciprocal vectors as rows, Bohr^-1.

    Raises:
        FormatError: The reciprocal vectors span no volume, or coefficients are not finite.
    """
    if not np.isfinite(reciprocal).all() or abs(np.linalg.det(reciprocal)) < 1e-30:
        raise FormatError(
            f"{file} has reciprocal vectors {reciprocal.tolist()}; expected three independent ones; the file is damaged"
        )
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise FormatError(f"{file} has {bad} coefficients that are not finite numbers; expected none; redo the run")
    cell = np.asarray(2 * np.pi * np.linalg.inv(reciprocal).T, dtype=np.float64)
    cutoff = float(kinetic_energies(cell, millers).max())
    density = FourierDensity.from_coefficients(cell, millers, values, cutoff)
    return ChargeDensityFile(density, gamma_only, millers, spin_components)


def write_charge_density_dat(
    path: str | Path,
    density: FourierDensity,
    *,
    cutoff: float,
    gamma_only: bool,
    alat: float | None = None,
    force: bool = False,
) -> None:
    """Write a density where ``pw.x`` starts from it (``startingpot = 'file'``).

    ``pw.x`` reads the coefficients by their place in the list, not by their Miller indices, so the list is the run's
    own: the sphere of its density cutoff, in its order. Waves that ``density`` lacks are zero; waves beyond the sphere
    are dropped.

    Args:
        path: Usually ``<outdir>/<prefix>.save/charge-density.dat``.
        density: What to write, electrons per Bohr^3.
        cutoff: Density cutoff of the run that will read it (``ecutrho``), Hartree.
        gamma_only: Whether that run samples the Gamma point alone with real orbitals (``K_POINTS gamma``).
        alat: Unit of length of that run, Bohr; by default the length of the first cell vector, as with ``ibrav = 0``.
        force: Replace an existing file.

    Raises:
        InputError: The cutoff is not positive.
        OutputError: The file exists already or cannot be written.
    """
    millers = espresso_waves(density.cell, cutoff, gamma_only=gamma_only, alat=alat)
    if 16 * len(millers) > LARGEST_RECORD:
        raise OutputError(
            f"{path}: {len(millers)} waves need a record of {16 * len(millers)} bytes; expected at most "
            f"{LARGEST_RECORD}, the longest that Fortran keeps in one piece; lower the density cutoff"
        )
    reciprocal = 2 * np.pi * np.linalg.inv(density.cell).T
    with whole_file(path, force=force) as file:
        write_record(file, struct.pack("<3i", int(gamma_only), len(millers), 1))
        write_record(file, reciprocal.astype("<f8").tobytes())
        write_record(file, millers.astype("<i4").tobytes())
        write_record(file, coefficients_at(density, millers).astype("<c16").tobytes())


def espresso_waves(
    cell: FloatArray, cutoff: float, *, gamma_only: bool, alat: float | None = None
) -> NDArray[np.int32]:
    """List the waves with |G|^2 / 2 <= cutoff (Hartree) in the order of Quantum ESPRESSO, shape [n, 3].

    The order is that of ``ggen`` (Modules/recvec_subs.f90): heapsort by |G|^2 in units of (2 pi / alat)^2, where two
    values closer than 1e-8 count as equal and are taken by first, second, third index. At Gamma the half with the
    first index positive is kept (then the second, then the third). ``alat`` is the run's unit of length, by default
    the length of the first cell vector, as with ``ibrav = 0`` and a cell in Bohr or Angstrom.

    Raises:
        InputError: The cutoff is not positive.
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"the density cutoff is {cutoff}; expected a positive energy in Hartree; give that of the run")
    cell = np.asarray(cell, dtype=np.float64)
    limits = np.floor(np.linalg.norm(cell, axis=1) * np.sqrt(2 * cutoff) / (2 * np.pi)).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in limits]
    if gamma_only:
        axes[0] = np.arange(0, limits[0] + 1)
    h, k, l = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    unit = float(np.linalg.norm(cell[0])) if alat is None else alat
    reciprocal = np.linalg.inv(cell / unit).T
    squares = np.zeros(h.size)
    for i in range(3):
        squares += (h * reciprocal[0, i] + k * reciprocal[1, i] + l * reciprocal[2, i]) ** 2
    kept = squares <= 2 * cutoff * (unit / (2 * np.pi)) ** 2
    if gamma_only:
        kept &= (h > 0) | (k > 0) | ((k == 0) & (l >= 0))
    millers = np.stack([h[kept], k[kept], l[kept]], axis=1).astype(np.int32)
    return millers[heapsort_within(squares[kept], 1e-8)]


@njit(cache=True)
def heapsort_within(  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    keys, tolerance
):
    """Order of ascending keys [n] by heapsort; keys closer than the tolerance go by their place.

    Being close is not transitive, so the result depends on which keys are compared: sorting in any other way gives
    another order wherever almost equal keys form a chain longer than the tolerance. Cells given with 7 to 9
    decimals have such chains (lengths or angles that should be equal differ in the last digit).
    """
    n = len(keys)
    order = np.arange(n)
    for root in range(n // 2 - 1, -1, -1):
        _sift_down(keys, tolerance, order, root, n)
    for last in range(n - 1, 0, -1):
        order[0], order[last] = order[last], order[0]
        _sift_down(keys, tolerance, order, 0, last)
    return order


@njit(cache=True)
def _precedes(keys, tolerance, a, b):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    if abs(keys[a] - keys[b]) >= tolerance:
        return keys[a] < keys[b]
    return a < b


@njit(cache=True)
def _sift_down(keys, tolerance, order, root, size):  # type: ignore[no-untyped-def] # pragma: no cover - compiled
    moved = order[root]
    child = 2 * root + 1
    while child < size:
        if child + 1 < size and _precedes(keys, tolerance, order[child], order[child + 1]):
            child += 1
        if not _precedes(keys, tolerance, moved, order[child]):
            break
        order[root] = order[child]
        root, child = child, 2 * child + 1
    order[root] = moved


def coefficients_at(density: FourierDensity, millers: NDArray[np.integer]) -> NDArray[np.complex128]:
    """Coefficients c_G of a density for a list of waves [n, 3], zero for waves that it lacks, shape [n]."""
    own = density.millers.astype(np.int64)
    limits = np.abs(own).max(axis=0)
    box = np.zeros(tuple(2 * limits + 1), dtype=np.complex128)
    box[tuple((limits - own).T)] = np.conj(density.coefficients)
    box[tuple((limits + own).T)] = density.coefficients
    asked = np.asarray(millers, dtype=np.int64)
    inside = (np.abs(asked) <= limits).all(axis=1)
    values = np.zeros(len(asked), dtype=np.complex128)
    values[inside] = box[tuple((limits + asked[inside]).T)]
    return values


def read_record(stream: BinaryIO, file: Path, name: str, expected: int) -> bytes:
    """The next Fortran record of a file, which must have so many bytes.

    Raises:
        FormatError: It has another length, or the file ends.
    """
    marker = stream.read(4)
    length = struct.unpack("<i", marker)[0] if len(marker) == 4 else None
    if length is None:
        raise FormatError(f"{file} ends before the record of {name} ({expected} bytes expected, 0 found); redo the run")
    if length != expected:
        raise FormatError(
            f"{file}: the record of {name} has length {length}; expected {expected} bytes; "
            f"give a little-endian {file.name} written by Quantum ESPRESSO 6.1 or later"
        )
    data = stream.read(length + 4)
    if len(data) != length + 4:
        raise FormatError(
            f"{file} is truncated in the record of {name}: {expected} bytes expected, {min(len(data), length)} found; "
            f"copy the file again or redo the run"
        )
    return data[:length]


def write_record(file: BinaryIO, data: bytes) -> None:
    """Write a Fortran record: its length before and after it."""
    marker = struct.pack("<i", len(data))
    file.write(marker + data + marker)
