"""The scalar-product descriptors of many points: bricks of blocks of sixteen, shared among threads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhoscale.cluster import Cluster
from rhoscale.descriptors.bricks import Bricks, cut_into_bricks, share_bricks
from rhoscale.descriptors.interface import Features
from rhoscale.descriptors.neighbours import CellList, cluster_cell_list, periodic_cell_list
from rhoscale.descriptors.scalar_products.brick import describe_bricks
from rhoscale.descriptors.scalar_products.network import Networks, make_networks
from rhoscale.descriptors.scalar_products.spec import ScalarProducts
from rhoscale.descriptors.scalar_products.tables import NeighbourTable, neighbour_table
from rhoscale.errors import HaloError, InputError, ModelError, StructureError
from rhoscale.system import System

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ScalarProductDescriber:
    """Scalar-product descriptors among fixed atoms.

    Attributes:
        spec: Which features.
        atoms: The atoms, sorted.
        table: Their neighbours.
        networks: To sort them by distance.
        halo: All atoms within this of every point are known, Bohr; infinite for a crystal.
    """

    spec: ScalarProducts
    atoms: CellList
    table: NeighbourTable
    networks: Networks
    halo: float = np.inf

    def __call__(self, points: FloatArray, threads: int | None = None) -> Features:
        """Describe points [n, 3], Bohr, by float32 features [n, size]; the bits do not depend on ``threads``.

        Raises:
            InputError: The points are not finite coordinates [n, 3].
            HaloError: Atoms are needed beyond the halo of a cluster.
        """
        features, reach = self._describe_all(points, threads)
        self._check_halo(reach)
        return features

    def reach_of(self, points: FloatArray) -> Features:
        """Radius around each point within which all atoms must be known, Bohr [n]: the halo that a tile needs.

        Raises:
            InputError: The points are not finite coordinates [n, 3].
        """
        return self._describe_all(points, 1)[1]

    def _describe_all(self, points: FloatArray, threads: int | None) -> tuple[Features, Features]:
        points = np.ascontiguousarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"points must be finite coordinates [n, 3] in Bohr; got shape {points.shape}")
        features = np.empty((len(points), self.spec.size), np.float32)
        reach = np.zeros(len(points), np.float32)
        if len(points) == 0:
            return features, reach
        bricks = cut_into_bricks(points)
        share_bricks(bricks, lambda a, b: self._describe(points, bricks, a, b, features, reach), threads)
        return features, reach

    def _describe(
        self, points: FloatArray, bricks: Bricks, start: int, stop: int, features: Features, reach: Features
    ) -> None:
        spec = self.spec
        counts = (spec.distances, spec.angle_atoms, spec.neighbours)
        for kind in range(len(spec.elements)):
            pairs = np.array([p for p, (a, _) in enumerate(spec.pairs) if a == kind], dtype=np.int64)
            columns = np.array([spec.distance_column(kind), *(spec.cosine_column(int(p)) for p in pairs)])
            describe_bricks(
                self.atoms,
                self.table,
                self.networks,
                kind,
                pairs,
                columns,
                counts,
                points,
                bricks,
                start,
                stop,
                features,
                reach,
            )

    def _check_halo(self, reach: Features) -> None:
        short = reach > self.halo
        if short.any():
            farthest = float(reach.max())
            advice = (
                f"use halo={farthest + 0.5:.1f} or fewer" if np.isfinite(farthest) else "use a larger halo or fewer"
            )
            raise HaloError(
                f"the {self.spec.distances} nearest atoms of each element, or the neighbours of the nearest "
                f"{self.spec.angle_atoms}, lie beyond the {self.halo:g} Bohr halo for {int(short.sum())} of "
                f"{len(reach)} points (farthest {farthest:.1f}); {advice} nearest atoms"
            )


def scalar_product_describer(system: System, spec: ScalarProducts) -> ScalarProductDescriber:
    """Prepare the descriptors of any points in a crystal.

    Raises:
        ModelError: The crystal holds an element that the specification does not know.
        StructureError: It lacks an element that the specification needs.
    """
    unknown = sorted(set(system.elements) - set(spec.elements))
    if unknown:
        raise ModelError(
            f"the descriptors know {', '.join(spec.elements)}; the structure also holds {', '.join(unknown)}; "
            f"use a model of all these elements"
        )
    missing = sorted(set(spec.elements) - set(system.elements))
    if missing:
        raise StructureError(
            f"the descriptors take distances to the nearest {', '.join(missing)} atoms, and {system.formula} has none; "
            f"use a model of {', '.join(system.elements)} alone"
        )
    return _prepare(spec, periodic_cell_list(system, spec.elements), np.inf)


def cluster_describer(cluster: Cluster, spec: ScalarProducts) -> ScalarProductDescriber:
    """Prepare the descriptors of points in a tile from its own atoms and those of its halo, standing alone.

    Raises:
        HaloError: An element has no atom within the halo.
        ModelError: There is an element that the specification does not know.
    """
    present = set(np.unique(cluster.species).tolist())
    if not present <= set(spec.elements):
        raise ModelError(
            f"the descriptors know {', '.join(spec.elements)}; the atoms are {', '.join(sorted(present))}; "
            f"use a model of all these elements"
        )
    if present < set(spec.elements):
        raise HaloError(
            f"no {', '.join(sorted(set(spec.elements) - present))} atom within the {cluster.halo:g} Bohr halo; "
            f"expected {spec.distances} of each element; use a larger halo"
        )
    kinds = np.searchsorted(np.asarray(spec.elements), cluster.species).astype(np.int64)
    atoms = cluster_cell_list(np.asarray(cluster.positions, dtype=np.float64), kinds, len(spec.elements))
    return _prepare(spec, atoms, float(cluster.halo))


def _prepare(spec: ScalarProducts, atoms: CellList, halo: float) -> ScalarProductDescriber:
    wanted = max(spec.distances, spec.angle_atoms + 1)
    networks = make_networks(2 * wanted + 128, wanted)
    return ScalarProductDescriber(spec, atoms, neighbour_table(atoms, spec), networks, halo)
