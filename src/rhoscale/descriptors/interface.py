"""What a descriptor family gives: a specification that travels in files, and a function of points."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Features = NDArray[np.float32]


class DescriptorSpec(Protocol):
    """Which features describe a point; a frozen value."""

    @property
    def family(self) -> str:
        """Name under which the family is registered."""
        ...

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the features tell apart, in alphabetical order."""
        ...

    @property
    def size(self) -> int:
        """Features of a point."""
        ...

    @property
    def reach(self) -> float:
        """Radius around a point, Bohr, whose atoms determine its features."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain values, ``family`` among them."""
        ...


class Describer(Protocol):
    """Features of any points among fixed atoms; may be called from several threads at once."""

    def __call__(self, points: FloatArray, threads: int | None = None) -> Features:
        """Describe points [n, 3], Bohr, by features [n, size]; the result does not depend on ``threads``."""
        ...
