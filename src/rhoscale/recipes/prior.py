"""The prior mean of a model, at any points of a structure; its tables travel in the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rhoscale.baselines.linear import LinearBaseline
from rhoscale.cluster import Cluster
from rhoscale.errors import ModelError
from rhoscale.models import TrainedModel
from rhoscale.models.trained import PRIOR_MEANS
from rhoscale.promolecule import AtomicDensityTable, Promolecule, promolecule_of_cluster
from rhoscale.system import System

SUMS_OF_ATOMS = ("promolecule", "fitted-promolecule")
ALONE = "alone."  # before the names of the linear part that the network was trained upon

PriorMean = Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.floating] | None]


def prior_mean(system: System | Cluster, model: TrainedModel) -> PriorMean:
    """What the network's output is added to: points [n, 3] in Bohr and their features -> values [n], or None.

    Raises:
        ModelError: The model's tables do not make its prior mean.
        HaloError: Atoms beyond the halo of a cluster act on its points.
    """
    if model.prior_mean == "none":
        return lambda _points, _features: None
    if model.prior_mean == "linear":
        baseline = LinearBaseline.from_arrays(model.prior_arrays)  # type: ignore[arg-type]
        return lambda _points, features: baseline.predict(features)
    if model.prior_mean in SUMS_OF_ATOMS:
        tables = promolecule_tables(model)
        at = promolecule_of_cluster(system, tables) if isinstance(system, Cluster) else Promolecule(system, tables).at
        return lambda points, _features: at(points)
    raise ModelError(
        f'model "{model.name}" has the prior mean {model.prior_mean!r}; expected {", ".join(PRIOR_MEANS)}; '
        f"a newer version of rhoscale may know it"
    )


def was_refitted(model: TrainedModel) -> bool:
    """Whether the linear part of the model is not the one that its network was trained upon (:func:`refitted`)."""
    return any(name.startswith(ALONE) for name in model.prior_arrays)


def prior_alone(system: System | Cluster, model: TrainedModel) -> PriorMean:
    """What stands for the model without its network: the prior mean that the network was trained upon.

    It is :func:`prior_mean` but for a linear part that :func:`was_refitted`, which is no fit to the density any more.
    """
    first = {name.removeprefix(ALONE): a for name, a in model.prior_arrays.items() if name.startswith(ALONE)}
    return prior_mean(system, replace(model, prior_arrays=first) if first else model)


def refitted(model: TrainedModel, again: LinearBaseline) -> TrainedModel:
    """The model with another linear part; the one before is kept for :func:`prior_alone`."""
    before = {ALONE + name: array for name, array in model.prior_arrays.items()}
    return replace(model, prior_arrays={**again.to_arrays(), **before})


def prior_reach(model: TrainedModel) -> float:
    """Distance beyond which an atom does not act on the prior mean, Bohr, but through the features."""
    if model.prior_mean not in SUMS_OF_ATOMS:
        return 0.0
    return max(table.cutoff for table in promolecule_tables(model).values())


def promolecule_arrays(tables: Mapping[str, AtomicDensityTable]) -> dict[str, NDArray[np.float64]]:
    """Atomic densities as the arrays that a model keeps: values and mesh step for each element."""
    arrays = {}
    for element, table in tables.items():
        arrays[f"promolecule.{element}"] = table.values
        arrays[f"promolecule.{element}.step"] = np.array([table.step])
    return arrays


def promolecule_tables(model: TrainedModel) -> dict[str, AtomicDensityTable]:
    """The atomic densities of a model, one for each of its elements.

    Raises:
        ModelError: One is missing.
    """
    tables = {}
    for element, identity in model.pseudopotentials.items():
        try:
            values, step = (model.prior_arrays[f"promolecule.{element}{end}"] for end in ("", ".step"))
        except KeyError as error:
            raise ModelError(
                f'model "{model.name}" lacks the atomic density {error} of its prior mean; expected one for each '
                f"element that it knows; copy the whole model again"
            ) from error
        tables[element] = AtomicDensityTable(identity, float(step[0]), np.asarray(values, dtype=np.float64))
    return tables
