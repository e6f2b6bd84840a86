"""The sharp part of a density: what varies too fast for a coarse grid follows from few neighbours, and is cheap to sum.

Near a nucleus and in its bonds the density follows the atom and its nearest neighbours. Functions about each atom,

    t(r) = sum_a sum_klm c_aklm phi_k(|r - r_a|) S_lm(r - r_a) / R^l,

with phi_k radial functions of reach R, S_lm real solid harmonics and coefficients c that are linear in the surroundings
of the atom, are fitted to the short waves of converged densities. What is left, rho - t, is band-limited on a grid that
would lose ten times as much of rho itself. Long waves of t mean nothing: what is subtracted before a refinement is
added exactly after it.
"""

from rhoscale.sharp.fit import fit_sharp
from rhoscale.sharp.part import SharpPart
from rhoscale.sharp.points import SharpSum
from rhoscale.sharp.sampling import SamplingLoss, refine_sharp, sampling_loss
from rhoscale.sharp.waves import sharp_fourier

__all__ = [
    "SamplingLoss",
    "SharpPart",
    "SharpSum",
    "fit_sharp",
    "refine_sharp",
    "sampling_loss",
    "sharp_fourier",
]
