"""What weight draws say about the error of an energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rhoscale.errors import InputError


@dataclass(frozen=True)
class EnergySpread:
    """Energies and electron counts of whole-field draws around those of the mean weights.

        D_j = E[rho_j] - E[rho_mean]    (``engines.second_order.energy_difference``)

    The energy is stationary at the true density rho_0, E[rho] = E_0 + <rho - rho_0, K (rho - rho_0)> / 2. If the draws
    scatter about rho_mean as rho_mean does about rho_0, the mean of D is an estimate of the error E[rho_mean] - E_0,
    and the standard deviation of D says how uncertain that is. Weight draws hold the epistemic part alone: what
    the model takes for noise of its labels is not in them.

    Attributes:
        draws: Number of draws.
        mean: Of D, Hartree for the whole cell.
        deviation: Standard deviation of D (n - 1 degrees of freedom), Hartree for the whole cell.
        electrons_mean: Mean electron count of the draws before rescaling.
        electrons_deviation: Its standard deviation.
    """

    draws: int
    mean: float
    deviation: float
    electrons_mean: float
    electrons_deviation: float

    @classmethod
    def of(cls, differences: Sequence[float], electrons: Sequence[float]) -> EnergySpread:
        """Mean and spread over draws.

        Args:
            differences: D of each draw's rescaled field, Hartree.
            electrons: Raw electrons of each draw.

        Raises:
            InputError: Fewer than two draws, or not as many energies as counts.
        """
        if len(differences) < 2 or len(differences) != len(electrons):
            raise InputError(
                f"{len(differences)} energies and {len(electrons)} electron counts of draws; expected two or more "
                f"each, as many as the other; ask for more draws"
            )
        return cls(
            draws=len(differences),
            mean=float(np.mean(differences)),
            deviation=float(np.std(differences, ddof=1)),
            electrons_mean=float(np.mean(electrons)),
            electrons_deviation=float(np.std(electrons, ddof=1)),
        )

    def standardised(self, error: float) -> float:
        """(error - mean) / deviation for a true error E[rho_mean] - E_0 of the cell; 68 % within 1 if Gaussian."""
        return (error - self.mean) / self.deviation if self.deviation > 0 else float("nan")

    def to_dict(self) -> dict[str, float]:
        """The fields as plain values."""
        return asdict(self)
