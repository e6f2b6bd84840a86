"""What ``study energies`` finds: one snapshot, and tables of many."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rhoscale.engines.second_order import DEVIATION
from rhoscale.errors import FormatError
from rhoscale.postprocess.energy_errors import EnergyErrors
from rhoscale.postprocess.energy_spread import EnergySpread

FORMAT = "rhoscale-study-energies-3"
PREDICTION, PROMOLECULE = "prediction", "promolecule"
CORRECTED = "label_corrected"  # fact of a snapshot: its density is that of more k-points than its energies
COLUMNS = ("l1", "total", "corrected", "xc", "fermi", "eigenvalue_occupied", "eigenvalue_all", "over_l1_squared")


@dataclass(frozen=True)
class CellEnergies:
    """One snapshot of the study.

    Attributes:
        case: Batch of the snapshot.
        task: Name of the snapshot in the data set.
        facts: Formula, temperature, settings, hashes, engine, cost: all that made the numbers.
        errors: For each density (``prediction``, the model's prior mean, ``promolecule``).
        closure: Energy of the label's own density, from one diagonalisation, less the label's energy, Ha/atom; None if
            it was not run.
        spread: Of weight draws, or None.
    """

    case: str
    task: str
    facts: Mapping[str, Any]
    errors: Mapping[str, EnergyErrors]
    closure: float | None
    spread: EnergySpread | None

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return int(self.facts["atoms"])

    @property
    def standardised_error(self) -> float | None:
        """The prediction's energy error in standard deviations of the draws about their mean; None without draws."""
        if self.spread is None:
            return None
        return self.spread.standardised(self.errors[PREDICTION].total * self.atoms)

    @property
    def corrected_error(self) -> float | None:
        """Error of the prediction's corrected energy in standard deviations (``Energies.deviation``), if known."""
        errors = self.errors[PREDICTION]
        if errors.corrected is None or errors.corrected == errors.total:
            return None
        return errors.corrected / (DEVIATION * abs(errors.corrected - errors.total))

    def to_dict(self) -> dict[str, Any]:
        """The cell as plain values; energies in Hartree."""
        return {
            "format": FORMAT,
            "case": self.case,
            "task": self.task,
            **self.facts,
            "errors": {name: errors.to_dict() for name, errors in self.errors.items()},
            "closure_per_atom": self.closure,
            "spread": None if self.spread is None else self.spread.to_dict(),
            "standardised_error": self.standardised_error,
            "corrected_error": self.corrected_error,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CellEnergies:
        """Rebuild from :meth:`to_dict`."""
        made = (
            "format",
            "case",
            "task",
            "errors",
            "closure_per_atom",
            "spread",
            "standardised_error",
            "corrected_error",
        )
        errors = {
            name: EnergyErrors(**{k: v for k, v in one.items() if k != "over_l1_squared"})
            for name, one in values["errors"].items()
        }
        return cls(
            case=str(values["case"]),
            task=str(values["task"]),
            facts={k: v for k, v in values.items() if k not in made},
            errors=errors,
            closure=values["closure_per_atom"],
            spread=None if values["spread"] is None else EnergySpread(**values["spread"]),
        )

    @classmethod
    def read(cls, path: Path) -> CellEnergies:
        """Read the JSON file of a snapshot.

        Raises:
            FormatError: It is damaged.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r}")
            return cls.from_dict(values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{path} is not a readable result ({type(error).__name__}: {error}); expected one that `rhoscale study "
                f"energies` wrote; delete it, and it is made again"
            ) from error


def summarise(cells: Sequence[CellEnergies]) -> dict[str, Any]:
    """Tables of several snapshots as plain values: each case and all together, each density, coverage of the draws."""
    cases = {case: [c for c in cells if c.case == case] for case in dict.fromkeys(c.case for c in cells)}
    if len(cases) > 1:
        cases["all"] = list(cells)
    return {
        "cases": {name: _case(mine) for name, mine in cases.items()},
        "coverage": _coverage([c.standardised_error for c in cells]),
        "coverage_corrected": _coverage([c.corrected_error for c in cells]),
        "closure_largest_per_atom": max((abs(c.closure) for c in cells if c.closure is not None), default=None),
        "cells": [c.to_dict() for c in cells],
    }


def _case(cells: Sequence[CellEnergies]) -> dict[str, Any]:
    densities = dict.fromkeys(name for cell in cells for name in cell.errors)
    found = {}
    for density in densities:
        rows = [cell.errors[density].to_dict() for cell in cells if density in cell.errors]
        found[density] = {"snapshots": len(rows), **{key: _mean([row[key] for row in rows]) for key in COLUMNS}}
        for key in ("total", "corrected"):
            found[density][f"{key}_worst"] = max((abs(e) for row in rows if (e := row[key]) is not None), default=None)
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the absolute values."""
    known = [abs(v) for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(known)) if known else None


def _coverage(errors: Sequence[float | None]) -> dict[str, float] | None:
    """Shares of errors, given in standard deviations, that are within one and two of them."""
    away = [abs(z) for z in errors if z is not None]
    if not away:
        return None
    shares = {f"within_{n}": float(np.mean([z <= n for z in away])) for n in (1, 2)}
    return {"snapshots": len(away), **shares, "median": float(np.median(away))}


def markdown(cells: Sequence[CellEnergies]) -> str:
    """The tables as Markdown: means over each case, then every snapshot."""
    found = summarise(cells)
    head = "| L1 | total | corrected | xc | Fermi level | eigenvalue, occupied | eigenvalue, all | total / L1^2 |"
    rule = "|---" * 8 + "|"
    lines = [
        "Energies in Ha/atom, levels in Ha; means of absolute values over the snapshots of a case. Reference: the",
        "label's self-consistent energies; for eigenvalues one diagonalisation in the label's own density. Total: the",
        "Harris-Foulkes energy; corrected: the same with the estimate of its second order.",
        "",
        f"| case | snapshots | density {head}",
        f"|---|---|---{rule}",
    ]
    for case, densities in found["cases"].items():
        for density, row in densities.items():
            lines.append(f"| {case} | {row['snapshots']} | {density} | {_numbers(row)} |")
    lines += ["", f"| snapshot | K | density {head}", f"|---|---|---{rule}"]
    for cell in cells:
        kelvin = cell.facts.get("temperature")
        for density, errors in cell.errors.items():
            temperature = "" if kelvin is None else f"{kelvin:g}"
            lines.append(f"| {cell.task} | {temperature} | {density} | {_numbers(errors.to_dict())} |")
    mixed = sum(bool(cell.facts.get(CORRECTED)) for cell in cells)
    if mixed:
        lines += [
            "",
            f"The labels of {mixed} snapshots are corrected for k-points: L1 is the distance from a density of more",
            "points than the energies are of, and what these points change in the density counts in the total.",
        ]
    if found["coverage_corrected"] is not None:
        lines += ["", f"Corrected energies: {_in_words(found['coverage_corrected'])}"]
    return "\n".join([*lines, *_draw_lines(cells, found)]) + "\n"


def _numbers(row: Mapping[str, Any]) -> str:
    shown = [f"{100 * row['l1']:.3f} %"]
    for key in COLUMNS[1:]:
        value = row[key]
        shown.append("-" if value is None else f"{value:.3f}" if key == "over_l1_squared" else f"{value:.2e}")
    return " | ".join(shown)


def _draw_lines(cells: Sequence[CellEnergies], found: Mapping[str, Any]) -> list[str]:
    drawn = [(cell, cell.spread) for cell in cells if cell.spread is not None]
    if not drawn:
        return []
    lines = ["", "| snapshot | E[mean] - E_SCF | mean of E[draw] - E[mean] | deviation | (error - mean) / deviation |"]
    lines.append("|---|---|---|---|---|")
    for cell, spread in drawn:
        error, atoms = cell.errors[PREDICTION].total, cell.atoms
        lines.append(
            f"| {cell.task} | {error:.2e} | {spread.mean / atoms:.2e} | {spread.deviation / atoms:.2e} | "
            f"{cell.standardised_error:.2f} |"
        )
    return [*lines, "", f"Draws: {_in_words(found['coverage'])}"]


def _in_words(share: Mapping[str, float]) -> str:
    return (
        f"{share['snapshots']} snapshots, {100 * share['within_1']:.0f} % within one standard deviation (68 % if "
        f"Gaussian), {100 * share['within_2']:.0f} % within two (95 %)."
    )
