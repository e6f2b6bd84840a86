"""One fit loop, its batches and state, and transfer from small to larger cells."""

from rhoscale.training.batches import Batch, ShuffledBatches
from rhoscale.training.device import refuse_device
from rhoscale.training.fit import EpochReport, FitResult, FitSettings, fit
from rhoscale.training.transfer import SecondStage, TransferSettings, second_stage

__all__ = [
    "Batch",
    "EpochReport",
    "FitResult",
    "FitSettings",
    "SecondStage",
    "ShuffledBatches",
    "TransferSettings",
    "fit",
    "refuse_device",
    "second_stage",
]
