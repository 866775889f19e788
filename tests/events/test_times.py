"""The time axis and the heads of lines, for each mixture of -f, -t, -tt, -ttt, -r."""

from __future__ import annotations

import pytest

from tests.events.reading import calls, read

CALL = b'access("/x", F_OK) = 0'


def times(*heads: bytes) -> list[int | None]:
    return [call.t_ns for call in calls(read(*[head + CALL for head in heads])[0])]


def test_ns_deltas_are_summed_whatever_the_wall_clock_does() -> None:
    events, quality = read(
        b"7 1795506711.169777 (+     0.000000000) " + CALL,
        b"7 1795506713.000000 (+     0.000257743) " + CALL,
        b"7 1795506700.000000 (+     0.000000001) close(3) = 0",
        b"7 1795506700.000001 (+    12.000000001) " + CALL,
        b"9 1795506700.000001 (+123456.000000001) +++ exited with 0 +++",
        b"7 1795506700.000001 (+     0.000000001) " + CALL,
    )
    assert [call.t_ns for call in calls(events)] == [0, 257743, 12_000_257_745, 123_468_000_257_747]
    assert quality.wall_start_ns == 1795506711_169777000
    assert (quality.has_times, quality.has_tids, quality.has_durations) == (True, True, False)


def test_a_call_in_two_halves_has_the_time_of_its_first() -> None:
    events, _ = read(
        b"7 1795506711.169777 (+     0.000000005) access(\"/x\", F_OK <unfinished ...>",
        b"8 1795506711.169777 (+     0.000000005) " + CALL,
        b"7 1795506711.169777 (+     0.000000005) <... access resumed>) = 0 <0.000001>",
    )  # fmt: skip
    assert [(call.tid, call.t_ns) for call in calls(events)] == [(8, 10), (7, 5)]


@pytest.mark.parametrize("pid", [b"", b"7     ", b"[pid     7] ", b"7<python3.11> "])
@pytest.mark.parametrize(
    ("first", "second", "expected", "wall"),
    [
        (b"1795506711.169777 ", b"1795506711.169779 ", [1795506711169777000, 1795506711169779000], 1795506711169777000),
        (b"1795506711 ", b"1795506712 ", [1795506711000000000, 1795506712000000000], 1795506711000000000),
        (b"1795506711.169777123 ", b"1795506711.169777124 ", [1795506711169777123, 1795506711169777124], 1795506711169777123),
        (b"1795506711.169777 (+     0.000000) ", b"1795506711.169779 (+     0.000001) ",
         [1795506711169777000, 1795506711169779000], 1795506711169777000),
        # a node whose clock was never set
        (b"77.169777 (+     0.000000) ", b"78.169777 (+     1.000000) ", [77169777000, 78169777000], 77169777000),
        (b"08:30:01.169777 ", b"08:30:01.169778 ", [30601169777000, 30601169778000], None),
        (b"08:30:01 ", b"08:30:02 ", [30601000000000, 30602000000000], None),
        (b"23:59:59.5 ", b"00:00:00.5 ", [86399500000000, 86400500000000], None),
        (b"     0.000000 ", b"     0.000315 ", [0, 315000], None),
        (b"     0.000000000 ", b"     0.000315001 ", [0, 315001], None),
        (b"08:30:01 (+     0.000000) ", b"08:30:01 (+     0.000315) ", [30601000000000, 30601000000000], None),
    ],
)  # fmt: skip
def test_each_kind_of_stamp(pid: bytes, first: bytes, second: bytes, expected: list[int], wall: int | None) -> None:
    events, quality = read(pid + first + CALL, pid + second + CALL)
    assert [call.t_ns for call in calls(events)] == expected
    assert (quality.wall_start_ns, quality.has_times, quality.has_tids) == (wall, True, pid != b"")
    assert {call.tid for call in calls(events)} == {7 if pid else 0}


def test_what_a_log_does_not_tell_is_none() -> None:
    events, quality = read(CALL)
    (call,) = calls(events)
    assert (call.tid, call.t_ns, call.dur_ns) == (0, None, None)
    assert not (quality.has_times)
    assert not (quality.has_tids)
    assert not (quality.has_durations)
    assert quality.wall_start_ns is None


def test_durations_of_any_precision() -> None:
    line = b'7 access("/x", F_OK) = 0 '
    events, quality = read(line + b"<0.000089>", line + b"<12.345678901>", line + b"<1.5>")
    assert [call.dur_ns for call in calls(events)] == [89_000, 12_345_678_901, 1_500_000_000]
    assert quality.has_durations
