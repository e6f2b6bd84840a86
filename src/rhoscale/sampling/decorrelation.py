"""How fast a trajectory forgets its structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhoscale.errors import InputError

FloatArray = NDArray[np.float64]

# The sphere of waves reaches the first diffraction ring of a dense material; shorter waves forget faster.
LONGEST_WAVE_VECTOR = 1.5
ENOUGH = 3.0


@dataclass(frozen=True)
class Decorrelation:
    """A measured memory, femtoseconds.

    Attributes:
        time_fs: Integrated autocorrelation time of the structure.
        measured_fs: Length of the stretch in which it was measured.
        waited_fs: Time that passed before the snapshot: since the start, or since the snapshot before it.
        correlation_with_previous: Correlation of the structure with the snapshot before it, relative to the
            thermal variance; None for the first one of a trajectory.
    """

    time_fs: float
    measured_fs: float
    waited_fs: float
    correlation_with_previous: float | None = None

    @property
    def ratio(self) -> float:
        """Waited time in units of the autocorrelation time."""
        return self.waited_fs / self.time_fs if self.time_fs > 0 else float("inf")

    @property
    def enough(self) -> bool:
        """Whether at least three autocorrelation times passed."""
        return self.ratio >= ENOUGH

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "autocorrelation_time_fs": self.time_fs,
            "measured_fs": self.measured_fs,
            "waited_fs": self.waited_fs,
            "waited_over_time": self.ratio,
            "correlation_with_previous": self.correlation_with_previous,
        }


def density_waves(frames: FloatArray, cell: FloatArray, longest: float = LONGEST_WAVE_VECTOR) -> NDArray[np.complex128]:
    """Density waves of the atoms, rho_G(t) = sum_a exp(-i G.r_a(t)).

    They describe crystals and liquids alike: displacements from lattice sites lose their meaning in a liquid.

    Args:
        frames: Positions [frames, n, 3], Bohr.
        cell: Cell vectors as rows [3, 3], Bohr.
        longest: Largest |G|, 1/Bohr.

    Returns:
        Waves [frames, m] of one of each pair G, -G, without G = 0.
    """
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    limits = np.floor(longest * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int) + 1
    h, k, l = (np.arange(low, m + 1) for low, m in zip((-limits[0], -limits[1], 0), limits, strict=True))
    millers = np.stack(np.meshgrid(h, k, l, indexing="ij"), axis=-1)
    half = (millers[..., 2] > 0) | (millers[..., 1] > 0) | ((millers[..., 1] == 0) & (millers[..., 0] > 0))
    inside = half & (np.linalg.norm(millers @ reciprocal, axis=-1) <= longest)
    if not inside.any():
        raise InputError(
            f"no wave of the cell is longer than 2 pi / {longest:g} Bohr; expected one or more; take a larger supercell"
        )
    waves = np.empty((len(frames), int(inside.sum())), dtype=np.complex128)
    for frame, row in zip(frames, waves, strict=True):
        turns = np.linalg.solve(cell.T, frame.T)
        a, b, c = (np.exp(-2j * np.pi * n[:, None] * turn) for n, turn in zip((h, k, l), turns, strict=True))
        row[:] = _products(a, b, c, inside)
    return waves


def _products(
    a: NDArray[np.complex128], b: NDArray[np.complex128], c: NDArray[np.complex128], inside: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    """sum_n a_hn b_kn c_ln where ``inside`` [h, k, l]: exponentials of sums are products, sums those of matrices."""
    sums = np.empty(inside.shape, dtype=np.complex128)
    for of_h, at_h, here in zip(a, sums, inside, strict=True):
        some = here.any(axis=1)
        at_h[some] = (b[some] * of_h) @ c.T
    return sums[inside]


def autocorrelation(waves: NDArray[np.complex128]) -> FloatArray:
    """Normalised time correlation of fluctuations, averaged over waves,

        C(t) = < sum_G d_G*(s) d_G(s + t) > / < sum_G |d_G|^2 >,    d_G = rho_G - <rho_G>.

    Args:
        waves: Waves [frames, m] at equal time steps.

    Returns:
        C at lags 0 .. frames - 1; zero if nothing fluctuates.
    """
    frames = len(waves)
    fluctuation = waves - waves.mean(axis=0)
    spectrum = np.fft.fft(fluctuation, n=2 * frames, axis=0)
    summed = np.fft.ifft((np.abs(spectrum) ** 2).sum(axis=1))[:frames].real
    unbiased = summed / np.arange(frames, 0, -1)
    return np.asarray(unbiased / unbiased[0] if unbiased[0] > 0 else np.zeros(frames))


def integrated_time(correlation: FloatArray, step: float) -> float:
    """Integrated autocorrelation time, tau = step (1/2 + sum_k |C_k|), summed to a window of five tau.

    The magnitude is summed so that the swings of lattice vibrations do not cancel: the time is never
    underestimated by them. The window is A. Sokal's (Monte Carlo Methods in Statistical Mechanics, 1996, section 3).

    Args:
        correlation: C at lags 0, 1, ...
        step: Time between lags.
    """
    running = 0.5 + np.cumsum(np.abs(correlation[1:]))
    closed = np.flatnonzero(np.arange(1, len(correlation)) >= 5.0 * running)
    if len(running) == 0:
        return step
    return float(step * running[closed[0] if closed.size else -1])


def overlap(first: NDArray[np.complex128], second: NDArray[np.complex128], waves: NDArray[np.complex128]) -> float:
    """Correlation of two structures' fluctuations relative to the thermal variance of a trajectory.

    Args:
        first, second: Waves [m] of the two.
        waves: Waves [frames, m] of the trajectory that gives mean and variance.
    """
    mean = waves.mean(axis=0)
    variance = float((np.abs(waves - mean) ** 2).sum(axis=1).mean())
    product = float((np.conj(first - mean) * (second - mean)).sum().real)
    return product / variance if variance > 0 else 0.0
