"""What every DFT engine takes and gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rhoscale.engines.second_order import DEVIATION
from rhoscale.errors import InputError
from rhoscale.refinement import FourierDensity
from rhoscale.system import PseudopotentialIdentity, System
from rhoscale.units import KELVIN_PER_HARTREE

StartDensity = Callable[[System], FourierDensity | None]
SMEARINGS = ("fermi-dirac", "cold", "gaussian", "fixed")
SHIFTS = (0, 0.5, 1)


@dataclass(frozen=True)
class DFTSettings:
    """How a ground state is computed; all energies in Hartree.

    Attributes:
        cutoff: Kinetic energy of the largest wave of the orbitals.
        kmesh: Monkhorst-Pack mesh; (1, 1, 1) unshifted is the Gamma point with real orbitals.
        kshift: Of the mesh, in half steps along each axis: 0, 1 or 1/2. Shifted by a quarter step along all three, the
            points and their negatives are a body-centred mesh of twice as many; of 1x1x1 this is (1/4, 1/4, 1/4), the
            mean value point of a cubic cell (A. Baldereschi, Phys. Rev. B 7, 5212 (1973)).
        smearing: ``fermi-dirac``, ``cold`` (Marzari-Vanderbilt), ``gaussian`` or ``fixed`` (insulators).
        width: Smearing width.
        convergence: Estimated energy error at which the self-consistent cycle stops, for each electron. At 1e-8 the
            density is within 0.005 % (L1 per electron) of its limit and the energy within 1e-8 for each atom.
        density_cutoff: Sphere in which the density's coefficients are kept.
        max_iterations: Cycles after which the run counts as failed.

    Raises:
        InputError: A value is impossible.
    """

    cutoff: float
    kmesh: tuple[int, int, int] = (1, 1, 1)
    kshift: tuple[float, float, float] = (0, 0, 0)
    smearing: str = "fermi-dirac"
    width: float = 631.554 / KELVIN_PER_HARTREE
    convergence: float = 1e-8
    density_cutoff: float = 27.5
    max_iterations: int = 100

    def __post_init__(self) -> None:
        if self.smearing not in SMEARINGS:
            raise InputError(f"smearing = {self.smearing!r}; expected one of {', '.join(SMEARINGS)}; choose one")
        for key in ("cutoff", "convergence", "density_cutoff", "max_iterations"):
            if not getattr(self, key) > 0:
                raise InputError(f"{key} = {getattr(self, key)}; expected a positive number; change it")
        if not (self.width >= 0 and max(self.cutoff, self.width, self.convergence) < math.inf):
            raise InputError(
                f"cutoff = {self.cutoff}, width = {self.width} and convergence = {self.convergence} Hartree; expected "
                f"finite numbers, the width 0 or more; change them"
            )
        self._check_sampling()

    def _check_sampling(self) -> None:
        if len(self.kmesh) != 3 or min(self.kmesh) < 1 or len(self.kshift) != 3 or not set(self.kshift) <= set(SHIFTS):
            raise InputError(
                f"kmesh = {self.kmesh} with kshift = {self.kshift}; expected three counts of 1 or more and three "
                f"shifts of 0, 1/2 or 1; change them"
            )
        a, b, c = (SHIFTS[SHIFTS.index(shift)] for shift in self.kshift)  # 1.0 and 1 are one setting, and one hash
        object.__setattr__(self, "kshift", (a, b, c))

    @property
    def gamma_only(self) -> bool:
        """Whether the Gamma point alone is sampled."""
        return self.kmesh == (1, 1, 1) and self.kshift == (0, 0, 0)

    @property
    def sampling(self) -> str:
        """The k-points in words, for example ``2x2x2 shifted``."""
        return mesh_in_words(self.kmesh, self.kshift)

    @property
    def kpoints(self) -> int:
        """Points of the mesh of which none is the negative of another."""
        if 0.5 in self.kshift:  # then none is the negative of a point of the mesh
            return math.prod(self.kmesh)
        own_negative = 1
        for n, shift in zip(self.kmesh, self.kshift, strict=True):
            own_negative *= 1 if n % 2 else (0 if shift else 2)
        return (math.prod(self.kmesh) + own_negative) // 2

    def plane_waves(self, volume: float) -> float:
        """Plane waves of an orbital, as a sphere of the cutoff's radius holds them in a large cell.

            N = Omega (2 E_cut)^(3/2) / (6 pi^2),  half of it at the Gamma point, where orbitals are real

        Args:
            volume: Omega, of the cell, Bohr^3.
        """
        waves = volume * (2 * self.cutoff) ** 1.5 / (6 * math.pi**2)
        return 0.5 * waves if self.gamma_only else waves


def mesh_in_words(kmesh: Sequence[int], kshift: Sequence[float]) -> str:
    """A k-mesh as people write it: ``3x3x3``, ``2x2x2 shifted``, ``2x2x2 shifted by a quarter step``."""
    shift = "" if not any(kshift) else " shifted by a quarter step" if 0.5 in kshift else " shifted"
    return "x".join(map(str, kmesh)) + shift


@dataclass(frozen=True)
class GroundState:
    """A converged Kohn-Sham ground state.

    Attributes:
        system: What was computed.
        density: Band-limited density.
        electrons: Valence electrons in the cell.
        pseudopotentials: Identity for each element.
        energies: Hartree, for the whole cell: ``total`` (with -TS) and its parts ``one_electron``, ``hartree``,
            ``xc``, ``ewald``, ``smearing`` (-TS); ``band``: sum of eigenvalues; ``xc_potential``: int V_xc rho.
            Terms that an engine does not give are absent.
        fermi: Fermi level, Hartree.
        eigenvalues: [k-points, bands], Hartree.
        kpoints: In units of the reciprocal vectors [k-points, 3].
        weights: Of the k-points; sum 1.
        forces: [n, 3], Hartree per Bohr.
        settings: What was asked.
        iterations: Self-consistent cycles used, in all waves.
        wall_seconds: Elapsed time of the run.
        cpu_seconds: Processor time of the run, all threads.
        engine: Name and version of the program.
    """

    system: System
    density: FourierDensity
    electrons: float
    pseudopotentials: Mapping[str, PseudopotentialIdentity]
    energies: Mapping[str, float]
    fermi: float
    eigenvalues: NDArray[np.float64]
    kpoints: NDArray[np.float64]
    weights: NDArray[np.float64]
    forces: NDArray[np.float64]
    settings: DFTSettings
    iterations: int
    wall_seconds: float
    cpu_seconds: float
    engine: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"GroundState({self.system.formula}, total={self.energies['total']:.8f} Ha, "
            f"{self.iterations} iterations, {self.cpu_seconds:.1f} s, {self.engine})"
        )


@dataclass(frozen=True)
class Energies:
    """Energies of a given density, without self-consistency.

    Attributes:
        energies: Hartree, for the whole cell: ``total`` is the Harris-Foulkes free energy

            E[rho] = sum_i f_i e_i - int V_Hxc[rho] rho + E_H[rho] + E_xc[rho] + E_Ewald - TS

            (J. Harris, Phys. Rev. B 31, 1770 (1985); W. M. C. Foulkes and R. Haydock, Phys. Rev. B 39, 12520 (1989)),
            with the eigenvalues e_i in the potential of rho; its error is of second order in that of the density.
            ``second_order`` estimates what it lacks of the self-consistent one (``engines/second_order.py``). The other
            terms are named as in :class:`GroundState`.
        change: Density of the new orbitals less the given one, electrons per Bohr^3.
        fermi: Fermi level, Hartree.
        gap: Mean gap of the levels about it, Hartree; 0 in metals (``engines/response.py``).
        eigenvalues: [k-points, bands], Hartree.
        kpoints: In units of the reciprocal vectors [k-points, 3].
        weights: Of the k-points; sum 1.
        electrons_given: Electrons that the density held; it is scaled to the true number before anything else.
        wall_seconds: Elapsed time of the run.
        cpu_seconds: Processor time of the run, all threads.
        engine: Name and version of the program.
    """

    energies: Mapping[str, float]
    change: FourierDensity
    fermi: float
    gap: float
    eigenvalues: NDArray[np.float64]
    kpoints: NDArray[np.float64]
    weights: NDArray[np.float64]
    electrons_given: float
    wall_seconds: float
    cpu_seconds: float
    engine: str

    @property
    def corrected(self) -> float:
        """Harris-Foulkes free energy and the estimate of what it lacks, Hartree for the whole cell."""
        return self.energies["total"] + self.energies["second_order"]

    @property
    def deviation(self) -> float:
        """Standard deviation of :attr:`corrected`, Hartree: a tenth of the estimate (docs/energies.md)."""
        return DEVIATION * abs(self.energies["second_order"])


class Continuation(Protocol):
    """Ground states of one structure after the other, as molecular dynamics asks for them."""

    def ground_state(self, system: System, *, start: StartDensity | None = None) -> GroundState:
        """Compute a ground state from those of the structures before it.

        Args:
            system: Cell and atoms, near to those before.
            start: Density to start from; asked only where nothing is there to go on from.

        Raises:
            EngineError: The program is missing, crashed, was killed or did not converge.
            StructureError: An element has no pseudopotential.
        """
        ...


class Engine(Protocol):
    """A way to compute Kohn-Sham ground states."""

    @property
    def settings(self) -> DFTSettings:
        """How every ground state of this engine is computed."""
        ...

    @property
    def pseudopotentials(self) -> Mapping[str, PseudopotentialIdentity]:
        """Identity for each element that it can compute."""
        ...

    def ground_state(self, system: System, *, initial_density: FourierDensity | None = None) -> GroundState:
        """Compute the self-consistent ground state.

        Args:
            system: Cell and atoms.
            initial_density: Where to start, the atoms if None: it changes what the run costs, not what it finds.

        Raises:
            EngineError: The program is missing, crashed, was killed or did not converge.
            StructureError: An element has no pseudopotential.
        """
        ...

    def continuation(self, folder: Path | None = None) -> Continuation:
        """Begin, or go on with, ground states of one structure after the other.

        Args:
            folder: Keeps what the next one starts from: a new continuation of the same folder gives the same bits.
                One process at a time; of no use once the last structure is done. None: goes with the object.
        """
        ...

    def energies_from_density(self, system: System, density: FourierDensity) -> Energies:
        """Compute the Harris-Foulkes energy of a density from one diagonalisation: an energy, never a label.

        Raises:
            EngineError: The program is missing, crashed or was killed.
            StructureError: An element has no pseudopotential.
        """
        ...


@dataclass(frozen=True)
class EachAfresh:
    """A :class:`Continuation` of an engine that takes nothing from one structure to the next."""

    engine: Engine

    def ground_state(self, system: System, *, start: StartDensity | None = None) -> GroundState:
        """Compute a ground state from the given density."""
        return self.engine.ground_state(system, initial_density=None if start is None else start(system))
