"""What the registers of this processor hold, where kernels choose the size of their blocks; and tables for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from llvmlite import binding
from numba import njit

LINE = 64  # bytes of a cache line


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


@njit(nogil=True, cache=True)
def zeros(count, dtype):  # type: ignore[no-untyped-def]
    """A table of zeros that begins where a cache line does; else every vector of 64 bytes takes two of them."""
    whole = np.zeros(count + LINE, dtype)
    first = (LINE - whole.ctypes.data % LINE) % LINE // whole.itemsize
    return whole[first : first + count]
