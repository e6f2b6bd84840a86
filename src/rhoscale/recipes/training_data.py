"""Snapshots of a data set as point sets, and the validation error that training follows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from rhoscale.baselines.linear import LinearBaseline, fit_linear
from rhoscale.datasets.points import Draw, OfPoints, PointSet, points_of
from rhoscale.datasets.store import Record, SnapshotStore
from rhoscale.descriptors import DescriptorSpec, ScalarProducts, Smooth, describer, spec_from_dict
from rhoscale.descriptors.smooth import contracted
from rhoscale.engines.interface import mesh_in_words
from rhoscale.errors import DatasetError, InputError
from rhoscale.metrics import l1_per_electron
from rhoscale.models import DenseNet, Scaling
from rhoscale.models.dense_network import Parameters
from rhoscale.models.elbo import fourier_modes
from rhoscale.promolecule import AtomicDensityTable, promolecule
from rhoscale.recipes.energy_settings import label_shift
from rhoscale.recipes.kmesh_correction import CORRECTION
from rhoscale.recipes.training_plan import MOST_DISTANCES, DataConfig, PosteriorConfig
from rhoscale.refinement import FourierDensity
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System
from rhoscale.units import HARTREE_PER_RYDBERG


@dataclass(frozen=True)
class Labelled:
    """Snapshots with their records, of one pseudopotential for each element and one functional."""

    records: tuple[Record, ...]
    snapshots: tuple[Snapshot, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols, in alphabetical order."""
        return tuple(sorted({e for s in self.snapshots for e in s.system.elements}))

    @property
    def functional(self) -> str:
        """Exchange-correlation functional of the labels, or ``unknown``."""
        return ", ".join(
            sorted({str(s.settings.get("extra", {}).get("functional", "unknown")) for s in self.snapshots})
        )

    @property
    def pseudopotentials(self) -> dict[str, PseudopotentialIdentity]:
        """Identity for each element."""
        return {e: p for s in self.snapshots for e, p in s.pseudopotentials.items()}

    @property
    def content_hash(self) -> str:
        """SHA-256 over the snapshots' hashes in their order."""
        return hashlib.sha256(" ".join(r.snapshot for r in self.records).encode()).hexdigest()

    def spread(self, wanted: int) -> list[tuple[System, FourierDensity]]:
        """Structures and densities of at most so many snapshots, evenly spread over them."""
        count = len(self.snapshots)
        chosen = sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})
        return [(self.snapshots[i].system, self.snapshots[i].density) for i in chosen]

    def about(self) -> dict[str, Any]:
        """What the card says of them."""
        temperatures = sorted({r.temperature for r in self.records if r.temperature is not None})
        return {
            "snapshots": len(self.records),
            "formulas": sorted({r.formula for r in self.records}),
            "kinds": sorted({r.kind for r in self.records}),
            "temperatures_kelvin": temperatures,
            "core_hours": round(sum(r.core_seconds + r.sampling_core_seconds for r in self.records) / 3600, 3),
            "labels": sorted({_dft_settings(s.settings) for s in self.snapshots}),
            "sha256": self.content_hash,
            "tasks": [r.task for r in self.records],
        }


def _dft_settings(settings: Mapping[str, Any]) -> str:
    """What made a label, in words: program, cutoff, k-points, smearing; of an imported one what is known."""
    words = [str(settings.get("engine", "unknown program"))]
    if "cutoff_hartree" in settings:
        words.append(f"{settings['cutoff_hartree'] / HARTREE_PER_RYDBERG:g} Ry")
    if {"kmesh", "kshift"} <= settings.keys():
        words.append(f"k-points {mesh_in_words(settings['kmesh'], label_shift(settings))}")
    if CORRECTION in settings:
        denser = settings[CORRECTION]
        mesh, cutoff = mesh_in_words(denser["kmesh"], denser["kshift"]), denser["cutoff_hartree"] / HARTREE_PER_RYDBERG
        words.append(f"corrected to {mesh} at {cutoff:g} Ry")
    if "smearing" in settings:
        width = settings.get("width_hartree")
        words.append(str(settings["smearing"]) + ("" if width is None else f" {width / HARTREE_PER_RYDBERG:.4g} Ry"))
    return ", ".join(words)


def select(store: SnapshotStore, role: str, batches: Sequence[str], subset: str | None = None) -> Labelled:
    """Load the snapshots of a role, of some batches and a subset.

    Raises:
        DatasetError: There is none, or their pseudopotentials differ.
    """
    records = store.select(role=role, subset=subset, batch=batches or None)
    if not records:
        raise DatasetError(
            f"{store.path} has no snapshot of role {role!r} in subset {subset!r}, batches {list(batches) or 'all'}; "
            f"expected at least one; change [data] or generate more"
        )
    found = Labelled(tuple(records), tuple(store.load(r) for r in records))
    for snapshot in found.snapshots:
        for element, identity in snapshot.pseudopotentials.items():
            if identity != found.pseudopotentials[element]:
                raise DatasetError(
                    f"snapshots of {store.path} have different pseudopotentials of {element}: {identity.name} and "
                    f"{found.pseudopotentials[element].name}; expected one; train on one kind of labels"
                )
    return found


