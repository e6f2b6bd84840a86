"""The input file of ``pw.x``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from rhoscale.engines.interface import DFTSettings
from rhoscale.system import PseudopotentialIdentity, System
from rhoscale.units import RYDBERG_PER_HARTREE

PREFIX = "rhoscale"
DENSITY_CUTOFF_FACTOR = 4  # products of two orbitals reach twice their wave number
SMEARING_NAMES = {"fermi-dirac": "fd", "cold": "mv", "gaussian": "gaussian"}

MIXED = 1e-8
FEWER_WAVES = 0.6  # of the cutoff of the orbitals (docs/scf_start.md)


class Purpose(Enum):
    """What a run is for.

    ``GROUND_STATE`` is the self-consistent cycle.

    ``ENERGY`` is one accurate diagonalisation in the potential of a given density. The cycle is cut after it, never
    counts as converged, and mixes in next to nothing of the new density (0 itself is refused): the total energy that is
    then reported is the Harris-Foulkes one of the given density, but for MIXED times twice the energy of the change,
    and the change is what the file holds more, divided by MIXED. With scf_must_converge = .false. the total would hold
    Hartree and exchange-correlation energies of the new density.

    ``ORBITALS`` is one diagonalisation in fewer waves, in the potential of a given density: a start for the others.
    Whatever it finds counts as converged, for only then are orbitals written, and the density that the file holds is
    that of the new orbitals.
    """

    GROUND_STATE = "ground state"
    ENERGY = "energy"
    ORBITALS = "orbitals"


ENERGY_LINES = (
    f"  electron_maxstep = 1, conv_thr = 1e-30, mixing_mode = 'plain', mixing_beta = {MIXED:g}",
    "  diago_thr_init = 1e-10, diago_full_acc = .true.",
)
ORBITAL_LINES = ("  electron_maxstep = 1, conv_thr = 1e6",)


@dataclass(frozen=True)
class SelfConsistency:
    """How ``pw.x`` reaches self-consistency: these change the cost of a run, not its result.

    The defaults were the cheapest of those measured for Al (32 atoms, several k-meshes, displaced by 0.1 and 0.4
    Bohr) and SiGe (64 atoms), started from the atoms' self-consistent densities: ``TF`` 0.9 takes 6 to 9 cycles
    where ``plain`` 0.7 takes 10 to 15, at the same error of the density.

    Attributes:
        mixing_mode: ``plain`` (Broyden), ``TF`` or ``local-TF`` (screened by Thomas-Fermi).
        mixing_beta: Share of the new density in each mixing step.
        mixing_history: Earlier iterations that the Broyden mixing uses.
        diagonalization: Name of the eigensolver, as ``pw.x`` spells it.
        davidson_vectors: Size of the Davidson solver's space, in sets of bands.
    """

    mixing_mode: str = "TF"
    mixing_beta: float = 0.9
    mixing_history: int = 8
    diagonalization: str = "david"
    davidson_vectors: int = 4


DEFAULT_SELF_CONSISTENCY = SelfConsistency()


def pw_input(
    system: System,
    settings: DFTSettings,
    pseudopotentials: Mapping[str, PseudopotentialIdentity],
    pseudopotential_files: Mapping[str, str],
    *,
    self_consistency: SelfConsistency,
    purpose: Purpose = Purpose.GROUND_STATE,
    start_from_file: bool = False,
    start_from_orbitals: bool = False,
    first_threshold: float | None = None,
) -> str:
    """Write the input of one self-consistent run; folders are relative to where the program starts.

    Symmetry is off except for time reversal, so that a perfect crystal and a thermal one are treated alike.

    Args:
        system: Cell and atoms.
        settings: Cutoffs, k-mesh, smearing, convergence.
        pseudopotentials: Identity for each element; counts the electrons that the convergence is asked for.
        pseudopotential_files: File name for each element, in the folder ``pseudo``.
        self_consistency: Mixing and eigensolver.
        purpose: What the run is for.
        start_from_file: Start from ``out/rhoscale.save/charge-density.dat``.
        start_from_orbitals: Start from the orbitals of a run whose ``.save`` folder lies there, too.
        first_threshold: Accuracy asked of the first diagonalisation of a ground state, Hartree; the program's if None.
    """
    cutoff = settings.cutoff * RYDBERG_PER_HARTREE
    orbital_cutoff = cutoff * (FEWER_WAVES if purpose is Purpose.ORBITALS else 1)
    electrons = system.electrons(pseudopotentials)
    lines = [
        "&CONTROL",
        "  calculation = 'scf'",
        f"  prefix = '{PREFIX}'",
        "  outdir = './out'",
        "  pseudo_dir = './pseudo'",
        f"  tprnfor = {'.true.' if purpose is Purpose.GROUND_STATE else '.false.'}",
        "  disk_io = 'low'",  # 'nowf' is unknown to 6.x, which then writes nothing at all
        "/",
        "&SYSTEM",
        f"  ibrav = 0, nat = {len(system)}, ntyp = {len(system.elements)}",
        f"  ecutwfc = {orbital_cutoff:.12g}, ecutrho = {DENSITY_CUTOFF_FACTOR * cutoff:.12g}",
        *_occupation_lines(settings),
        "  nosym = .true.",
        "/",
        "&ELECTRONS",
        f"  diagonalization = '{self_consistency.diagonalization}'",
        f"  diago_david_ndim = {self_consistency.davidson_vectors}",
        *(["  startingpot = 'file'"] if start_from_file else []),
        *_starting_orbital_lines(settings, start_from_orbitals),
        *_cycle_lines(purpose, settings, self_consistency, electrons, first_threshold),
        "/",
        "ATOMIC_SPECIES",
        *(f"  {element} 1.0 {pseudopotential_files[element]}" for element in system.elements),
        "CELL_PARAMETERS bohr",
        *("  " + "  ".join(f"{x:.14f}" for x in vector) for vector in system.cell),
        "ATOMIC_POSITIONS bohr",
        *(
            f"  {element} " + "  ".join(f"{x:.14f}" for x in position)
            for element, position in zip(system.species, system.positions, strict=True)
        ),
        *_kpoint_lines(settings),
    ]
    return "\n".join(lines) + "\n"


def _starting_orbital_lines(settings: DFTSettings, from_file: bool) -> list[str]:
    """By default the pseudo-atoms' orbitals; random ones take fewer cycles at the Gamma point (docs/scf_start.md)."""
    if from_file:
        return ["  startingwfc = 'file'"]
    return ["  startingwfc = 'random'"] if settings.gamma_only else []


