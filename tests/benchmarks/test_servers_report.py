"""The report of servers: it is what its JSON says."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.vm import report

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
