"""A merge is an addition: of tallies, and of what ranks of a node ask for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.analysis.attribution.attribute import Attributed, ProcessInfo
from fsprobe.analysis.counting.tally import BIN_NS, Tally, check_sums, fold
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.rows import RequestCounts, Requests
from fsprobe.jobs import sums
from fsprobe.jobs.node_requests import NodeRequests
from fsprobe.model.events import OP_OF_SYSCALL, Call, Op
from fsprobe.model.job import Outlier
from fsprobe.model.rows import PROGRAM, Counts

SYSCALLS = ("openat", "newfstatat", "readlink", "getdents64", "execve", "mkdir", "chdir")
MODULES = (PROGRAM, "numpy", "numpy.core")


@st.composite
def rows(draw: st.DrawFn) -> list[Attributed]:
    processes = [ProcessInfo(pid, 1, label) for pid in (10, 11) for label in ("python", "sh")]
    made = []
    for _ in range(draw(st.integers(0, 30))):
        syscall = draw(st.sampled_from(SYSCALLS))
        error = draw(st.sampled_from(("", "ENOENT", "EACCES", "?")))
        path = draw(st.sampled_from((b"/a", b"/a/b", b"/c", b"/\xff")))
        call = Call(
            10,
            draw(st.one_of(st.none(), st.integers(0, 40 * BIN_NS))),
            syscall,
            OP_OF_SYSCALL.get(syscall, Op.OTHER),
            path,
            error,
            draw(st.one_of(st.none(), st.integers(0, 10**7))),
            b"",
            b"3<" + path + b">" if not error else b"-1",
        )
        module = draw(st.sampled_from(MODULES))
        row = Attributed(
            call, draw(st.sampled_from(("loader", "import", "run"))), module, (), draw(st.sampled_from(processes))
        )
        row.own = draw(st.booleans())
        made.append(row)
    return made


def why(row: Attributed) -> str:
    return row.call.syscall


def added(*tallies: Tally) -> Tally:
    total = Tally()
    for tally in tallies:
        sums.add_tally(total, tally)
    return total


@given(rows(), rows())
def test_the_fold_of_a_concatenation_is_the_sum_of_the_folds(first: list[Attributed], second: list[Attributed]) -> None:
    total = added(fold(first, why), fold(second, why))
    assert total == fold(first + second, why)
    assert check_sums(total) == []


@given(rows(), rows(), rows())
def test_addition_may_be_grouped_and_ordered_as_one_likes(
    first: list[Attributed], second: list[Attributed], third: list[Attributed]
) -> None:
    one, two, three = fold(first, why), fold(second, why), fold(third, why)
    assert added(added(one, two), three) == added(one, added(two, three)) == added(three, one, two)


@given(rows(), st.integers(0, 10**19))
def test_moving_to_another_clock_keeps_every_count(made: list[Attributed], shift_ns: int) -> None:
    tally, moved = fold(made, why), Tally()
    sums.add_tally(moved, tally, of="rank 3", shift_ns=shift_ns)
    assert moved.total == tally.total
    assert [sum(phases.values()) for phases in moved.timeline.values()] == [
        sum(phases.values()) for phases in tally.timeline.values()
    ]
    assert all(key.startswith("rank 3: ") for key in moved.by_process)
    if tally.first_ns is not None:
        assert moved.first_ns == tally.first_ns + shift_ns
        assert min(moved.timeline) == min(tally.timeline) + shift_ns // BIN_NS


def test_timelines_of_different_width_add_at_the_wider_one() -> None:
    fine, wide = Tally(timeline={3: {"run": 1}, 5: {"run": 2}}), Tally(timeline={4: {"run": 10}}, timeline_step=4)
    for first, second in ((fine, wide), (wide, fine)):
        total = added(first, second)
        assert total.timeline_step == 4
        assert total.timeline == {0: {"run": 1}, 4: {"run": 12}}


def asked(calls: list[Call]) -> dict[bytes, RequestCounts]:
    model = RequestModel([])
    for call in calls:
        model.add(call)
    return model.count().per_path


PATHS = (b"/lib/a.py", b"/lib/b.py", b"/lib/x/c.py", b"/lib/y/c.py", b"/no/d.py")


@st.composite
def reads(draw: st.DrawFn) -> list[Call]:
    made = []
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=12)):
        missing = path.startswith(b"/no")
        opens = draw(st.booleans())
        made.append(
            Call(
                1,
                None,
                "openat" if opens else "newfstatat",
                Op.OPEN if opens else Op.STAT,
                path,
                "ENOENT" if missing else "",
                None,
                b'AT_FDCWD, "", O_RDONLY' if opens else b'AT_FDCWD, "", {st_mode=S_IFREG|0644, st_size=5, ...}, 0',
                b"-1 ENOENT" if missing else b"3<" + path + b">" if opens else b"0",
            )
        )
    return made


@given(st.lists(reads(), min_size=1, max_size=4))
def test_ranks_of_a_node_ask_together_what_one_client_would_be_asked_for(runs: list[list[Call]]) -> None:
    node = NodeRequests()
    for run in runs:
        rows = asked(run)
        node.join(Requests(per_path=rows, mount_of=dict.fromkeys(rows)))
    one_client = asked([call for run in runs for call in run])
    for path in {*node.per_path, *one_client}:
        mine, theirs = node.per_path.get(path, RequestCounts()), one_client.get(path, RequestCounts())
        for name in ("lookup", "negative", "open", "opendir", "readdir", "readlink"):
            assert getattr(mine, name) == getattr(theirs, name), (path, name)


def test_spread_names_who_is_unlike_the_others() -> None:
    row = sums.spread([*((f"rank {i}", 100.0) for i in range(9)), ("rank 9", 1000.0), ("rank 10", None)])
    assert row is not None
    assert (row.n, row.min, row.median, row.max, row.max_of) == (10, 100.0, 100.0, 1000.0, "rank 9")
    assert row.outliers == (Outlier(of="rank 9", value=1000.0),)
    near = sums.spread([*((f"rank {i}", 100.0) for i in range(9)), ("rank 9", 109.0)])
    assert near is not None
    assert near.outliers == ()
    assert sums.spread([("rank 0", None)]) is None


def test_scaled_takes_shared_requests_by_node_and_opens_by_rank() -> None:
    node = RequestCounts(lookup=100, negative=10, open=40, opendir=5, readdir=8, readlink=2)
    total = Counts(n_open=50, n_stat=200)
    row = sums.scaled(n_ranks=256, n_nodes=2, n_traced=2, total=total, nodes=[node, node])
    assert row is not None
    assert row.requests is not None
    assert row.metrics.n_open == 50 / 2 * 256
    # per node 100 look-ups, however many ranks it has; 40 opens of its one traced rank x 256
    assert (row.requests.lookup, row.requests.readdir, row.requests.open) == (200, 16, 40 * 256)
    assert row.requests.n_metadata == 200 + 16 + 4 + 40 * 256 + 5 * 256
    assert "estimate" in row.label
    assert sums.scaled(n_ranks=2, n_nodes=2, n_traced=2, total=total, nodes=[node]) is None
    assert sums.scaled(n_ranks=None, n_nodes=2, n_traced=2, total=total, nodes=[node]) is None
