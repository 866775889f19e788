"""Values of any dataclass of the model, drawn by its field types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

from hypothesis import strategies as st

from fsprobe.model.serial import fields_of

T = TypeVar("T")
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: TEXT,
    bool: st.booleans(),
    types.NoneType: st.none(),
}
JSON = st.recursive(
    st.one_of(*PLAIN.values()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def values(cls: type[T]) -> st.SearchStrategy[T]:
    """Any value of a dataclass, rows short enough to be drawn in no time."""
    return _of(cls)


def _of(kind: Any) -> st.SearchStrategy[Any]:
    if kind is Any:
        return JSON
    if kind in PLAIN:
        return PLAIN[kind]
    if dataclasses.is_dataclass(kind):
        return st.deferred(lambda: st.builds(kind, **{name: _of(inner) for name, inner in fields_of(kind).items()}))
    origin, words = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*map(_of, words))
    if origin is tuple:
        assert words[1] is Ellipsis, "a tuple of the model has one type"
        return st.lists(_of(words[0]), max_size=2).map(tuple)
    assert issubclass(origin, Mapping)
    return st.dictionaries(TEXT, _of(words[1]), max_size=2)
