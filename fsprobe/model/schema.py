"""JSON Schemas of what fsprobe writes, made of the types themselves.

    python -m fsprobe.model.schema docs/schema

writes one file a kind.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from fsprobe.model.answers import Check, WhatIf
from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.model.serial import derived_of, fields_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each kind by its name."""
    job = {"kind": {"const": "job"}, "job": {"$ref": "#/$defs/Job"}}
    return {
        "recording": schema(Profile, "The profile of a run", {"kind": {"const": "recording"}, "job": {"type": "null"}}),
        "job": schema(Profile, "The profile of a job", job),
        "comparison": schema(Comparison, "A comparison", {"kind": {"const": "comparison"}}),
        "check": schema(Check, "What `fsprobe check` answers", {"kind": {"const": "check"}}),
        "whatif": schema(WhatIf, "What `fsprobe whatif` answers", {"kind": {"const": "whatif"}}),
    }


def schema(cls: type, title: str, narrowed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON Schema of what `to_json` makes of a type.

    Args:
        cls: the type.
        title: what it is, in words.
        narrowed: what properties of it are in particular.
    """
    named: dict[str, Any] = {}
    _schema_of(cls, named)
    top = named.pop(cls.__name__)
    top["properties"] = {**top["properties"], **(narrowed or {})}
    return {"$schema": DIALECT, "title": title, **top, "$defs": dict(sorted(named.items()))}


def _schema_of(kind: Any, named: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        if kind.__name__ not in named:
            named[kind.__name__] = {}
            every = {**fields_of(kind), **derived_of(kind)}
            named[kind.__name__] = {
                "type": "object",
                "description": (kind.__doc__ or "").strip().split("\n")[0],
                "properties": {key: _schema_of(inner, named) for key, inner in every.items()},
                "required": list(every),
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, words = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema_of(word, named) for word in words]}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(words[0], named)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema_of(words[1], named)}
    return {"type": _PLAIN[kind]}


def as_text(made: Mapping[str, Any]) -> str:
    """A schema as its file holds it."""
    return json.dumps(made, indent=1) + "\n"


def main(directory: str) -> None:
    """Write all schemas."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    for name, made in schemas().items():
        (place / f"{name}.schema.json").write_text(as_text(made), encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1])
