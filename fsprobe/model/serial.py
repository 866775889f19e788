"""Values as JSON and back: made of the dataclasses' own fields, so that the schema, the writer and the reader can't differ.

A value is a frozen dataclass whose fields are numbers, text, booleans, None, other values, tuples of one type, or tables from
text to one type. Names of properties in its `DERIVED` are written beside the fields, for scripts; they are computed and never
read back. `from_json(cls, to_json(value)) == value` for each such value.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar, get_args, get_origin

T = TypeVar("T")
MAX_INT = 1 << 63
"""What no counter reaches, and what other readers of JSON can't hold."""

BLOCK = 8192
"""Numbers, names and signs of a text that are put together at once."""


class Misfit(ValueError):
    """JSON that is not as the type wants it; the message says where it differs first."""


def to_json(value: Any) -> Any:
    """A value as JSON: objects, lists, numbers, text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = {name: to_json(getattr(value, name)) for name in fields_of(type(value))}
        made.update((name, to_json(getattr(value, name))) for name in derived_of(type(value)))
        return made
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(inner) for inner in value]
    return value


def encoded(value: Any, *, ensure_ascii: bool = True) -> Iterator[str]:
    """The JSON of a value, indented, in blocks: a job has a row for each rank, and its text is far larger than they are."""
    pieces = json.JSONEncoder(indent=1, ensure_ascii=ensure_ascii, default=_outer).iterencode(value)
    while block := "".join(islice(pieces, BLOCK)):
        yield block


def _outer(value: Any) -> Any:
    """One layer of a value as JSON; the encoder asks for what lies in it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (*fields_of(type(value)), *derived_of(type(value)))
        return {name: getattr(value, name) for name in names}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def from_json(cls: type[T], data: Any) -> T:
    """Read a value; what is not named in the type is left out, what is not there takes its default.

    Raises:
        Misfit: something has another type, or is missing and has no default.
    """
    made = _read(cls, data, "")
    assert isinstance(made, cls)
    return made


@functools.cache
def fields_of(cls: type) -> Mapping[str, Any]:
    """Field name -> type, in order."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@functools.cache
def derived_of(cls: type) -> Mapping[str, Any]:
    """Name -> type of the properties that are written beside the fields."""
    found = {}
    for name in getattr(cls, "DERIVED", ()):
        getter = getattr(cls, name).fget
        found[name] = typing.get_type_hints(getter)["return"]
    return found


@functools.cache
def _required(cls: type) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing)


def _read(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return _free(data, where, 0)
    if dataclasses.is_dataclass(kind):
        return _read_value(kind, data, where)
    origin, words = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if data is None and type(None) in words:
            return None
        return _read(next(word for word in words if word is not type(None)), data, where)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise Misfit(f"{where or 'it'} is no list")
        return tuple(_read(words[0], inner, f"{where}[{i}]") for i, inner in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _read(words[1], inner, f"{where}.{key}") for key, inner in _object(data, where).items()}
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return data
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise Misfit(f"{where or 'it'} is no {kind.__name__}")
    return _bounded(data, where)


def _read_value(cls: Any, data: Any, where: str) -> Any:
    table = _object(data, where)
    found = {}
    for name, kind in fields_of(cls).items():
        if name in table:
            found[name] = _read(kind, table[name], f"{where}.{name}" if where else name)
        elif name in _required(cls):
            raise Misfit(f"{where + '.' if where else ''}{name} is missing")
    return cls(**found)


def _object(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise Misfit(f"{where or 'it'} is no object")
    for key in data:
        _bounded(key, where)
    return data


def _bounded(data: Any, where: str) -> Any:
    if isinstance(data, float) and not math.isfinite(data):
        raise Misfit(f"{where or 'it'} is no number")
    if isinstance(data, int) and abs(data) >= MAX_INT:
        raise Misfit(f"{where or 'it'} is too large")
    if isinstance(data, str):
        try:
            data.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise Misfit(f"{where or 'it'} is no text") from None
    return data


def _free(data: Any, where: str, depth: int) -> Any:
    if depth > 20:
        raise Misfit(f"{where or 'it'} is nested too deep")
    if isinstance(data, Mapping):
        return {key: _free(inner, f"{where}.{key}", depth + 1) for key, inner in _object(data, where).items()}
    if isinstance(data, list | tuple):
        return [_free(inner, f"{where}[{i}]", depth + 1) for i, inner in enumerate(data)]
    if data is not None and not isinstance(data, str | int | float):
        raise Misfit(f"{where or 'it'} is no JSON")
    return _bounded(data, where)
