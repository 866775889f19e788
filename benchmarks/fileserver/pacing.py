"""How long a request takes: latency, bandwidth, and a cap on operations per second that several servers share.

A request is due at `its turn + latency`, counted from its arrival, so the server's own work is inside the latency and
not on top of it. A turn is a place in a queue with one place every 1/rate seconds.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MAX_LATENCY_MS = 1000.0
"""A client with a request in flight can't be killed before the reply: keep that short."""

_QUEUE = struct.Struct("=dQ")  # when the next place is free (CLOCK_MONOTONIC, s), places given out


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCap:
    """One queue for the metadata requests of every server that is given it: "one metadata server, many nodes"."""

    ops_per_s: float
    descriptor: int
    """Memory that holds the queue."""

    @property
    def n_turns(self) -> int:
        """Metadata requests that took a turn so far, over all servers."""
        with mmap.mmap(self.descriptor, _QUEUE.size, access=mmap.ACCESS_READ) as memory:
            return int(_QUEUE.unpack_from(memory)[1])


@contextmanager
def share_cap(ops_per_s: float) -> Iterator[SharedCap]:
    """Make a cap that several `serve(..., cap=cap)` share; it must outlive them.

    Args:
        ops_per_s: metadata requests a second, for all mounts together. Accurate up to about 10,000/s.
    """
    if not ops_per_s >= 1:
        raise ValueError(f"a cap below 1 operation a second would hang its clients: {ops_per_s}")
    descriptor = os.memfd_create("fileserver-cap")
    try:
        os.ftruncate(descriptor, _QUEUE.size)
        yield SharedCap(ops_per_s=ops_per_s, descriptor=descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True, kw_only=True)
class TurnQueue:
    """One process's view of a shared queue."""

    interval_s: float
    memory: mmap.mmap
    descriptor: int
    lock: threading.Lock = field(default_factory=threading.Lock)


def open_queue(descriptor: int, ops_per_s: float) -> TurnQueue:
    """Join the queue that `share_cap` made; `descriptor` was inherited."""
    # flock is held by an open file, and an inherited descriptor shares it: this process needs one of its own.
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    return TurnQueue(interval_s=1 / ops_per_s, memory=mmap.mmap(own, _QUEUE.size), descriptor=own)


def take_turn(queue: TurnQueue, now_s: float) -> float:
    """Return when it is this request's turn: now, or once all who came before had theirs."""
    with queue.lock:  # flock keeps other processes out, not the threads of this one
        fcntl.flock(queue.descriptor, fcntl.LOCK_EX)
        try:
            free_s, n_turns = _QUEUE.unpack_from(queue.memory)
            turn_s = max(now_s, free_s)
            _QUEUE.pack_into(queue.memory, 0, turn_s + queue.interval_s, n_turns + 1)
        finally:
            fcntl.flock(queue.descriptor, fcntl.LOCK_UN)
    return float(turn_s)


@dataclass(slots=True, kw_only=True)
class Line:
    """A line of limited bandwidth, shared by all reads and writes of one server."""

    bytes_per_s: float
    free_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


def transfer(line: Line, now_s: float, n_bytes: int) -> float:
    """Return when `n_bytes` have passed the line."""
    with line.lock:
        line.free_s = max(now_s, line.free_s) + n_bytes / line.bytes_per_s
        return line.free_s
