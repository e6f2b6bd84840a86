"""Which radial functions and which harmonics make a smooth descriptor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError

FloatArray = NDArray[np.float64]

HIGHEST_DEGREE = 9
HIGHEST_DEGREE_ABOUT_ATOMS = 4


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
class SurroundingsSet:
    """What the surroundings of the atoms near a point are like, seen from the point.

    Attributes:
        count: Radial functions of the distance from the point to an atom.
        cutoff: Where they end, Bohr.
        neighbours: Radial functions of the distance from an atom to those around it.
        neighbour_cutoff: Where these end, Bohr.
        degree: Highest degree l of the harmonics.
        primitives: Of how many phi_p about an atom the ``neighbours`` functions are made; 0 where they are the first
            phi themselves.
        contraction: How they are made of them, [degree + 1, neighbours, primitives]; None as long as no structures
            told it (:func:`rhoscale.descriptors.smooth.contracted`).
    """

    count: int
    cutoff: float
    neighbours: int
    neighbour_cutoff: float
    degree: int = HIGHEST_DEGREE_ABOUT_ATOMS
    primitives: int = 0
    contraction: tuple[tuple[tuple[float, ...], ...], ...] | None = None

    def __post_init__(self) -> None:
        RadialSet(self.count, self.cutoff)
        RadialSet(self.neighbours, self.neighbour_cutoff)
        if not 0 <= self.degree <= HIGHEST_DEGREE_ABOUT_ATOMS:
            raise InputError(
                f"harmonics about atoms go to degree {HIGHEST_DEGREE_ABOUT_ATOMS}; got degree={self.degree}; take 0 to "
                f"{HIGHEST_DEGREE_ABOUT_ATOMS}"
            )
        if self.primitives != 0 and self.primitives < self.neighbours:
            raise InputError(
                f"primitives={self.primitives} cannot make neighbours={self.neighbours} independent functions; take as "
                f"many or more, or 0 for the first {self.neighbours} themselves"
            )
        shape = (self.degree + 1, self.neighbours, self.primitives)
        if self.contraction is not None and np.shape(self.contraction) != shape:
            raise InputError(
                f"the contraction has shape {np.shape(self.contraction)}; expected {shape}, degrees, neighbours and "
                f"primitives; leave it out, training finds it"
            )

    @property
    def size(self) -> int:
        """Numbers F_nn'l."""
        return self.count * self.neighbours * (self.degree + 1)

    @property
    def uncontracted(self) -> bool:
        """Whether structures still have to say how the functions about an atom are made of primitives."""
        return self.primitives > 0 and self.contraction is None

    def to_dict(self) -> dict[str, Any]:
        """The set as plain values; what models before did not have is left out where it is not used."""
        values = asdict(self)
        if self.primitives == 0:
            del values["primitives"]
        if self.contraction is None:
            del values["contraction"]
        else:
            values["contraction"] = [[list(row) for row in rows] for rows in self.contraction]
        return values


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
      184115 (2013), around a point, not an atom;
    - for the surroundings, F_nn'l = sum_I phi_n(r_I) sum_m c_n'lm(R_I) S_lm(u_I), the neighbour density c_n'lm at the
      atoms I (themselves included) in place of at the point, with cutoffs of its own: three bodies with one of the
      atoms in the middle. For several elements e: the atoms I of e with c of all, then all atoms I with c^e of e. With
      a contraction, c_n'lm = sum_p C^l_n'p c_plm of more primitives p.

    The length grows linearly with the number of elements.

    Attributes:
        elements: Chemical symbols in alphabetical order.
        radial: Sets of radial sums.
        angular: Sets with power spectra.
        surroundings: Of the atoms near a point, or None.
        softening: s, Bohr: distances below it are not resolved further.
    """

    elements: tuple[str, ...]
    radial: tuple[RadialSet, ...] = (RadialSet(16, 14.0), RadialSet(8, 4.5))
    angular: tuple[AngularSet, ...] = (AngularSet((8, 8, 6, 4, 3), 9.0),)
    surroundings: SurroundingsSet | None = None
    softening: float = 1.0

    def __post_init__(self) -> None:
        if not self.elements or tuple(sorted(set(self.elements))) != tuple(self.elements):
            raise InputError(
                f"a descriptor needs different elements in alphabetical order; got {', '.join(self.elements) or 'none'}"
            )
        if not self.radial and not self.angular and self.surroundings is None:
            raise InputError("a smooth descriptor needs radial or angular sets or surroundings; got none")
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
        return len(self.elements) * each + self.surroundings_size

    @property
    def surroundings_size(self) -> int:
        """How many features, the last ones, are of the surroundings."""
        each = 0 if self.surroundings is None else self.surroundings.size
        return each * (1 if len(self.elements) == 1 else 2 * len(self.elements))

    @property
    def shared(self) -> int | None:
        """Which angular set has all functions of the surroundings about a point, so that they are computed once."""
        about = self.surroundings
        if about is not None:
            for i, angular in enumerate(self.angular):
                if angular.cutoff == about.cutoff and max(angular.counts) >= about.count:
                    return i
        return None

    @property
    def two_body_size(self) -> int:
        """How many features, the first ones, are sums over single atoms."""
        return len(self.elements) * sum(s.count for s in self.radial)

    @property
    def reach(self) -> float:
        """How far away an atom may act on a point, Bohr."""
        chained = [] if self.surroundings is None else [self.surroundings.cutoff + self.surroundings.neighbour_cutoff]
        return max([s.cutoff for s in self.radial] + [s.cutoff for s in self.angular] + chained)

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values."""
        values = asdict(self)
        del values["surroundings"]
        if self.surroundings is not None:
            values["surroundings"] = self.surroundings.to_dict()
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
        known = {"family", "elements", "radial", "angular", "surroundings", "softening"}
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
            if "surroundings" in values:
                given["surroundings"] = _surroundings(values["surroundings"])
            if "softening" in values:
                given["softening"] = float(values["softening"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"smooth descriptors: {error!r}; expected radial sets with count and cutoff, angular sets with "
                f"counts and cutoff, surroundings with count, cutoff, neighbours, neighbour_cutoff, degree and "
                f"primitives, and a softening in Bohr"
            ) from error
        return cls(elements=tuple(str(e) for e in values["elements"]), **given)


def _surroundings(values: Mapping[str, Any]) -> SurroundingsSet:
    unknown = sorted(set(values) - {f.name for f in fields(SurroundingsSet)})
    if unknown:
        raise KeyError(f"surroundings: {', '.join(unknown)}")
    contraction = values.get("contraction")
    return SurroundingsSet(
        int(values["count"]),
        float(values["cutoff"]),
        int(values["neighbours"]),
        float(values["neighbour_cutoff"]),
        int(values.get("degree", HIGHEST_DEGREE_ABOUT_ATOMS)),
        int(values.get("primitives", 0)),
        None if contraction is None else tuple(tuple(tuple(map(float, row)) for row in rows) for rows in contraction),
    )


def radial_functions(distances: FloatArray, count: int, cutoff: float, softening: float) -> FloatArray:
    """Evaluate phi_0 ... phi_(count-1) (see :class:`Smooth`) at distances [...], Bohr; shape [..., count]."""
    r2 = np.asarray(distances, dtype=np.float64) ** 2
    far = np.hypot(cutoff, softening)
    xi = 2.0 * (np.sqrt(r2 + softening**2) - softening) / (far - softening) - 1.0
    envelope = np.maximum(0.0, 1.0 - r2 / cutoff**2) ** 3
    angle = np.arccos(np.clip(xi, -1.0, 1.0))
    return np.cos(np.arange(count) * angle[..., None]) * envelope[..., None]
