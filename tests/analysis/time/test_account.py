"""The arithmetic of the time account, from made recordings: what a part must be is written beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fsprobe import capabilities
from fsprobe.analysis.counting.latency import bin_of
from fsprobe.analysis.counting.tally import PathTally, Tally, add_call
from fsprobe.analysis.time.account import divide, time_account
from fsprobe.analysis.time.observed import Observed, watch_time
from fsprobe.events.ring import Reads, RingFacts, Usage
from fsprobe.model.events import Call, Event, Mark, Mount, Op
from fsprobe.model.manifest import Manifest
from fsprobe.model.rows import Counts, MountRow
from fsprobe.model.time.account import COLD, WARM, TimeAccount

MS = 1_000_000
TRACED = (capabilities.DURATIONS, capabilities.STATS)
INLINE = (*TRACED, capabilities.TRUE_DURATIONS, capabilities.READS)
SERVER = Mount(path=b"/p", fstype="nfs4", fs_class="network", source=b"s:/p", options="rw")


def stat(t_ns: int, dur_ns: int, tid: int = 1, path: bytes = b"/p/x") -> Call:
    return Call(tid, t_ns, "stat", Op.STAT, path, "", dur_ns, b"", b"0")


def account(
    events: list[Event], facts: RingFacts | None, wall_s: float, cpu_s: float | None, shows: tuple[str, ...]
) -> TimeAccount:
    """The account of a run with these events."""
    seen, tally = Observed(), Tally()
    for event in watch_time(events, seen, facts):
        if isinstance(event, Call) and event.dur_ns is not None:
            number = bin_of(event.dur_ns // 1000)
            tally.floor[number] = tally.floor.get(number, 0) + 1
            of_path = tally.by_path.setdefault(event.path, PathTally(counts=Counts()))
            of_path.latency[number] = of_path.latency.get(number, 0) + 1
            of_path.max_ns = max(of_path.max_ns, event.dur_ns)
            of_path.counts.time_ns += event.dur_ns
            add_call(tally.total, event.op)
            tally.total.time_ns += event.dur_ns
    manifest = Manifest(wall_s=wall_s, user_s=cpu_s, sys_s=0.0, capabilities=shows, majflt=3, started_s=1000.0)
    rows = (MountRow(key="/p", fs_class="network", n_stat=tally.total.n_stat),)
    made = time_account(manifest, tally, seen, rows, lambda _: SERVER, wall_start_ns=1000 * 10**9)
    assert made is not None
    assert sum(part.time_s for part in made.parts) == pytest.approx(made.wall_s, abs=1e-5)
    return made


def line(n: int, dur_ns: int, first_ns: int = 0, tid: int = 1) -> list[Event]:
    """Calls one after the other, of as many paths."""
    return [stat(first_ns + i * dur_ns, dur_ns, tid, b"/p/%d" % i) for i in range(n)]


def test_cold_calls_and_reads_are_told_apart() -> None:
    # 100 calls of 1 us, 100 of 10 ms: 1 s; 50 reads of 20 ms: 1 s; 0.5 s of CPU; 3 s in all
    events = line(100, 1000) + line(100, 10 * MS, first_ns=MS)
    facts = RingFacts(reads=[Reads(1, 0, b"/p/data", 50, 50_000, 1000 * MS, 1, 4096, 0)])
    made = account(events, facts, 3.0, 0.5, INLINE)
    assert made.cpu_s == 0.5
    assert made.metadata_s == pytest.approx(1.0, rel=0.001), "a latency is kept to 5 %, their sum is exact"
    assert made.reads_s == pytest.approx(1.0, rel=0.01)
    assert made.other_s == pytest.approx(0.5, abs=0.002)
    assert made.other_name == "page faults and other waiting"
    assert (made.overhead_s, made.both_s, made.n_reads, made.n_read_bytes) == (0, 0, 50, 50_000)
    (row,) = made.by_mount
    assert (row.key, row.metadata_s, row.reads_s) == ("/p", made.metadata_s, made.reads_s)


def test_a_tracer_is_taken_off_and_what_it_does_not_see_is_named() -> None:
    # 1,000 calls that take 30 us under the tracer, 100 that wait 10 ms more; 2 s in all
    events = line(1000, 30_000) + line(100, 10_030_000, first_ns=30 * MS)
    made = account(events, None, 2.0, 0.2, TRACED)
    assert made.overhead_s == pytest.approx(1100 * 30e-6, rel=0.05)
    assert made.wall_s == pytest.approx(2.0 - made.overhead_s)
    assert made.metadata_s == pytest.approx(1.0, rel=0.05)
    assert (made.reads_s, made.n_reads) == (None, None)
    assert made.other_name == "other waiting (reads, page faults)"


def test_the_processor_works_in_slow_calls_too() -> None:
    # one thread, 100 calls of 10 ms of which 50 us each are the processor's: they are CPU, and nobody computes beside
    made = account(line(100, 1000) + line(100, 10 * MS, first_ns=MS), RingFacts(), 1.105, 0.11, INLINE)
    assert (made.cpu_s, made.both_s) == (0.11, 0.0)
    assert made.metadata_s == pytest.approx(0.995, rel=0.03)


def test_what_a_tracer_takes_before_and_between_calls_is_not_the_programs_waiting() -> None:
    # the tracer lets it begin after 0.2 s; 1,000 calls of 30 us with 50 us between them, of which nothing is CPU; then 0.5 s
    begin = Call(1, 200 * MS, "execve", Op.EXEC, b"/p/x", "", 30_000, b"", b"0")
    calls = [stat(201 * MS + n * 80_000, 30_000) for n in range(1000)]
    made = account([begin, *calls], None, 0.2 + 0.08 + 0.5, 0.0, TRACED)
    assert made.overhead_s == pytest.approx(0.2 + 0.03 + 0.05, rel=0.05)
    assert made.other_s == pytest.approx(0.5, rel=0.02)
    assert account(list(calls), None, 0.78, 0.0, TRACED).overhead_s == pytest.approx(0.08, rel=0.05), "it was attached"


def test_between_calls_it_may_compute() -> None:
    # what lies between calls is the program's own work: CPU stays CPU
    made = account([stat(n * 80_000, 30_000) for n in range(1000)], None, 0.08, 0.05, TRACED)
    assert made.cpu_s == pytest.approx(0.05)
    assert made.wall_s == pytest.approx(0.05, rel=0.05)


def test_a_warm_run_that_computes_is_cpu() -> None:
    # calls of 4 us each that the processor works on: the clock's 1 s of CPU holds them
    made = account(line(1000, 1000) + line(5000, 5000, first_ns=MS), RingFacts(), 1.0, 1.0, INLINE)
    assert made.cpu_s == pytest.approx(1.0)
    assert (made.metadata_s, made.both_s) == (0.0, 0.0)
    assert made.cache_guess == WARM


def test_the_cold_cache_is_guessed() -> None:
    assert account(line(30, 1000) + line(100, MS, first_ns=MS), RingFacts(), 1.0, 0.1, INLINE).cache_guess == COLD


def test_threads_that_wait_at_once_wait_once() -> None:
    # two threads wait through the same second
    events = sorted(line(100, 10 * MS) + line(100, 10 * MS, tid=2), key=lambda call: call.t_ns or 0)
    made = account([*line(40, 1000, first_ns=-MS), *events], RingFacts(), 1.5, 0.1, INLINE)
    assert made.metadata_s == pytest.approx(1.0, rel=0.06)


def test_computing_beside_waiting_is_said() -> None:
    made = divide(10.0, 9.0, metadata_s=8.0, reads_s=None)
    assert (made.both_s, made.cpu_s, made.metadata_s, made.other_s) == (7.0, 2.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("wall_s", "metadata_s", "reads_s"),
    [
        (0.8204859119254819, 0.2181293584511306, 0.18227178514256723),
        (0.5758459627880567, 0.055496430712191645, 0.1089986335928592),
    ],
)
def test_a_part_that_was_all_computing_is_nothing_and_not_less(
    wall_s: float, metadata_s: float, reads_s: float
) -> None:
    """What was in calls was CPU, all of it: no part is -0."""
    made = divide(
        wall_s,
        wall_s,
        metadata_s=metadata_s,
        reads_s=reads_s,
        computing_metadata_s=metadata_s,
        computing_reads_s=reads_s,
    )
    assert [str(part) for part in (made.metadata_s, made.reads_s, made.both_s, made.other_s)] == ["0.0"] * 4
    assert made.cpu_s == pytest.approx(wall_s, abs=1e-6)


def test_without_a_cpu_clock_nothing_is_called_cpu() -> None:
    made = account(line(100, MS), None, 1.0, None, TRACED)
    assert made.cpu_s is None
    assert made.other_name == "CPU, reads, page faults, other waiting"


def test_a_clock_that_has_not_ticked_says_nothing_of_a_short_run() -> None:
    # the kernel counts in 10 ms: of 3 ms all may have been CPU, of 2 s less than a hundredth was
    assert account(line(1, 1000), None, 0.003, 0.0, TRACED).cpu_s is None
    assert account(line(1, 1000), None, 2.0, 0.0, TRACED).cpu_s == 0.0
    assert account(line(1, 1000), None, 0.003, 0.001, TRACED).cpu_s == 0.001


def test_an_import_has_its_own_time_and_that_of_what_it_imports() -> None:
    # outer: 10 ms, of these 6 ms in inner; inner: 2 ms CPU, 3 ms in one call, the rest a fault
    facts, seen = RingFacts(), Observed()

    def events() -> Iterator[Event]:
        for kind, name, at_ms, cpu_ms, n_faults in (
            ("begin", b"outer", 100, 0, 0), ("begin", b"inner", 102, 2, 0), ("end", b"inner", 108, 4, 1), ("end", b"outer", 110, 6, 1),
        ):  # fmt: skip
            facts.usages.append(Usage(1, at_ms * MS, cpu_ms * MS, n_faults, 0, 0))
            yield Mark(1, at_ms * MS, kind, name)
            if at_ms == 102:
                yield stat(103 * MS, 3 * MS)

    assert len(list(watch_time(events(), seen, facts))) == 5
    tally = Tally(floor={bin_of(1): 100, bin_of(3000): 1})
    manifest = Manifest(wall_s=1.0, user_s=0.5, sys_s=0.0, capabilities=INLINE)
    made = time_account(manifest, tally, seen)
    assert made is not None
    assert made.by_import is not None
    rows = {row.key: row for row in made.by_import}
    inner, outer = rows["inner"], rows["outer"]
    assert (inner.wall_s, inner.cpu_s, inner.n_major_faults) == (0.006, 0.002, 1)
    assert inner.metadata_s == pytest.approx(0.003, rel=0.01)
    assert inner.other_s == pytest.approx(0.001, rel=0.05)
    assert (outer.wall_s, outer.cpu_s, outer.wall_cum_s, outer.cpu_cum_s) == (0.004, 0.004, 0.010, 0.006)
    assert made.by_package is not None
    assert {row.key for row in made.by_package} == {"inner", "outer"}


def test_no_wall_time_is_no_account() -> None:
    assert time_account(Manifest(), Tally(), Observed()) is None
