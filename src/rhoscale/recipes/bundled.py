"""Models that come with the package, and models in folders of the user."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhoscale.errors import FormatError, ModelError

if TYPE_CHECKING:
    from rhoscale.models import TrainedModel

BUNDLED = Path(__file__).resolve().parent.parent / "bundled"
CARD = "card.toml"
WEIGHTS = "weights.safetensors"


def bundled_models() -> dict[str, Path]:
    """Name and folder of each model that comes with the package, in alphabetical order."""
    return {card.parent.name: card.parent for card in sorted(BUNDLED.glob(f"*/{CARD}"))}


def model_folder(name_or_path: str | Path) -> Path:
    """The folder of a bundled model, or the one that a path names.

    Raises:
        ModelError: There is neither.
    """
    known = bundled_models()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    folder = Path(name_or_path)
    if not (folder / CARD).is_file():
        raise ModelError(
            f'there is no model "{name_or_path}"; expected one of {", ".join(known) or "(none is bundled)"}, '
            f"or the path of a folder with {CARD}; `rhoscale models` lists the bundled ones"
        )
    return folder


def read_card(name_or_path: str | Path) -> dict[str, Any]:
    """What a model's card says, as plain values; its weights are not read.

    Raises:
        ModelError: There is no such model.
        FormatError: Its card cannot be read.
    """
    path = model_folder(name_or_path) / CARD
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is not a readable card ({error}); expected TOML; copy the model again") from error


def load_with_hash(name_or_path: str | Path) -> tuple[TrainedModel, str]:
    """A trained model, and the hash of its weights file, which covers all in the card that changes a prediction.

    Raises:
        ModelError: There is no such model, or card and weights contradict each other.
        FormatError: A file is truncated or not a model's.
    """
    from rhoscale.models import load_trained

    folder = model_folder(name_or_path)
    model = load_trained(folder)
    return model, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
