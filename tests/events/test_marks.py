"""The merge of time marks: clocks, thread numbers, damage."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.events import clocks, marks
from fsprobe.events.clocks import Anchor, Clocks
from fsprobe.model.events import Call, Event, Mark, Op, Process


def section(files: dict[str, bytes]) -> bytes:
    return b"".join(b"@%s %d\n%s" % (name.encode(), len(data), data) for name, data in files.items())


def line(pid: int, delta: str, text: str) -> bytes:
    return f"{pid}  1795506711.169777 (+     {delta}) {text}\n".encode()


def note(pid: int, delta: str, word: str, token: str, tid: int, own_ns: int) -> bytes:
    return line(
        pid,
        delta,
        f'faccessat2(-1, "fsprobe!{word} {token} {tid} {own_ns}", F_OK, 0) = -1 EBADF (Bad file descriptor) <0.000010>',
    )


def call(tid: int, t_ns: int) -> Call:
    return Call(tid, t_ns, "openat", Op.OPEN, b"/x", "", 10_000, b"", b"3")


def times(files: marks.HookFiles) -> dict[tuple[str, int], list[int]]:
    return {thread: [when for when, _, _ in found] for thread, found in files.marks.items()}


def test_files_are_read_as_the_hook_writes_them() -> None:
    files = marks.read_hook_files(
        [
            section(
                {
                    "marks.7.ab": b"={'pid': 7, 'path': ['/x']}\n10 7 >os\n30 7 <os\n20 8 >a.b\n",
                    "mounts.1": b"36 35 98:0 / / rw - ext4 /dev/x rw\n",
                }
            )
        ]
    )
    assert files.facts["7.ab"]["pid"] == 7
    assert files.marks["7.ab", 7] == [(10, "begin", b"os"), (30, "end", b"os")]
    assert files.marks["7.ab", 8] == [(20, "begin", b"a.b")]
    assert files.mounts["mounts.1"].startswith(b"36 ")
    assert not files.unread


def test_the_log_s_clock_is_found_from_the_anchors() -> None:
    # the log's second 0 is 1 s on the hook's clock; the tracer stamps 20 us after the hook looked at its clock
    log = [
        line(9, "0.000000000", 'execve("/p", ["p"], 0x1 /* 1 var */) = 0 <0.0001>'),
        note(9, "0.001000000", "begin", "7.ab", 7, 1_000_980_000),
        note(9, "0.000060000", "at", "7.ab", 7, 1_001_040_000),
    ]
    found = clocks.read(log)
    assert [(anchor.host_tid, anchor.log_ns) for anchor in found.anchors] == [(9, 1_000_000), (9, 1_060_000)]
    files = marks.read_hook_files([section({"marks.7.ab": b"1001100000 7 >os\n"})])
    offset, doubt = clocks.offsets(found, times(files))["7.ab"]
    assert abs(offset - 1_000_000_000) <= doubt
    assert doubt <= 30_000


def test_a_wide_upper_bound_moves_no_mark_before_the_call_that_it_follows() -> None:
    """A loaded machine: each note returns 100 us after it was stamped, one call takes 30 us, and the mark follows it at once."""
    true_ns, wake_ns = 1_000_000_000, 5_000
    anchors = [Anchor(9, at, "t", 7, true_ns + at - wake_ns) for at in (0, 105_000)]
    ended = true_ns + 500_000 + 32_000
    files = marks.HookFiles(marks={("t", 7): [(true_ns + 205_000, "begin", b"m"), (ended, "end", b"m")]})
    merged = list(marks.merge(iter([call(9, 400_000), call(9, 500_000), call(9, 550_000)]), files, Clocks(anchors)))
    shown = [event.kind if isinstance(event, Mark) else event.t_ns for event in merged]
    assert shown == ["begin", 400_000, 500_000, "end", 550_000]


def test_anchors_that_all_waited_for_the_tracer_move_no_mark_after_the_call_that_it_precedes() -> None:
    """A busy machine: the tracer was woken 60 us after each anchor, and 6 to 40 us after the calls of imports; no line says so."""
    true_ns, chance = 1_000_000_000, random.Random(7)
    log = [line(9, "0.000000000", 'execve("/p", ["p"], 0x1 /* 1 var */) = 0 <0.000100>')]
    events, noted, now = [], b"", 0
    for word in ("begin", "at", "ready"):
        now += 200_000
        log.append(note(9, "0.000200000", word, "7.ab", 7, true_ns + now - 60_000))
    for number in range(200):
        gap, wake, took, after = (chance.randrange(*span) for span in ((150, 400), (6, 40), (20, 60), (3, 30)))
        now += gap * 1000
        log.append(line(9, f"0.{gap:06}000", f'openat(AT_FDCWD, "/m{number}.py", O_RDONLY) = 3 <0.{took:06}>'))
        noted += b"%d 7 >m%d\n" % (true_ns + now - wake * 1000, number)
        noted += b"%d 7 <m%d\n" % (true_ns + now + (took + after) * 1000, number)
        events.append(call(9, now))
    files = marks.read_hook_files([section({"marks.7.ab": noted})])
    merged = list(marks.merge(iter(events), files, clocks.read(log)))
    assert [event.kind if isinstance(event, Mark) else "call" for event in merged] == ["begin", "call", "end"] * 200
    offset, doubt = clocks.offsets(clocks.read(log), times(files))["7.ab"]
    assert abs(offset - true_ns) <= doubt + 1000


def test_a_stop_that_covers_all_of_the_bounds_changes_nothing() -> None:
    anchors = [Anchor(9, 1000, "a", 7, 5000), Anchor(9, 1040, "a", 7, 5040)]
    alone = clocks.offsets(Clocks(anchors), {("a", 7): [5500]})
    assert clocks.offsets(Clocks(anchors, {9: [(1100, 90_000)]}), {("a", 7): [5500]}) == alone


def test_marks_come_before_the_first_call_after_them_in_their_own_thread() -> None:
    files = marks.HookFiles(marks={("t", 7): [(1_000_100, "begin", b"m"), (1_000_300, "end", b"m")]})
    anchors = [Anchor(9, 0, "t", 7, 999_990), Anchor(9, 20, "t", 7, 1_000_010)]
    events = [call(9, 50), call(5, 200), call(9, 200), call(9, 400)]
    merged = list(marks.merge(iter(events), files, Clocks(anchors)))
    assert [event.kind if isinstance(event, Mark) else event.t_ns for event in merged] == [
        50,
        200,
        "begin",
        200,
        "end",
        400,
    ]
    assert {event.tid for event in merged if isinstance(event, Mark)} == {9}


def test_a_fork_is_known_by_its_note_however_late_the_tracer_woke() -> None:
    """All anchors were stamped 60 us late, as on a busy machine: by the likely difference of the clocks the note of the fork comes
    45 us after it. The hook's clock is 1,000,000 ahead; the thread imports `m`, forks at 300,000 and is noted 5,000 before."""
    anchors = [Anchor(9, 60_000, "t", 7, 1_000_000), Anchor(9, 160_000, "t", 7, 1_100_000)]
    files = marks.HookFiles(
        marks={
            ("t", 7): [
                (1_200_000, "begin", b"m"),
                (1_294_000, "begin", b"n"),
                (1_800_000, "end", b"n"),
                (1_900_000, "end", b"m"),
            ],
            ("t+1", 0): [(1_400_000, "begin", b"inner"), (1_500_000, "end", b"inner")],
        },
        forks={"t+1": ("t", 1_295_000, 7)},
    )
    events: list[Event] = [
        call(9, 10_000),
        Process("fork", 9, 300_000, 11, b""),
        call(11, 480_000),
        call(9, 700_000),
        call(11, 900_000),
        call(9, 1_000_000),
    ]
    clocks_found = clocks.offsets(Clocks(anchors), times(files))["t"]
    assert 1_295_000 - clocks_found[0] > 300_000 + clocks.WAKE_NS  # so the likely difference alone does not tell
    merged = list(marks.merge(iter(events), files, Clocks(anchors)))
    assert [(event.tid, event.kind, event.name) for event in merged if isinstance(event, Mark)] == [
        (9, "begin", b"m"),
        (9, "begin", b"n"),
        (11, "begin", b"inner"),
        (11, "end", b"inner"),
        (9, "end", b"n"),
        (9, "end", b"m"),
    ]
    assert [event for event in merged if isinstance(event, Process | Call)] == events
    # what the parent imports when it forks is under way in the child too
    assert [type(event) for event in merged][1:4] == [Mark, Mark, Process]
    assert files.unread.total() == 0


