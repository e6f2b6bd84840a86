"""How many processor threads PyTorch uses, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let PyTorch use so many threads inside the block.

    One is right where tiles or studies run side by side, and for narrow networks, which are slower with two; results
    repeat to the bit only with the same number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
