"""Results (frozen dataclasses) to JSON and back, by cattrs."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import cattrs
from cattrs.errors import ForbiddenExtraKeysError

T = TypeVar("T")

_CONVERTER = cattrs.Converter(forbid_extra_keys=True)


def to_json(value: Any) -> Any:
    """Turn a result (or any nesting of results, mappings and sequences) into plain JSON data.

    Raises:
        TypeError: something in it is no number, text, sequence, mapping or dataclass.
        ValueError: a number is not finite.
    """
    return json.loads(dumps(value))


def from_json(kind: type[T], data: Any) -> T:
    """Rebuild a result of type `kind` from what `to_json` made of it.

    Raises:
        ValueError: a field is missing, unknown or of another type; one line for all of them.
    """
    try:
        return _CONVERTER.structure(data, kind)
    except Exception as error:  # cattrs raises groups, and what it finds on the way
        messages = cattrs.transform_error(
            error, path=getattr(kind, "__name__", str(kind)), format_exception=_message
        )
        raise ValueError("; ".join(messages)) from None


def dumps(value: Any) -> str:
    """JSON text of a result, stable in order and ending in a newline; numbers share a line."""
    plain = _CONVERTER.unstructure(value)
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return re.sub(r"\[(\n[\s\d.,eE+-]+)\]", lambda m: f"[{' '.join(m[1].split())}]", text)


def _message(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return "is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown fields {sorted(error.extra_fields)}"
    return str(error) or type(error).__name__


def _exactly(*types: type) -> Any:
    """A number stays what it is: cattrs would make `"3"` of 3, and 3 of 3.9."""

    def structure(data: Any, kind: Any) -> Any:
        if isinstance(data, bool) != (kind is bool) or not isinstance(data, types):
            raise ValueError(f"{kind.__name__} is expected, got {data!r:.60}")
        return kind(data)

    return structure


def _sequence(kind: Any) -> Any:
    """A tuple or a list, of a list alone: text is a sequence too."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)

    def structure(data: Any, _: Any) -> Any:
        if not isinstance(data, list):
            raise ValueError(f"a list is expected, got {data!r:.60}")
        same = origin is list or args[-1] is Ellipsis
        kinds = [args[0]] * len(data) if same else args
        return origin(_CONVERTER.structure(i, k) for i, k in zip(data, kinds, strict=True))

    return structure


def _mapping_by_integers(kind: Any) -> Any:
    """JSON has no keys but text: those that were integers become integers again."""
    _, values = typing.get_args(kind)

    def structure(data: Any, _: Any) -> Any:
        return {int(key): _CONVERTER.structure(item, values) for key, item in data.items()}

    return structure


def _has_integer_keys(kind: Any) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping) and args[0] is int


_CONVERTER.register_structure_hook_factory(
    lambda kind: typing.get_origin(kind) in (tuple, list), _sequence
)
_CONVERTER.register_structure_hook_factory(_has_integer_keys, _mapping_by_integers)
for _kind, _types in ((int, (int,)), (float, (int, float)), (str, (str,)), (bool, (bool,))):
    _CONVERTER.register_structure_hook(_kind, _exactly(*_types))
