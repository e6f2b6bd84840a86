"""The smooth descriptor by its definition: sums over atoms, and sums over pairs of them with Legendre polynomials."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_legendre

from rhoscale.descriptors.smooth.spec import AngularSet, Smooth, radial_functions
from rhoscale.system import System

FloatArray = NDArray[np.float64]


def describe_by_definition(points: FloatArray, system: System, spec: Smooth) -> FloatArray:
    """Evaluate the features of :class:`Smooth` point by point, in double precision.

    The power spectrum is written without harmonics: by their addition theorem

        p_nn'l = sum_IJ (phi_n(r_I) phi_n'(r_J) + phi_n'(r_I) phi_n(r_J)) / 2 (|u_I| |u_J|)^l P_l(cos angle_IJ)

    over all atoms I and the atoms J of the element; the surroundings likewise, J around I in place of the point.

    Args:
        points: Cartesian points [n, 3], Bohr.
        system: The atoms, repeated periodically.
        spec: What to evaluate.

    Returns:
        Features [n, spec.size].
    """
    return np.array([_describe_point(point, system, spec) for point in np.asarray(points, dtype=np.float64)])


def _describe_point(point: FloatArray, system: System, spec: Smooth) -> FloatArray:
    vectors, species = _atoms_around(point, system, spec.reach)
    distances = np.linalg.norm(vectors, axis=1)
    features = [
        radial_functions(distances[species == e], s.count, s.cutoff, spec.softening).sum(axis=0)
        for s in spec.radial
        for e in spec.elements
    ]
    features += [
        _power_spectrum(vectors, distances, species == e, s, spec.softening)
        for s in spec.angular
        for e in spec.elements
    ]
    if spec.surroundings is not None:
        features += _surroundings(point, vectors, species, system, spec)
    return np.concatenate(features)


def _atoms_around(point: FloatArray, system: System, reach: float) -> tuple[FloatArray, NDArray[np.str_]]:
    heights = 1.0 / np.linalg.norm(np.linalg.inv(system.cell), axis=0)
    home = point - np.floor(point @ np.linalg.inv(system.cell)) @ system.cell
    images = [range(-int(np.ceil(reach / h)) - 1, int(np.ceil(reach / h)) + 2) for h in heights]
    shifts = np.array(list(itertools.product(*images))) @ system.cell
    vectors = (system.scaled_positions @ system.cell)[None, :, :] + shifts[:, None, :] - home
    species = np.broadcast_to(system.species, vectors.shape[:2])
    near = np.linalg.norm(vectors, axis=2) < reach
    return vectors[near], species[near]


def _power_spectrum(
    vectors: FloatArray, distances: FloatArray, chosen: NDArray[np.bool_], angular: AngularSet, softening: float
) -> FloatArray:
    functions = radial_functions(distances, max(angular.counts), angular.cutoff, softening)
    directions = vectors / np.where(distances > 0, distances, 1.0)[:, None]
    lengths = distances / np.sqrt(distances**2 + softening**2)
    cosines = np.clip(directions @ directions[chosen].T, -1.0, 1.0)
    spectrum = []
    for degree, count in enumerate(angular.counts):
        coupling = np.outer(lengths, lengths[chosen]) ** degree * eval_legendre(degree, cosines)
        pairs = functions[:, :count].T @ coupling @ functions[chosen, :count]
        spectrum.append((0.5 * (pairs + pairs.T))[np.triu_indices(count)])
    return np.concatenate(spectrum)


def _surroundings(
    point: FloatArray, vectors: FloatArray, species: NDArray[np.str_], system: System, spec: Smooth
) -> list[FloatArray]:
    chosen, soft = spec.surroundings, spec.softening
    assert chosen is not None
    kinds = len(spec.elements)
    found = np.zeros((kinds, kinds, chosen.count, chosen.neighbours, chosen.degree + 1))  # of the atom, of those around
    for vector, own in zip(vectors, species, strict=True):
        length = np.asarray(np.linalg.norm(vector))
        to_atom = radial_functions(length, chosen.count, chosen.cutoff, soft)
        around, kind = _atoms_around(point + vector, system, chosen.neighbour_cutoff)
        lengths = np.linalg.norm(around, axis=1)
        functions = radial_functions(lengths, chosen.primitives or chosen.neighbours, chosen.neighbour_cutoff, soft)
        u = vector / np.hypot(length, soft)
        w = around / np.hypot(lengths, soft)[:, None]
        sizes = np.linalg.norm(u) * np.linalg.norm(w, axis=1)
        cosines = np.divide(w @ u, sizes, out=np.zeros(len(w)), where=sizes > 0)
        legendre = np.stack([sizes**l * eval_legendre(l, cosines) for l in range(chosen.degree + 1)], axis=1)
        for e, element in enumerate(spec.elements):
            seen = functions[kind == element].T @ legendre[kind == element]
            if chosen.contraction is not None:
                seen = np.einsum("lnp,pl->nl", np.array(chosen.contraction), seen)
            found[spec.elements.index(own), e] += to_atom[:, None, None] * seen
    if kinds == 1:
        return [found.ravel()]
    return [found.sum(axis=1).ravel(), found.sum(axis=0).ravel()]
