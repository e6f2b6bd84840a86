"""Compare a predicted density with a reference, on the reference's grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rhoscale.density import Density
from rhoscale.errors import InputError
from rhoscale.formats import DensityFile, read_density_file
from rhoscale.grid import Grid
from rhoscale.metrics import Calibration, FieldErrors, calibration, field_errors
from rhoscale.postprocess.charge import rescale_to_charge
from rhoscale.prediction.field import StoredField, open_density
from rhoscale.prediction.interpolation import fourier_weights, interpolate, periodic_values
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System

CELL_TOLERANCE = 1e-3  # Bohr; files with few decimals are off by less
POSITION_TOLERANCE = 1e-2
SMALLEST_SIGMA = 1e-12
ELECTRONS_OFF = 0.01  # relative; a raw prediction is off by a tenth of that, another valence by much more
RAW_ELECTRONS_OFF = 0.05  # where only the integral of a raw prediction is known

Identities = Mapping[str, PseudopotentialIdentity]


@dataclass(frozen=True)
class Pair:
    """A prediction and a reference on the reference's grid.

    Attributes:
        system: Structure of the reference.
        reference: Reference density.
        electrons: Valence electrons in the cell.
        raw: Predicted density before any rescaling, as far as the file keeps it.
        aleatoric: Standard deviations, electrons per Bohr^3, or None.
        epistemic: The same by lack of data, or None.
        note: What was assumed while reading, for the user to know.
        freedom: Degrees of freedom of the intervals; infinite for Gaussian ones.
    """

    system: System
    reference: Density
    electrons: float
    raw: Density
    aleatoric: NDArray[np.floating] | None
    epistemic: NDArray[np.floating] | None
    note: str
    freedom: float = math.inf

    @property
    def total(self) -> NDArray[np.floating] | None:
        """Total standard deviation, or None."""
        if self.aleatoric is None or self.epistemic is None:
            return None
        return np.asarray(np.hypot(self.aleatoric, self.epistemic))


@dataclass(frozen=True)
class Comparison:
    """Errors of a prediction.

    Attributes:
        shape: Grid of the reference.
        errors: L1 of the rescaled field; all others of the raw one.
        calibration: Predicted deviations beside the errors of the rescaled field; None without deviations.
        note: What was assumed while reading.
    """

    shape: tuple[int, int, int]
    errors: FieldErrors
    calibration: Calibration | None
    note: str

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values."""
        found = None if self.calibration is None else self.calibration.to_dict()
        return {"grid": list(self.shape), **self.errors.to_dict(), "calibration": found, "note": self.note}


def compare(prediction: Path, reference: Path) -> Comparison:
    """Compare two densities of one structure.

    Raises:
        FormatError: A file cannot be read.
        InputError: They are of different structures, pseudopotentials or electron counts.
    """
    pair = read_pair(prediction, reference)
    errors = field_errors(pair.raw, pair.reference, pair.electrons)
    total = pair.total
    found = None
    if total is not None:
        differences = (rescale_to_charge(pair.raw, pair.electrons) - pair.reference).values
        found = calibration(differences, np.maximum(total, SMALLEST_SIGMA), pair.freedom)
    return Comparison(pair.reference.grid.shape, errors, found, pair.note)


def read_pair(prediction: Path, reference: Path) -> Pair:
    """Read a prediction (store or density file) and a reference, and bring the first to the grid of the second.

    Raises:
        FormatError: A file cannot be read.
        InputError: They are of different structures, pseudopotentials or electron counts.
    """
    truth = read_density_file(reference)
    if prediction.suffix == ".zarr":
        field = open_density(prediction, shape=truth.density.grid.shape)
        refuse_other_reference(field, reference, truth)
        return _pair_from_store(field, truth)
    mine = read_density_file(prediction)
    refuse_other_structure(mine.system, truth.system)
    refuse_other_potentials(potentials_of(prediction), potentials_of(reference))
    if mine.electrons is None:
        refuse_other_electrons(truth.density.integral(), mine.density.integral(), RAW_ELECTRONS_OFF)
    else:
        refuse_other_electrons(truth.density.integral(), mine.electrons)
    raw = Density(truth.density.grid, _on_grid(mine.density, truth.density.grid))
    electrons = truth.electrons or mine.electrons or truth.density.integral()
    notes = (mine.note, truth.note, "the prediction is a density file: its values were taken as the raw ones")
    return Pair(truth.system, truth.density, electrons, raw, None, None, "; ".join(n for n in notes if n))


