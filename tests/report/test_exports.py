"""Exports, each read back as its own reader would: sums stay the totals, and every field is what the format says."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from fsprobe.model.profile import Profile
from fsprobe.model.rows import Row, TimelineRow
from fsprobe.report import exports
from tests.report.profiles import bare, changed, hand_built, hostile

PROFILES = {"hand_built": hand_built, "bare": bare, "hostile": hostile}


@pytest.fixture(params=sorted(PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    return PROFILES[request.param]()


def own_total(profile: Profile, name: str) -> float:
    rows: Sequence[Row] = profile.metrics.by_module or profile.metrics.by_package
    return sum(getattr(row, name) or 0 for row in rows)


def test_folded_stacks_sum_to_the_total(profile: Profile) -> None:
    total = 0
    for line in exports.folded(profile).splitlines():
        stack, _, n = line.rpartition(" ")
        assert n.isdigit()
        assert all(stack.split(";"))
        total += int(n)
    assert total == own_total(profile, "n_metadata")


def test_folded_stacks_go_from_the_importer_to_the_imported() -> None:
    lines = exports.folded(hand_built()).splitlines()
    assert "big;big.core 25" in lines
    assert "big;small 10" in lines
    assert "a.b;a 10" in lines
    assert "(program) 20" in lines
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == hand_built().metrics.n_metadata


def check_speedscope(document: dict[str, Any]) -> None:
    """What speedscope's file-format-schema.json demands of a file with sampled profiles."""
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(document) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    assert isinstance(document["name"], str)
    assert isinstance(document["exporter"], str)
    frames = document["shared"]["frames"]
    for frame in frames:
        assert isinstance(frame["name"], str)
        assert set(frame) <= {"name", "file", "line", "col"}
    for made in document["profiles"]:
        assert set(made) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert made["type"] == "sampled"
        assert made["unit"] in {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}
        assert len(made["samples"]) == len(made["weights"])
        assert all(0 <= at < len(frames) for sample in made["samples"] for at in sample)
        assert sum(made["weights"]) == pytest.approx(made["endValue"] - made["startValue"])
    assert 0 <= document["activeProfileIndex"] < len(document["profiles"])


def test_speedscope_is_what_its_schema_says_and_sums_to_the_totals(profile: Profile) -> None:
    document = json.loads(exports.speedscope(profile))
    check_speedscope(document)
    ends = {made["name"]: made["endValue"] for made in document["profiles"]}
    assert ends["metadata calls"] == own_total(profile, "n_metadata")
    assert ends["failed lookups (not found)"] == own_total(profile, "n_not_found")
    has_times = profile.metrics.by_module is not None
    assert ("time in metadata calls" in ends) == has_times


def test_chrome_trace_has_spans_and_counters_in_microseconds() -> None:
    document = json.loads(exports.chrome_trace(hand_built()))
    events = document["traceEvents"]
    for event in events:
        assert event["ph"] in {"M", "X", "C"}
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
        if event["ph"] != "M":
            assert isinstance(event["ts"], int)
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0
            assert isinstance(event["tid"], int)
        if event["ph"] == "C":
            assert all(isinstance(n, int) for n in event["args"].values())
    spans = [(e["name"], e["ts"], e["dur"], e["args"]["calls"]) for e in events if e["ph"] == "X"]
    assert sorted(spans) == [
        ("import", 0, 200_000, 50),
        ("import", 1_200_000, 100_000, 20),
        ("init", 0, 100_000, 20),
        ("run", 1_200_000, 100_000, 10),
    ]
    counters = {e["ts"]: sum(e["args"].values()) for e in events if e["ph"] == "C"}
    # the pause begins with a zero, or a viewer would draw the last value on
    assert counters == {0: 50, 100_000: 20, 200_000: 0, 1_200_000: 30, 1_300_000: 0}


def test_chrome_trace_of_a_recording_without_times_is_valid_and_empty() -> None:
    events = json.loads(exports.chrome_trace(bare()))["traceEvents"]
    assert {event["ph"] for event in events} == {"M"}


def test_csv_read_back_by_pandas_has_groupings_that_sum_to_the_total() -> None:
    profile = hand_built()
    table = pd.read_csv(io.StringIO(exports.csv(profile)), keep_default_na=False, na_values=[""])
    total = table[table.grouping == "total"].iloc[0]
    for grouping in ("phase", "module", "package", "mount", "process", "path"):
        rows = table[table.grouping == grouping]
        for name in ("n_open", "n_stat", "n_list", "n_not_found", "n_metadata"):
            assert rows[name].sum() == total[name] == getattr(profile.metrics, name), (grouping, name)
    assert table[table.grouping == "timeline"].n_metadata.sum() == 100
    assert table[table.grouping == "not_found"].n_not_found.sum() == total.n_not_found
    assert table[table.grouping == "syscall"].n_calls.sum() == 90
    mount = table[(table.grouping == "mount") & (table.key == "/project")].iloc[0]
    assert (mount.n_requests, mount.p50_ms, mount.fs_class) == (100, 0.8, "network")
    assert total.n_requests == 100  # /proc has no server
    parents = table[table.grouping == "module"].set_index("key").parent
    assert parents["big.core"] == "big"
    assert pd.isna(parents["big"])


def test_csv_has_a_line_for_each_row_and_a_module_called_nan_stays_one() -> None:
    rows = hostile().metrics.by_module
    assert rows is not None
    profile = changed(hostile(), metrics__by_module=(changed(rows[0], key="nan"), *rows[1:]))
    text = exports.csv(profile)
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    assert len(text.splitlines()) == len(table) + 1
    assert "nan" in set(table.key)
    assert re.search(r"line\\x0abreak", text)


def test_bins_of_a_long_run_are_as_wide_as_the_timelines_steps() -> None:
    rows = (TimelineRow(t_s=0.0, by_phase={"run": 5}), TimelineRow(t_s=0.4, by_phase={"run": 5}))
    profile = changed(hand_built(), metrics__timeline=rows, metrics__timeline_step_s=0.4)
    events = json.loads(exports.chrome_trace(profile))["traceEvents"]
    assert [(e["ts"], e["dur"], e["args"]["calls"]) for e in events if e["ph"] == "X"] == [(0, 800_000, 10)]


def test_csv_leaves_empty_what_was_not_observed() -> None:
    table = pd.read_csv(io.StringIO(exports.csv(bare())), keep_default_na=False, na_values=[""])
    assert table.time_s.isna().all()
    assert table.n_requests.isna().all()
    assert "module" not in set(table.grouping)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1+1", "\r=1"])
def test_no_name_is_a_formula_in_a_table(name: str) -> None:
    """A spreadsheet calculates what begins with one of these, and some of it starts programs."""
    rows = hand_built().metrics.by_module
    assert rows is not None
    profile = changed(hand_built(), metrics__by_module=(changed(rows[0], key=name, parent=name), *rows[1:]))
    cells = [cell for line in csv.reader(io.StringIO(exports.csv(profile))) for cell in line]
    assert any(name.strip() in cell for cell in cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell]
