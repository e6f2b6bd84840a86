"""GTH pseudopotentials as UPF 2.0.1 text, the same characters on every machine.

The functions are evaluated in decimal arithmetic, which is exact to the last digit everywhere; binary
exponentials differ between processors, and the hash of the file is the identity of the potential.

All integrands that a program forms from these tables are even in r, so that sums over a uniform mesh from r = 0
converge like exp(-2 (pi width / step)^2): a fifth of the smallest published width is far more than enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np

from rhoscale.engines.gth import GTH
from rhoscale.units import RYDBERG_PER_HARTREE

MESH_STEP = Decimal("0.02")
MESH_SIZE = 601  # to 12 Bohr; pw.x integrates to 10 Bohr, an odd number of points in Simpson's rule
PI = Decimal("3.14159265358979323846264338327950288419716939937510")
DIGITS = 40
STARTING_DENSITY = re.compile(r"<PP_RHOATOM\b.*?</PP_RHOATOM>", re.DOTALL)
STARTING_ORBITALS = re.compile(r"<PP_PSWFC\b.*?</PP_PSWFC>", re.DOTALL)
ORBITAL_COUNT = re.compile(r'\bnumber_of_wfc\s*=\s*"[^"]*"')
NO_ORBITALS = "<PP_PSWFC>\n</PP_PSWFC>"


class _Column(NamedTuple):
    """r p_i(r) of one projector on the mesh."""

    l: int
    label: str
    values: list[Decimal]


class StartingOrbital(NamedTuple):
    """An orbital of the isolated pseudo-atom.

    Attributes:
        l: Angular momentum.
        occupation: Electrons in it.
        values: u(r) = r R(r) at distances in Bohr, with int u^2 dr = 1.
    """

    l: int
    occupation: float
    values: Callable[[np.ndarray], np.ndarray]


def upf_text(
    potential: GTH, radial_density: Callable[[np.ndarray], np.ndarray], orbitals: Sequence[StartingOrbital] = ()
) -> str:
    """Write a GTH pseudopotential as UPF 2.0.1 for ``pw.x``.

    Units of the format: Rydberg, projectors times r, atomic density times 4 pi r^2.

    Args:
        potential: Published parameters.
        radial_density: Density of the isolated pseudo-atom at distances in Bohr, electrons per Bohr^3; where
            the self-consistent cycle starts, no part of the potential.
        orbitals: Of the isolated pseudo-atom; where the first diagonalisation starts, no part of the potential either.
    """
    with localcontext() as context:
        context.prec = DIGITS
        mesh = [MESH_STEP * k for k in range(MESH_SIZE)]
        local = [Decimal(RYDBERG_PER_HARTREE) * v for v in _local(potential, mesh)]
        projectors = [c for channel in range(len(potential.channels)) for c in _projectors(potential, channel, mesh)]
    r = np.array([float(x) for x in mesh])
    density = 4 * np.pi * r**2 * radial_density(r)
    return "\n".join(
        [
            '<UPF version="2.0.1">',
            f"<PP_INFO>\n{_information(potential)}\n</PP_INFO>",
            _header(potential, len(projectors), len(orbitals)),
            f'<PP_MESH dx="{MESH_STEP}" mesh="{MESH_SIZE}" xmin="0.0" rmax="{mesh[-1]}" zmesh="{potential.valence}">',
            _block("PP_R", mesh),
            _block("PP_RAB", [MESH_STEP] * MESH_SIZE),
            "</PP_MESH>",
            _block("PP_LOCAL", local),
            _nonlocal(potential, projectors),
            _starting_orbitals(orbitals, r),
            _block("PP_RHOATOM", [Decimal(f"{x:.6e}") for x in density]),
            "</UPF>\n",
        ]
    )


def without_start(text: str) -> str:
    """A UPF file without what only says where a computation starts: atomic density and orbitals."""
    text = STARTING_ORBITALS.sub(NO_ORBITALS, STARTING_DENSITY.sub("", text))
    return ORBITAL_COUNT.sub('number_of_wfc="0"', text)


def _information(potential: GTH) -> str:
    return (
        f"{potential.element} {potential.name}: Goedecker-Teter-Hutter pseudopotential for PBE on a radial mesh.\n"
        "Phys. Rev. B 54, 1703 (1996); Phys. Rev. B 58, 3641 (1998); Theor. Chem. Acc. 114, 145 (2005).\n"
        "Parameters (Hartree, Bohr): element valence | electrons s p d f | r_loc C | r_l h ...\n"
        f"{potential.published}"
    )


def _header(potential: GTH, projectors: int, orbitals: int) -> str:
    highest = max((c.l for c in potential.channels if c.h), default=0)
    attributes = {
        "generated": "GTH parameters on a radial mesh",
        "author": "Goedecker, Teter, Hartwigsen, Hutter, Krack",
        "date": "2005",
        "comment": potential.name,
        "element": potential.element,
        "pseudo_type": "NC",
        "relativistic": "scalar",
        "is_ultrasoft": "F",
        "is_paw": "F",
        "is_coulomb": "F",
        "has_so": "F",
        "has_wfc": "F",
        "has_gipaw": "F",
        "core_correction": "F",
        "functional": "PBE",
        "z_valence": f"{potential.valence}.0",
        "total_psenergy": "0.0",
        "wfc_cutoff": "0.0",
        "rho_cutoff": "0.0",
        "l_max": highest,
        "l_max_rho": 0,
        "l_local": -1,
        "mesh_size": MESH_SIZE,
        "number_of_wfc": orbitals,
        "number_of_proj": projectors,
    }
    return "<PP_HEADER\n" + "\n".join(f'  {key}="{value}"' for key, value in attributes.items()) + "/>"


def _nonlocal(potential: GTH, projectors: Sequence[_Column]) -> str:
    blocks = [
        _block(
            f"PP_BETA.{n}",
            column.values,
            f' index="{n}" label="{column.label}" angular_momentum="{column.l}" '
            f'cutoff_radius_index="{MESH_SIZE}" cutoff_radius="{MESH_STEP * (MESH_SIZE - 1)}"',
        )
        for n, column in enumerate(projectors, 1)
    ]
    coupling = [[Decimal(0)] * len(projectors) for _ in projectors]
    start = 0
    for channel in potential.channels:
        for i, row in enumerate(channel.h):
            for j, h in enumerate(row):
                coupling[start + i][start + j] = Decimal(RYDBERG_PER_HARTREE) * Decimal(repr(h))
        start += len(channel.h)
    flat = [value for row in coupling for value in row]
    return "\n".join(["<PP_NONLOCAL>", *blocks, _block("PP_DIJ", flat), "</PP_NONLOCAL>"])


def _starting_orbitals(orbitals: Sequence[StartingOrbital], r: np.ndarray) -> str:
    blocks = [
        _block(
            f"PP_CHI.{n}",
            [Decimal(f"{x:.6e}") for x in orbital.values(r)],
            f' index="{n}" label="{orbital.l + 1}{"SPDF"[orbital.l]}" l="{orbital.l}" '
            f'occupation="{orbital.occupation:g}" n="1" pseudo_energy="0.0" cutoff_radius="0.0" '
            f'ultrasoft_cutoff_radius="0.0"',
        )
        for n, orbital in enumerate(orbitals, 1)
    ]
    return "\n".join(["<PP_PSWFC>", *blocks, "</PP_PSWFC>"])


def _block(tag: str, values: Sequence[Decimal], attributes: str = "") -> str:
    numbers = [_number(v) for v in values]
    lines = [" ".join(numbers[k : k + 4]) for k in range(0, len(numbers), 4)]
    body = "\n".join(lines)
    name = f'{tag} type="real" size="{len(numbers)}" columns="4"{attributes}'
    return f"<{name}>\n{body}\n</{tag}>"


def _number(value: Decimal) -> str:
    return "0.0" if abs(value) < Decimal("1e-30") else f"{value:.13e}"


def _local(potential: GTH, mesh: Sequence[Decimal]) -> list[Decimal]:
    radius = _exact(potential.r_loc)
    width = Decimal(2).sqrt() * radius
    values = []
    for r in mesh:
        x2 = (r / radius) ** 2
        coulomb = _erf(r / width) / r if r else 2 / (PI.sqrt() * width)
        polynomial = sum((_exact(c) * x2**k if k else _exact(c) for k, c in enumerate(potential.c)), Decimal(0))
        values.append(-potential.valence * coulomb + (-x2 / 2).exp() * polynomial)
    return values


def _projectors(potential: GTH, l: int, mesh: Sequence[Decimal]) -> list[_Column]:
    channel = potential.channels[l]
    radius = _exact(channel.radius)
    gaussians = [(-((r / radius) ** 2) / 2).exp() for r in mesh]
    columns = []
    for i in range(1, len(channel.h) + 1):
        whole = l + 2 * i - 1  # Gamma(whole + 1/2) = sqrt(pi) prod_k (k - 1/2)
        gamma = PI.sqrt()
        for k in range(1, whole + 1):
            gamma *= Decimal(2 * k - 1) / 2
        norm = Decimal(2).sqrt() / (radius**whole * radius.sqrt() * gamma.sqrt())
        power = l + 2 * i - 1
        columns.append(_Column(l, f"{l}{i}", [norm * r**power * g for r, g in zip(mesh, gaussians, strict=True)]))
    return columns


def _exact(value: float) -> Decimal:
    return Decimal(repr(value))


def _erf(x: Decimal) -> Decimal:
    """erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!  (all terms positive)."""
    if x > 9:  # 1 - erf(9) = 4e-37
        return Decimal(1)
    term = total = x
    n = 0
    while term > total.scaleb(-DIGITS):
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
        total += term
    return 2 / PI.sqrt() * (-x * x).exp() * total
