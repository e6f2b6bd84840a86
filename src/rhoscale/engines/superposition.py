"""A toy engine for tests and examples: a sum of atomic densities, at once and without any DFT program."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

from rhoscale.engines.interface import DFTSettings, EachAfresh, Energies, GroundState
from rhoscale.formats.espresso import coefficients_at
from rhoscale.refinement import FourierDensity, kinetic_energies
from rhoscale.system import PseudopotentialIdentity, System
from rhoscale.units import BOHR_PER_ANGSTROM

FloatArray = NDArray[np.float64]

RANGE = 9.0  # Bohr: pairs farther apart neither bind nor deform each other
DENSITY_WIDTH = 0.65  # standard deviation of an isolated atom's density, covalent radii
BOND_LENGTH = 1.2  # minimum of the pair energy, sums of covalent radii
BOND_ENERGY = 0.01  # Hartree
BOND_STIFFNESS = 0.6  # 1 / Bohr
CONTRACTION = 0.01  # relative loss of width for each neighbour at the bond length
POLARISATION = 0.1  # Bohr of shift towards a neighbour at the bond length
TOY_NAME = "toy"


class SuperpositionEngine:
    """Ground states that are none: Gaussians on the atoms that their neighbours contract and shift.

        rho(r) = sum_i Z_i g(r - R_i - d_i; w_i),
        w_i = w_0 exp(-a sum_j s(R_ij)),   d_i = b sum_j s(R_ij) (R_j - R_i) / R_ij

    with a normalised Gaussian g of width w_i and a smooth weight s of the pair distance: the density is
    positive and holds the valence electrons.
    The energy is a sum of Morse pairs, the forces its derivative.

    Args:
        settings: Only the density cutoff is used.
        valences: Electrons for each element.
    """

    def __init__(self, settings: DFTSettings, valences: Mapping[str, float]) -> None:
        self.settings = settings
        self.pseudopotentials: Mapping[str, PseudopotentialIdentity] = {
            element: toy_pseudopotential(element, z) for element, z in valences.items()
        }

    def ground_state(self, system: System, *, initial_density: FourierDensity | None = None) -> GroundState:
        """Sum the atoms; the initial density changes nothing.

        Raises:
            StructureError: An element has no valence.
        """
        del initial_density
        started, started_cpu = time.monotonic(), time.process_time()
        electrons = system.electrons(self.pseudopotentials)
        pairs = _Pairs(system)
        density = self._density(system, pairs)
        energy, forces = _pair_energy(system, pairs)
        return GroundState(
            system=system,
            density=density,
            electrons=electrons,
            pseudopotentials={element: self.pseudopotentials[element] for element in system.elements},
            energies={"total": energy},
            fermi=0.5 * (3 * np.pi**2 * electrons / system.volume) ** (2 / 3),
            eigenvalues=np.zeros((1, 0)),
            kpoints=np.zeros((1, 3)),
            weights=np.ones(1),
            forces=forces,
            settings=self.settings,
            iterations=1,
            wall_seconds=time.monotonic() - started,
            cpu_seconds=time.process_time() - started_cpu,
            engine=TOY_NAME,
        )

    def continuation(self, folder: Path | None = None) -> EachAfresh:
        """Every structure afresh: there is nothing to go on from."""
        del folder
        return EachAfresh(self)

    def energies_from_density(self, system: System, density: FourierDensity) -> Energies:
        """Give the toy's energy less the Hartree energy of what the density has wrong: stationary at the toy's own.

        Raises:
            StructureError: An element has no valence.
        """
        state = self.ground_state(system)
        scaled = density.coefficients * (state.electrons / density.electrons)
        given = FourierDensity.from_coefficients(system.cell, density.millers, scaled, self.settings.density_cutoff)
        lacking = _hartree_energy_of_difference(given, state.density)
        return Energies(
            energies={"total": state.energies["total"] - lacking, "second_order": lacking},
            change=replace(given, coefficients=state.density.coefficients_of(given.millers) - given.coefficients),
            fermi=state.fermi,
            gap=0.0,
            eigenvalues=state.eigenvalues,
            kpoints=state.kpoints,
            weights=state.weights,
            electrons_given=density.electrons,
            wall_seconds=state.wall_seconds,
            cpu_seconds=state.cpu_seconds,
            engine=TOY_NAME,
        )

    def _density(self, system: System, pairs: _Pairs) -> FourierDensity:
        valences = np.array([self.pseudopotentials[str(s)].valence for s in system.species])
        weight = _neighbour_weight(pairs)
        neighbours = np.bincount(pairs.first, weight, minlength=len(system))
        shifts = np.zeros((len(system), 3))
        np.add.at(shifts, pairs.first, POLARISATION * weight[:, None] * pairs.directions)
        widths = DENSITY_WIDTH * _radii(system) * np.exp(-CONTRACTION * neighbours)
        millers = _half_sphere(system.cell, self.settings.density_cutoff)
        waves = millers @ (2 * np.pi * np.linalg.inv(system.cell).T)
        squares = np.einsum("gi,gi->g", waves, waves)
        coefficients = np.zeros(len(waves), dtype=np.complex128)
        for z, centre, width in zip(valences, system.positions + shifts, widths, strict=True):
            coefficients += z * np.exp(-0.5 * width**2 * squares - 1j * (waves @ centre))
        return FourierDensity.from_coefficients(
            system.cell, millers, coefficients / system.volume, self.settings.density_cutoff
        )


def toy_pseudopotential(element: str, valence: float) -> PseudopotentialIdentity:
    """Identity that no real pseudopotential can have; its hash is that of the toy's own parameters."""
    parameters = (RANGE, DENSITY_WIDTH, BOND_LENGTH, CONTRACTION, POLARISATION)
    text = f"{TOY_NAME} {element} {valence:g} {parameters}"
    return PseudopotentialIdentity(
        element, f"{TOY_NAME}-q{valence:g}", float(valence), hashlib.sha256(text.encode()).hexdigest()
    )


