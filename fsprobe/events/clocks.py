"""The tracer's clock and the hooks' clock: one and the same, from two zeros.

A hook notes CLOCK_MONOTONIC; the stamps of a log are the same clock from an unknown zero. What is to be added to the log's time
is bounded from two sides:

- by the anchors, calls of the hook that the tracer prints. Between an anchor's own time m and the next time n that the same
  thread noted, the tracer stamped the call at s: m <= s <= n.
- by the stops: between the stamp of a call and its end as the tracer saw them, the thread stood still and noted nothing.

The lower bound is the better one: it is as far off as the quickest wake of the tracer took (some us), while the upper one holds
a whole stop, and is useless where another thread had the interpreter's lock. So the middle is taken, but no more than `WAKE_NS`
above the lower bound. The few anchors of a process may all have waited for a tracer that slept on a busy machine; of its
thousand imports some did not, and those are what the stops tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fsprobe.foreign_numbers import count

WAKE_NS = 15_000
"""Of 72,000 marks that were made visibly too, beside 0 to 5 busy processes on two cores, none is misplaced with 5,000 to 20,000 above
the lower bound; with the middle 1 of them is, and one mark in some 30 runs of six threads that import at once."""
_N_STOPS = 50_000
"""Stops that are kept of a log: what its first thousands can't tell of the clock, the rest won't."""
PRINTED_NS = 1_000
"""Durations are printed in whole us, rounded down or up."""
_QUICK = b"(+     0."
"""How the time since the line before stands in a log of fsprobe's own strace, where it is less than a second."""
_WIDEST = (-(1 << 62), 1 << 62)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A note of a hook as the tracer saw it."""

    host_tid: int
    log_ns: int
    token: str
    tid: int
    own_ns: int


@dataclass(frozen=True, slots=True)
class Clocks:
    """What a log tells of its own clock and of the hooks'."""

    anchors: list[Anchor] = field(default_factory=list)
    stops: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By thread as the tracer counts them: log's ns from and to which it certainly stood still, in order."""

    @property
    def host_tid(self) -> dict[tuple[str, int], int]:
        """(process token, thread id as that process saw it) -> thread id as the tracer saw it."""
        return {(anchor.token, anchor.tid): anchor.host_tid for anchor in self.anchors}


def read(lines: Iterable[bytes]) -> Clocks:
    """Find the hooks' notes and the stops in a log with relative ns stamps; cheap, since it runs before the real parse.

    The log's time of a line is the sum of all stamps up to it, as in `events.strace.parser`.
    """
    clocks = Clocks()
    stops: dict[bytes, list[tuple[int, int]]] = {}
    lasted: dict[bytes, int] = {}
    now_ns = n_stops = 0
    begins, of_pid = b"\n", None  # of the line before, as a rule of the same thread
    at = 0
    for line in lines:
        # written out for `(+     0.000257743) ` where the line before had it: this is done for each line of a log
        stamp = line[at + 9 : at + 18]
        if line[at : at + 9] == _QUICK and line[at + 18 : at + 19] == b")" and stamp.isdigit():
            now_ns += int(stamp)
        else:
            found = line.find(b"(+")
            if found < 0 or found > 40:
                continue
            at = found
            try:
                now_ns += int(line[at + 2 : line.index(b")", at)].replace(b".", b""))
            except ValueError:
                continue
        if n_stops < _N_STOPS and line[-12:-10] == b" <" and b" resumed>" not in line:
            took = lasted.get(line[-10:])
            if took is None:
                digits = line[-10:-2].replace(b".", b"")  # `0.000089>`
                took = -1
                if line[-2:] == b">\n" and digits.isdigit():
                    took = max(int(digits) * 1000 - PRINTED_NS, 0)
                if len(lasted) < _N_STOPS:
                    lasted[line[-10:]] = took
            if took >= 0:
                if not line.startswith(begins):
                    pid = line.split(None, 1)[0]
                    begins, of_pid = pid + b" ", stops.get(pid)
                    if of_pid is None and pid.isdigit():
                        number = count(pid)
                        of_pid = stops[pid] = clocks.stops.setdefault(-1 if number is None else number, [])
                if of_pid is not None:
                    n_stops += 1
                    of_pid.append((now_ns, now_ns + took))
        note = line.find(b'"fsprobe!', at)
        if note < 0 or b"(-1, " not in line[at:note]:
            continue
        words = line[note + 9 : line.find(b'"', note + 9)].split()
        numbers = [count(line.split(None, 1)[0]), *map(count, words[2:4])]
        if len(numbers) == 3 and None not in numbers:
            host_tid, tid, own_ns = (number or 0 for number in numbers)
            token = words[1].decode("ascii", "replace")
            clocks.anchors.append(Anchor(host_tid, now_ns, token, tid, own_ns))
    return clocks


def offsets(clocks: Clocks, noted: Mapping[tuple[str, int], Sequence[int]]) -> dict[str, tuple[int, int]]:
    """For each process token: what to add to the log's ns to get the hook's own clock, and the half-width of the doubt (ns).

    `noted` are the hook's own times by (process token, thread id as that process saw it), ascending.
    """
    bounds: dict[str, tuple[int, int]] = {}
    later: dict[tuple[str, int], int] = {}
    for anchor in reversed(clocks.anchors):
        key, own = (anchor.token, anchor.tid), anchor.own_ns
        times = noted.get(key, ())
        following = times[bisect_right(times, own) :][:1]
        limit = min([*following, later[key]] if key in later else following, default=own + 1_000_000)
        low, high = bounds.get(anchor.token, _WIDEST)
        bounds[anchor.token] = (max(low, own - anchor.log_ns), min(high, limit - anchor.log_ns))
        later[key] = own
    narrow = _WIDEST
    for low, high in bounds.values():
        if max(low, narrow[0]) <= min(high, narrow[1]):
            narrow = (max(low, narrow[0]), min(high, narrow[1]))
    # a process in a time namespace of its own shares no interval with the rest
    shared = {token for token, (low, high) in bounds.items() if low <= narrow[1] and narrow[0] <= high}
    narrow = _between_stops(narrow, shared, clocks, noted)
    found = {}
    for token, own_bounds in bounds.items():
        low, high = narrow if token in shared else _between_stops(own_bounds, {token}, clocks, noted)
        found[token] = (low + min((high - low) // 2, WAKE_NS), (high - low) // 2)
    return found


def _between_stops(
    bounds: tuple[int, int], tokens: set[str], clocks: Clocks, noted: Mapping[tuple[str, int], Sequence[int]]
) -> tuple[int, int]:
    """The widest part of the bounds in which the fewest times were noted by a thread that stood still (as a rule none)."""
    low, high = bounds
    host_tid = clocks.host_tid
    edges = [(low, 0), (high, 0)]
    for (token, tid), times in noted.items():
        stops = clocks.stops.get(host_tid.get((token, tid), -1), [])
        for when in times if token in tokens else ():
            at = bisect_right(stops, (when - low, 0)) - 1
            while at >= 0 and stops[at][1] > when - high:
                start, end = when - stops[at][1], when - stops[at][0]
                if max(start, low) < min(end, high):
                    edges += [(max(start, low), 1), (min(end, high), -1)]
                at -= 1
    edges.sort()
    parts = []
    n_noted = 0
    for (start, step), (end, _) in pairwise(edges):
        n_noted += step
        if start < end:
            parts.append((n_noted, start - end, start))
    if not parts:
        return bounds
    _, width, start = min(parts)
    return start, start - width
