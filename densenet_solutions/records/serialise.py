"""Results (frozen dataclasses) to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Turn a result (or any nesting of results, mappings and sequences) into plain JSON data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"results hold numbers, text, sequences and mappings, got {type(value)!r}")


def from_json(kind: type[T], data: Any) -> T:
    """Rebuild a result of type `kind` from what `to_json` made of it.

    Raises:
        ValueError: a field is missing or unknown.
    """
    return typing.cast(T, _build(kind, data, kind.__name__))


def _build(kind: Any, data: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        return _build(next(arg for arg in args if arg is not type(None)), data, where)
    if dataclasses.is_dataclass(kind):
        fields = {f.name: f for f in dataclasses.fields(kind)}
        unknown = set(data) - set(fields)
        missing = {
            name
            for name, f in fields.items()
            if f.default is f.default_factory is dataclasses.MISSING and name not in data
        }
        if unknown or missing:
            raise ValueError(
                f"{where} has the fields {sorted(fields)}; "
                f"got unknown {sorted(unknown)}, missing {sorted(missing)}"
            )
        hints = typing.get_type_hints(kind)
        make = typing.cast(Callable[..., Any], kind)
        return make(**{name: _build(hints[name], data[name], f"{where}.{name}") for name in data})
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_build(args[0], item, where) for item in data)
        return tuple(_build(arg, item, where) for arg, item in zip(args, data, strict=True))
    if origin is list:
        return [_build(args[0], item, where) for item in data]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _build(args[1], item, where) for key, item in data.items()}
    if kind is float and isinstance(data, int):
        return float(data)
    return data


def dumps(value: Any) -> str:
    """JSON text of a result, stable in order and ending in a newline."""
    return json.dumps(to_json(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
