"""The fold: every grouping sums to the totals whatever comes, and latency quantiles are right to 5 %."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.analysis.attribution.attribute import Attributed, Frame, ProcessInfo
from fsprobe.analysis.counting import tally as tables
from fsprobe.analysis.counting.latency import bin_of, quantile_ns
from fsprobe.analysis.counting.profile import time_share
from fsprobe.jobs.sums import add_tally
from fsprobe.model.events import Call, Op
from fsprobe.model.rows import PROGRAM

SYSCALL = {
    Op.OPEN: "openat",
    Op.STAT: "newfstatat",
    Op.READLINK: "readlink",
    Op.LIST: "getdents64",
    Op.EXEC: "execve",
    Op.CHANGE: "mkdir",
    Op.OTHER: "chdir",
}
PROCESSES = [ProcessInfo(1, 0, "python", "python"), ProcessInfo(2, 1, "sh", "program")]


@st.composite
def rows(draw: st.DrawFn) -> Attributed:
    op = draw(st.sampled_from(list(Op)))
    names = draw(st.lists(st.sampled_from("abcd"), max_size=4))
    stack = tuple(Frame(name, names[i - 1] if i else None, name in names[:i]) for i, name in enumerate(names))
    call = Call(
        tid=1,
        t_ns=draw(st.one_of(st.none(), st.integers(min_value=0, max_value=10**10))),
        syscall=SYSCALL[op],
        op=op,
        path=draw(st.sampled_from([b"/a", b"/b/c", b"/\xff"])),
        error=draw(st.sampled_from(["", "ENOENT", "ENOTDIR", "EACCES", "?"])),
        dur_ns=draw(st.one_of(st.none(), st.integers(min_value=0, max_value=10**9))),
        args=b"",
        result=b"0",
    )
    return Attributed(
        call,
        draw(st.sampled_from(["init", "import", "run"])),
        names[-1] if names else PROGRAM,
        stack,
        draw(st.sampled_from(PROCESSES)),
        own=draw(st.integers(0, 9)) == 0,
    )


@given(st.lists(rows(), max_size=60))
def test_every_grouping_sums_to_the_totals(stream: list[Attributed]) -> None:
    made = tables.fold(iter(stream), lambda row: "other")
    assert tables.check_sums(made) == []
    counted = [row for row in stream if not row.own and row.call.op is not Op.OTHER]
    assert made.total.n_metadata == len(counted)
    assert sum(made.own.values()) == sum(row.own for row in stream)
    assert sum(n for slot in made.timeline.values() for n in slot.values()) == sum(
        row.call.t_ns is not None for row in counted
    )
    for name in "abcd":
        inside = [row for row in counted if any(frame.name == name for frame in row.stack)]
        module = made.by_module.get(name)
        assert (module.cumulative.n_metadata if module else 0) == len(inside)
        assert (module.own.n_metadata if module else 0) == sum(row.module == name for row in counted)


@given(
    st.lists(st.integers(min_value=2_000, max_value=10**10), min_size=1, max_size=200),
    st.sampled_from([0.1, 0.5, 0.95]),
)
def test_a_quantile_is_right_to_five_percent(durations: list[int], share: float) -> None:
    latency: dict[int, int] = {}
    for ns in durations:
        number = bin_of(ns // 1000)
        latency[number] = latency.get(number, 0) + 1
    exact = sorted(durations)[max(0, math.ceil(share * len(durations)) - 1)]
    found = quantile_ns(latency, share)
    assert found is not None
    assert exact / 1.06 - 1000 <= found <= exact * 1.06 + 1000


def test_no_calls_have_no_quantile() -> None:
    assert quantile_ns({}, 0.5) is None


def test_waits_of_a_server_are_no_tracing_overhead() -> None:
    call = Call(tid=1, t_ns=0, syscall="openat", op=Op.OPEN, path=b"/a", error="", dur_ns=10_000, args=b"", result=b"3")

    def tally_of(durations_us: list[int]) -> tables.Tally:
        timed = [call._replace(dur_ns=us * 1000) for us in durations_us]
        return tables.fold((Attributed(one, "run", PROGRAM, (), PROCESSES[0]) for one in timed), lambda row: "other")

    slow = tally_of([4_000] * 1500 + [12_000] * 1500)
    shares = time_share(slow, 24.6, True)
    assert shares["tracing_overhead_us"] == 0
    assert shares["time_less_overhead_s"] == 24.0
    assert shares["share_of_wall"] == round(24.0 / 24.6, 4)
    # calls of a warm cache show what tracing adds, whatever the others wait for
    mixed = tally_of([10] * 1000 + [4_000] * 1000)
    assert 9.5 <= time_share(mixed, 6.0, True)["tracing_overhead_us"] <= 10.6


def test_a_module_begins_with_the_first_call_of_what_it_imports() -> None:
    def call(t_ns: int, *names: str) -> Attributed:
        stack = tuple(Frame(name, names[i - 1] if i else None, False) for i, name in enumerate(names))
        made = Call(1, t_ns, "openat", Op.OPEN, b"/a", "", 5, b"", b"3")
        return Attributed(made, "import", names[-1] if names else PROGRAM, stack, PROCESSES[0], own=False)

    stream = [call(100), call(200, "a", "b"), call(300, "a"), call(400, "a", "b"), call(500, "c")]
    made = tables.fold(iter(stream), lambda row: "other")
    assert {name: module.first_ns for name, module in made.by_module.items()} == {
        PROGRAM: 100,
        "a": 200,
        "b": 200,
        "c": 500,
    }
    other = tables.fold(iter([call(50, "b")]), lambda row: "other")
    add_tally(made, other, shift_ns=100)
    assert (made.by_module["b"].first_ns, made.by_module["a"].first_ns) == (150, 200)


@given(st.lists(st.tuples(st.lists(st.integers(0, 5), max_size=5), rows()), max_size=60))
def test_an_import_has_the_calls_of_all_that_it_imports(made: list[tuple[list[int], Attributed]]) -> None:
    """By the definition: a call counts for each import that is under way, and once where one is inside itself."""
    frames: dict[tuple[int, ...], Frame] = {}
    expected: dict[str, list[int]] = {}
    stream = []
    for numbers, row in made:
        names = ["abc"[number % 3] for number in numbers]
        places = [tuple(numbers[: n + 1]) for n in range(len(numbers))]
        stack = tuple(
            frames.setdefault(place, Frame(names[n], names[n - 1] if n else None, names[n] in names[:n]))
            for n, place in enumerate(places)
        )
        row = replace(row, stack=stack, module=names[-1] if names else PROGRAM)
        stream.append(row)
        if row.own or row.call.op is Op.OTHER:
            continue
        for name in set(names) or {PROGRAM}:
            found = expected.setdefault(name, [0, 0, 1 << 62])
            found[0] += 1
            found[1] += row.call.dur_ns or 0
            found[2] = min(found[2], (1 << 62) if row.call.t_ns is None else row.call.t_ns)
    found_by = tables.fold(iter(stream), lambda row: "other").by_module
    assert {name: [m.cumulative.n_metadata, m.cumulative.time_ns] for name, m in found_by.items()} == {
        name: numbers[:2] for name, numbers in expected.items()
    }
    # a stretch is known by when its first call began: of several in one the first in order, not in time
    assert all(m.first_ns is None or m.first_ns >= expected[name][2] for name, m in found_by.items())
