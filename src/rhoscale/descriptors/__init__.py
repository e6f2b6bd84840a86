"""Features of a point from the atoms around it: specifications, and the one door to every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rhoscale.cluster import Cluster
from rhoscale.descriptors.interface import Describer, DescriptorSpec, Features, FloatArray
from rhoscale.descriptors.scalar_products import fast as scalar_products
from rhoscale.descriptors.scalar_products.spec import ScalarProducts
from rhoscale.descriptors.smooth import Smooth, smooth_describer
from rhoscale.descriptors.smooth import cluster_describer as smooth_cluster_describer
from rhoscale.errors import InputError
from rhoscale.system import System

__all__ = ["Describer", "DescriptorSpec", "ScalarProducts", "Smooth", "describe", "describer", "spec_from_dict"]


@dataclass(frozen=True)
class Family:
    """How a family of descriptors is read from plain values and prepared for a crystal or a part of one."""

    from_dict: Callable[[Mapping[str, Any]], DescriptorSpec]
    describer: Callable[[System, Any], Describer]
    cluster_describer: Callable[[Cluster, Any], Describer]


FAMILIES: dict[str, Family] = {
    "scalar-products": Family(
        ScalarProducts.from_dict, scalar_products.scalar_product_describer, scalar_products.cluster_describer
    ),
    "smooth": Family(Smooth.from_dict, smooth_describer, smooth_cluster_describer),
}


def spec_from_dict(values: Mapping[str, Any]) -> DescriptorSpec:
    """Rebuild a specification from ``to_dict``, by its ``family``.

    Raises:
        InputError: The family is unknown, or its values cannot be used.
    """
    return _family(str(values.get("family"))).from_dict(values)


def describer(atoms: System | Cluster, spec: DescriptorSpec) -> Describer:
    """Prepare the features of any points in a crystal, or of the points of a tile from its own atoms.

    Raises:
        ModelError: There is an element that the specification does not know.
        StructureError: The crystal lacks an element that the specification needs.
        HaloError: The cluster's halo is too thin.
    """
    family = _family(spec.family)
    if isinstance(atoms, Cluster):
        return family.cluster_describer(atoms, spec)
    return family.describer(atoms, spec)


def describe(points: FloatArray, system: System, spec: DescriptorSpec) -> Features:
    """Describe points [n, 3], Bohr, in a crystal by features [n, spec.size].

    Raises:
        InputError: The points are not finite coordinates [n, 3].
        ModelError: The crystal holds an element that the specification does not know.
        StructureError: It lacks an element that the specification needs.
    """
    return describer(system, spec)(points)


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise InputError(f"descriptor family {name!r} is unknown; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
