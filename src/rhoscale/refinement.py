"""Band-limited densities: Fourier coefficients in a sphere, exact on any grid that can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from rhoscale.density import Density
from rhoscale.errors import InputError
from rhoscale.grid import Grid, Shape

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class FourierDensity:
    """A real periodic density by its Fourier coefficients,

        rho(r) = sum_G c_G exp(i G.r),    c_-G = conj(c_G),

    kept for |G|^2 / 2 <= cutoff.

    Attributes:
        cell: Cell vectors as rows [3, 3], Bohr.
        cutoff: Kinetic energy of the largest kept wave, Hartree.
        millers: Integer coordinates of the kept half of the sphere [n, 3]: third index positive, or zero
            with the second positive, or both zero with the first not negative. Sorted.
        coefficients: Complex coefficients [n], electrons per Bohr^3.
    """

    cell: FloatArray
    cutoff: float
    millers: NDArray[np.int16]
    coefficients: NDArray[np.complexfloating]

    @classmethod
    def from_coefficients(
        cls, cell: FloatArray, millers: NDArray[np.integer], coefficients: NDArray[np.complexfloating], cutoff: float
    ) -> FourierDensity:
        """Keep the sphere of a list of coefficients that holds each wave, its opposite, or both."""
        hkl = np.asarray(millers, dtype=np.int64)
        values = np.asarray(coefficients)
        flip = (hkl[:, 2] < 0) | ((hkl[:, 2] == 0) & ((hkl[:, 1] < 0) | ((hkl[:, 1] == 0) & (hkl[:, 0] < 0))))
        hkl = np.where(flip[:, None], -hkl, hkl)
        values = np.where(flip, np.conj(values), values)
        inside = kinetic_energies(cell, hkl) <= cutoff * (1 + 1e-12)
        hkl, first = np.unique(hkl[inside], axis=0, return_index=True)
        return cls(np.asarray(cell, dtype=np.float64), float(cutoff), hkl.astype(np.int16), values[inside][first])

    @classmethod
    def from_density(cls, density: Density, cutoff: float) -> FourierDensity:
        """Fourier coefficients of a density on a grid; waves at or beyond the grid's Nyquist index are left out."""
        shape = density.grid.shape
        spectrum = fft.rfftn(density.values) / density.grid.size
        limits = [(n - 1) // 2 for n in shape]
        axes = [np.arange(-m, m + 1) for m in limits[:2]] + [np.arange(0, limits[2] + 1)]
        hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        values = spectrum[hkl[:, 0], hkl[:, 1], hkl[:, 2]]
        return cls.from_coefficients(density.grid.cell, hkl, values, cutoff)

    @cached_property
    def smallest_shape(self) -> Shape:
        """Points along each cell vector that hold every kept wave without aliasing."""
        n = 2 * np.abs(self.millers).max(axis=0).astype(int) + 1
        return (int(n[0]), int(n[1]), int(n[2]))

    @property
    def electrons(self) -> float:
        """Electrons in the cell: the coefficient of G = 0 times the volume."""
        zero = np.flatnonzero((self.millers == 0).all(axis=1))
        return float(self.coefficients[zero[0]].real) * float(abs(np.linalg.det(self.cell))) if zero.size else 0.0

    def on_grid(self, shape: Shape) -> Density:
        """Values on a grid of any shape.

        A grid at least as fine as ``smallest_shape`` holds the density exactly; a coarser one gets the true
        point values, from a finer transform by way of the next multiple of its shape.
        """
        factor = tuple(int(np.ceil(m / n)) for m, n in zip(self.smallest_shape, shape, strict=True))
        fine = tuple(n * f for n, f in zip(shape, factor, strict=True))
        spectrum = np.zeros((fine[0], fine[1], fine[2] // 2 + 1), dtype=np.complex128)
        h, k, l = self.millers.astype(np.int64).T
        spectrum[h, k, l] = self.coefficients
        plane = (l == 0) & ((h != 0) | (k != 0))
        spectrum[-h[plane], -k[plane], 0] = np.conj(self.coefficients[plane])
        values = fft.irfftn(spectrum, s=fine, axes=(0, 1, 2)) * float(np.prod(fine))
        return Density(Grid(self.cell, shape), values[:: factor[0], :: factor[1], :: factor[2]])

    def coefficients_of(self, millers: NDArray[np.integer]) -> NDArray[np.complex128]:
        """Coefficients [n] of waves of the kept half [n, 3], zero for those beyond the cutoff."""
        reach = np.maximum(np.abs(self.millers).max(axis=0), np.abs(millers).max(axis=0)).astype(int)
        box = np.zeros(2 * reach + 1, dtype=np.complex128)
        box[tuple(self.millers.T.astype(int))] = self.coefficients
        return np.asarray(box[tuple(np.asarray(millers, dtype=int).T)])

    def truncated(self, cutoff: float) -> FourierDensity:
        """The same density with fewer waves."""
        return FourierDensity.from_coefficients(self.cell, self.millers, self.coefficients, cutoff)


def kinetic_energies(cell: FloatArray, millers: NDArray[np.integer]) -> FloatArray:
    """|G|^2 / 2 of waves given by integer coordinates [n, 3], Hartree, shape [n]."""
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    waves = np.asarray(millers, dtype=np.float64) @ reciprocal
    return np.asarray(0.5 * np.einsum("ni,ni->n", waves, waves), dtype=np.float64)


def refine(density: Density, shape: Shape) -> Density:
    """Interpolate a periodic density to a finer grid by zero-padding its Fourier series.

    Raises:
        InputError: The new grid is coarser along an axis.
    """
    old = density.grid.shape
    if any(n < m for n, m in zip(shape, old, strict=True)):
        raise InputError(f"refinement goes to finer grids only; got {old} -> {shape}")
    if tuple(shape) == old:
        return density
    spectrum = fft.fftn(density.values)
    for axis, (m, n) in enumerate(zip(old, shape, strict=True)):
        spectrum = _pad_axis(spectrum, axis, m, n)
    values = fft.ifftn(spectrum).real * (float(np.prod(shape)) / density.grid.size)
    return Density(Grid(density.grid.cell, shape), values)


def _pad_axis(spectrum: NDArray[np.complexfloating], axis: int, old: int, new: int) -> NDArray[np.complexfloating]:
    if new == old:
        return spectrum
    moved = np.moveaxis(spectrum, axis, 0)
    padded = np.zeros((new, *moved.shape[1:]), dtype=moved.dtype)
    half = (old + 1) // 2
    padded[:half] = moved[:half]
    padded[new - (old - half) :] = moved[half:]
    if old % 2 == 0:  # the Nyquist wave belongs to both signs, half each
        nyquist = moved[old // 2] / 2
        padded[new - old // 2] = nyquist
        padded[old // 2] += nyquist
    return np.moveaxis(padded, 0, axis)
