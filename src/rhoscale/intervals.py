"""Intervals about a prediction: how many standard deviations on either side hold a given share of the errors.

Errors over standard deviations follow Student's t distribution of nu degrees of freedom, scaled to a standard deviation
of one: a standard deviation that is itself uncertain by a factor, differently at each point, gives such tails. With nu
infinite it is the Gaussian (Student, Biometrika 6, 1 (1908); K. L. Lange, R. J. A. Little, J. M. G. Taylor, J. Am.
Stat. Assoc. 84, 881 (1989)).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, ndtri, stdtrit

from rhoscale.errors import InputError

LEAST, MOST = 2.1, 1000.0  # degrees of freedom that a fit may find; above, tails are Gaussian to a thousandth


def half_width(level: float, freedom: float = math.inf) -> float:
    """z so that a share ``level`` of the errors is within z standard deviations,

        z = ((nu - 2) / nu)^(1/2) T_nu^-1((1 + level) / 2)

    Args:
        level: Between 0 and 1, for example 0.95.
        freedom: nu, above 2; infinite for Gaussian errors.

    Raises:
        InputError: ``level`` or ``freedom`` is out of range.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level {level:g}; expected a share between 0 and 1, without these; give for example 0.95")
    if not freedom > 2.0:
        raise InputError(f"{freedom:g} degrees of freedom; expected more than 2, else there is no standard deviation")
    quantile = 0.5 * (1.0 + level)
    if math.isinf(freedom):
        return float(ndtri(quantile))
    return math.sqrt((freedom - 2.0) / freedom) * float(stdtrit(freedom, quantile))


def fit_freedom(ratios: NDArray[np.floating]) -> float:
    """nu of best likelihood for errors over their standard deviations [n]; infinite above 1,000.

        maximise  sum_i log t_nu(ratio_i),    t_nu(z) = c_nu (1 + z^2 / (nu - 2))^(-(nu + 1) / 2)

    in which the standard deviation is one whatever nu.
    """
    squares = np.square(ratios, dtype=np.float64)

    def loss(logarithm: float) -> float:
        beyond = math.exp(logarithm)  # nu - 2
        nu = beyond + 2.0
        constant = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * math.log(math.pi * beyond)
        return 0.5 * (nu + 1.0) * float(np.mean(np.log1p(squares / beyond))) - float(constant)

    ends = math.log(LEAST - 2.0), math.log(2.0 * MOST)
    freedom = math.exp(minimize_scalar(loss, bounds=ends, method="bounded").x) + 2.0
    return freedom if freedom <= MOST else math.inf
