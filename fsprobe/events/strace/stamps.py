"""The head of a strace line: who (`1892 `, `[pid 1892] `) and when (-t, -tt, -ttt, -r and their mixtures)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

HEAD = re.compile(
    rb"\s*(?:\[pid +(\d{1,8})(?:<[^>]*>)?\] +|(\d{1,8})(?:<[^>]*>)? +)?"
    rb"(?:(\d\d:\d\d:\d\d(?:\.\d{1,9})?|[1-8]?\d{9}(?:\.\d{1,9})?|\d{1,8}\.\d{1,9}(?= \(\+)) )?"
    rb"(?: *\(\+ *(\d{1,10}(?:\.\d{1,9})?)\) | *(\d{1,8}\.\d{1,9}) )?"
)
"""Groups: pid in brackets, bare pid, absolute stamp, relative stamp in brackets, bare relative stamp."""

_ATTACHED = re.compile(rb"Process (\d{1,8}) attached")
_BEGINS_ATTACHED = re.compile(rb"(?:\S*strace: )?Process (\d{1,8}) attached")
_DAY_NS = 86_400 * 1_000_000_000
_LOOK_AHEAD = 20_000
_AHEAD_NS = 1_000_000_000
"""Both stamps of a line are made at once; more than this is no rounding."""


class Clock(NamedTuple):
    """How one log tells the time."""

    advance: Callable[[bytes | None, bytes | None], int | None]
    """(absolute stamp, relative stamp) of the next line -> its ns on the log's axis."""
    is_sum_of_ns: bool
    """Whether the axis is the running sum of relative stamps with nine decimals."""
    wall_start_ns: int | None
    """Wall clock where the axis starts, None where no stamp shows a date."""


def nanoseconds(stamp: bytes) -> int:
    """Give the ns of `1795506711.169777` or `0.000257743`."""
    seconds, _, fraction = stamp.partition(b".")
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0"))


def time_of_day_ns(stamp: bytes) -> int:
    """Give the ns since midnight of `08:30:01` or `08:30:01.169777`."""
    hours, minutes, seconds = stamp.split(b":")
    return (int(hours) * 60 + int(minutes)) * 60_000_000_000 + nanoseconds(seconds)


def make_clock(absolute: bytes | None, relative: bytes | None) -> Clock | None:
    """Choose the axis from the first line that has a stamp; None when it has none.

    Relative stamps in ns are summed: that axis is monotonic and exact whatever happens to the wall clock. Other
    relative stamps are truncated to us, so an absolute stamp beside them is better.
    """
    in_ns = relative is not None and len(relative.partition(b".")[2]) == 9
    is_date = absolute is not None and b":" not in absolute
    if relative is not None and (in_ns or absolute is None):
        start = nanoseconds(absolute) - nanoseconds(relative) if absolute is not None and is_date else None
        return Clock(_summing(), in_ns, start)
    if absolute is None:
        return None
    if is_date:
        return Clock(_dated(), False, nanoseconds(absolute))
    return Clock(_daily(), False, None)


def _summing() -> Callable[[bytes | None, bytes | None], int | None]:
    total = 0

    def advance(_absolute: bytes | None, relative: bytes | None) -> int | None:
        nonlocal total
        if relative is not None:
            total += nanoseconds(relative)
        return total

    return advance


def _dated() -> Callable[[bytes | None, bytes | None], int | None]:
    last: int | None = None

    def advance(absolute: bytes | None, _relative: bytes | None) -> int | None:
        nonlocal last
        if absolute is not None and b":" not in absolute:
            last = nanoseconds(absolute)
        return last

    return advance


def _daily() -> Callable[[bytes | None, bytes | None], int | None]:
    last: int | None = None
    days = 0

    def advance(absolute: bytes | None, _relative: bytes | None) -> int | None:
        nonlocal last, days
        if absolute is not None and b":" in absolute:
            now = time_of_day_ns(absolute)
            if last is not None and now + days < last - _DAY_NS // 2:
                days += _DAY_NS  # past midnight
            last = now + days
        return last

    return advance


def set_ahead_ns(lines: Iterable[bytes]) -> int:
    """How much longer a log takes by its wall clock than by its monotonic one, in steps of more than a second.

    Such a step is a clock that was set ahead, or lines that are missing; the log alone can't tell which.

    Returns:
        Nanoseconds; 0 where lines do not have both stamps (`-ttt -r`), or the axis is monotonic anyway.

    Source: strace(1), -r: it "uses the monotonic clock time for measuring time difference and not the wall clock time".
    """
    total = 0
    clock: Clock | None = None
    last_ns: int | None = None
    for number, line in enumerate(lines):
        match = HEAD.match(line)
        absolute, relative = (match.group(3), match.group(4)) if match is not None else (None, None)
        if absolute is None or relative is None:
            if clock is None and number >= _LOOK_AHEAD:
                break
            continue
        if clock is None:
            clock = make_clock(absolute, relative)
            if clock is None or clock.is_sum_of_ns:
                break
        now_ns = clock.advance(absolute, relative)
        if last_ns is not None and now_ns is not None:
            more_ns = now_ns - last_ns - nanoseconds(relative)
            total += more_ns if more_ns > _AHEAD_NS else 0
        last_ns = now_ns
    return total


def find_first_pid(lines: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Find who wrote the lines without a pid at the start of a log that strace printed to the terminal.

    strace names pids there (`[pid 12]`) only while it traces more than one, and says which ones it attached.

    Returns:
        the first process's pid (b"" when the log never tells, or not within 20,000 lines), and all lines again.
    """
    source = iter(lines)
    seen: list[bytes] = []
    attached: set[bytes] = set()
    for line in source:
        seen.append(line)
        if len(seen) == 1:
            alone = _BEGINS_ATTACHED.match(line)
            if alone is not None:
                return alone.group(1), chain(seen, source)
            if not line.strip() or _has_bare_pid(line):
                break
        attached.update(_ATTACHED.findall(line))
        match = HEAD.match(line)
        if match is not None and match.group(1) is not None and match.group(1) not in attached:
            return match.group(1), chain(seen, source)
        if len(seen) >= _LOOK_AHEAD:
            break
    return b"", chain(seen, source)


def _has_bare_pid(line: bytes) -> bool:
    match = HEAD.match(line)
    return match is not None and match.group(2) is not None
