"""What an equation of state will cost, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rhoscale.engines.interface import Engine
from rhoscale.recipes.energy_cost import EnergyCost, energy_cost
from rhoscale.recipes.eos import EosConfig
from rhoscale.recipes.ground_state_runs import GroundStateRuns

DIAGONALISATIONS = 3.0  # of a self-consistent run, in cost: 1.1 for 4 atoms, 3 for 32 (aluminium, from atoms)


@dataclass(frozen=True)
class EosPlan:
    """Runs of an equation of state.

    Attributes:
        strains: Number of strains.
        single: Estimate for the single diagonalisations of all strains; some may be finished.
        ground_states: Self-consistent runs that are not finished.
        core_seconds: Estimate for everything.
    """

    strains: int
    single: EnergyCost
    ground_states: int
    core_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "strains": self.strains,
            "diagonalisations": self.single.to_dict(),
            "self_consistent_runs": self.ground_states,
            "core_minutes": self.core_seconds / 60,
        }


def plan_eos(config: EosConfig, engine: Engine, *, promolecule: bool) -> EosPlan:
    """Count the runs of an equation of state and estimate their cost.

    Raises:
        FormatError: A kept result is damaged.
    """
    kept = GroundStateRuns(config.output / "ground-states")
    still = sum(kept.finished(engine, config.strained(strain)) is None for strain in config.strains)
    electrons = config.crystal.electrons(engine.pseudopotentials)
    single = energy_cost(config.crystal, engine.settings, electrons, (1 + promolecule) * len(config.strains))
    seconds = single.core_seconds * (1 + still * DIAGONALISATIONS / single.runs)
    return EosPlan(len(config.strains), single, still, seconds)
