"""What a selection recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rhoscale.descriptors import DescriptorSpec
from rhoscale.errors import InputError
from rhoscale.recipes.config import plain
from rhoscale.recipes.training_plan import MOST_DISTANCES, DataConfig, NetworkConfig, PosteriorConfig
from rhoscale.selection import ScalarProductLimits, SmoothAxes
from rhoscale.training import FitSettings


@dataclass(frozen=True)
class SelectConfig:
    """A selection recipe; one of the tables ``scalar_products`` and ``smooth`` says which family is searched.

    Attributes:
        name: Of the selection.
        output: Folder of scores, result and figure.
        data: Snapshots and points; errors are those of the validation snapshots, test snapshots are never read.
        scalar_products: Increments and ends of the search of the paper's family.
        smooth: Values of each coordinate of the smooth family.
        score: ``network``: a short fit of a network as in training; ``ridge``: a linear fit, in milliseconds.
        tolerance: Share of the error by which a larger descriptor must be better to count.
        network: Size of the network.
        posterior: As in training.
        batch: Points of a minibatch.
        fit: How the network is fitted.
        repeats: Fits of each descriptor, with consecutive seeds; the score is their median error. Short fits differ by
            several percent from seed to seed (docs/selection.md), so one seed finds only large gains.
    """

    name: str
    output: Path
    data: DataConfig
    scalar_products: ScalarProductLimits | None = None
    smooth: SmoothAxes | None = None
    score: Literal["network", "ridge"] = "network"
    tolerance: float = 0.02
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(preset="quick"))
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    batch: int = 256
    fit: FitSettings = field(default_factory=lambda: FitSettings(epochs=30, warm_epochs=5, learning_rate=3e-3))
    repeats: int = 1

    def __post_init__(self) -> None:
        if (self.scalar_products is None) == (self.smooth is None):
            raise InputError(
                "a selection searches one family of descriptors; expected one table [scalar_products] or [smooth]; "
                "add the one, remove the other"
            )
        largest = 0 if self.scalar_products is None else self.scalar_products.largest_distances
        if largest > MOST_DISTANCES:
            raise InputError(f"largest_distances is {largest}; expected at most {MOST_DISTANCES}; change the recipe")
        if min(self.batch, self.repeats) < 1 or not 0 <= self.tolerance < 1:
            raise InputError(
                f"batch is {self.batch}, repeats {self.repeats} and tolerance {self.tolerance}; expected a batch and "
                f"repeats of 1 or more and a tolerance from 0 to 1, a share of the error; change the recipe"
            )

    def largest(self, elements: tuple[str, ...]) -> DescriptorSpec:
        """The specification that points are described with once: its columns serve every candidate."""
        if self.smooth is not None:
            return self.smooth.largest(elements)
        assert self.scalar_products is not None
        return self.scalar_products.largest(elements)

    def context(self, train: str, validation: str) -> dict[str, Any]:
        """All that a score depends on beside the specification: content hashes of both sets of snapshots, settings."""
        points = ("spacing", "fraction", "importance", "validation_spacing")
        values: dict[str, Any] = {
            "score": self.score,
            "train": train,
            "validation": validation,
            "points": {name: getattr(self.data, name) for name in points},
            "seed": self.fit.seed,
        }
        if self.score == "network":
            settings = plain(self.fit)
            del settings["checkpoint_seconds"]
            values |= {"fit": settings, "batch": self.batch}
            values |= {"network": plain(self.network), "posterior": plain(self.posterior), "repeats": self.repeats}
        return values

    def candidates(self, elements: tuple[str, ...]) -> Iterator[tuple[str, str, int]]:
        """What may be tried: coordinate, its values, and the most features that a value of it can lead to."""
        size = self.largest(elements).size
        if self.smooth is not None:
            for name, values in self.smooth.coordinates.items():
                yield name, ", ".join(f"{v:g}" for v in values), self._grown(elements, name)
            return
        assert self.scalar_products is not None
        s = self.scalar_products
        distances = range(s.distance_step, s.largest_distances + 1, s.distance_step)
        yield "distances M", ", ".join(map(str, distances)), len(elements) * s.largest_distances
        atoms = range(s.angle_step, s.largest_angle_atoms + 1, s.angle_step)
        yield "angle atoms M_a, for each k", ", ".join(map(str, atoms)), size
        yield "neighbours k", ", ".join(map(str, range(1, s.largest_neighbours + 1))), size

    def _grown(self, elements: tuple[str, ...], name: str) -> int:
        """Features when one coordinate of the smooth family, and all that grow before it, are at their largest."""
        assert self.smooth is not None
        axes = self.smooth.coordinates
        before = list(axes)[: list(axes).index(name) + 1]
        return self.smooth.spec(elements, {k: v[-1] if k in before else v[0] for k, v in axes.items()}).size