def test_a_fork_without_a_note_leaves_a_later_one_to_its_own() -> None:
    anchors = [Anchor(9, 1_000, "t", 7, 1_000_000), Anchor(9, 21_000, "t", 7, 1_020_000)]
    files = marks.HookFiles(marks={("t+1", 0): [(1_900_000, "begin", b"inner")]}, forks={"t+1": ("t", 1_700_000, 7)})
    events = [Process("fork", 9, 100_000, 11, b""), Process("fork", 9, 710_000, 12, b""), call(12, 990_000)]
    merged = list(marks.merge(iter(events), files, Clocks(anchors)))
    assert [event.tid for event in merged if isinstance(event, Mark)] == [12]


def test_marks_whose_process_never_spoke_are_counted_not_guessed() -> None:
    files = marks.HookFiles(marks={("t", 7): [(1, "begin", b"m")]})
    assert list(marks.merge(iter([call(9, 5)]), files, Clocks())) == [call(9, 5)]
    assert files.unread == {"thread": 1}


def test_a_time_namespace_has_a_clock_of_its_own() -> None:
    hour = 3600 * 10**9
    anchors = [
        Anchor(9, 1000, "a", 7, 5000),
        Anchor(9, 1040, "a", 7, 5040),
        Anchor(8, 2000, "b", 1, 6000 + hour),
        Anchor(8, 2040, "b", 1, 6040 + hour),
    ]
    offsets = clocks.offsets(Clocks(anchors), {})
    assert abs(offsets["a"][0] - 4000) <= 100
    assert abs(offsets["b"][0] - 4000 - hour) <= 100


@given(st.binary(max_size=300))
def test_damaged_files_raise_nothing(data: bytes) -> None:
    marks.read_hook_files([data])
    marks.read_hook_files([section({"marks.1.a": data})])
    clocks.read(data.splitlines(keepends=True))
