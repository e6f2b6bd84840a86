"""What a denser k-mesh changes in a label, found with fewer waves.

Where few points sample a Fermi surface too coarsely, the density is wrong in long waves of valence orbitals, which a
low cutoff describes as well as a high one. So

    rho(high cutoff, many points) = rho(high, few) + rho(low, many) - rho(low, few)

up to the change of a change (docs/data.md has it measured), at the price of two runs in few waves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rhoscale.engines.interface import DFTSettings, Engine, GroundState
from rhoscale.recipes.energy_settings import label_settings
from rhoscale.snapshot import Snapshot

CORRECTION = "kmesh_correction"  # key of a snapshot's settings


def has_settings(snapshot: Snapshot, settings: DFTSettings) -> bool:
    """Whether a label was made with these settings and nothing else."""
    if CORRECTION in snapshot.settings:
        return False
    convergence = float(snapshot.settings.get("convergence_hartree_per_electron", settings.convergence))
    made = replace(label_settings(snapshot), convergence=convergence, max_iterations=settings.max_iterations)
    return made == settings


def total_energy(snapshot: Snapshot) -> float:
    """The label's energy with what its correction adds, Hartree for the whole cell."""
    correction = snapshot.settings.get(CORRECTION, {})
    return snapshot.energies["total"] + float(correction.get("energy_change_hartree", 0.0))


def corrected(snapshot: Snapshot, few: Engine, many: Engine) -> Snapshot:
    """Correct a label's density for the k-points that its mesh lacks.

    Energies and forces stay those of the settings that the snapshot names; how the energy would change is kept beside.

    Args:
        snapshot: The label.
        few: The label's engine with a lower cutoff.
        many: That with the denser mesh.

    Raises:
        EngineError: A run failed.
    """
    before = few.ground_state(snapshot.system, initial_density=snapshot.density)
    after = many.ground_state(snapshot.system, initial_density=before.density)
    density, waves = snapshot.density, snapshot.density.millers
    change = after.density.coefficients_of(waves) - before.density.coefficients_of(waves)
    spent = {
        key: round(float(snapshot.settings[key]) + getattr(before, key) + getattr(after, key), 2)
        for key in ("wall_seconds", "cpu_seconds")
    }
    return replace(
        snapshot,
        density=replace(density, coefficients=density.coefficients + change),
        settings={**snapshot.settings, **spent, CORRECTION: _about(before, after)},
    )


def _about(before: GroundState, after: GroundState) -> dict[str, Any]:
    settings = after.settings
    return {
        "cutoff_hartree": settings.cutoff,
        "kmesh": list(settings.kmesh),
        "kshift": list(settings.kshift),
        "kpoints": len(after.weights),
        "smearing": settings.smearing,
        "width_hartree": settings.width,
        "energy_change_hartree": float(after.energies["total"] - before.energies["total"]),
    }
