"""Recipes as typed values: TOML into frozen dataclasses, unknown keys refused."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from rhoscale.errors import FormatError, InputError, RhoscaleError

T = TypeVar("T")


def read_config(path: str | Path, kind: type[T]) -> T:
    """Read a TOML recipe into a dataclass.

    Args:
        path: The recipe.
        kind: A dataclass; its fields are the allowed keys, those without a default the required ones.

    Raises:
        FormatError: The file is missing or not TOML.
        InputError: A key is unknown or missing, or a value has the wrong type.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"no recipe {file}; give the path of a TOML file")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{file} is not a TOML recipe ({error}); mend that line") from error
    return config_from(values, kind, str(file))


def config_from(values: Mapping[str, Any], kind: type[T], where: str = "recipe") -> T:
    """Build a dataclass from plain values, nested tables included.

    Raises:
        InputError: A key is unknown or missing, or a value has the wrong type.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(f"{where}: unknown key {key!r}; {hint}allowed are {', '.join(fields)}")
    required = [
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and name not in values
    ]
    if required:
        raise InputError(f"{where}: missing {', '.join(required)}; expected keys are {', '.join(fields)}")
    hints = typing.get_type_hints(kind)
    converted = {key: _convert(value, hints[key], f"{where}: {key}") for key, value in values.items()}
    try:
        return kind(**converted)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def plain(config: Any, *, keep_defaults: bool = True) -> dict[str, Any]:
    """A config as nested plain values, ready for JSON; without defaults, only what differs from them.

    Leaving the defaults out keeps a hash of the result stable when a later version adds a key.
    """
    result = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if not keep_defaults and value == default:
            continue
        result[f.name] = _plain_value(value, keep_defaults)
    return result


def _plain_value(value: Any, keep_defaults: bool) -> Any:
    if dataclasses.is_dataclass(value):
        return plain(value, keep_defaults=keep_defaults)
    if isinstance(value, Mapping):
        return {str(k): _plain_value(v, keep_defaults) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain_value(v, keep_defaults) for v in value]
    return str(value) if isinstance(value, Path) else value


def _convert(value: Any, kind: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table", where)
        return config_from(value, typing.cast(type, kind), where)
    if origin is tuple:
        return _convert_tuple(value, arguments, where)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table", where)
        return {str(k): _convert(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    if origin is typing.Literal:
        if value not in arguments:
            raise _wrong(value, f"one of {', '.join(map(repr, arguments))}", where)
        return value
    return _convert_scalar(value, kind, where)


def _convert_union(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value is None:
        return None
    problems = []
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _convert(value, choice, where)
        except RhoscaleError as error:
            problems.append(error)
    raise problems[-1]


def _convert_tuple(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(value, "a list", where)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_convert(v, arguments[0], f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(arguments):
        raise _wrong(value, f"a list of {len(arguments)}", where)
    return tuple(_convert(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True)))


def _convert_scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (bool, str) and isinstance(value, kind):
        return value
    raise _wrong(value, f"a value of type {getattr(kind, '__name__', kind)}", where)


def _wrong(value: Any, expected: str, where: str) -> InputError:
    return InputError(f"{where} is {value!r}; expected {expected}; mend the recipe")
