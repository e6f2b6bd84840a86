"""Whether PyTorch can train on a device."""

from __future__ import annotations

import torch

from rhoscale.errors import InputError


def refuse_device(device: str) -> None:
    """Refuse a device that PyTorch does not have here, before hours of work and not after.

    Raises:
        InputError: There is no such device.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} cannot be used ({str(error).splitlines()[0]}); expected one that PyTorch has here, "
            f"such as cpu; change the recipe"
        ) from error
