"""Write plain values as TOML, for cards that people read and Python's own parser reads back."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rhoscale.errors import InputError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(values: Mapping[str, Any]) -> str:
    """Write nested tables; entries that are None are left out, floats keep all their digits.

    Raises:
        InputError: A value has no TOML form.
    """
    lines: list[str] = []
    _write_table(values, (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def content_hash(values: Mapping[str, Any]) -> str:
    """SHA-256 of nested plain values; the order of keys does not count."""
    text = json.dumps(plain(values), sort_keys=True, ensure_ascii=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """The value as TOML gives it back: dictionaries, lists, strings, numbers; NumPy scalars become Python's."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Sequence):
        return [plain(v) for v in value]
    raise InputError(
        f"a card cannot hold {value!r} of type {type(value).__name__}; expected text, numbers, lists or tables of "
        f"them; convert it first"
    )


def _write_table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    entries = plain(values)
    scalars = {k: v for k, v in entries.items() if not isinstance(v, dict)}
    if path and (scalars or not entries):
        lines.append("")
        lines.append(f"[{'.'.join(_key(p) for p in path)}]")
    lines.extend(f"{_key(k)} = {_value(v)}" for k, v in scalars.items())
    for key, table in entries.items():
        if isinstance(table, dict):
            _write_table(table, (*path, key), lines)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("nan" if math.isnan(value) else f"{value:+}")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(_value(v) for v in value) + "]"
