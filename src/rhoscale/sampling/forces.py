"""Classical potentials by name: cheap forces for thermalising."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import product

from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters

from rhoscale.errors import InputError

# J. Tersoff, Phys. Rev. B 39, 5566 (1989), tables I and III:
# A, B (eV), lambda, mu (1/Angstrom), beta, n, c, d, h, R, S (Angstrom).
_TERSOFF_1989 = {
    "C": (1393.6, 346.74, 3.4879, 2.2119, 1.5724e-7, 0.72751, 3.8049e4, 4.3484, -0.57058, 1.8, 2.1),
    "Si": (1830.8, 471.18, 2.4799, 1.7322, 1.1000e-6, 0.78734, 1.0039e5, 16.217, -0.59825, 2.7, 3.0),
    "Ge": (1769.0, 419.23, 2.4451, 1.7047, 9.0166e-7, 0.75627, 1.0643e5, 15.652, -0.43884, 2.8, 3.1),
}
_CHI = {frozenset(("C", "Si")): 0.9776, frozenset(("Si", "Ge")): 1.00061}


def tersoff_1989() -> Calculator:
    """The many-body potential for C, Si, Ge and their alloys (J. Tersoff, Phys. Rev. B 39, 5566 (1989))."""
    entries = {}
    for i, j, k in product(_TERSOFF_1989, repeat=3):
        _, _, _, _, beta, n, c, d, h, _, _ = _TERSOFF_1989[i]
        A, B, lam, mu, _, _ = _mixed(i, j)
        _, _, _, _, inner, outer = _mixed(i, k)
        # In the three-body term the cutoff is that of the pair (i, k), in the pair term that of (i, j); the pair
        # parameters are read where j = k.
        entries[(i, j, k)] = TersoffParameters(
            m=3.0,
            gamma=1.0,
            lambda3=0.0,
            c=c,
            d=d,
            h=h,
            n=n,
            beta=beta,
            lambda2=mu if j == k else 0.0,
            B=B * _CHI.get(frozenset((i, j)), 1.0) if j == k else 0.0,
            R=0.5 * (inner + outer),
            D=0.5 * (outer - inner),
            lambda1=lam if j == k else 0.0,
            A=A if j == k else 0.0,
        )
    return Tersoff(entries)


def _mixed(i: str, j: str) -> tuple[float, float, float, float, float, float]:
    """Pair parameters A, B, lambda, mu, R, S: geometric means, arithmetic ones for the exponents."""
    a, b = _TERSOFF_1989[i], _TERSOFF_1989[j]
    A, B, R, S = ((a[m] * b[m]) ** 0.5 for m in (0, 1, 9, 10))
    return A, B, 0.5 * (a[2] + b[2]), 0.5 * (a[3] + b[3]), R, S


_BY_NAME: dict[str, Callable[[], Calculator]] = {"emt": EMT, "tersoff": tersoff_1989}


def classical_calculator(name: str) -> Calculator:
    """A potential by name: ``emt``, ``tersoff``, or any ASE calculator as ``package.module:Class``.

    Raises:
        InputError: There is no such potential.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]()
    module, _, attribute = name.partition(":")
    try:
        calculator = getattr(import_module(module), attribute)() if attribute else None
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"forces {name!r} cannot be made ({error}); expected package.module:Class of an ASE calculator that needs "
            f"no arguments; mend the name"
        ) from error
    if calculator is None:
        raise InputError(
            f"forces {name!r} are unknown; expected {', '.join(_BY_NAME)}, or an ASE calculator as "
            f"package.module:Class; name one of these"
        )
    return calculator