class _Pairs:
    """Every ordered pair of atoms (periodic images too) closer than the toy's range."""

    def __init__(self, system: System) -> None:
        first, second, vectors = primitive_neighbor_list(
            "ijD", (True, True, True), system.cell, system.positions, cutoff=RANGE
        )
        self.first: NDArray[np.intp] = first
        self.distances: FloatArray = np.linalg.norm(vectors, axis=1)
        self.directions: FloatArray = vectors / self.distances[:, None]
        radii = _radii(system)
        self.bond_lengths: FloatArray = BOND_LENGTH * (radii[first] + radii[second])


def _hartree_energy_of_difference(a: FourierDensity, b: FourierDensity) -> float:
    """Electrostatic energy of a - b, Hartree: (Omega / 2) sum_{G != 0} 4 pi |a_G - b_G|^2 / G^2."""
    differences = coefficients_at(a, b.millers) - b.coefficients
    kinetic = kinetic_energies(b.cell, b.millers)
    waves = kinetic > 0
    volume = float(abs(np.linalg.det(b.cell)))
    return float(2 * np.pi * volume * np.sum(np.abs(differences[waves]) ** 2 / kinetic[waves]))  # both halves


def _pair_energy(system: System, pairs: _Pairs) -> tuple[float, FloatArray]:
    """Morse energy with a smooth end at the range, Hartree, and its negative derivative [n, 3], Hartree per Bohr."""
    decay = np.exp(-BOND_STIFFNESS * (pairs.distances - pairs.bond_lengths))
    well = BOND_ENERGY * ((1 - decay) ** 2 - 1)
    well_slope = 2 * BOND_ENERGY * (1 - decay) * BOND_STIFFNESS * decay
    taper, taper_slope = _taper(pairs.distances)
    slope = well_slope * taper + well * taper_slope
    forces = np.zeros((len(system), 3))
    np.add.at(forces, pairs.first, slope[:, None] * pairs.directions)
    return 0.5 * float(np.sum(well * taper)), forces


def _neighbour_weight(pairs: _Pairs) -> FloatArray:
    """Weight of each neighbour: 1 at the bond length but for the smooth end at the range."""
    taper, _ = _taper(pairs.distances)
    return np.exp(1 - (pairs.distances / pairs.bond_lengths) ** 2) * taper


def _taper(distances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(1 - (r / range)^2)^2 and its derivative: both vanish at the range."""
    u = 1 - (distances / RANGE) ** 2
    return u**2, -4 * u * distances / RANGE**2


def _radii(system: System) -> FloatArray:
    return np.array([covalent_radii[atomic_numbers[str(s)]] for s in system.species]) * BOHR_PER_ANGSTROM


def _half_sphere(cell: FloatArray, cutoff: float) -> NDArray[np.int64]:
    """Integer coordinates of a box that holds the sphere's upper half, l >= 0."""
    limits = np.floor(np.sqrt(2 * cutoff) * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    axes = [np.arange(-limits[0], limits[0] + 1), np.arange(-limits[1], limits[1] + 1), np.arange(limits[2] + 1)]
    box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    waves = box @ (2 * np.pi * np.linalg.inv(cell).T)
    return np.asarray(box[np.einsum("gi,gi->g", waves, waves) <= 2 * cutoff], dtype=np.int64)
