"""The CPU time of a thread at any moment, from what our own tracer noted while it stood still.

A thread is noted at its calls, every 0.2 ms at most, and at its end. Between two notes its CPU time is told by the time: it is
never off by more than it used between them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

_RECORD = struct.Struct("<IQQ")
_MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Notes by thread, on the log's own axis, in order."""

    times: Mapping[int, list[int]] = field(default_factory=dict)
    used: Mapping[int, list[int]] = field(default_factory=dict)

    def at(self, tid: int, t_ns: int) -> int | None:
        """CPU time of a thread in ns; None where it was never noted."""
        times = self.times.get(tid)
        if not times:
            return None
        used = self.used[tid]
        after = bisect_right(times, t_ns)
        if after == len(times):
            return used[-1]
        if not after:
            return max(0, used[0] - (times[0] - t_ns))
        start, end = times[after - 1], times[after]
        return used[after - 1] + (used[after] - used[after - 1]) * (t_ns - start) // (end - start)


def read(data: bytes) -> CpuTimes | None:
    """Read a section `cpu`; what is not as our tracer writes it is left out. None where it holds nothing."""
    records = _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size])
    tid, begun_ns, used_ns = next(records, (1, 0, 0))
    if tid or used_ns or begun_ns > _MOST:
        return None
    times: dict[int, list[int]] = {}
    used: dict[int, list[int]] = {}
    for tid, at_ns, used_ns in records:
        when, until = times.setdefault(tid, []), used.setdefault(tid, [])
        t_ns = at_ns - begun_ns
        if not tid or not 0 <= t_ns <= _MOST or used_ns > _MOST:
            continue
        if when and t_ns <= when[-1]:
            continue
        if until and used_ns < until[-1]:
            when.clear()  # the number is another thread's now
            until.clear()
        when.append(t_ns)
        until.append(used_ns)
    return CpuTimes({tid: when for tid, when in times.items() if when}, used)
