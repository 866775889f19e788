"""A log of fsprobe's own strace command as columns: who, when, how long; and what each line says besides, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fsprobe.events.clocks import PRINTED_NS, Anchor, Clocks
from fsprobe.events.strace.stamps import nanoseconds
from fsprobe.foreign_numbers import count

Ints = NDArray[np.int64]
_STAMP, _REST = 18, 20
"""From `(+` of `(+     0.000257743) openat(` to its `)`, and to the call."""
_LASTED = 12
"""` <0.000089>` and the line's end."""
_SECONDS = 10 ** np.arange(5, -1, -1)
_FRACTION = 10 ** np.arange(8, -1, -1)
_MICROSECONDS = np.array([1_000_000, 0, 100_000, 10_000, 1_000, 100, 10, 1])
"""Of the digits of `0.000089`."""


@dataclass(slots=True)
class Stamped:
    """The lines of a log, in its order."""

    texts: list[bytes]
    """Without thread, stamps and duration."""
    pids: list[bytes]
    """All threads, in the order in which they come."""
    pid: Ints
    """Which of them each line is of."""
    t_ns: Ints
    """The sum of all relative stamps up to it, as `events.strace.parser` has it."""
    dur_ns: Ints
    """-1: the line has none."""
    wall_start_ns: int


def read(data: bytes) -> Stamped | None:
    """Read a whole log; None where a line is not as fsprobe's own command writes it."""
    at = data.find(b"(+", 0, 64)
    if at < 20 or data[-1:] != b"\n":
        return None
    bytes_of = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(bytes_of == 10)
    begins = np.concatenate(([0], ends[:-1] + 1))
    if int((ends - begins).min()) < at + _REST:
        return None
    head = sliding_window_view(bytes_of, at + _REST)[begins]
    seconds, fraction = head[:, at + 2 : at + 8], head[:, at + 9 : at + _STAMP] - 48
    seconds = np.where(seconds == 32, 48, seconds) - 48  # padded with blanks
    marks = head[:, [at - 1, at, at + 1, at + 8, at + _STAMP, at + _STAMP + 1]]
    if not (marks == np.frombuffer(b" (+.) ", dtype=np.uint8)).all() or (seconds > 9).any() or (fraction > 9).any():
        return None
    names = np.ascontiguousarray(head[:, : at - 18]).view(f"S{at - 18}").ravel()
    # a thread has many lines one after the other
    runs = np.flatnonzero(np.concatenate(([True], names[1:] != names[:-1])))
    places: dict[bytes, int] = {}
    of_runs = [places.setdefault(name, len(places)) for name in names[runs].tolist()]
    lasted = _durations(bytes_of, begins, ends, at)
    to = np.where(lasted < 0, ends, ends - _LASTED + 1)
    absolute, relative = data[at - 18 : at - 1], data[at + 2 : at + _STAMP].lstrip()
    known = [name.strip() for name in places]
    if not all(one.isdigit() for one in known) or not absolute.replace(b".", b"", 1).isdigit():
        return None
    return Stamped(
        texts=[data[begin:end] for begin, end in zip((begins + at + _REST).tolist(), to.tolist(), strict=True)],
        pids=known,
        pid=np.repeat(of_runs, np.diff(np.append(runs, len(names)))),
        t_ns=np.cumsum(seconds @ _SECONDS * 1_000_000_000 + fraction @ _FRACTION),
        dur_ns=lasted,
        wall_start_ns=nanoseconds(absolute) - nanoseconds(relative),
    )


def _durations(bytes_of: NDArray[np.uint8], begins: Ints, ends: Ints, at: int) -> Ints:
    tail = sliding_window_view(bytes_of, _LASTED - 1)[np.maximum(0, ends - _LASTED + 1)]
    digits = tail[:, 2:10] - 48
    found = (tail[:, [0, 1, 3, 10]] == np.frombuffer(b" <.>", dtype=np.uint8)).all(axis=1)
    found &= (digits[:, [0, 2, 3, 4, 5, 6, 7]] <= 9).all(axis=1) & (ends - begins > at + _REST + _LASTED)
    digits[:, 1] = 0
    return np.where(found, digits.astype(np.int64) @ _MICROSECONDS * 1_000, -1)


def clocks(log: Stamped, notes: Sequence[int], resumed: Sequence[int]) -> Clocks:
    """As `events.clocks.read`.

    Args:
        log: the log.
        notes: its lines that are notes of hooks.
        resumed: its lines that are second halves of calls.
    """
    found = Clocks()
    for number in notes:
        text = log.texts[number]
        at = text.find(b'"fsprobe!')
        if at < 0 or b"(-1, " not in text[:at]:
            continue
        words = text[at + 9 : text.find(b'"', at + 9)].split()
        numbers = [count(word) for word in words[2:4]]
        if len(numbers) == 2 and None not in numbers:
            tid, own_ns = (one or 0 for one in numbers)
            host, log_ns = int(log.pids[log.pid[number]]), int(log.t_ns[number])
            found.anchors.append(Anchor(host, log_ns, words[1].decode("ascii", "replace"), tid, own_ns))
    stood = log.dur_ns >= 0
    stood[list(resumed)] = False
    ends = log.t_ns + np.maximum(log.dur_ns - PRINTED_NS, 0)
    for place, pid in enumerate(log.pids):
        of_pid = np.flatnonzero(stood & (log.pid == place))
        if len(of_pid):
            found.stops[int(pid)] = list(zip(log.t_ns[of_pid].tolist(), ends[of_pid].tolist(), strict=True))
    return found