def _pair_from_store(field: StoredField, truth: DensityFile) -> Pair:
    aleatoric = epistemic = None
    if field.store.plan.uncertainty:
        aleatoric, epistemic = (f[:] / field.charge_factor for f in (field.aleatoric, field.epistemic))
    raw = Density(truth.density.grid, field[:].astype(np.float64) / field.charge_factor)
    electrons = truth.electrons or field.store.number("electrons")
    return Pair(truth.system, truth.density, electrons, raw, aleatoric, epistemic, truth.note, field.store.freedom)


def refuse_other_reference(field: StoredField, reference: Path, truth: DensityFile) -> None:
    """Refuse a reference that is not the quantity which a store predicts.

    Args:
        field: The prediction.
        reference: File of the reference.
        truth: What it holds.

    Raises:
        InputError: Structure, pseudopotentials or electrons differ.
    """
    refuse_other_structure(field.store.system, truth.system)
    refuse_other_potentials(field.store.pseudopotentials, potentials_of(reference))
    refuse_other_electrons(truth.density.integral(), field.store.number("electrons"))


def potentials_of(path: Path) -> Identities | None:
    """Identity for each element, if the density file is of a format that keeps it."""
    return Snapshot.read(path).pseudopotentials if path.suffix == ".safetensors" else None


def refuse_other_potentials(mine: Identities | None, theirs: Identities | None) -> None:
    """Refuse to compare valence densities of different pseudopotentials, where both sides know theirs.

    Raises:
        InputError: One differs.
    """
    if mine is None or theirs is None:
        return
    for element in sorted(mine.keys() & theirs.keys()):
        ours, other = mine[element], theirs[element]
        if ours.sha256 != other.sha256:
            raise InputError(
                f"{element}: the reference is of pseudopotential {_named(other)}, the prediction of {_named(ours)}; "
                f"expected one, for valence densities of two are different quantities; compare with a density of the "
                f"prediction's"
            )


def _named(one: PseudopotentialIdentity) -> str:
    return f"{one.name} (valence {one.valence:g}, {one.sha256[:12]})"


def refuse_other_electrons(theirs: float, mine: float, tolerance: float = ELECTRONS_OFF) -> None:
    """Refuse a density of another number of electrons: it belongs to another pseudopotential, or is damaged.

    Args:
        theirs: Integral of the reference.
        mine: Electrons of the prediction.
        tolerance: Relative difference that is allowed.

    Raises:
        InputError: They differ by more.
    """
    if not abs(theirs - mine) <= tolerance * abs(mine) or not mine > 0:
        raise InputError(
            f"the reference holds {theirs:.4f} electrons, the prediction {mine:.4f}; expected the valence electrons of "
            f"the same pseudopotentials (to {100 * tolerance:g} %); compare with a density of those"
        )


def refuse_other_structure(mine: System, theirs: System) -> None:
    """Refuse to compare densities of different structures; the order of atoms and their periodic images do not count.

    Raises:
        InputError: Cells, elements or positions differ.
    """
    difference = float(np.abs(mine.cell - theirs.cell).max())
    if difference > CELL_TOLERANCE:
        raise InputError(
            f"the cells of prediction and reference differ by {difference:.4g} Bohr; expected one cell (to "
            f"{CELL_TOLERANCE} Bohr); predict the structure of the reference"
        )
    if mine.formula != theirs.formula:
        raise InputError(
            f"the prediction is of {mine.formula}, the reference of {theirs.formula}; expected one structure; "
            f"predict the structure of the reference"
        )
    for element in mine.elements:
        first, second = (s.scaled_positions[s.species == element] for s in (mine, theirs))
        tree = cKDTree(first, boxsize=1.0)
        _, partner = tree.query(second)
        apart = second - first[partner]
        distances = np.linalg.norm((apart - np.round(apart)) @ theirs.cell, axis=1)
        worst = int(np.argmax(distances))
        if distances[worst] > POSITION_TOLERANCE:
            raise InputError(
                f"{element} atom {worst} of the reference is {distances[worst]:.4g} Bohr from the nearest one of the "
                f"prediction; expected the same positions (to {POSITION_TOLERANCE} Bohr); predict the structure of "
                f"the reference"
            )


def _on_grid(density: Density, grid: Grid) -> NDArray[np.float64]:
    """The density's Fourier series at the points of another grid of the cell, finer or coarser."""
    old, new = density.grid.shape, grid.shape
    values = np.asarray(density.values, dtype=np.float64)
    if old == new:
        return values
    return interpolate(periodic_values(values), old, new, (0, 0, 0), new, fourier_weights)
