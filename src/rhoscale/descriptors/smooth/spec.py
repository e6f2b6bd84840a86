"""Which radial functions and which harmonics make a smooth descriptor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError

FloatArray = NDArray[np.float64]

HIGHEST_DEGREE = 9


@dataclass(frozen=True)
class RadialSet:
    """Functions phi_0 ... phi_(count-1) of the distance that vanish from ``cutoff`` Bohr on.

    Attributes:
        count: How many functions.
        cutoff: Where they end, Bohr.
    """

    count: int
    cutoff: float

    def __post_init__(self) -> None:
        if self.count < 1 or not (np.isfinite(self.cutoff) and self.cutoff > 0):
            raise InputError(
                f"a radial set needs at least one function and a positive cutoff in Bohr; "
                f"got count={self.count}, cutoff={self.cutoff}"
            )


@dataclass(frozen=True)
class AngularSet:
    """Radial functions times harmonics, and their power spectrum.

    Attributes:
        counts: How many radial functions go with the harmonics of degree 0, 1, 2, ...
        cutoff: Where they end, Bohr.
    """

    counts: tuple[int, ...]
    cutoff: float

    def __post_init__(self) -> None:
        if not 1 <= len(self.counts) <= HIGHEST_DEGREE + 1 or min(self.counts) < 0:
            raise InputError(
                f"an angular set needs numbers of radial functions for the degrees 0 ... {HIGHEST_DEGREE} or less; "
                f"got {list(self.counts)}"
            )
        RadialSet(max(self.counts), self.cutoff)

    @property
    def size(self) -> int:
        """Numbers in a power spectrum p_nn'l with n <= n'."""
        return sum(count * (count + 1) // 2 for count in self.counts)


@dataclass(frozen=True)
class Smooth:
    """Smooth body-ordered features of a point r; all are invariant under rotation, translation and permutation.

    With rho(r) = sqrt(r^2 + s^2), xi = 2 (rho(r) - s) / (rho(c) - s) - 1 and Chebyshev polynomials T_n, a set with
    cutoff c has the functions

        phi_n(r) = T_n(xi) (1 - r^2 / c^2)^3   for r < c, else 0,

    which are analytic in r^2 at the nucleus and have two continuous derivatives at the cutoff. Features are

    - for each radial set and each element e:  sum over atoms I of e of phi_n(|r - R_I|);
    - for each angular set and each element e:
      p_nn'l = sum_m (c_nlm c^e_n'lm + c^e_nlm c_n'lm) / 2 with c^e_nlm = sum over I of e of phi_n(r_I) S_lm(u_I),
      where c is the sum of all c^e, S_lm are solid harmonics and u_I = (R_I - r) / rho(r_I), for n <= n' below the
      set's count for l. For one element this is the power spectrum of Bartok, Kondor and Csanyi, Phys. Rev. B 87,
      184115 (2013), around a point, not an atom.

    The length grows linearly with the number of elements.

    Attributes:
        elements: Chemical symbols in alphabetical order.
        radial: Sets of radial sums.
        angular: Sets with power spectra.
        softening: s, Bohr: distances below it are not resolved further.
    """

    elements: tuple[str, ...]
    radial: tuple[RadialSet, ...] = (RadialSet(16, 14.0), RadialSet(8, 4.5))
    angular: tuple[AngularSet, ...] = (AngularSet((8, 8, 6, 4, 3), 9.0),)
    softening: float = 1.0

    def __post_init__(self) -> None:
        if not self.elements or tuple(sorted(set(self.elements))) != tuple(self.elements):
            raise InputError(
                f"a descriptor needs different elements in alphabetical order; got {', '.join(self.elements) or 'none'}"
            )
        if not self.radial and not self.angular:
            raise InputError("a smooth descriptor needs at least one radial or angular set; got none")
        if not (np.isfinite(self.softening) and self.softening > 0):
            raise InputError(f"the softening must be a positive number of Bohr; got {self.softening}")

    @classmethod
    def wide(cls, elements: tuple[str, ...]) -> Smooth:
        """A longer descriptor: more and farther-reaching angular functions, for the linear baseline above all."""
        return cls(elements, (RadialSet(16, 14.0), RadialSet(8, 4.5)), (AngularSet((10, 10, 10, 10, 10), 11.0),))

    @property
    def family(self) -> str:
        """``smooth``."""
        return "smooth"

    @property
    def size(self) -> int:
        """Features of a point."""
        each = sum(s.count for s in self.radial) + sum(s.size for s in self.angular)
        return len(self.elements) * each

    @property
    def two_body_size(self) -> int:
        """How many features, the first ones, are sums over single atoms."""
        return len(self.elements) * sum(s.count for s in self.radial)

    @property
    def reach(self) -> float:
        """Largest cutoff, Bohr."""
        return max([s.cutoff for s in self.radial] + [s.cutoff for s in self.angular])

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values."""
        values = asdict(self)
        return {"family": self.family, **values, "elements": list(self.elements)} | {
            "radial": [asdict(s) for s in self.radial],
            "angular": [{"counts": list(s.counts), "cutoff": s.cutoff} for s in self.angular],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Smooth:
        """Rebuild from :meth:`to_dict`; what is absent takes its default.

        Raises:
            InputError: A key is unknown, or a value cannot be used.
        """
        known = {"family", "elements", "radial", "angular", "softening"}
        if not set(values) <= known or "elements" not in values:
            raise InputError(
                f"smooth descriptors need elements and take {', '.join(sorted(known - {'family'}))}; "
                f"got {', '.join(sorted(values)) or 'nothing'}"
            )
        given: dict[str, Any] = {}
        try:
            if "radial" in values:
                given["radial"] = tuple(RadialSet(int(s["count"]), float(s["cutoff"])) for s in values["radial"])
            if "angular" in values:
                given["angular"] = tuple(
                    AngularSet(tuple(int(n) for n in s["counts"]), float(s["cutoff"])) for s in values["angular"]
                )
            if "softening" in values:
                given["softening"] = float(values["softening"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"smooth descriptors: {error!r}; expected radial sets with count and cutoff, angular sets with "
                f"counts and cutoff, a softening in Bohr"
            ) from error
        return cls(elements=tuple(str(e) for e in values["elements"]), **given)


def radial_functions(distances: FloatArray, count: int, cutoff: float, softening: float) -> FloatArray:
    """Evaluate phi_0 ... phi_(count-1) (see :class:`Smooth`) at distances [...], Bohr; shape [..., count]."""
    r2 = np.asarray(distances, dtype=np.float64) ** 2
    far = np.hypot(cutoff, softening)
    xi = 2.0 * (np.sqrt(r2 + softening**2) - softening) / (far - softening) - 1.0
    envelope = np.maximum(0.0, 1.0 - r2 / cutoff**2) ** 3
    angle = np.arccos(np.clip(xi, -1.0, 1.0))
    return np.cos(np.arange(count) * angle[..., None]) * envelope[..., None]
