"""A deep ensemble: networks of one shape from different seeds, each as likely as the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from rhoscale.errors import InputError
from rhoscale.models.posterior import MeanField


@dataclass(frozen=True)
class Ensemble:
    """A posterior that is a few points: the parameters of each member (Lakshminarayanan, Pritzel and Blundell 2017).

    Its epistemic deviation is the spread of the members: they differ where they were told little, and come closer where
    a snapshot is added.

    Attributes:
        members: Parameters of each network, at least two.
    """

    members: tuple[dict[str, Tensor], ...]

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise InputError(f"an ensemble of {len(self.members)} has no spread; expected two members or more")

    @property
    def points(self) -> tuple[dict[str, Tensor], ...]:
        """The parameters whose densities the point estimate is the mean of: the members."""
        return self.members

    @classmethod
    def of(cls, posteriors: Iterable[MeanField]) -> Ensemble:
        """The means of several distributions; their widths are left out.

        Raises:
            InputError: There are fewer than two.
        """
        return cls(tuple(posterior.detached().means for posterior in posteriors))
