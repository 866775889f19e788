"""`from_json` is the exact inverse of `to_json`, and refuses everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsprobe.model.answers import Check, WhatIf
from fsprobe.model.comparison import Comparison
from fsprobe.model.job import Job
from fsprobe.model.profile import Metrics, Profile
from fsprobe.model.rows import Row
from fsprobe.model.serial import Misfit, encoded, fields_of, from_json, to_json
from tests.model.values import JSON, values

TYPES = (Profile, Comparison, Job, Check, WhatIf)
SLOW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("cls", TYPES)
@SLOW
@given(data=st.data())
def test_there_and_back_again_by_way_of_text(cls: type, data: st.DataObject) -> None:
    value = data.draw(values(cls))
    written = json.dumps(to_json(value))
    read = from_json(cls, json.loads(written))
    assert read == value
    assert json.dumps(to_json(read)) == written
    assert "".join(encoded(value)) == json.dumps(to_json(value), indent=1)


@pytest.mark.parametrize("cls", TYPES)
@SLOW
@given(data=st.data())
def test_one_part_of_another_type_is_refused_or_read_as_it_is(cls: type, data: st.DataObject) -> None:
    made = to_json(data.draw(values(cls)))
    place, key = data.draw(st.sampled_from(list(parts_of(made))))
    place[key] = data.draw(JSON)
    try:
        read = from_json(cls, made)
    except Misfit:
        return
    assert from_json(cls, to_json(read)) == read


def parts_of(value: Any) -> Any:
    """Where something can be replaced: (container, key or index)."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from parts_of(inner)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ([], "it is no object"),
        ({"metrics": {"by_phase": [{"key": "x"}, {}]}}, "metrics.by_phase[1].key is missing"),
        ({"metrics": {"n_open": "7"}}, "metrics.n_open is no int"),
        ({"metrics": {"n_open": True}}, "metrics.n_open is no int"),
        ({"metrics": {"n_open": 1 << 63}}, "metrics.n_open is too large"),
        ({"metrics": {"timeline_step_s": float("nan")}}, "metrics.timeline_step_s is no number"),
        ({"manifest": {"label": "\ud800"}}, "manifest.label is no text"),
        ({"manifest": {"job": {"A": 1}}}, "manifest.job.A is no str"),
        ({"findings": {}}, "findings is no list"),
    ],
)
def test_the_first_misfit_is_named(data: Any, where: str) -> None:
    with pytest.raises(Misfit) as caught:
        from_json(Profile, data)
    assert str(caught.value) == where


def test_totals_are_written_and_never_read() -> None:
    metrics = Metrics(n_open=2, n_stat=3, by_phase=(Row(key="import", n_stat=1), Row(key="run", n_open=4)))
    made = to_json(metrics)
    assert (made["n_metadata"], made["n_startup"]) == (5, 1)
    made["n_metadata"] = 99
    assert from_json(Metrics, made) == metrics


def test_bytes_that_are_no_text_pass() -> None:
    assert from_json(Row, json.loads(json.dumps({"key": "/data/\udcff"}))).key == "/data/\udcff"


def test_every_type_of_the_model_can_be_drawn() -> None:
    assert set(fields_of(Profile)) >= {"metrics", "manifest", "requests", "job"}
