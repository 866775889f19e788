"""The counters of a job's nodes: ranks of one node read one client, so that its numbers count once."""

from __future__ import annotations

import json
import random
from pathlib import Path

from fsprobe.jobs import total
from fsprobe.jobs.node_counters import NO_START, NodeCounters, joined
from fsprobe.jobs.reading.recordings import gather
from fsprobe.model.manifest import MountCounters
from fsprobe.recording import file as recording
from fsprobe.report.terminal import job as terminal
from tests.job_recordings import rank_variables

DATA = Path(__file__).parents[1] / "data" / "servers"


def read(begin: dict[str, int], end: dict[str, int]) -> dict[str, MountCounters]:
    """What a rank finds whose client had counted `begin` at its start, and `end` when it was over."""
    operations = {name: n - begin.get(name, 0) for name, n in end.items() if n > begin.get(name, 0)}
    before = {name: n for name, n in begin.items() if n}
    return {"/project": MountCounters(source="a client", operations=operations, before=before)}


def test_ranks_that_overlap_count_once() -> None:
    """Of random ranks of a node, in any grouping: what the client counted between the first start and the last end."""
    chance = random.Random(17)
    for _ in range(30):
        clock = [{"lookup": 0, "open": 7}]
        for _ in range(40):
            clock.append({name: n + chance.choice((0, 0, 1, 5)) for name, n in clock[-1].items()})
        spans = [sorted(chance.sample(range(5, 41), 2)) for _ in range(chance.randint(1, 9))]
        first, last = min(a for a, _ in spans), max(b for _, b in spans)
        parts = [NodeCounters() for _ in range(3)]
        for a, b in spans:
            chance.choice(parts).join(read(clock[a], clock[b]))
        whole = NodeCounters()
        for part in parts:
            whole.add(part)
        found = joined([whole])["/project"]
        wanted = {name: clock[last][name] - clock[first][name] for name in ("lookup", "open")}
        assert found.operations == {name: n for name, n in wanted.items() if n}
        assert found.n_nodes == 1


def test_nodes_add_up_and_what_was_not_read_is_told() -> None:
    nodes = [NodeCounters() for _ in range(3)]
    nodes[0].join(read({"open": 100}, {"open": 130}))
    nodes[1].join(read({"open": 5}, {"open": 25, "lookup": 3}))
    nodes[2].join({"/project": MountCounters(why_not="denied"), "/scratch": MountCounters(why_not="no lctl")})
    found = joined(nodes)
    assert found["/project"].operations == {"open": 50, "lookup": 3}
    assert found["/project"].n_nodes == 2
    assert found["/scratch"].why_not == "no lctl"


def test_an_older_recording_of_several_ranks_is_not_guessed() -> None:
    node = NodeCounters()
    old = {"/project": MountCounters(source="a client", operations={"open": 3})}
    node.join(old)
    assert joined([node])["/project"].operations == {"open": 3}
    node.join(old)
    assert joined([node])["/project"].why_not == NO_START


def test_a_job_shows_predicted_beside_counted(tmp_path: Path) -> None:
    """Two nodes with two ranks each: as their clients would count what is predicted of them."""
    opened = recording.Recording(str(DATA / "nfs-s4_stat.fsprobe"))
    sections = [(name, b"".join(opened.section(name))) for name in opened.names() if name != "manifest"]
    once = {"lookup": 1, "getattr": 4, "access": 6, "readdirplus": 5}
    again = {"getattr": 5}
    for number in range(4):
        begin = {"lookup": 40} if number % 2 == 0 else {**once, "lookup": 41}
        counted = {
            "operations": once if number % 2 == 0 else again,
            "before": begin,
            "why_not": "",
            "source": "the NFS client",
        }
        manifest = dict(
            opened.manifest,
            job=rank_variables(number, size=8, per_node=2),
            counters={"/project": counted},
        )
        path = str(tmp_path / f"r{number}.fsprobe")
        recording.write(path, "recording", [("manifest", json.dumps(manifest).encode()), *sections])
    profile = total.merge(gather([str(tmp_path)]))
    found = profile.manifest.counters["/project"]
    assert found.n_nodes == 2
    assert found.operations["getattr"] == 2 * (4 + 5)
    text = " ".join(terminal.render(profile, "job").split())
    assert "of 2 whole nodes, once a node" in text
    assert "ranks that were not traced are in it" in text
    assert "READDIRPLUS 10 (counted 10)" in text
