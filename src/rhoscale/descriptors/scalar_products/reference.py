"""The definition of the scalar-product descriptors, as loops over explicit images: slow, and right by inspection."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from rhoscale.descriptors.scalar_products.spec import NUCLEUS, SHELL_GAP, ScalarProducts
from rhoscale.system import System

FloatArray = NDArray[np.float64]


def describe_reference(points: FloatArray, system: System, spec: ScalarProducts) -> FloatArray:
    """Describe points [n, 3], Bohr, by features [n, spec.size] in double precision.

    Every element of ``spec`` must occur in ``system``.
    """
    return np.array([_describe_point(point, system, spec) for point in points]).reshape(len(points), spec.size)


def _describe_point(point: FloatArray, system: System, spec: ScalarProducts) -> FloatArray:
    features = np.empty(spec.size)
    for kind, element in enumerate(spec.elements):
        column = spec.distance_column(kind)
        vectors = nearest(system, element, point, spec.distances)[: spec.distances]
        features[column : column + spec.distances] = np.linalg.norm(vectors, axis=1)
    for pair, (a, b) in enumerate(spec.pairs):
        column = spec.cosine_column(pair)
        values = _set_two(point, system, spec, spec.elements[a], spec.elements[b])
        features[column : column + spec.cosines] = values.ravel()
    return features


def _set_two(point: FloatArray, system: System, spec: ScalarProducts, a: str, b: str) -> FloatArray:
    """Cosines [M_a, k] of the nearest ``a`` atoms of a point with the nearest ``b`` atoms of each."""
    if spec.angle_atoms == 0:
        return np.empty((0, spec.neighbours))
    atoms = nearest(system, a, point, spec.angle_atoms)
    rows = []
    for atom in atoms:
        others = nearest(system, b, point + atom, spec.neighbours, without_itself=a == b)
        cosines = np.array([_cosine(atom, atom + other) for other in others])
        rows.append(_largest_first_in_shells(cosines, others)[: spec.neighbours])
    columns = [_largest_first_in_shells(column, atoms) for column in np.array(rows).T]
    return np.array(columns).T[: spec.angle_atoms]


def nearest(
    system: System, element: str, centre: FloatArray, count: int, *, without_itself: bool = False
) -> FloatArray:
    """Vectors from ``centre`` to its ``count`` nearest atoms, by distance, and to all that are tied with the last."""
    radius = 10.0
    while True:
        vectors = _images_within(system, element, centre, radius)
        lengths = np.linalg.norm(vectors, axis=1)
        order = np.argsort(lengths, kind="stable")
        if without_itself:
            order = order[1:]
        last = count - 1
        while last + 1 < len(order) and lengths[order[last + 1]] - lengths[order[last]] <= SHELL_GAP:
            last += 1
        if last < len(order) and lengths[order[last]] + SHELL_GAP < radius:
            return vectors[order[: last + 1]]
        radius *= 1.3


def _images_within(system: System, element: str, centre: FloatArray, radius: float) -> FloatArray:
    heights = 1.0 / np.linalg.norm(np.linalg.inv(system.cell), axis=0)
    base = system.scaled_positions[system.species == element] - centre @ np.linalg.inv(system.cell)
    base -= np.round(base)
    ranges = [range(-n, n + 1) for n in np.ceil(radius / heights + 0.5).astype(int)]
    shifts = np.array(list(itertools.product(*ranges)), dtype=np.float64)
    vectors = (base[:, None, :] + shifts[None, :, :]).reshape(-1, 3) @ system.cell
    return np.asarray(vectors[np.linalg.norm(vectors, axis=1) <= radius])


def _cosine(v: FloatArray, w: FloatArray) -> float:
    lengths = np.maximum(np.linalg.norm([v, w], axis=1), NUCLEUS)
    return float(v @ w / (lengths[0] * lengths[1]))


def _largest_first_in_shells(values: FloatArray, vectors: FloatArray) -> FloatArray:
    """Sort the values of each shell of tied atoms, largest first; ``vectors`` are sorted by length."""
    shells = np.cumsum(np.diff(np.linalg.norm(vectors, axis=1), prepend=0.0) > SHELL_GAP)
    return values[np.lexsort((-values, shells))]
