"""How the energy of a density is computed: settings, pseudopotentials, engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rhoscale.engines.available import AUTO, make_engine
from rhoscale.engines.interface import DFTSettings, Engine
from rhoscale.engines.pseudopotentials import PseudopotentialFile, folder_pseudopotentials, gth_pseudopotential
from rhoscale.errors import DatasetError, InputError
from rhoscale.prediction.refusals import refuse_other_pseudopotentials
from rhoscale.snapshot import Snapshot
from rhoscale.system import PseudopotentialIdentity, System
from rhoscale.units import HARTREE_PER_RYDBERG

Number = TypeVar("Number", int, float)
CUTOFF_RY = 25.0
WIDTH_RY = 0.04
KPOINT_SPACING = 0.0825  # 1/Bohr; 5 x 5 x 5 points for 32 atoms of aluminium, as the labels of data/al


@dataclass(frozen=True)
class EnergyOptions:
    """What a user may choose; what is left open is taken from a snapshot's label, or else from the defaults.

    Attributes:
        cutoff_ry: Kinetic energy cutoff of the orbitals, Ry; by default 25.
        kmesh: Monkhorst-Pack mesh; by default the coarsest with at most 0.0825 / Bohr between its points.
        kshift: Of the mesh, in half steps along each axis: 0, 1 or 1/2.
        smearing: ``fermi-dirac``, ``cold``, ``gaussian`` or ``fixed``; by default cold.
        width_ry: Smearing width, Ry; by default 0.04.
        pseudopotentials: Folder of UPF files; by default GTH-PBE, written by rhoscale.
        engine: ``pw.x``, ``qepy``, ``toy`` or ``auto``.
        program: Path of ``pw.x``; found on PATH if None.
        threads: Of one run.
    """

    cutoff_ry: float | None = None
    kmesh: tuple[int, int, int] | None = None
    kshift: tuple[float, float, float] | None = None
    smearing: str | None = None
    width_ry: float | None = None
    pseudopotentials: Path | None = None
    engine: str = AUTO
    program: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"{self.threads} threads; expected at least 1; leave it out for one")

    def settings(self, system: System, label: DFTSettings | None = None) -> DFTSettings:
        """The settings of a run, with what the options leave open from a label or the defaults.

        Raises:
            InputError: A value makes no sense.
        """
        if label is None:
            mesh = kmesh_of_spacing(system, KPOINT_SPACING)
            width = WIDTH_RY * HARTREE_PER_RYDBERG
            label = DFTSettings(CUTOFF_RY * HARTREE_PER_RYDBERG, kmesh=mesh, smearing="cold", width=width)
        own_shift = label.kshift if self.kmesh is None else (0, 0, 0)
        return replace(
            label,
            cutoff=label.cutoff if self.cutoff_ry is None else self.cutoff_ry * HARTREE_PER_RYDBERG,
            kmesh=self.kmesh or label.kmesh,
            kshift=self.kshift or own_shift,
            smearing=self.smearing or label.smearing,
            width=label.width if self.width_ry is None else self.width_ry * HARTREE_PER_RYDBERG,
        )

    def make(
        self, system: System, settings: DFTSettings, wanted: Mapping[str, PseudopotentialIdentity] | None, what: str
    ) -> Engine:
        """The engine, whose pseudopotentials are those that a density belongs to.

        Args:
            system: Its elements need a pseudopotential.
            settings: Of every run.
            wanted: Identity for each element, where the density says it.
            what: What the density comes from, for messages.

        Raises:
            ModelError: The density belongs to other pseudopotentials.
            InputError: An element has no pseudopotential.
            EngineError: The program is missing.
        """
        files = self._files(system, wanted)
        engine = make_engine(self.engine, settings, files, program=self.program, threads=self.threads)
        if wanted is not None:
            refuse_other_pseudopotentials(system.elements, engine.pseudopotentials, wanted, what)
        return engine

    def _files(
        self, system: System, wanted: Mapping[str, PseudopotentialIdentity] | None
    ) -> dict[str, PseudopotentialFile]:
        if self.pseudopotentials is None:
            valences = {e: None if wanted is None else round(wanted[e].valence) for e in system.elements}
            return {e: gth_pseudopotential(e, valence) for e, valence in valences.items()}
        found = folder_pseudopotentials(self.pseudopotentials)
        missing = [e for e in system.elements if e not in found]
        if missing:
            raise InputError(
                f"{self.pseudopotentials} holds no pseudopotential of {', '.join(missing)}; expected one for each of "
                f"{', '.join(system.elements)}; put the UPF file there"
            )
        return found


def kmesh_of_spacing(system: System, spacing: float) -> tuple[int, int, int]:
    """The coarsest mesh whose points are at most ``spacing`` (1/Bohr) apart along each reciprocal vector."""
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(system.cell), axis=0)
    counts = [max(1, int(np.ceil(length / spacing - 1e-9))) for length in lengths]
    return (counts[0], counts[1], counts[2])


def label_settings(snapshot: Snapshot) -> DFTSettings:
    """The settings that made a snapshot's label.

    Raises:
        DatasetError: The snapshot does not say them, as an imported density does not.
    """
    values = snapshot.settings
    try:
        return DFTSettings(
            cutoff=float(values["cutoff_hartree"]),
            kmesh=three(values["kmesh"]),
            kshift=label_shift(values),
            smearing=str(values["smearing"]),
            width=float(values["width_hartree"]),
            density_cutoff=float(values["density_cutoff_hartree"]),
        )
    except KeyError as error:
        raise DatasetError(
            f"snapshot {snapshot.content_hash[:12]} ({snapshot.system.formula}) does not say the {error} of its label; "
            f"expected cutoff, k-mesh and smearing, as `rhoscale generate` keeps them; choose other snapshots"
        ) from error


def label_shift(settings: Mapping[str, Any]) -> tuple[float, float, float]:
    """The shift of a label's k-mesh, in half steps; labels of before named the point (1/4, 1/4, 1/4) in its place."""
    if "kpoint" in settings:
        return three([2.0 * k for k in settings["kpoint"]])
    return three(settings["kshift"])


def three(values: Sequence[Number]) -> tuple[Number, Number, Number]:
    """Three numbers as a tuple of Python's own."""
    first, second, third = np.array(values).tolist()
    return (first, second, third)
