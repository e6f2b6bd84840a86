"""``build``: thermal supercells of any size from blocks of molecular dynamics, with vacancies and alloy decorations."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rhoscale.formats.structure_file import write_structure_file
from rhoscale.formats.whole_file import whole_file
from rhoscale.recipes.block_runs import Progress, thermal_blocks
from rhoscale.recipes.build_assembly import Likeness, assemble, likeness
from rhoscale.recipes.build_plan import BuildConfig, BuildPlan, plan_build
from rhoscale.recipes.config import plain
from rhoscale.recipes.thermal_blocks import BlockRun
from rhoscale.sampling.schedule import VERSION
from rhoscale.system import System


@dataclass(frozen=True)
class BuildReport:
    """What a build left."""

    plan: BuildPlan
    system: System = field(repr=False)
    likeness: Likeness | None
    blocks: tuple[dict[str, Any], ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Provenance as plain values."""
        return {
            "rhoscale": VERSION,
            "build": plain(self.plan.config),
            "supercell": list(self.plan.repeats),
            "block": list(self.plan.block),
            "atoms": len(self.system),
            "vacancies": self.plan.vacancies,
            "formula": self.system.formula,
            "content": self.system.content_hash(),
            "settling": None if self.plan.settling is None else plain(self.plan.settling),
            "likeness": None if self.likeness is None else plain(self.likeness),
            "blocks": list(self.blocks),
            "seconds": round(self.seconds, 2),
        }


def build(config: BuildConfig, *, progress: Progress | None = None) -> BuildReport:
    """Build a thermal supercell and write it, with its provenance beside it; the same call goes on after a kill.

    Args:
        config: What to build.
        progress: Called with steps of dynamics done and steps in all.

    Raises:
        RhoscaleError: Of the kind that fits what is wrong; see :func:`plan_build`, :func:`thermal_block` and
            :func:`tile`.
    """
    plan, begin = plan_build(config), time.perf_counter()
    blocks = thermal_blocks(plan.runs, progress)
    snapshots = [snapshot for snapshot, _ in blocks]
    records = [{"file": run.file.name, **record} for run, (_, record) in zip(plan.runs, blocks, strict=True)]
    system, compared, settling = (snapshots[0], None, None) if plan.single else _tiled(plan, snapshots, progress)
    report = BuildReport(plan, system, compared, tuple(records), time.perf_counter() - begin)
    cell = "x".join(f"{length:.6g}" for length in dict.fromkeys(np.linalg.norm(plan.cell.cell, axis=1)))
    comment = (
        f"{system.formula} {plan.crystal} {cell} Bohr, {config.temperature:g} K, "
        f"{plan.vacancies} vacancies, seed {config.seed}; rhoscale build, see {config.sidecar.name}"
    )
    write_structure_file(config.output, system, comment=comment, force=config.force)
    with whole_file(config.sidecar, force=config.force) as file:
        file.write((json.dumps(report.to_dict(), indent=1) + "\n").encode())
    if settling is not None:
        settling.file.unlink(missing_ok=True)
    return report


def _tiled(
    plan: BuildPlan, snapshots: Sequence[System], progress: Progress | None
) -> tuple[System, Likeness, BlockRun | None]:
    """The supercell from its blocks, settled; and the run that settled it, whose file is that of the structure."""
    assembled, first = assemble(plan, snapshots), plan.runs[0]
    system, settling = assembled.system, None
    if plan.settling is not None:
        settling = BlockRun(system, first.perfect, plan.settling, plan.config.seed, first.folder, warm=True)
        system = thermal_blocks([settling], progress)[0][0]
    return system, likeness(plan, assembled, system), settling
