"""Steps of a Nose-Hoover chain whose state can be taken out and put back; its sums are compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.md.nose_hoover_chain import FOURTH_ORDER_COEFFS, NoseHooverChainNVT
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

COEFFICIENTS = np.array(FOURTH_ORDER_COEFFS)


class NoseHooverChain(NoseHooverChainNVT):
    """ASE's integrator with a state that can be put back, so that a killed run goes on bit for bit.

    The chain scales all momenta by one factor, so their squares are summed once for the three parts of Yoshida's
    scheme, not at each use; forces at the end of a step are kept for the beginning of the next. Steps are ASE's up to
    rounding.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._forces: FloatArray | None = None

    def state(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Copies of positions, momenta and the thermostats' positions and momenta."""
        chain = self._thermostat
        return self._q.copy(), self._p.copy(), chain._eta.copy(), chain._p_eta.copy()

    def restore(
        self, _number: int, positions: FloatArray, momenta: FloatArray, eta: FloatArray, p_eta: FloatArray
    ) -> None:
        """Go on from a recorded state, whatever the number of its step; see :meth:`state`."""
        self._q, self._p = positions.copy(), momenta.copy()
        self._thermostat._eta, self._thermostat._p_eta = eta.copy(), p_eta.copy()
        self._forces = None
        self._update_atoms()

    def step(self) -> None:
        """Do one step: chain, momenta, positions, momenta, chain."""
        half = 0.5 * self.dt
        if self._forces is None:
            self._forces = self._get_forces()
        self._turn_chain(half)
        self._p += half * self._forces
        self._integrate_q(self.dt)
        self._forces = self._get_forces()
        self._p += half * self._forces
        self._turn_chain(half)
        self._update_atoms()

    def _turn_chain(self, time: float) -> None:
        chain = self._thermostat
        twice_kinetic = float(np.vdot(self._p, self._p / self.masses))
        freedom = 3 * chain._num_atoms_global
        self._p *= _chain_factor(twice_kinetic, freedom, chain._kT, chain._Q, time, chain._eta, chain._p_eta)


@njit(cache=True, nogil=True)
def _chain_factor(twice_kinetic, freedom, kt, masses, time, eta, p_eta):  # type: ignore[no-untyped-def] # pragma: no cover
    """Move the chain on; gives the factor by which it scales the atoms' momenta."""
    last, factor = len(eta) - 1, 1.0
    for part in COEFFICIENTS:
        whole = part * time
        for j in range(last, -1, -1):
            _push(j, last, twice_kinetic * factor * factor, freedom, kt, masses, whole, p_eta)
        for j in range(last + 1):
            eta[j] += whole * p_eta[j] / masses[j]
        factor *= np.exp(-whole * p_eta[0] / masses[0])
        for j in range(last + 1):
            _push(j, last, twice_kinetic * factor * factor, freedom, kt, masses, whole, p_eta)
    return factor


@njit(cache=True, nogil=True)
def _push(j, last, twice_kinetic, freedom, kt, masses, whole, p_eta):  # type: ignore[no-untyped-def] # pragma: no cover
    """Half a step of thermostat j, driven by the one before it (the first by the atoms) and damped by the next."""
    damping = np.exp(-0.25 * whole * p_eta[j + 1] / masses[j + 1]) if j < last else 1.0
    force = twice_kinetic - freedom * kt if j == 0 else p_eta[j - 1] ** 2 / masses[j - 1] - kt
    p_eta[j] = (p_eta[j] * damping + 0.5 * whole * force) * damping
