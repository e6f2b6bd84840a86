"""Look at data sets, take in densities from elsewhere, measure label noise."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rhoscale import __version__
from rhoscale.datasets.compact import largest_sphere, loss, smallest_cutoff
from rhoscale.datasets.split import Record
from rhoscale.datasets.store import SnapshotStore
from rhoscale.engines.pseudopotentials import (
    PseudopotentialFile,
    folder_pseudopotentials,
    gth_pseudopotential,
    read_pseudopotential,
)
from rhoscale.errors import DatasetError, FormatError, InputError
from rhoscale.formats import DensityFile, read_density_file
from rhoscale.metrics.field import field_errors
from rhoscale.recipes.kept_pseudopotentials import keep_files
from rhoscale.recipes.kmesh_correction import total_energy
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity

NAME = re.compile(r"[\w-]+")
ALLOWED_LOSS = 2e-4
CHARGE_TOLERANCE = 1e-3  # files in text formats carry few digits


def find_stores(folder: str | Path) -> list[SnapshotStore]:
    """Data sets in a folder, or the folder itself if it is one.

    Raises:
        FormatError: There is none.
    """
    place = Path(folder)
    if (place / "dataset.toml").exists():
        return [SnapshotStore.open(place)]
    found = [SnapshotStore.open(file.parent) for file in sorted(place.glob("*/dataset.toml"))]
    if not found:
        raise FormatError(
            f"no data set in {place}; expected a folder with a dataset.toml, or one that holds such folders; check the "
            f"path"
        )
    return found


def find_record(store: SnapshotStore, name: str) -> Record:
    """The record whose task or content hash starts with a name.

    Raises:
        DatasetError: None or several do.
    """
    found = [r for r in store.records() if r.task.startswith(name) or r.snapshot.startswith(name)]
    if len(found) != 1:
        which = ", ".join(r.task for r in found[:5]) or "none"
        raise DatasetError(
            f"{name!r} names {len(found)} snapshots of {store.path} ({which}); expected one; give more of it"
        )
    return found[0]


@dataclass(frozen=True)
class ImportConfig:
    """How densities from elsewhere become part of a data set.

    Attributes:
        role: ``train``, ``validation`` or ``test``.
        batch: Name under which they are kept together.
        subsets: Named selections that they are part of.
        trajectory: Shared by frames of one molecular dynamics run; by default each file is a trajectory of its own.
        temperature: Kelvin, if known.
        pseudopotentials: For each element ``FILE.upf``, ``gth-pbe:VALENCE`` or ``NAME:VALENCE``; not needed for a
            Quantum ESPRESSO ``.save`` folder that holds its UPF files.
        density_cutoff_ry: Sphere of coefficients to keep; by default the smallest that loses at most 0.02 %.
    """

    role: Literal["train", "validation", "test"]
    batch: str = "imported"
    subsets: tuple[str, ...] = ()
    trajectory: str | None = None
    temperature: float | None = None
    pseudopotentials: Mapping[str, str] | None = None
    density_cutoff_ry: float | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.batch):
            raise InputError(f"batch {self.batch!r}; expected letters, digits, - and _, as in file names; rename it")
        for what, value in (("temperature", self.temperature), ("density cutoff", self.density_cutoff_ry)):
            if value is not None and not 0 < value < math.inf:
                unit = "K" if what == "temperature" else "Ry"
                raise InputError(f"{what} {value:g} {unit}; expected a positive number; mend it or leave it out")


@dataclass(frozen=True)
class Imported:
    """One file that was taken in: its record, what its sphere of coefficients loses, and notes of the reader."""

    record: Record
    lost: float
    note: str


def import_files(output: str | Path, files: Sequence[Path], config: ImportConfig) -> list[Imported]:
    """Take densities of any format that rhoscale reads into a data set, which is made if needed.

    Raises:
        FormatError: A file cannot be read.
        InputError: A pseudopotential is missing, or the density does not integrate to its electrons.
        DatasetError: The trajectory serves another role, or the pseudopotentials are others than the data set's.
    """
    folder = Path(output)
    read = [(file, *_snapshot_from(file, read_density_file(file), config)) for file in files]
    store = SnapshotStore.create(folder, name=folder.resolve().name, description="Imported densities")
    result = []
    for file, snapshot, lost, note in read:
        task = f"{config.batch}-{file.resolve().name.split('.')[0]}-{snapshot.content_hash[:10]}"
        record = store.add(snapshot, task=task, batch=config.batch, role=config.role, subsets=config.subsets)
        result.append(Imported(record, lost, note))
    store.freeze()
    given = config.pseudopotentials or {}
    keep_files(store, [own for file, s, _, _ in read for own in _own_files(file, s.system.elements, given)])
    return result


def _snapshot_from(file: Path, content: DensityFile, config: ImportConfig) -> tuple[Snapshot, float, str]:
    system = content.system
    pseudopotentials = _identities(file, system.elements, config.pseudopotentials or {})
    counted = system.electrons(pseudopotentials)
    electrons = counted if content.electrons is None else content.electrons
    integral = content.density.integral()
    if abs(electrons - counted) > 1e-6 * counted or abs(integral - counted) > CHARGE_TOLERANCE * counted:
        raise InputError(
            f"{file}: the density integrates to {integral:.4f} electrons and the file states {content.electrons}, the "
            f"pseudopotentials count {counted:g}; expected the same number; give the valences of the calculation"
        )
    whole = content.fourier or FourierDensity.from_density(content.density, largest_sphere(content.density))
    if config.density_cutoff_ry is None:
        cutoff = smallest_cutoff(whole, ALLOWED_LOSS)
    else:
        cutoff = 0.5 * config.density_cutoff_ry
    lost = loss(whole, cutoff)
    kept = whole.truncated(cutoff)
    kept = FourierDensity(kept.cell, kept.cutoff, kept.millers, kept.coefficients * (counted / kept.electrons))
    origin = {
        "trajectory": config.trajectory or f"file-{system.content_hash()[:16]}",
        "kind": "imported",
        "file": file.resolve().name,
        "temperature": config.temperature,
    }
    settings = {
        "engine": "imported",
        "rhoscale": __version__,
        "density_cutoff_hartree": cutoff,
        "lost_by_cutoff": lost,
        "raw_electrons": integral,
        "note": content.note,
    }
    return Snapshot(system, kept, counted, pseudopotentials, origin=origin, settings=settings), lost, content.note


def _own_files(file: Path, elements: Sequence[str], given: Mapping[str, str]) -> list[PseudopotentialFile]:
    """UPF files that are named, and for elements of which nothing is said those of a ``.save`` folder."""
    found = [read_pseudopotential(given[e]) for e in elements if e in given and _is_file(given[e])]
    missing = [e for e in elements if e not in given]
    if missing and file.is_dir() and any(f.suffix.lower() == ".upf" for f in file.iterdir()):
        found += [f for e, f in folder_pseudopotentials(file).items() if e in missing]
    return found


def _is_file(text: str) -> bool:
    return text.lower().endswith(".upf")


def _identities(file: Path, elements: Sequence[str], given: Mapping[str, str]) -> dict[str, PseudopotentialIdentity]:
    found = {e: _identity(e, text) for e, text in given.items() if e in elements}
    found |= {f.identity.element: f.identity for f in _own_files(file, elements, given)}
    missing = [e for e in elements if e not in found]
    if missing:
        raise InputError(
            f"{file}: no pseudopotential named for {', '.join(missing)}; electrons are never guessed; give one of "
            f"--pseudo {missing[0]}=FILE.upf, {missing[0]}=gth-pbe:VALENCE and {missing[0]}=NAME:VALENCE"
        )
    return found


def _identity(element: str, text: str) -> PseudopotentialIdentity:
    if _is_file(text):
        identity = read_pseudopotential(text).identity
        if identity.element != element:
            raise InputError(
                f"{text} is a pseudopotential of {identity.element}; expected one of {element}; name another file"
            )
        return identity
    name, _, valence = text.rpartition(":")
    try:
        electrons = float(valence)
    except ValueError:
        electrons = 0.0
    if not name or not 0 < electrons < math.inf:
        raise InputError(
            f"pseudopotential {text!r} of {element}; expected FILE.upf, gth-pbe:VALENCE or NAME:VALENCE with a number "
            f"above 0; give the valence of the calculation"
        )
    if name.lower() == "gth-pbe":
        return gth_pseudopotential(element, round(electrons)).identity
    # Without the file, the name stands for the potential: two data sets agree if their names and valences do.
    named = hashlib.sha256(f"{element} {name} {electrons:g}".encode()).hexdigest()
    return PseudopotentialIdentity(element, name, electrons, named)


@dataclass(frozen=True)
class NoiseRow:
    """How far the labels of one batch are from the reference, for one structure.

    Attributes:
        batch: Batch of the labels.
        trajectory: Of the structure.
        temperature: Kelvin, if known.
        l1: L1 per electron against the reference label.
        core_seconds: Cost of the label.
        energy: Difference of the total energies, Hartree per atom.
    """

    batch: str
    trajectory: str
    temperature: float | None
    l1: float
    core_seconds: float
    energy: float


def label_noise(store: SnapshotStore, reference: str) -> list[NoiseRow]:
    """Compare labels of the same structures, batch by batch, against those of a reference batch.

    Raises:
        DatasetError: There is no such batch, or no other batch has one of its structures.
    """
    truth = {_structure_key(s): s for s in map(store.load, store.select(batch=reference))}
    rows = []
    for record in store.records():
        if record.batch == reference:
            continue
        snapshot = store.load(record)
        best = truth.get(_structure_key(snapshot))
        if best is None:
            continue
        # twice the kept sphere's grid: the absolute value of a band-limited field is not band-limited
        fine = [2 * n for n in np.maximum(best.density.smallest_shape, snapshot.density.smallest_shape)]
        shape = (int(fine[0]), int(fine[1]), int(fine[2]))
        l1 = field_errors(snapshot.density.on_grid(shape), best.density.on_grid(shape), best.electrons).l1
        energy = (total_energy(snapshot) - total_energy(best)) / record.n_atoms
        rows.append(NoiseRow(record.batch, record.trajectory, record.temperature, l1, record.core_seconds, energy))
    if not rows:
        raise DatasetError(
            f"no batch of {store.path} has a structure of batch {reference!r}; expected the same trajectories labelled "
            f"with several settings, as recipes/al-noise.toml makes them"
        )
    return rows


def _structure_key(snapshot: Snapshot) -> tuple[object, ...]:
    return (snapshot.system.formula, *np.round(snapshot.system.positions, 5).ravel().tolist())
