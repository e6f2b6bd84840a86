"""The isolated spherical pseudo-atom: Kohn-Sham with PBE on the half line.

Orbitals u(r) = r R(r) are sums of P_(n+1)(x) - P_(n-1)(x), Legendre polynomials of the mapped distance

    r(x) = L (1 + x) / (1 - x + 2 L / r_max),    -1 <= x <= 1,

which is dense near the nucleus and sparse in the tail. Every energy is a sum over one quadrature that is fine enough
for products of orbitals, every operator the exact derivative of that sum by the density matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.linalg import eigh, solve_triangular

from rhoscale.engines.gth import GTH
from rhoscale.engines.pbe import pbe_derivatives
from rhoscale.errors import EngineError

FloatArray = NDArray[np.float64]

VANISHING = 1e-18  # electrons per Bohr^3 below which exchange and correlation are left out


class RadialBasis:
    """Orthonormal functions u_n(r) on 0 <= r <= r_max that vanish at both ends.

    Attributes:
        r: Quadrature points [k], Bohr.
        weights: int f dr = sum_k weights_k f(r_k).
        values: u_n(r_k) [n, k].
        slopes: du_n/dr at the points [n, k].
    """

    def __init__(self, size: int = 88, *, r_max: float = 40.0, half_way: float = 3.0) -> None:
        self.size, self.r_max, self.half_way = size, r_max, half_way
        x, w = legendre.leggauss(2 * size + 40)
        self.r = half_way * (1 + x) / (1 - x + self._gap)
        stretch = half_way * (2 + self._gap) / (1 - x + self._gap) ** 2
        self.weights = w * stretch
        raw = self._raw(x)
        self._cholesky = np.linalg.cholesky((raw * self.weights) @ raw.T)
        self.values = self._orthonormal(raw)
        orders = 2 * np.arange(1, size + 1) + 1  # d/dx (P_(n+1) - P_(n-1)) = (2n + 1) P_n
        self.slopes = self._orthonormal(orders[:, None] * legendre.legvander(x, size).T[1:] / stretch)

    def at(self, r: FloatArray) -> FloatArray:
        """The functions at distances 0 <= r <= r_max (Bohr), shape [n, len(r)]."""
        return self._orthonormal(self._raw((r * (1 + self._gap) - self.half_way) / (self.half_way + r)))

    @property
    def _gap(self) -> float:
        return 2 * self.half_way / self.r_max

    def _raw(self, x: FloatArray) -> FloatArray:
        P = legendre.legvander(x, self.size + 1).T
        return np.asarray(P[2:] - P[:-2])

    def _orthonormal(self, raw: FloatArray) -> FloatArray:
        return np.asarray(solve_triangular(self._cholesky, raw, lower=True))


class RadialProblem:
    """Energies of one pseudopotential's electrons and their derivatives by the density matrix.

    The density matrix D holds electrons: 4 pi r^2 rho(r) = sum_nm D_nm u_n(r) u_m(r).
    """

    def __init__(self, potential: GTH, basis: RadialBasis) -> None:
        self.potential = potential
        self.basis = basis
        self.local = self._diagonal(potential.local(basis.r))
        self._stiffness = (basis.slopes * basis.weights) @ basis.slopes.T
        self._centrifugal = self._diagonal(1 / basis.r**2)
        self._radial = basis.values / basis.r
        self._radial_slopes = basis.slopes / basis.r - basis.values / basis.r**2

    def kinetic(self, l: int) -> FloatArray:
        """-1/2 d^2/dr^2 + l (l + 1) / (2 r^2)."""
        return 0.5 * (self._stiffness + l * (l + 1) * self._centrifugal)

    def nonlocal_part(self, l: int) -> FloatArray:
        """sum_ij |p_i> h_ij <p_j| for one angular momentum."""
        channels = self.potential.channels
        if l >= len(channels) or not channels[l].h:
            return np.zeros((self.basis.size, self.basis.size))
        r = self.basis.r
        projectors = np.array([channels[l].projector(i, r) for i in range(1, len(channels[l].h) + 1)])
        overlaps = (projectors * r * self.basis.weights) @ self.basis.values.T
        return np.asarray(overlaps.T @ channels[l].coupling @ overlaps)

    def hartree(self, D: FloatArray) -> tuple[float, FloatArray]:
        """Hartree energy and operator; r V_H solves -(r V_H)'' = 4 pi r rho, r V_H(r_max) = charge."""
        shell = self._shell(D)
        charge = float(self.basis.weights @ shell)
        source = self.basis.values @ (self.basis.weights * shell / self.basis.r)
        solved = np.linalg.solve(self._stiffness, source) @ self.basis.values
        potential = solved / self.basis.r + charge / self.basis.r_max
        return 0.5 * float((self.basis.weights * shell) @ potential), self._diagonal(potential)

    def xc(self, D: FloatArray) -> tuple[float, FloatArray]:
        """Exchange-correlation energy (PBE) and operator."""
        volume = self.basis.weights * self.basis.r**2
        density = np.einsum("nk,nk->k", self._radial, D @ self._radial) / (4 * np.pi)
        slope = np.einsum("nk,nk->k", self._radial_slopes, D @ self._radial) / (2 * np.pi)
        kept = density > VANISHING
        e, by_density, by_gradient = np.zeros((3, len(density)))
        e[kept], by_density[kept], by_gradient[kept] = pbe_derivatives(density[kept], slope[kept] ** 2)
        flux = (self._radial * (volume * 2 * by_gradient * slope)) @ self._radial_slopes.T
        operator = (self._radial * (volume * by_density)) @ self._radial.T + flux + flux.T
        return float(4 * np.pi * volume @ e), np.asarray(operator)

    def orbitals(self, mean_field: FloatArray) -> tuple[FloatArray, FloatArray, tuple[int, ...], FloatArray]:
        """Lowest orbitals, filled like the reference atom: coefficients, levels, angular momenta, occupations."""
        coefficients, levels, momenta, filled = [], [], [], []
        for l, electrons in enumerate(self.potential.occupations):
            capacity = 2 * (2 * l + 1)
            shells = -(-electrons // capacity)
            if shells:
                H = self.kinetic(l) + self.nonlocal_part(l) + self.local + mean_field
                values, vectors = eigh(H, subset_by_index=(0, shells - 1))
                coefficients.append(vectors.T)
                levels.append(values)
                momenta += [l] * shells
                filled += [min(capacity, electrons - capacity * k) for k in range(shells)]
        return np.concatenate(coefficients), np.concatenate(levels), tuple(momenta), np.array(filled, dtype=np.float64)

    def _shell(self, D: FloatArray) -> FloatArray:
        return np.asarray(np.einsum("nk,nk->k", self.basis.values, D @ self.basis.values))

    def _diagonal(self, potential: FloatArray) -> FloatArray:
        return np.asarray((self.basis.values * (self.basis.weights * potential)) @ self.basis.values.T)


@dataclass(frozen=True)
class PseudoAtom:
    """The self-consistent ground state of one isolated pseudo-atom.

    Attributes:
        potential: Its pseudopotential.
        basis: Radial functions.
        coefficients: Orbitals in the basis [orbitals, n].
        levels: Eigenvalues [orbitals], Hartree.
        momenta: Angular momentum of each orbital.
        occupations: Electrons in each orbital, spread evenly over spin and direction.
        energies: ``total``, ``kinetic``, ``local``, ``nonlocal``, ``hartree``, ``xc``; Hartree.
        iterations: Self-consistent cycles used.
    """

    potential: GTH
    basis: RadialBasis = field(repr=False)
    coefficients: FloatArray = field(repr=False)
    levels: FloatArray
    momenta: tuple[int, ...]
    occupations: FloatArray
    energies: Mapping[str, float]
    iterations: int

    def orbital(self, number: int, r: FloatArray) -> FloatArray:
        """Orbital u(r) = r R(r), int u^2 dr = 1, at distances 0 <= r <= ``r_max`` in Bohr."""
        return np.asarray(self.coefficients[number] @ self.basis.at(r))

    def density(self, r: FloatArray) -> FloatArray:
        """Density sum_i f_i R_i(r)^2 / (4 pi) at distances in Bohr, electrons per Bohr^3; zero beyond ``r_max``."""
        flat = np.asarray(r, dtype=np.float64).ravel()
        inside = np.clip(flat, 1e-4, self.basis.r_max)  # the density is even in r: constant to 1e-8 this near
        R = self.coefficients @ self.basis.at(inside) / inside
        values = self.occupations @ R**2 / (4 * np.pi)
        return np.asarray(np.where(flat < self.basis.r_max, values, 0.0).reshape(np.shape(r)))


def solve_atom(
    potential: GTH, basis: RadialBasis | None = None, *, tolerance: float = 1e-6, max_iterations: int = 200
) -> PseudoAtom:
    """Solve the Kohn-Sham equations (PBE, no spin, spherical) of an isolated pseudo-atom.

    Electrons of one angular momentum fill its orbitals from below, spread evenly over directions; how many belong to
    each angular momentum is the reference configuration published with the pseudopotential.

    Args:
        potential: Pseudopotential.
        basis: Radial functions; the default resolves every potential of the table.
        tolerance: Largest difference (Frobenius) between input and output density matrix, electrons.
        max_iterations: Cycles after which the atom counts as failed.

    Raises:
        EngineError: Self-consistency was not reached.
    """
    problem = RadialProblem(potential, basis or RadialBasis())
    D = _starting_matrix(problem)
    mixing = _AndersonMixing()
    change = np.inf
    for iteration in range(1, max_iterations + 1):
        C, levels, momenta, filled = problem.orbitals(problem.hartree(D)[1] + problem.xc(D)[1])
        output = (C.T * filled) @ C
        change = float(np.linalg.norm(output - D))
        if change < tolerance:
            energies = _energies(problem, C, momenta, filled)
            return PseudoAtom(potential, problem.basis, C, levels, momenta, filled, energies, iteration)
        D = mixing.next(D, output)
    raise EngineError(
        f"the {potential.element} {potential.name} atom did not become self-consistent: after {max_iterations} cycles "
        f"{change:.1e} electrons still move (expected below {tolerance:.1e}); allow more cycles"
    )


def _starting_matrix(problem: RadialProblem) -> FloatArray:
    """Orbitals in the field of the valence electrons spread over a Gaussian of 1 Bohr."""
    basis, electrons = problem.basis, problem.potential.valence
    u = basis.r * np.exp(-0.25 * basis.r**2)
    c = basis.values @ (basis.weights * u)
    return np.asarray(electrons * np.outer(c, c) / (c @ c))


def _energies(problem: RadialProblem, C: FloatArray, momenta: tuple[int, ...], filled: FloatArray) -> dict[str, float]:
    D = (C.T * filled) @ C
    orbitals = list(zip(filled, C, momenta, strict=True))
    terms = {
        "kinetic": sum(f * c @ problem.kinetic(l) @ c for f, c, l in orbitals),
        "local": np.sum(D * problem.local),
        "nonlocal": sum(f * c @ problem.nonlocal_part(l) @ c for f, c, l in orbitals),
        "hartree": problem.hartree(D)[0],
        "xc": problem.xc(D)[0],
    }
    return {name: float(value) for name, value in terms.items()} | {"total": float(sum(terms.values()))}


class _AndersonMixing:
    """Extrapolate a fixed point from its last inputs (Anderson, J. Assoc. Comput. Mach. 12, 547 (1965))."""

    DEPTH = 6
    STEP = 0.4

    def __init__(self) -> None:
        self._inputs: list[FloatArray] = []
        self._residuals: list[FloatArray] = []

    def next(self, given: FloatArray, found: FloatArray) -> FloatArray:
        """The next input after ``given`` was mapped to ``found``."""
        self._inputs.append(given)
        self._residuals.append(found - given)
        del self._inputs[: -self.DEPTH], self._residuals[: -self.DEPTH]
        point, residual = given, found - given
        if len(self._inputs) > 1:
            shifts = np.array([given - other for other in self._inputs[:-1]])
            differences = np.array([residual - other for other in self._residuals[:-1]])
            flat = differences.reshape(len(differences), -1)
            share = np.linalg.lstsq(flat.T, residual.ravel(), rcond=1e-12)[0]
            point = point - np.tensordot(share, shifts, 1)
            residual = residual - np.tensordot(share, differences, 1)
        return np.asarray(point + self.STEP * residual)
