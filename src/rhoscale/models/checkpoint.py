"""A trained model as a folder: ``card.toml`` for people, ``weights.safetensors`` for numbers; nothing in it is run.

The card records the SHA-256 of the weights file; the weights file records a hash of all in the card that changes
a prediction (everything but the free ``card`` table). A file of another model, or an edited one, is refused.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from rhoscale.errors import FormatError, ModelError, OutputError
from rhoscale.models.card import content_hash, plain, to_toml
from rhoscale.models.dense_network import DenseNet
from rhoscale.models.ensemble import Ensemble
from rhoscale.models.posterior import MeanField
from rhoscale.models.scaling import Scaling
from rhoscale.models.trained import PRIOR_MEANS, TrainedModel
from rhoscale.promolecule import AtomicDensityTable
from rhoscale.sharp import SharpPart
from rhoscale.system import PseudopotentialIdentity
from rhoscale.uncertainty import Recalibration
from rhoscale.uncertainty.leverage import Leverage

FORMAT = "rhoscale-model-1"
FORMAT_WITH_LEVERAGE = "rhoscale-model-2"  # one table and two arrays more
FORMAT_WITH_SHARP = "rhoscale-model-3"  # a table and an array of each element more
FORMAT_WITH_EXCESS = "rhoscale-model-4"  # leverage counts beyond that of training alone
FORMAT_WITH_BONDS = "rhoscale-model-5"  # the sharp part is two arrays
FORMAT_WITH_CHOICE = "rhoscale-model-6"  # the leverage is that of chosen features
FORMAT_OF_ENSEMBLES = "rhoscale-model-7"  # parameters of each member
_OLDER = (FORMAT, FORMAT_WITH_LEVERAGE, FORMAT_WITH_SHARP, FORMAT_WITH_EXCESS)
FORMATS = (*_OLDER, FORMAT_WITH_BONDS, FORMAT_WITH_CHOICE, FORMAT_OF_ENSEMBLES)
CARD = "card.toml"
WEIGHTS = "weights.safetensors"


def save_trained(model: TrainedModel, folder: str | Path, *, force: bool = False) -> Path:
    """Write a model as a folder, whole or not at all.

    Raises:
        OutputError: The folder exists (and ``force`` is not set), or cannot be written.
    """
    target = Path(folder)
    if (target / CARD).exists() and not force:
        raise OutputError(f"{target} already holds a model; expected a new folder; give another name or --force")
    core = _core(model)
    weights = save_tensors(_tensors(model), metadata={"card": content_hash(core)})
    card = {
        "format": _format(model),
        **core,
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest()},
        "card": dict(model.card),
    }
    partial = target.with_name(target.name + ".part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / WEIGHTS).write_bytes(weights)
        (partial / CARD).write_text(to_toml(card), encoding="utf-8")
        target.mkdir(exist_ok=True)
        for name in (WEIGHTS, CARD):
            (partial / name).replace(target / name)
        partial.rmdir()
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"cannot write the model {target} ({error}); expected a folder with room; choose another"
        ) from error
    return target


def load_trained(path: str | Path) -> TrainedModel:
    """Read a model folder.

    Raises:
        FormatError: A file is missing, truncated, or not a model's.
        ModelError: Card and weights contradict each other.
    """
    folder = Path(path)
    card = _read_card(folder / CARD)
    tensors, metadata, sha256 = _read_weights(folder / WEIGHTS)
    try:
        if card["weights"]["sha256"] != sha256:
            raise ModelError(
                f"{folder / WEIGHTS} has the hash {sha256[:12]}... but its card says "
                f"{str(card['weights']['sha256'])[:12]}...; expected the file that was saved with the card; "
                f"copy the whole model again"
            )
        return _assembled(card, tensors, metadata)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{folder / CARD} is damaged ({type(error).__name__}: {error}); expected the card of one whole model; "
            f"copy the model again"
        ) from error


def _format(model: TrainedModel) -> str:
    used = model.recalibration
    if isinstance(model.posterior, Ensemble):
        return FORMAT_OF_ENSEMBLES
    if model.leverage is not None and not model.leverage.counts_all:
        return FORMAT_WITH_CHOICE
    if model.sharp is not None:
        return FORMAT_WITH_BONDS
    if used is not None and used.leverage > 0 and used.beyond > 0:
        return FORMAT_WITH_EXCESS
    return FORMAT if model.leverage is None else FORMAT_WITH_LEVERAGE


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{path} is not a readable model card ({error}); expected a folder with {CARD} and {WEIGHTS}, as "
            f"`rhoscale train` writes it; check the path"
        ) from error
    if card.get("format") not in FORMATS:
        raise FormatError(
            f"{path} has format {card.get('format')!r}; expected {', '.join(FORMATS)}; check the path, or use a newer "
            f"version of rhoscale"
        )
    return card


def _read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str], str]:
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return tensors, dict(file.metadata() or {}), sha256
    except (OSError, SafetensorError) as error:
        raise FormatError(
            f"{path} is not a readable weights file ({error}); expected the whole file beside {CARD}; "
            f"copy the model again"
        ) from error


_CORE = (
    "name",
    "functional",
    "compute_spacing",
    "label_spacing",
    "sharp",
    "network",
    "posterior",
    "scaling",
    "descriptor",
    "prior_mean",
    "pseudopotentials",
    "range",
    "recalibration",
    "leverage",
)


def _core(model: TrainedModel) -> dict[str, Any]:
    core: dict[str, Any] = {
        "name": model.name,
        "functional": model.functional,
        "compute_spacing": float(model.compute_spacing),
        "label_spacing": model.label_spacing,
        "sharp": None if model.sharp is None else _sharp_card(model.sharp),
        "network": model.network.to_dict(),
        "posterior": _posterior_card(model.posterior),
        "scaling": {"shift": model.scaling.shift, "scale": model.scaling.scale},
        "descriptor": dict(model.descriptor_spec),
        "prior_mean": {"kind": model.prior_mean, "sha256": _arrays_hash(model.prior_arrays)},
        "pseudopotentials": {e: p.to_dict() for e, p in sorted(model.pseudopotentials.items())},
        "range": dict(model.range),
        "recalibration": None if model.recalibration is None else model.recalibration.to_dict(),
        "leverage": None if model.leverage is None else {"sha256": _arrays_hash(model.leverage.to_arrays())},
    }
    return dict(plain(core))


def _tensors(model: TrainedModel) -> dict[str, torch.Tensor]:
    parts = {
        **_posterior_parts(model.posterior),
        "feature": {"mean": model.scaling.feature_mean, "deviation": model.scaling.feature_deviation},
        "prior": {name: torch.from_numpy(np.array(values)) for name, values in model.prior_arrays.items()},
        "sharp": {}
        if model.sharp is None
        else {name: torch.from_numpy(np.array(values)) for name, values in model.sharp.to_arrays().items()},
        "leverage": {}
        if model.leverage is None
        else {name: torch.from_numpy(values) for name, values in model.leverage.to_arrays().items()},
    }
    return {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, tensors in parts.items()
        for name, tensor in tensors.items()
    }


def _assembled(
    card: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> TrainedModel:
    if metadata.get("card") != content_hash({key: value for key, value in card.items() if key in _CORE}):
        raise ModelError(
            f"the card of model {card['name']!r} was edited, or belongs to other weights; expected the tables that "
            f"were saved (only [card] may be changed); restore it or train again"
        )
    parts: defaultdict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = tensor
    network = DenseNet.from_dict(card["network"])
    posterior = _posterior(card["posterior"], parts)
    for point in posterior.points:
        if {name: tuple(tensor.shape) for name, tensor in point.items()} != network.parameter_shapes:
            raise ModelError(f"the weights of model {card['name']!r} do not fit its network {network}; copy it again")
    prior_arrays = {name: tensor.numpy() for name, tensor in parts["prior"].items()}
    kind = card["prior_mean"]["kind"]
    if kind not in PRIOR_MEANS or card["prior_mean"].get("sha256") != _arrays_hash(prior_arrays):
        raise ModelError(
            f"the tables of the prior mean {kind!r} of model {card['name']!r} are not those it was trained with; "
            f"expected hash {card['prior_mean'].get('sha256')}; copy the whole model again"
        )
    leverage_arrays = {name: tensor.numpy() for name, tensor in parts["leverage"].items()}
    if card.get("leverage") != ({"sha256": _arrays_hash(leverage_arrays)} if leverage_arrays else None):
        raise ModelError(
            f"the range of features of model {card['name']!r} is not the one that it was trained with; copy the whole "
            f"model again"
        )
    recalibration = card.get("recalibration")
    return TrainedModel(
        name=card["name"],
        network=network,
        posterior=posterior,
        scaling=Scaling(parts["feature"]["mean"], parts["feature"]["deviation"], **card["scaling"]),
        descriptor_spec=card["descriptor"],
        pseudopotentials={e: PseudopotentialIdentity.from_dict(p) for e, p in card["pseudopotentials"].items()},
        functional=card["functional"],
        compute_spacing=card["compute_spacing"],
        label_spacing=card.get("label_spacing"),
        sharp=_sharp_part(card, {name: tensor.numpy() for name, tensor in parts["sharp"].items()}),
        prior_mean=kind,
        prior_arrays=prior_arrays,
        range=card.get("range", {}),
        recalibration=None if recalibration is None else Recalibration.from_dict(recalibration),
        leverage=Leverage.from_arrays(leverage_arrays) if leverage_arrays else None,
        card=card.get("card", {}),
    )


def _posterior_card(posterior: MeanField | Ensemble) -> dict[str, Any]:
    if isinstance(posterior, Ensemble):
        return {"kind": "ensemble", "members": len(posterior.members)}
    return {"kind": "mean-field", "stochastic": len(posterior.log_deviations)}


def _posterior_parts(posterior: MeanField | Ensemble) -> dict[str, dict[str, torch.Tensor]]:
    if isinstance(posterior, Ensemble):
        return {f"member-{number}": member for number, member in enumerate(posterior.members)}
    return {"mean": posterior.means, "log_deviation": posterior.log_deviations}


def _posterior(said: Mapping[str, Any], parts: Mapping[str, dict[str, torch.Tensor]]) -> MeanField | Ensemble:
    if said["kind"] == "ensemble":
        return Ensemble(tuple(parts[f"member-{number}"] for number in range(said["members"])))
    return MeanField(parts["mean"], parts["log_deviation"])


def _sharp_card(part: SharpPart) -> dict[str, Any]:
    return {"elements": list(part.elements), "sha256": _arrays_hash(part.to_arrays())}


def _sharp_part(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SharpPart | None:
    said = card.get("sharp")
    if not said:
        return None
    if card["format"] in _OLDER:  # a table for each element
        return SharpPart.of_tables({e: AtomicDensityTable.from_parts(arrays[e], meta) for e, meta in said.items()})
    part = SharpPart(tuple(said["elements"]), **arrays)
    if said != _sharp_card(part):
        raise ModelError(
            f"the sharp part of model {card['name']!r} is not the one that it was saved with; copy the whole model "
            f"again"
        )
    return part


def _arrays_hash(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {values.dtype.str} {values.shape};".encode() + values.tobytes())
    return digest.hexdigest()
