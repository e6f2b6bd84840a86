"""The spherical density of an isolated pseudo-atom, on a mesh, with the identity of its pseudopotential."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from rhoscale.errors import InputError, ModelError, StructureError
from rhoscale.system import PseudopotentialIdentity, System

FloatArray = NDArray[np.float64]

STEP = 0.02
SWITCH = 2.0  # Bohr over which a table goes smoothly to zero at its end


@dataclass(frozen=True)
class AtomicDensityTable:
    """The spherical density of one isolated pseudo-atom on a uniform radial mesh.

    Attributes:
        pseudopotential: Whose electrons these are.
        step: Mesh step, Bohr; the radii are 0, step, 2 step, ...
        values: Density at the radii, electrons per Bohr^3; zero, with zero slope, at the last one.
    """

    pseudopotential: PseudopotentialIdentity
    step: float
    values: FloatArray

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 1 or len(values) < 8 or not np.isfinite(values).all() or not self.step > 0:
            raise InputError(
                f"the density table of {self.element} has shape {values.shape}, step {self.step} and "
                f"{int((~np.isfinite(values)).sum())} values that are not numbers; expected at least 8 finite values"
            )
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @classmethod
    def tabulate(
        cls,
        pseudopotential: PseudopotentialIdentity,
        density: Callable[[FloatArray], FloatArray],
        *,
        tolerance: float = 1e-9,
        step: float = STEP,
        farthest: float = 40.0,
    ) -> AtomicDensityTable:
        """Tabulate a radial density out to where it stays below a tolerance, and scale it to the valence.

        Over the last 2 Bohr it goes smoothly (twice differentiable) to zero.

        Args:
            pseudopotential: Whose electrons these are.
            density: Density at distances in Bohr, electrons per Bohr^3.
            tolerance: Electrons per Bohr^3 at the end of the table.
            step: Mesh step, Bohr.
            farthest: Where the table ends at the latest, Bohr.

        Raises:
            InputError: The density does not hold the valence electrons to within a tenth.
        """
        r: FloatArray = step * np.arange(int(np.ceil(farthest / step)) + 1, dtype=np.float64)
        values = np.asarray(density(r), dtype=np.float64)
        last = min(int(np.flatnonzero(values >= tolerance).max(initial=0)) + 1, len(r) - 1)
        last = max(last, int(np.ceil((SWITCH + 8 * step) / step)))
        r, values = r[: last + 1], values[: last + 1]
        t = np.clip((r[-1] - r) / SWITCH, 0.0, 1.0)
        values = values * t**3 * (10 - 15 * t + 6 * t**2)
        electrons = 4 * np.pi * step * float(np.sum(r**2 * values))
        if not 0.9 < electrons / pseudopotential.valence < 1.1:
            raise InputError(
                f"the atomic density of {pseudopotential.element} {pseudopotential.name} holds {electrons:.4g} "
                f"electrons to {r[-1]:.1f} Bohr; expected {pseudopotential.valence:g}; use another pseudopotential file"
            )
        return cls(pseudopotential, step, values * (pseudopotential.valence / electrons))

    @property
    def element(self) -> str:
        """Chemical symbol."""
        return self.pseudopotential.element

    @property
    def radii(self) -> FloatArray:
        """Distances of the values, Bohr."""
        return np.asarray(self.step * np.arange(len(self.values)))

    @property
    def cutoff(self) -> float:
        """Distance from which on the density is zero, Bohr."""
        return self.step * (len(self.values) - 1)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over identity, step and values."""
        digest = hashlib.sha256(json.dumps([self.pseudopotential.to_dict(), self.step], sort_keys=True).encode())
        digest.update(self.values.astype("<f8").tobytes())
        return digest.hexdigest()

    @cached_property
    def spline(self) -> CubicSpline:
        """Cubic spline through the values, flat at both ends."""
        return CubicSpline(self.radii, self.values, bc_type=((1, 0.0), (1, 0.0)))

    def density(self, r: FloatArray) -> FloatArray:
        """Density at distances in Bohr, electrons per Bohr^3."""
        return np.asarray(np.where(r < self.cutoff, self.spline(np.minimum(r, self.cutoff)), 0.0))

    def form_factor(self, wave_numbers: FloatArray) -> FloatArray:
        """4 pi int rho(r) sin(q r) / (q r) r^2 dr at q [n] in 1/Bohr, electrons; the valence at q = 0."""
        shells = 4 * np.pi * self.step * self.radii**2 * self.values
        return np.array([np.sinc(q / np.pi * self.radii) @ shells for q in np.atleast_1d(wave_numbers)])

    def to_parts(self) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Values and plain metadata, from which :meth:`from_parts` rebuilds and checks the table."""
        meta = {
            "pseudopotential": self.pseudopotential.to_dict(),
            "step_bohr": self.step,
            "content_hash": self.content_hash,
        }
        return self.values, meta

    @classmethod
    def from_parts(cls, values: NDArray[np.floating], meta: Mapping[str, Any]) -> AtomicDensityTable:
        """Rebuild from :meth:`to_parts`.

        Raises:
            ModelError: The values are not those that were stored.
        """
        identity = PseudopotentialIdentity.from_dict(meta["pseudopotential"])
        table = cls(identity, float(meta["step_bohr"]), np.asarray(values, dtype=np.float64))
        if table.content_hash != meta["content_hash"]:
            raise ModelError(
                f"the atomic density of {table.element} has hash {table.content_hash[:12]}; expected "
                f"{str(meta['content_hash'])[:12]}: it was damaged or exchanged; fetch the model again"
            )
        return table


def require_tables(system: System, tables: Mapping[str, AtomicDensityTable]) -> None:
    """Check that every element of a system has a table.

    Raises:
        StructureError: An element has none.
    """
    missing = [e for e in system.elements if e not in tables]
    if missing:
        raise StructureError(
            f"no atomic density for {', '.join(missing)}; there are ones for {', '.join(tables) or 'no element'}; "
            f"use a structure of these elements or add the table"
        )
