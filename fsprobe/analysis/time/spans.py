"""When files were being read, of which only the begin, the end and the sum of the reads are known: how long somebody waited."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple


class Span(NamedTuple):
    """A file was read from here to there, and for `time_ns` of it somebody was in a read."""

    tid: int
    first_ns: int
    last_ns: int
    time_ns: int


_FIRST = itemgetter(1)


def covered_by(spans: Sequence[Span]) -> float:
    """In how much of the time somebody was in a read, ns.

    Only sums are known: in its span a file was being read all the same part of the time, and whether two threads' reads
    met is chance, but a thread is in one read at a time.
    """
    covered_ns, until_ns = 0.0, 0
    meeting: list[Span] = []
    for span in sorted(spans, key=_FIRST):
        if span.first_ns >= until_ns:
            if meeting:
                covered_ns += _covered_by(meeting)
                meeting = []
            until_ns = span.first_ns
        meeting.append(span)
        until_ns = max(until_ns, span.last_ns, span.first_ns + 1)
    return covered_ns + _covered_by(meeting)


def _covered_by(spans: Sequence[Span]) -> float:
    """The same of spans that follow each other without a gap."""
    if len(spans) == 1:
        _, first_ns, last_ns, time_ns = spans[0]
        return float(min(time_ns, max(last_ns - first_ns, 1)))
    edges: list[tuple[int, int, float]] = []
    for tid, first_ns, last_ns, time_ns in spans:
        end_ns = max(last_ns, first_ns + 1)
        part = min(1.0, time_ns / (end_ns - first_ns))
        edges += ((first_ns, tid, part), (end_ns, tid, -part))
    edges.sort()
    parts: dict[int, tuple[float, float]] = {}  # and the logarithm of the chance that the thread is in none
    nothing, expm1, log1p = (0.0, 0.0), math.expm1, math.log1p
    most = 1 - 1e-9
    covered_ns = nobody = 0.0  # `nobody`: the logarithm of the chance that nobody is in a read
    before_ns = 0
    for t_ns, tid, change in edges:
        if nobody < 0:
            covered_ns -= (t_ns - before_ns) * expm1(nobody)
        before_ns = t_ns
        part, chance = parts.get(tid, nothing)
        part += change
        now = log1p(-part if part < most else -most) if part > 0 else 0.0
        parts[tid] = part, now
        nobody += now - chance
    return covered_ns
