"""Findings and the verdict of a job: kinds of ranks, what they save together, and the verdict on all processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsprobe import capabilities
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.findings.evidence import Evidence
from fsprobe.analysis.requests.rows import RequestCounts
from fsprobe.analysis.requests.rows import Requests as Counted
from fsprobe.jobs.alike_ranks import MAX_KINDS, kinds
from fsprobe.jobs.findings import Look, merge_findings, weighted
from fsprobe.jobs.node_requests import NodeRequests
from fsprobe.jobs.verdict import job_verdict
from fsprobe.model.finding import Finding
from fsprobe.model.job import Ended, Job, RankRow
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Metrics, Profile, Verdict
from fsprobe.model.requests import RequestRow, Requests
from fsprobe.model.rows import MountRow, Rates, Row


def row(number: int, node: str, n_stat: int = 4000) -> RankRow:
    names = ("n_open", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")
    return RankRow(key=f"rank {number}", file=f"r{number}", node=node, n_stat=n_stat, **dict.fromkeys(names, 100))


def test_ranks_that_differ_by_a_few_calls_are_of_one_kind() -> None:
    rows = [row(number, f"n{number // 4}", 4000 + number % 3) for number in range(12)]
    rows[5] = row(5, "n1", 9000)
    found = kinds(rows)
    assert [(kind.n_ranks, len(kind.nodes)) for kind in found] == [(11, 3), (1, 0)]
    assert found[1].key == "rank 5"
    # the whole has 12 ranks and 3 nodes, however it is cut
    assert sum(kind.n_ranks for kind in found) == 12


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50_000)), min_size=1, max_size=40))
def test_no_rank_and_no_node_counts_twice(made: list[tuple[int, int]]) -> None:
    rows = [row(number, f"n{node}", n_stat) for number, (node, n_stat) in enumerate(made)]
    found = kinds(rows)
    assert 1 <= len(found) <= MAX_KINDS
    files = [file for kind in found for file in kind.keys]
    nodes = [node for kind in found for node in kind.nodes]
    assert len(files) == len(set(files)) <= len(rows)
    assert len(nodes) == len(set(nodes)) <= len({row.node for row in rows})
    assert all(kind.file in kind.keys for kind in found)
    if len(files) == len(rows):
        assert set(nodes) == {row.node for row in rows}


@given(
    st.dictionaries(st.sampled_from((b"/a", b"/a/b", b"/c")), st.tuples(*[st.integers(0, 9)] * 6), max_size=3),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_weighted_requests_are_those_of_alike_ranks_joined_by_node(
    made: dict[bytes, tuple[int, ...]], n_nodes: int, per_node: int
) -> None:
    names = ("lookup", "negative", "open", "opendir", "readdir", "readlink")
    alone = Counted(per_path={path: RequestCounts(**dict(zip(names, n, strict=True))) for path, n in made.items()})
    alone.mount_of = dict.fromkeys(alone.per_path)
    joined: dict[bytes, RequestCounts] = {}
    for _ in range(n_nodes):
        node = NodeRequests()
        for _ in range(per_node):
            node.join(alone)
        for path, counts in node.rows():
            joined.setdefault(path, RequestCounts()).add(counts)
    assert weighted(alone, n_nodes=n_nodes, n_ranks=n_nodes * per_node).per_path == joined


def finding(code: str, severity: str = "warn", **saves: int) -> Finding:
    return Finding(
        code=code,
        severity=severity,
        audience="user",
        title="t",
        evidence="10 calls.",
        advice="a",
        commands=(),
        saves=saves,
        source="s",
    )


def look(key: str, n_ranks: int, n_nodes: int, *findings: Finding) -> Look:
    return Look(key=key, n_ranks=n_ranks, n_nodes=n_nodes, findings=findings, facts=())


def test_calls_add_up_by_rank_and_requests_are_of_all_of_a_kind_already() -> None:
    looks = [
        look("rank 0", 90, 9, finding("FSP002", "info", calls=10, requests=300)),
        look("rank 7", 8, 0, finding("FSP002", "warn", calls=50, requests=80), finding("FSP006", calls=3)),
    ]
    both, one = merge_findings(looks, [], n_ranks=100, n_nodes=10)
    assert (both.code, both.severity) == ("FSP002", "warn")
    assert both.saves == {"calls": 90 * 10 + 8 * 50, "requests": 380}
    assert both.evidence == "In 98 of 98 ranks (2 more were not looked into), each as in rank 0: 10 calls."
    assert one.saves == {"calls": 24}
    assert one.evidence == "In 8 of 98 ranks (2 more were not looked into), each as in rank 7: 10 calls."


def test_each_node_asks_for_its_own_image() -> None:
    looks = [
        look("rank 0", 30, 3, finding("FSP001", requests=1000 - 2), finding("FSP017", requests=1000 - 2)),
        look("rank 9", 2, 0, finding("FSP001", requests=50 - 2)),
    ]
    found = merge_findings(looks, [finding("FSP019", requests=500 - 2)], n_ranks=32, n_nodes=3)
    # two requests for each of three images are left
    assert {row.code: row.saves["requests"] for row in found} == {"FSP001": 1044, "FSP017": 994, "FSP019": 494}
    assert next(row for row in found if row.code == "FSP017").evidence == "10 calls."
    assert next(row for row in found if row.code == "FSP001").evidence.startswith(
        "In all 32 ranks, each as in rank 0: "
    )


def job_profile(*, n: int, per_rank: int, fs_class: str, fstype: str, n_ranks: int | None = None) -> Profile:
    n_stat = n * per_rank
    mount = MountRow(key="/project", fstype=fstype, fs_class=fs_class, p50_ms=0.01, n_stat=n_stat, time_s=0.0)
    requests = RequestRow(key="/project", fs_class=fs_class, fstype=fstype, lookup=500, open=100 * n)
    return Profile(
        kind="job",
        manifest=Manifest(
            backend="strace", capabilities=("loader", "foreign_programs"), wall_s=60.0, user_s=1.0 * n, sys_s=0.0
        ),
        metrics=Metrics(
            n_stat=n_stat,
            time_s=0.1 * n,
            tracing_overhead_us=10.0,
            by_phase=(Row(key="import", n_stat=n_stat),),
            by_mount=(mount,),
            by_module=(),
            rates=Rates(
                peak_metadata_per_s=900.0 * n,
                sustained_metadata_per_s=90.0 * n,
                peak_open_per_s=0.0,
                sustained_open_per_s=0.0,
                peak_open_per_s_process=0.0,
                sustained_open_per_s_process=0.0,
            ),
        ),
        requests=Requests(by_mount=(requests,)),
        job=Job(
            n_ranks=n_ranks,
            n_nodes_traced=2,
            ranks=tuple(RankRow(key=f"rank {number}", wall_s=2.0) for number in range(n)),
        ),
    )


def judged(profile: Profile) -> Verdict:
    evidence = Evidence(tally=Tally(), notes=Notes(), profile=profile, facts=(), mounts_of=lambda path: None)
    return job_verdict(evidence, {})


def test_levels_come_with_processes() -> None:
    sizes = {1: "not the filesystem", 8: "noticeable", 100: "heavy", 1000: "danger"}
    for n, level in sizes.items():
        made = judged(job_profile(n=n, per_rank=2000, fs_class="network", fstype="lustre"))
        assert made.level == level, n
    assert made.sentence == (
        "This is a danger to the shared filesystem: a start makes 2,000 metadata calls on /project (lustre) x 1,000 processes "
        "= 2,000,000."
    )
    alone = judged(job_profile(n=1, per_rank=2000, fs_class="network", fstype="lustre"))
    assert "1 traced process on 2 cold nodes asks file servers for" in "; ".join(alone.reasons)
    said = "; ".join(made.reasons)
    assert "1,000 traced processes on 2 cold nodes ask file servers for 100,500 metadata requests" in said
    assert "900,000 metadata calls in the busiest second, 900,000 in the busiest 10 s" in said
    assert "in an average rank under the tracer: 2.00 s wall, 1.00 s CPU" in said


@pytest.mark.parametrize(
    ("shown", "where"),
    [
        ((capabilities.FOREIGN_PROGRAMS, capabilities.TRUE_DURATIONS), "under the inline recorder"),
        ((capabilities.FOREIGN_PROGRAMS, capabilities.DURATIONS), "under the tracer"),
        ((capabilities.RESULTS,), "under the hooks"),
    ],
)
def test_the_wall_time_is_said_to_be_under_what_recorded_it(shown: tuple[str, ...], where: str) -> None:
    made = job_profile(n=9, per_rank=10, fs_class="network", fstype="lustre")
    said = "; ".join(judged(replace(made, manifest=replace(made.manifest, capabilities=shown))).reasons)
    assert f"in an average rank {where}: 2.00 s wall" in said


def test_how_many_ranks_failed_is_said_and_not_the_exit_code_of_one() -> None:
    made = job_profile(n=9, per_rank=10, fs_class="local", fstype="ext4")
    assert made.job is not None
    ended = replace(made.job, failed=(Ended(of="rank 5", exit_code=1),), killed=(Ended(of="rank 8", signal=9),))
    said = judged(replace(made, manifest=replace(made.manifest, exit_code=137), job=ended)).sentence
    assert said == (
        "Whether it is the filesystem can't be told: 2 of 9 ranks failed or were killed, so this may be a part of what the job "
        "does when it succeeds."
    )


def test_ranks_that_were_not_traced_count_as_processes() -> None:
    made = judged(job_profile(n=8, per_rank=2000, fs_class="network", fstype="lustre", n_ranks=1000))
    assert made.level == "danger"
    assert (
        "900,000 metadata calls within 10 s (90,000/s) by 1,000 processes, scaled from the 8 that were traced"
        in made.reasons
    )
    start = "a start makes 2,000 metadata calls on /project (lustre) x 1,000 processes = 2,000,000"
    assert f"{start}, scaled from the 8 that were traced" in made.reasons


def test_a_job_on_local_disks_is_acquitted() -> None:
    made = judged(job_profile(n=1000, per_rank=2000, fs_class="local", fstype="ext4"))
    assert made.level == "not the filesystem"
    assert "2,000,000 metadata calls of 1,000 ranks on 2 nodes, none of them to a file server" in made.sentence
