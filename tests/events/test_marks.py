"""The merge of time marks: clocks, thread numbers, damage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fsprobe.events import marks
from fsprobe.model.events import Call, Mark, Op


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
    assert files.n_unread == 0


def test_the_log_s_clock_is_found_from_the_anchors() -> None:
    # the log's second 0 is 1 s on the hook's clock; the tracer stamps 20 us after the hook looked at its clock
    log = [
        line(9, "0.000000000", 'execve("/p", ["p"], 0x1 /* 1 var */) = 0 <0.0001>'),
        note(9, "0.001000000", "begin", "7.ab", 7, 1_000_980_000),
        note(9, "0.000060000", "at", "7.ab", 7, 1_001_040_000),
    ]
    anchors = marks.find_anchors(log)
    assert [(anchor.host_tid, anchor.log_ns) for anchor in anchors] == [(9, 1_000_000), (9, 1_060_000)]
    files = marks.read_hook_files([section({"marks.7.ab": b"1001100000 7 >os\n"})])
    offset, doubt = marks.clock_offsets(anchors, files)["7.ab"]
    assert abs(offset - 1_000_000_000) <= doubt
    assert doubt <= 30_000


def test_a_wide_upper_bound_moves_no_mark_before_the_call_that_it_follows() -> None:
    """A loaded machine: each note returns 100 us after it was stamped, one call takes 30 us, and the mark follows it at once."""
    true_ns, wake_ns = 1_000_000_000, 5_000
    anchors = [marks.Anchor(9, at, "t", 7, true_ns + at - wake_ns) for at in (0, 105_000)]
    ended = true_ns + 500_000 + 32_000
    files = marks.HookFiles(marks={("t", 7): [(true_ns + 205_000, "begin", b"m"), (ended, "end", b"m")]})
    merged = list(marks.merge(iter([call(9, 400_000), call(9, 500_000), call(9, 550_000)]), files, anchors))
    shown = [event.kind if isinstance(event, Mark) else event.t_ns for event in merged]
    assert shown == ["begin", 400_000, 500_000, "end", 550_000]


def test_marks_come_before_the_first_call_after_them_in_their_own_thread() -> None:
    files = marks.HookFiles(marks={("t", 7): [(1_000_100, "begin", b"m"), (1_000_300, "end", b"m")]})
    anchors = [marks.Anchor(9, 0, "t", 7, 999_990), marks.Anchor(9, 20, "t", 7, 1_000_010)]
    events = [call(9, 50), call(5, 200), call(9, 200), call(9, 400)]
    merged = list(marks.merge(iter(events), files, anchors))
    assert [event.kind if isinstance(event, Mark) else event.t_ns for event in merged] == [
        50,
        200,
        "begin",
        200,
        "end",
        400,
    ]
    assert {event.tid for event in merged if isinstance(event, Mark)} == {9}


def test_marks_whose_process_never_spoke_are_counted_not_guessed() -> None:
    files = marks.HookFiles(marks={("t", 7): [(1, "begin", b"m")]})
    assert list(marks.merge(iter([call(9, 5)]), files, [])) == [call(9, 5)]
    assert files.n_unread == 1


def test_a_time_namespace_has_a_clock_of_its_own() -> None:
    hour = 3600 * 10**9
    anchors = [
        marks.Anchor(9, 1000, "a", 7, 5000),
        marks.Anchor(9, 1040, "a", 7, 5040),
        marks.Anchor(8, 2000, "b", 1, 6000 + hour),
        marks.Anchor(8, 2040, "b", 1, 6040 + hour),
    ]
    offsets = marks.clock_offsets(anchors, marks.HookFiles())
    assert abs(offsets["a"][0] - 4000) <= 100
    assert abs(offsets["b"][0] - 4000 - hour) <= 100


@given(st.binary(max_size=300))
def test_damaged_files_raise_nothing(data: bytes) -> None:
    marks.read_hook_files([data])
    marks.read_hook_files([section({"marks.1.a": data})])
    marks.find_anchors(data.splitlines(keepends=True))
