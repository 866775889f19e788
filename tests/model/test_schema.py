"""The schemas in docs/schema are those of the types, and what fsprobe writes is as they say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsprobe.model.answers import Check, WhatIf
from fsprobe.model.comparison import Comparison
from fsprobe.model.job import Job
from fsprobe.model.profile import Profile
from fsprobe.model.schema import as_text, schemas
from fsprobe.model.serial import to_json
from tests.model.values import values

PLACE = Path(__file__).parents[2] / "docs" / "schema"
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "recording": (Profile, {"kind": "recording", "job": None}),
    "job": (Profile, {"kind": "job"}),
    "comparison": (Comparison, {"kind": "comparison"}),
    "check": (Check, {"kind": "check"}),
    "whatif": (WhatIf, {"kind": "whatif"}),
}


@cache
def validator(kind: str) -> Any:
    made = json.loads((PLACE / f"{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def test_the_committed_schemas_are_current() -> None:
    made = {f"{name}.schema.json": as_text(schema) for name, schema in schemas().items()}
    committed = {path.name: path.read_text() for path in PLACE.iterdir()}
    # of two large documents pytest would compare every part for minutes
    is_current = committed == made
    assert is_current, "run `python -m fsprobe.model.schema docs/schema`"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_value_is_as_its_schema_says(kind: str, data: st.DataObject) -> None:
    cls, narrowed = KINDS[kind]
    made = {**to_json(data.draw(values(cls))), **narrowed}
    if kind == "job":
        made["job"] = to_json(data.draw(values(Job)))
    check = validator(kind)
    check.validate(made)
    name = data.draw(st.sampled_from(sorted(made)))
    assert not check.is_valid({key: value for key, value in made.items() if key != name}), name
    assert not check.is_valid({**made, "something_else": 1})
    for other in KINDS:
        if other != kind:
            assert not validator(other).is_valid(made)
