"""The state of a training run on disk, so that a killed run goes on to the same bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from rhoscale.errors import FormatError, OutputError
from rhoscale.models.posterior import MeanField

FORMAT = "rhoscale-training-1"


@dataclass(frozen=True)
class TrainingState:
    """All that the rest of a run depends on; random numbers follow from the seed and the epoch.

    Attributes:
        epoch: The next epoch.
        posterior: After the epoch before.
        best: Posterior of the lowest validation error so far, or None.
        optimiser: Moments for each optimised tensor, and its steps.
        record: History and fingerprint, as plain values.
    """

    epoch: int
    posterior: MeanField
    best: MeanField | None
    optimiser: Mapping[str, Tensor]
    record: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        tensors = {f"optimiser/{name}": value for name, value in self.optimiser.items()}
        for kind, posterior in (("now", self.posterior), ("best", self.best)):
            if posterior is not None:
                tensors |= {f"{kind}/mean/{name}": value for name, value in posterior.means.items()}
                tensors |= {f"{kind}/log_deviation/{name}": value for name, value in posterior.log_deviations.items()}
        text = json.dumps({"format": FORMAT, "epoch": self.epoch, "record": self.record})
        cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        temporary = path.with_name(path.name + ".part")
        try:
            temporary.write_bytes(save_tensors(cpu, metadata={"rhoscale": text}))
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(
                f"cannot write the state of the training run {path} ({error}); expected room for it; make space"
            ) from error

    @classmethod
    def read(cls, path: Path) -> TrainingState:
        """Read a state.

        Raises:
            FormatError: The file is missing, truncated or something else.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                meta = json.loads((file.metadata() or {}).get("rhoscale", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError, ValueError) as error:
            raise FormatError(
                f"{path} is not a readable state of a training run ({error}); expected a file that training wrote; "
                f"delete it and start anew with --force"
            ) from error
        if meta.get("format") != FORMAT:
            raise FormatError(f"{path} has format {meta.get('format')!r}; expected {FORMAT!r}; start anew with --force")
        best = _posterior(tensors, "best")
        return cls(
            epoch=int(meta["epoch"]),
            posterior=_posterior(tensors, "now"),
            best=best if best.means else None,
            optimiser={k.removeprefix("optimiser/"): v for k, v in tensors.items() if k.startswith("optimiser/")},
            record=meta["record"],
        )


def _posterior(tensors: Mapping[str, torch.Tensor], kind: str) -> MeanField:
    def part(name: str) -> dict[str, Tensor]:
        prefix = f"{kind}/{name}/"
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    return MeanField(part("mean"), part("log_deviation"))
