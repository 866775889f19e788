"""Requests by the clients' own names: predicted beside counted, and what is not predictable is named, in every report."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from fsprobe.model import serial
from fsprobe.model.comparison import Comparison, LayoutCounts, LayoutRow, Spread
from fsprobe.model.manifest import Manifest, MountCounters
from fsprobe.model.profile import Profile
from fsprobe.model.requests import RequestRow, Requests
from fsprobe.report import markdown, request_facts
from fsprobe.report.html import page
from fsprobe.report.terminal import comparison as terminal_comparison
from fsprobe.report.terminal import run
from tests.report.profiles import changed, hand_built

WHY = "12 more or fewer, for access times"
NFS = RequestRow(
    key="/project",
    fs_class="network",
    fstype="nfs4",
    protocol="NFS v4.2",
    lookup=300,
    open=370,
    other=159,
    again=90,
    settling=9,
    operations={"LOOKUP": 300, "OPEN": 370, "GETATTR": 159},
    warm={"GETATTR": 99},
    steady={"GETATTR": 90},
    not_predictable={"GETATTR": WHY},
)
GPFS = RequestRow(
    key="/gpfs",
    fs_class="network",
    fstype="gpfs",
    protocol="FUSE",
    lookup=7,
    again=0,
    not_predictable={"all": "counted by FUSE's rules: those of gpfs are not known here"},
)
COUNTED = {"lookup": 301, "open": 370, "getattr": 160, "access": 4, "read": 99, "metadata": 835}


def profile(counters: dict[str, MountCounters] | None = None, *, is_predicted: bool = True) -> Profile:
    made = hand_built()
    requests = Requests(by_mount=(NFS, GPFS)) if is_predicted else None
    return replace(made, requests=requests, manifest=replace(made.manifest, counters=counters or {}))


def compared(**changes: object) -> Comparison:
    row = LayoutRow(
        layout="plain",
        cache="cold",
        metrics=LayoutCounts(),
        requests=(NFS, GPFS),
        client_counters={word: Spread(median=n, min=n, max=n) for word, n in COUNTED.items()},
        counted_mount="/project",
    )
    return Comparison(baseline="plain", counted_by="the NFS client", rows=(replace(row, **changes),))


def plain(text: str) -> str:
    """The words of a page, without markup."""
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.S)).split())


RENDERED = [
    lambda value: " ".join(run.render(value, "x.fsprobe").split()),
    lambda value: " ".join(markdown.render(value).replace("\\", "").replace("|", " ").split()),
    lambda value: plain(page.render(value)).replace("&#39;", "'"),
]


@pytest.mark.parametrize("render", RENDERED, ids=["terminal", "markdown", "html"])
def test_each_report_of_a_run_names_operations_and_what_is_not_predictable(render) -> None:  # type: ignore[no-untyped-def]
    text = render(profile())
    for word in ("829 requests by NFS v4.2's rules", "a second process of the node asks 99, each further one 90"):
        assert word in text
    for name, n in NFS.operations.items():
        assert re.search(rf"\b{name} {n}\b", text)
    assert WHY in text
    assert "7 requests counted by FUSE's rules: those of gpfs are not known here" in text
    assert "counted by the" not in text.lower()


@pytest.mark.parametrize("render", RENDERED, ids=["terminal", "markdown", "html"])
def test_counted_stands_beside_predicted(render) -> None:  # type: ignore[no-untyped-def]
    counters = {"/project": MountCounters(source="the NFS client", operations=COUNTED)}
    text = render(profile(counters))
    assert re.search(r"\bOPEN 370 (370|\(counted 370\))", text)
    assert re.search(r"\bLOOKUP 300 (301|\(counted 301\))", text)
    # what was counted and not predicted is a miss, and shown
    assert re.search(r"\bACCESS 0 (4|\(counted 4\))", text)
    assert "READ" not in re.findall(r"\b[A-Z]{4,}\b", text)
    assert "the NFS client, of the whole node" in text


@pytest.mark.parametrize("render", RENDERED, ids=["terminal", "markdown", "html"])
def test_what_could_not_be_counted_says_why(render) -> None:  # type: ignore[no-untyped-def]
    text = render(profile({"/project": MountCounters(why_not="Permission denied")}))
    assert "ot counted: Permission denied" in text
    assert re.search(r"\bOPEN 370\b(?! \(counted)", text)


@pytest.mark.parametrize("render", RENDERED, ids=["terminal", "markdown", "html"])
def test_counters_without_a_prediction_are_shown_alone(render) -> None:  # type: ignore[no-untyped-def]
    counters = {"/project": MountCounters(source="the NFS client", operations=COUNTED)}
    text = render(profile(counters, is_predicted=False))
    assert re.search(r"\bOPEN 370\b", text)
    assert "requests not predicted for this run" in text


def test_json_has_the_same() -> None:
    made = profile({"/project": MountCounters(source="the NFS client", operations=COUNTED)})
    value = json.loads(json.dumps(serial.to_json(made)))
    row = value["requests"]["by_mount"][0]
    assert row["not_predictable"] == {"GETATTR": WHY}
    assert row["operations"] == dict(NFS.operations)
    assert row["warm"] == {"GETATTR": 99}
    assert value["requests"]["at_servers"]["n_metadata"] == 829 + 7
    assert value["manifest"]["counters"]["/project"]["operations"] == COUNTED
    assert serial.from_json(Profile, value) == made


@pytest.mark.parametrize(
    "render",
    [
        lambda value: " ".join(terminal_comparison.render(value).split()),
        *RENDERED[1:],
    ],
    ids=["terminal", "markdown", "html"],
)
def test_a_comparison_shows_predicted_beside_counted(render) -> None:  # type: ignore[no-untyped-def]
    text = render(compared())
    assert re.search(r"\bLOOKUP 300 (301|\(counted 301\))", text)
    assert WHY in text
    assert "requests to /project" in text


def test_a_warm_run_is_compared_with_what_a_third_process_asks() -> None:
    """It comes after the traced run, and after one that is not counted."""
    rows = {row.name: row for row in compared(cache="warm").rows[0].operations}
    assert rows["GETATTR"].predicted == 90
    assert rows["LOOKUP"].predicted == 0


def test_what_is_bound_elsewhere_is_counted_by_the_same_client() -> None:
    bound = replace(NFS, key="/project/env", operations={"LOOKUP": 1, "READDIR": 2})
    row = compared(requests=(NFS, bound, GPFS), counted_mounts=("/project", "/project/env")).rows[0]
    rows = {one.name: (one.predicted, one.counted) for one in row.operations}
    assert rows["LOOKUP"] == (301, 301)
    assert rows["READDIR"] == (2, 0)


def test_of_an_image_nothing_is_predicted_for_what_its_client_counted() -> None:
    rows = compared(kind="squashfs").rows[0].operations
    assert {row.predicted for row in rows} == {None}
    assert {row.name: row.counted for row in rows}["OPEN"] == 370


def test_lustre_counts_requests_in_one_place_alone() -> None:
    lustre = RequestRow(
        key="/l", fs_class="network", protocol="Lustre", operations={"enqueue": 5, "close": 2, "glimpse": 3}
    )
    found = {"mdc.stats:ldlm_ibits_enqueue": 6, "mdc.stats:req_active": 90, "mdc.md_stats:intent_lock": 80}
    rows = {row.name: (row.predicted, row.counted) for row in lustre.beside(found)}
    # what object servers are asked for is in other counters
    assert rows == {"enqueue": (5, 6), "close": (2, 0), "glimpse": (3, None)}
    # operations of the client are no requests
    rows = {row.name: (row.predicted, row.counted) for row in lustre.beside({"mdc.md_stats:intent_lock": 80})}
    assert rows == {"enqueue": (5, None), "close": (2, None), "glimpse": (3, None)}


def test_a_line_names_what_it_leaves_out() -> None:
    many = replace(NFS, operations={f"OP{i}": 1 for i in range(20)})
    found = request_facts.of_profile(replace(profile(), requests=Requests(by_mount=(many,)), manifest=Manifest()))
    assert request_facts.line(found[0]).endswith("and 8 more operations")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"network"}, "server requests"),
        ({"local"}, "disk requests"),
        ({"network", "local"}, "requests"),
        ({None, "local"}, "requests"),
        ({"local", "memory", "pseudo", "image"}, "disk requests"),
        ({"memory"}, "server requests"),
        (set(), "server requests"),
    ],
)
def test_requests_are_named_after_who_answers_them(asked: set[str | None], name: str) -> None:
    assert request_facts.name_for(asked) == name


@pytest.mark.parametrize("render", [page.render, markdown.render, lambda profile: run.render(profile, "")])
def test_a_run_on_a_local_disk_speaks_of_no_server(render) -> None:  # type: ignore[no-untyped-def]
    profile = hand_built()
    assert profile.requests is not None
    rows = tuple(changed(row, fs_class="local", fstype="ext4") for row in profile.requests.by_mount)
    local = changed(profile, requests__by_mount=rows, findings=(), verdict=None)
    assert "server requests" in render(profile).lower()
    assert "disk requests" in render(local).lower()
    assert "server requests" not in render(local).lower()
