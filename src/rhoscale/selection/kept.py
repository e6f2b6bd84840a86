"""Scores that outlive their run: one small JSON file each, named by everything that the score depends on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhoscale.descriptors import DescriptorSpec
from rhoscale.errors import FormatError
from rhoscale.formats.whole_file import whole_file

Told = Callable[[DescriptorSpec, float, float | None], None]


@dataclass(frozen=True)
class KeptScores:
    """A score that is computed once for each specification and then read.

    Attributes:
        score: Specification -> error.
        folder: Of the files; must exist.
        context: All that the score depends on beside the specification, as plain values.
        told: Called with the specification, its error and the seconds that it took; None if it was kept.
    """

    score: Callable[[Any], float]
    folder: Path
    context: Mapping[str, Any]
    told: Told = lambda *_: None

    def __call__(self, spec: DescriptorSpec) -> float:
        """Compute the error, or read it.

        Raises:
            FormatError: A file is damaged.
        """
        path = self.path_of(spec)
        if path.exists():
            error, seconds = _read(path), None
        else:
            started = time.monotonic()
            error = float(self.score(spec))
            seconds = time.monotonic() - started
            values = {"error": error, "spec": spec.to_dict(), "context": dict(self.context), "seconds": seconds}
            with whole_file(path, force=True) as file:
                file.write(json.dumps(values, indent=1).encode())
        self.told(spec, error, seconds)
        return error

    def path_of(self, spec: DescriptorSpec) -> Path:
        """File of a specification's score. The reach says where atoms are looked for, not what the features are."""
        values = {k: v for k, v in spec.to_dict().items() if k != "reach"}
        text = json.dumps({"spec": values, "context": dict(self.context)}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["error"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} holds no score ({error}); expected JSON with an error; remove the file") from error
