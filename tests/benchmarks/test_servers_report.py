"""The report of servers: it is what its JSON says."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import servers
from benchmarks.vm import report
from benchmarks.vm.cells import Cell
from fsprobe.model.formats import JsonObject

REPORTS = Path(__file__).parents[2] / "reports"


def test_text_is_made_of_the_json() -> None:
    found = json.loads((REPORTS / "servers.json").read_text())
    assert (REPORTS / "servers.md").read_text() == report.render(found)
    assert not report.unexplained(found)
    assert {row["version"] for row in found["rows"]} == {"3", "4.1", "4.2"}


def test_the_job_of_torch_is_the_sum_that_its_line_shows() -> None:
    torch = json.loads((REPORTS / "servers.json").read_text())["torch"]
    assert list(torch) == list(report.SERVERS)
    for share in torch.values():
        assert share["cold"] == sum(n for name, n in share["operations"].items() if name != "glimpse")
    text = (REPORTS / "servers.md").read_text()
    share = torch["NFS v3"]
    assert f"**{4 * (share['cold'] + share['second'] + 6 * share['further']):,}**" in text


def cell(workload: str, counted: int, predicted: int = 5) -> Cell:
    return Cell(
        client="nfs",
        version="3",
        options="actimeo=600",
        delegations=None,
        workload=workload,
        phase="cold",
        operation="GETATTR",
        counted=counted,
        predicted=predicted,
        why_not_predictable="",
    )


def test_a_miss_is_one_that_comes_twice() -> None:
    asked: list[JsonObject] = []

    def count(jobs: list[JsonObject]) -> list[Cell]:
        asked.extend(jobs)
        return [cell("once", 5), cell("always", 6)]

    first = [cell("once", 6), cell("good", 5), cell("always", 6)]
    assert servers.confirmed(first, count) == [cell("good", 5), cell("once", 5), cell("always", 6)]
    assert [(job["workload"], job["phases"]) for job in asked] == [
        ("once", ["cold", "warm"]),
        ("always", ["cold", "warm"]),
    ]


def test_what_was_as_predicted_is_not_counted_again() -> None:
    def count(jobs: list[JsonObject]) -> list[Cell]:
        raise AssertionError(jobs)

    assert servers.confirmed([cell("good", 5)], count) == [cell("good", 5)]
