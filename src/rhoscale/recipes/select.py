"""``select``: how large a descriptor pays, by its error on validation snapshots."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from rhoscale import __version__
from rhoscale.datasets.store import SnapshotStore
from rhoscale.descriptors import DescriptorSpec
from rhoscale.errors import OutputError
from rhoscale.formats.whole_file import whole_file
from rhoscale.recipes import training_data as data
from rhoscale.recipes.config import plain
from rhoscale.recipes.selection_plan import SelectConfig
from rhoscale.recipes.selection_score import SpecScore, network_score, ridge_score
from rhoscale.recipes.torch_threads import torch_threads
from rhoscale.report.selection import Curve, draw_selection
from rhoscale.selection import KeptScores, Search, select_scalar_products, select_smooth

Report = Callable[[str], None]


@dataclass(frozen=True)
class SelectReport:
    """What a selection left.

    Attributes:
        search: The choice and everything that was tried.
        folder: Scores, ``selection.json`` and ``selection.png``.
        computed: Scores that this call computed; the others were kept from before.
        seconds: Elapsed time of this call.
    """

    search: Search
    folder: Path
    computed: int
    seconds: float


def select(config: SelectConfig, *, report: Report = lambda _: None) -> SelectReport:
    """Search a family of descriptors; a killed search goes on where it was, no score is computed twice.

    Args:
        config: The recipe.
        report: Told what is going on.

    Raises:
        RhoscaleError: Of the kind that fits what is wrong with the recipe, the data or the output.
    """
    started = time.monotonic()
    train, validation = snapshots_of(config)
    scores = _make_folder(config.output / "scores")
    lazy = _Lazy(config, train, validation, report)
    computed, seen = 0, set[DescriptorSpec]()

    def told(spec: DescriptorSpec, error: float, seconds: float | None) -> None:
        nonlocal computed
        computed += seconds is not None
        if spec in seen:
            return
        seen.add(spec)
        took = "kept" if seconds is None else f"{seconds:.1f} s"
        report(f"{in_words(spec)}: {spec.size} features, RMSE {error:.3e} ({took})")

    kept = KeptScores(lazy, scores, config.context(train.content_hash, validation.content_hash), told)
    with torch_threads(1):
        search = _search(config, kept, train.elements)
    _write(config, search, train, validation)
    return SelectReport(search, config.output, computed, time.monotonic() - started)


def snapshots_of(config: SelectConfig) -> tuple[data.Labelled, data.Labelled]:
    """Training and validation snapshots of a recipe.

    Raises:
        DatasetError: There is none, or their pseudopotentials differ.
    """
    store = SnapshotStore.open(config.data.path)
    train = data.select(store, "train", config.data.train, config.data.subset)
    train = data.first(train, config.data.snapshots or len(train.records))
    return train, data.select(store, "validation", config.data.validation, config.data.subset)


def in_words(spec: DescriptorSpec) -> str:
    """The numbers of a specification in one line."""
    values = spec.to_dict()
    if spec.family == "smooth":
        radial = " + ".join(f"{s['count']} to {s['cutoff']:g}" for s in values["radial"])
        angular = "".join(f"; spectrum {s['counts']} to {s['cutoff']:g}" for s in values["angular"])
        return f"radial {radial}{angular} Bohr"
    angles = f", {values['angle_atoms']} x {values['neighbours']} cosines" if values["angle_atoms"] else ""
    return f"{values['distances']} distances{angles}"


@dataclass(frozen=True)
class _Lazy:
    """The score of a recipe; points are described when the first score is not yet known."""

    config: SelectConfig
    train: data.Labelled
    validation: data.Labelled
    report: Report

    def __call__(self, spec: DescriptorSpec) -> float:
        return self._score(spec)

    @cached_property
    def _score(self) -> SpecScore:
        largest = self.config.largest(self.train.elements)
        self.report(f"describing points by {largest.size} features")
        make = ridge_score if self.config.score == "ridge" else network_score
        return make(self.config, self.train, self.validation, largest)


def _search(config: SelectConfig, score: KeptScores, elements: tuple[str, ...]) -> Search:
    if config.smooth is not None:
        return select_smooth(score, elements, config.smooth, tolerance=config.tolerance)
    assert config.scalar_products is not None
    return select_scalar_products(score, elements, config.scalar_products, tolerance=config.tolerance)


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path} ({error}); expected a writable place; use --out") from error
    return path


def _write(config: SelectConfig, search: Search, train: data.Labelled, validation: data.Labelled) -> None:
    chosen = search.chosen
    values: dict[str, Any] = {
        "chosen": {"spec": chosen.spec.to_dict(), "features": chosen.spec.size, "rmse": chosen.error},
        "limits": list(search.limits),
        "trials": [
            {"series": t.series, "features": t.spec.size, "rmse": t.error, "spec": t.spec.to_dict()}
            for t in search.trials
        ],
        "train": train.about(),
        "validation": validation.about(),
        "recipe": plain(config) | {"output": config.output.name},
        "rhoscale": __version__,
    }
    with whole_file(config.output / "selection.json", force=True) as file:
        file.write(json.dumps(values, indent=1).encode())
    with whole_file(config.output / "selection.png", force=True) as file:
        draw_selection(file, curves_of(search), (chosen.spec.size, chosen.error), _title(config, search))


def curves_of(search: Search) -> list[Curve]:
    """Errors against numbers of features, one curve for each time that a series grew."""
    grown = groupby(search.trials, key=lambda trial: trial.series)
    return [Curve(name, [(t.spec.size, t.error) for t in trials]) for name, trials in grown]


def _title(config: SelectConfig, search: Search) -> str:
    return f"{config.name}, score {config.score}: chosen {in_words(search.chosen.spec)}"
