"""The exchange-correlation energy of Perdew, Burke and Ernzerhof for densities without spin polarisation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

KAPPA = 0.804
BETA = 0.06672455060314922
MU = BETA * np.pi**2 / 3
GAMMA = (1 - np.log(2)) / np.pi**2
# Perdew and Wang, Phys. Rev. B 45, 13244 (1992), table I, first column
PW92_A, PW92_ALPHA, PW92_BETAS = 0.0310907, 0.21370, (7.5957, 3.5876, 1.6382, 0.49294)
COMPLEX_STEP = 1e-40


def pbe_energy_density(density: np.ndarray, gradient_squared: np.ndarray) -> np.ndarray:
    """Exchange-correlation energy per volume,

        e(n, |grad n|^2) = n eps_x(n) F_x(s) + n (eps_c(r_s) + H(r_s, t)).

    (Perdew, Burke, Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), eqs. 3, 7, 10, 14; eps_c from Perdew and Wang 1992.)

    Args:
        density: n > 0, electrons per Bohr^3; may be complex, all operations are analytic.
        gradient_squared: |grad n|^2 >= 0.

    Returns:
        Hartree per Bohr^3.
    """
    fermi = (3 * np.pi**2 * density) ** (1 / 3)
    s2 = gradient_squared / (2 * fermi * density) ** 2
    enhancement = 1 + KAPPA - KAPPA / (1 + MU * s2 / KAPPA)
    exchange = -3 * fermi / (4 * np.pi) * enhancement
    rs = (3 / (4 * np.pi * density)) ** (1 / 3)
    uniform = _pw92_correlation(rs)
    t2 = np.pi * gradient_squared / (16 * fermi * density**2)  # t = |grad n| / (2 k_s n), k_s^2 = 4 k_F / pi
    A = BETA / GAMMA / np.expm1(-uniform / GAMMA)
    fraction = (1 + A * t2) / (1 + A * t2 + (A * t2) ** 2)
    return density * (exchange + uniform + GAMMA * np.log1p(BETA / GAMMA * t2 * fraction))


def pbe_derivatives(density: FloatArray, gradient_squared: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The energy density e and its partial derivatives by n and by |grad n|^2, to rounding.

    The derivatives are Im e(x + ih) / h with a vanishing step: no difference is formed, no digit lost.
    """
    by_density = pbe_energy_density(density + 1j * COMPLEX_STEP, gradient_squared + 0j)
    by_gradient = pbe_energy_density(density + 0j, gradient_squared + 1j * COMPLEX_STEP)
    return by_density.real, by_density.imag / COMPLEX_STEP, by_gradient.imag / COMPLEX_STEP


def _pw92_correlation(rs: np.ndarray) -> np.ndarray:
    root = np.sqrt(rs)
    b1, b2, b3, b4 = PW92_BETAS
    series = 2 * PW92_A * (b1 * root + b2 * rs + b3 * rs * root + b4 * rs**2)
    return -2 * PW92_A * (1 + PW92_ALPHA * rs) * np.log1p(1 / series)
