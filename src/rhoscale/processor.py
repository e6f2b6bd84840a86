"""What the registers of this processor hold: the one place where kernels choose the size of their blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llvmlite import binding


@dataclass(frozen=True)
class Registers:
    """Vector registers of a processor.

    Attributes:
        lanes: float32 numbers in one of them.
        count: How many there are.
    """

    lanes: int
    count: int


AVX512 = Registers(lanes=16, count=32)
AVX2 = Registers(lanes=8, count=16)


def registers(features: Mapping[str, bool]) -> Registers:
    """Those of a processor with the given features, as LLVM names them; blocks for AVX2 suit any without AVX-512."""
    return AVX512 if features.get("avx512f", False) else AVX2


REGISTERS = registers(binding.get_host_cpu_features())
