"""Shared by the parser's tests: lines in, events out, and rows that don't depend on pids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Event, Mark, ParseQuality, Process

_MODE = re.compile(rb"stx?_mode=(S_IF[A-Z]+)")
Row = tuple[str, bytes, str]


def read(*lines: bytes, cwd: bytes | None = None) -> tuple[list[Event], ParseQuality]:
    quality = ParseQuality()
    return list(parse([line + b"\n" for line in lines], quality, cwd=cwd)), quality


def read_lines(lines: Iterable[bytes], cwd: bytes | None = None) -> tuple[list[Event], ParseQuality]:
    quality = ParseQuality()
    return list(parse(lines, quality, cwd=cwd)), quality


def calls(events: Iterable[Event]) -> list[Call]:
    return [event for event in events if isinstance(event, Call)]


def processes(events: Iterable[Event]) -> list[Process]:
    return [event for event in events if isinstance(event, Process)]


def marks(events: Iterable[Event]) -> list[Mark]:
    return [event for event in events if isinstance(event, Mark)]


def one_call(line: bytes, cwd: bytes | None = None) -> Call:
    events, quality = read(line, cwd=cwd)
    assert quality.n_unparsed == 0, quality.unparsed_examples
    (call,) = calls(events)
    return call


def rows(events: Iterable[Event]) -> list[Row]:
    return [(call.syscall, call.path, call.error) for call in calls(events)]


def rows_by_birth(events: Iterable[Event]) -> dict[tuple[int, ...], list[Row]]:
    """Rows of each thread; a thread is named by its place in the family: (0, 2) is the first one's third child."""
    places: dict[int, tuple[int, ...]] = {}
    n_children: Counter[int] = Counter()
    table: dict[tuple[int, ...], list[Row]] = {}

    def place_of(tid: int) -> tuple[int, ...]:
        if tid not in places:
            places[tid] = (sum(len(place) == 1 for place in places.values()),)
        return places[tid]

    for event in events:
        if isinstance(event, Process) and event.kind in ("fork", "thread"):
            parent = place_of(event.tid)
            places[event.child] = (*parent, n_children[event.tid])
            n_children[event.tid] += 1
        elif isinstance(event, Call):
            table.setdefault(place_of(event.tid), []).append((event.syscall, event.path, event.error))
    return table


def mode_kind(call: Call) -> str | None:
    """Give S_IFDIR, S_IFREG, S_IFLNK ... from a stat's st_mode, None where the call shows none."""
    # a file may be called "st_mode=S_IFDIR": only what is behind the last string counts
    match = _MODE.search(call.args[call.args.rfind(b'"') + 1 :])
    return match.group(1).decode("ascii") if match else None


def format_call(call: Call, *, since_ns: int = 0, wall_start_ns: int = 0) -> bytes:
    """Write a call as one line (with its line end) of fsprobe's own strace command; `parse` gives it back.

    Args:
        call: its `args` and `result` are written as they are; `path` is not (it is read from `args`).
        since_ns: `t_ns` of the line before, from which the relative stamp counts.
        wall_start_ns: wall clock at t_ns = 0, for the absolute stamp.
    """
    head = b"%-5d " % call.tid
    if call.t_ns is not None:
        wall, delta = wall_start_ns + call.t_ns, call.t_ns - since_ns
        head += b"%d.%06d " % (wall // 1_000_000_000, wall // 1000 % 1_000_000)
        head += b"(+%6d.%09d) " % divmod(delta, 1_000_000_000)
    head += call.syscall.encode("ascii") + b"(" + call.args
    if not call.result:
        return head + b" <unfinished ...>\n"
    lasted = b"" if call.dur_ns is None else _format_duration(call.dur_ns)
    return head + b") = " + call.result + lasted + b"\n"


def _format_duration(ns: int) -> bytes:
    seconds, rest = divmod(ns, 1_000_000_000)
    return b" <%d.%09d>" % (seconds, rest) if rest % 1000 else b" <%d.%06d>" % (seconds, rest // 1000)
