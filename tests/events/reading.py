"""Shared by the parser's tests: lines in, events out, and rows that don't depend on pids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fsprobe.events.strace.parser import parse
from fsprobe.model.events import Call, Event, Mark, ParseQuality, Process

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