def _cycle_lines(
    purpose: Purpose,
    settings: DFTSettings,
    self_consistency: SelfConsistency,
    electrons: float,
    first_threshold: float | None,
) -> Sequence[str]:
    if purpose is not Purpose.GROUND_STATE:
        return ENERGY_LINES if purpose is Purpose.ENERGY else ORBITAL_LINES
    first = [] if first_threshold is None else [f"  diago_thr_init = {first_threshold * RYDBERG_PER_HARTREE:.3e}"]
    return [
        *first,
        f"  conv_thr = {settings.convergence * RYDBERG_PER_HARTREE * electrons:.6e}",
        f"  electron_maxstep = {settings.max_iterations}",
        f"  mixing_mode = '{self_consistency.mixing_mode}'",
        f"  mixing_beta = {self_consistency.mixing_beta:g}, mixing_ndim = {self_consistency.mixing_history}",
    ]


def _occupation_lines(settings: DFTSettings) -> list[str]:
    if settings.smearing == "fixed":
        return ["  occupations = 'fixed'"]
    width = settings.width * RYDBERG_PER_HARTREE
    return [
        f"  occupations = 'smearing', smearing = '{SMEARING_NAMES[settings.smearing]}'",
        f"  degauss = {width:.12g}",
    ]


def _kpoint_lines(settings: DFTSettings) -> list[str]:
    if settings.gamma_only:
        return ["K_POINTS gamma"]
    if 0.5 not in settings.kshift:
        return ["K_POINTS automatic", f"  {' '.join(str(n) for n in (*settings.kmesh, *settings.kshift))}"]
    axes = [[(i + s / 2) / n for i in range(n)] for n, s in zip(settings.kmesh, settings.kshift, strict=True)]
    points = [f"  {a:.12g} {b:.12g} {c:.12g} 1.0" for a, b, c in product(*axes)]
    return ["K_POINTS crystal", f"  {len(points)}", *points]
