"""Classical potentials by name: cheap forces for thermalising."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ase.calculators.calculator import Calculator

from rhoscale.errors import InputError
from rhoscale.sampling.emt import EMT
from rhoscale.sampling.tersoff import Tersoff1989

_BY_NAME: dict[str, Callable[[], Calculator]] = {"emt": EMT, "tersoff": Tersoff1989}


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
