"""Jobs and comparisons as files: of format 1 upgraded, of format 2 as they were written, anything else refused."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsprobe.errors import BadInput
from fsprobe.model.comparison import Comparison
from fsprobe.model.profile import Profile
from fsprobe.model.serial import to_json
from fsprobe.recording.file import Recording, write
from fsprobe.recording.stored import as_section, stored
from tests.model.test_serial import parts_of
from tests.model.values import JSON

FORMAT1 = Path(__file__).parents[1] / "data" / "format1"
JOBS = ("job.fsprobe", "job2.fsprobe", "job-stream.fsprobe")
CALLS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")
KINDS = ("launch", "loader", "init", "site", "import", "run")


def old(name: str) -> dict[str, Any]:
    """The JSON of a file of format 1, read without fsprobe."""
    data = (FORMAT1 / name).read_bytes()
    begin = data.index(b"{")
    return dict(json.JSONDecoder().raw_decode(data[begin:].decode("latin-1"))[0])


def read_job(name: str) -> Profile:
    profile = stored(Recording(str(FORMAT1 / name)))
    assert isinstance(profile, Profile)
    return profile


@pytest.mark.parametrize("name", JOBS)
def test_a_job_of_format_1_keeps_every_number(name: str) -> None:
    before, profile = old(name), read_job(name)
    metrics = before["metrics"]
    assert (profile.format, before["format"]) == (2, 1)
    assert profile.metrics.n_metadata == metrics["n_metadata"]
    assert profile.metrics.n_startup == metrics["n_startup"]
    assert profile.metrics.time_s == metrics["fs_time_s"]
    assert profile.metrics.tracing_overhead_us == metrics["tracer_floor_us"]
    assert profile.metrics.share_of_wall == metrics["share_fs_time_at_most"]
    for table in ("by_phase", "by_module", "by_package", "by_mount", "by_process", "by_path"):
        rows = getattr(profile.metrics, table)
        assert [(row.n_metadata, row.n_not_found) for row in rows] == [
            (row["n_metadata"], row["n_missing"]) for row in metrics[table]
        ]
        names = {"(not in an import)": "(program)"}
        assert [row.key for row in rows] == [names.get(row["key"], row["key"]) for row in metrics[table]]
    assert [(row.reason, row.n) for row in profile.metrics.not_found] == [
        (row["reason"], row["n"]) for row in metrics["missing"]
    ]
    assert [row.n_metadata for row in profile.metrics.timeline] == [
        sum(row.get(phase, 0) for phase in KINDS) for row in metrics["timeline"]
    ]
    assert profile.metrics.n_processes == before["job"]["n_recordings"]
    assert profile.quality.n_own_calls == sum(before["quality"]["own"].values())


@pytest.mark.parametrize("name", JOBS)
def test_a_job_of_format_1_is_the_sum_of_its_nodes_and_ranks(name: str) -> None:
    profile = read_job(name)
    assert profile.job is not None
    for rows in (profile.job.ranks, profile.job.nodes):
        for count in CALLS:
            assert sum(getattr(row, count) for row in rows) == getattr(profile.metrics, count)
    assert profile.job.n_recordings == old(name)["job"]["n_recordings"]
    assert profile.job.absent.n == old(name)["job"]["missing"]["n"]
    assert set(profile.job.spread.observed) >= {"n_not_found", "time_s"}
    if profile.requests is not None:
        table, classes = (
            old(name)["requests"]["by_mount"],
            {row["key"]: row["fs_class"] for row in old(name)["metrics"]["by_mount"]},
        )
        left = [row["metadata"] for key, row in table.items() if classes[key] not in ("image", "memory", "pseudo")]
        assert profile.n_requests == sum(left)
        assert profile.requests.total.n_metadata == sum(row["metadata"] for row in table.values())


def test_a_comparison_of_format_1() -> None:
    before, comparison = old("comparison.fsprobe"), stored(Recording(str(FORMAT1 / "comparison.fsprobe")))
    assert isinstance(comparison, Comparison)
    assert len(comparison.rows) == len(before["rows"])
    for row, was in zip(comparison.rows, before["rows"], strict=True):
        assert (row.layout, row.kind, row.cache) == (was["layout"], was["kind"], was["cache"])
        assert row.metrics.n_metadata == was["metrics"]["n_metadata"]
        assert row.n_requests == was["requests"]["environment"]
        assert row.requests is not None
        assert {asked.key: asked.n_metadata for asked in row.requests} == {
            key: asked["metadata"] for key, asked in was["requests"].items() if key.startswith("/")
        }
        assert row.wall_s is not None
        assert list(row.wall_s.runs) == was["wall_s"]["runs"]
    assert list(comparison.order) == [tuple(run) for run in before["order"]]


@pytest.mark.parametrize("name", [*JOBS, "comparison.fsprobe"])
def test_written_again_it_is_the_same(name: str, tmp_path: Path) -> None:
    opened = Recording(str(FORMAT1 / name))
    value = stored(opened)
    write(str(tmp_path / "new"), opened.kind, [("manifest", as_section(value))])
    assert stored(Recording(str(tmp_path / "new"))) == value


def test_nodes_requests_that_only_the_sum_of_all_mounts_is_known_of_are_not_observed(tmp_path: Path) -> None:
    data = old("job.fsprobe")
    assert [node["requests"]["metadata"] for node in data["job"]["nodes"]] == [220, 220]
    profile = read_job("job.fsprobe")
    assert profile.job is not None
    assert [node.requests for node in profile.job.nodes] == [None, None]  # /home is a tmpfs
    for row in data["metrics"]["by_mount"]:
        row["fs_class"] = "local"
    write(str(tmp_path / "x"), "job", [("manifest", json.dumps(data).encode())], 1)
    profile = stored(Recording(str(tmp_path / "x")))  # type: ignore[assignment]
    assert profile.job is not None
    assert [node.n_requests for node in profile.job.nodes] == [220, 220]
    assert profile.n_requests == 440


@pytest.mark.parametrize(
    ("kind", "manifest", "where"),
    [
        ("comparison", {"kind": "comparison", "rows": []}, "rows is empty"),
        ("comparison", {}, "rows is empty"),
        ("comparison", {"rows": {}}, "rows is no list"),
        ("comparison", {"rows": [{}]}, "layout is missing"),
        ("comparison", {"rows": [{"layout": "a"}], "baseline": "b"}, "baseline"),
        ("comparison", {"rows": [{"layout": "a", "wall_s": 3}], "baseline": "a"}, "rows[0].wall_s is no object"),
        ("job", {}, "job is missing"),
        ("job", {"kind": "job", "job": {}}, "job.ranks is empty"),
        ("job", {"kind": "job", "job": {"ranks": [{"key": "r"}]}}, "job.nodes is empty"),
        ("job", {"kind": "job", "job": []}, "job is no object"),
        ("job", {"kind": "recording", "metrics": {"by_path": 1}}, "metrics.by_path is no list"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_what_fsprobe_does_not_write(
    kind: str, manifest: dict[str, Any], where: str, version: int, tmp_path: Path
) -> None:
    write(str(tmp_path / "x"), kind, [("manifest", json.dumps(manifest).encode())], version)
    with pytest.raises(BadInput) as caught:
        stored(Recording(str(tmp_path / "x")))
    assert where in caught.value.message
    assert caught.value.hint


def test_a_recording_is_no_stored_value() -> None:
    with pytest.raises(BadInput, match="is a recording"):
        stored(Recording(str(FORMAT1 / "run-time.fsprobe")))


@cache
def as_written(name: str, version: int) -> tuple[str, Any]:
    """Kind and manifest of a stored file, as each format has it."""
    opened = Recording(str(FORMAT1 / name))
    return opened.kind, opened.manifest if version == 1 else to_json(stored(opened))


@pytest.mark.parametrize("name", [*JOBS, "comparison.fsprobe"])
@pytest.mark.parametrize("version", [1, 2])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**32), odd=JSON)
def test_any_part_replaced_is_read_or_refused(name: str, version: int, seed: int, odd: Any, tmp_path: Path) -> None:
    kind, whole = as_written(name, version)
    data = copy.deepcopy(whole)
    place, key = random.Random(seed).choice(list(parts_of(data)))
    place[key] = odd
    write(str(tmp_path / "x"), kind, [("manifest", json.dumps(data).encode())], version)
    try:
        stored(Recording(str(tmp_path / "x")))
    except BadInput as error:
        assert error.hint  # noqa: PT017


@pytest.mark.parametrize("odd", [[], {}, 3])
def test_a_mount_s_class_of_another_type_is_refused(odd: Any, tmp_path: Path) -> None:
    opened = Recording(str(FORMAT1 / "job.fsprobe"))
    data = copy.deepcopy(opened.manifest)
    for row in data["metrics"]["by_mount"]:
        row["fs_class"] = odd
    write(str(tmp_path / "x"), opened.kind, [("manifest", json.dumps(data).encode())], 1)
    with pytest.raises(BadInput):
        stored(Recording(str(tmp_path / "x")))
