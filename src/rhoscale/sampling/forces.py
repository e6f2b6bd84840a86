"""Classical potentials by name: cheap forces for thermalising."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ase.calculators.calculator import Calculator

from rhoscale.errors import InputError
from rhoscale.sampling.emt import EMT
from rhoscale.sampling.tersoff import Tersoff1989

COMPILED: dict[str, Callable[[], Calculator]] = {"emt": EMT, "tersoff": Tersoff1989}


def classical_calculator(name: str) -> Calculator:
    """A potential by name: ``emt``, ``tersoff``, or any ASE calculator as ``package.module:Class``.

    Modules are looked for where Python looks, and last in the present folder.

    Raises:
        InputError: There is no such potential.
    """
    if name in COMPILED:
        return COMPILED[name]()
    module, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:  # a command, unlike `python -m`, does not look there
        sys.path.append(here)
    try:
        calculator = getattr(import_module(module), attribute)() if attribute else None
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"forces {name!r} cannot be made ({error}); expected package.module:Class of an ASE calculator that needs "
            f"no arguments, in a module that is installed or lies in the present folder; mend the name"
        ) from error
    if calculator is None:
        raise InputError(
            f"forces {name!r} are unknown; expected {', '.join(COMPILED)}, or an ASE calculator as "
            f"package.module:Class; name one of these"
        )
    return calculator