def first(labelled: Labelled, share: float | int) -> Labelled:
    """The first snapshots, by their number (int) or share (float, at least one)."""
    count = share if isinstance(share, int) else ceil(share * len(labelled.records) - 1e-9)
    return Labelled(labelled.records[:count], labelled.snapshots[:count])


def together(parts: Sequence[Labelled]) -> Labelled:
    """All snapshots of several selections, in their order."""
    return Labelled(tuple(r for p in parts for r in p.records), tuple(s for p in parts for s in p.snapshots))


def specification(values: dict[str, Any], labelled: Labelled) -> DescriptorSpec:
    """The descriptor of a recipe, for the elements of the data if it names none, contracted on its structures.

    Raises:
        InputError: A value cannot be used, or there are too many distances.
    """
    spec = spec_from_dict({"elements": list(labelled.elements), **values})
    if isinstance(spec, ScalarProducts) and spec.distances > MOST_DISTANCES:
        raise InputError(
            f"descriptor.distances is {spec.distances}; expected at most {MOST_DISTANCES} (60 serve aluminium); change "
            f"the recipe"
        )
    if isinstance(spec, Smooth):
        return contracted(spec, [snapshot.system for snapshot in labelled.snapshots])
    return spec


Tables = Mapping[str, AtomicDensityTable]


def training_points(
    labelled: Labelled, spec: DescriptorSpec, config: DataConfig, seed: int, tables: Tables | None = None
) -> PointSet:
    """Drawn points of the training snapshots; with tables, the promolecule is their prior mean."""
    importance = near_atoms if config.importance == "near-atoms" else None
    draw = Draw(config.spacing, config.fraction, importance, seed=seed)
    return points_of(labelled.snapshots, _describe(spec), draw, prior=_promolecule(tables))


def grid_points(snapshot: Snapshot, spec: DescriptorSpec, spacing: float, tables: Tables | None = None) -> PointSet:
    """All points of the grid of one snapshot; with tables, the promolecule is their prior mean."""
    return points_of([snapshot], _describe(spec), Draw(spacing), prior=_promolecule(tables))


def near_atoms(system: System, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Importance of points from the distance d of the nearest atom alone: 1 + 3 exp(-d^2 / 2), d in Bohr."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ system.cell
    images = (system.scaled_positions @ system.cell)[:, None, :] + shifts
    distance, _ = cKDTree(images.reshape(-1, 3)).query(points)
    return np.asarray(1.0 + 3.0 * np.exp(-0.5 * distance**2))


def with_linear_prior(points: PointSet, baseline: LinearBaseline) -> PointSet:
    """The same points with the prior mean of a linear baseline."""
    return replace(points, prior=baseline.predict(points.features))


def linear_prior(train: PointSet, validation: Sequence[PointSet], *, most_rounding: float = np.inf) -> LinearBaseline:
    """Fit the linear baseline to the training points, its strength chosen on the validation snapshots."""
    return fit_linear(
        [(train.features, train.density, train.weights)],
        validation=[(v.features, v.density, v.weights) for v in validation],
        most_rounding=most_rounding,
    )


def without(points: PointSet, part: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> PointSet:
    """The same points with the density less a part of it that is a function of the features."""
    return replace(points, density=points.density - part(points.features))


def effective_data(posterior: PosteriorConfig, labelled: Labelled, points: PointSet, spacing: float) -> float:
    """Number of data that the divergence is weighed against."""
    if posterior.effective_data == "points":
        return float(len(points))
    if posterior.effective_data == "modes":
        volumes = sum(s.system.volume for s in labelled.snapshots)
        return posterior.modes_factor * fourier_modes(volumes, spacing)
    return float(posterior.effective_data)


def tensors(points: PointSet, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standardised features, scaled targets and weights."""
    return (
        scaling.features(torch.from_numpy(points.features)),
        scaling.target(torch.from_numpy(points.residual)).float(),
        torch.from_numpy(points.weights),
    )


def validation_error(
    network: DenseNet, scaling: Scaling, sets: Sequence[PointSet], snapshots: Sequence[Snapshot]
) -> Callable[[Parameters], float]:
    """Parameters -> mean over the snapshots of L1 per electron of the rescaled density."""
    prepared = [(scaling.features(torch.from_numpy(s.features)), s, o) for s, o in zip(sets, snapshots, strict=True)]

    def error(parameters: Parameters) -> float:
        errors = []
        for features, points, snapshot in prepared:
            with torch.inference_mode():
                parts = [network.forward(parameters, part)[:, 0] for part in features.split(4096)]
            density = scaling.residual(torch.cat(parts)).numpy() + (0.0 if points.prior is None else points.prior)
            volume_element = snapshot.system.volume / len(points)
            errors.append(l1_per_electron(density, points.density, volume_element, snapshot.electrons))
        return float(np.mean(errors))

    return error


def _promolecule(tables: Tables | None) -> OfPoints | None:
    return None if tables is None else lambda system, points: promolecule(system, tables, points)


def _describe(spec: DescriptorSpec) -> Callable[[System, NDArray[np.float64]], NDArray[np.float32]]:
    return lambda system, points: describer(system, spec)(points)
