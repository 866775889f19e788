"""Who made whom, found before the events are told: a birth is told where it happened, which is before the child speaks.

A child says of itself which clone made it: a forked one finds that in its copy of its parent's memory, a thread has the thread
pointer that the clone was given. An exec ended where the same process says that a program has started.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from fsprobe.events.ring.slots import BEGUN, CALL, HEADER_BYTES, NEWTID, SLOT_BYTES, START, Ring, slot_at

CLONES = frozenset({56, 57, 58, 435})
WAITS = frozenset({61, 247})
_EXECS = frozenset({59, 322})
_CLONE_THREAD = 0x10000
_NOBODY: deque[int] = deque()
_LOW_BYTES = re.compile(
    b"[" + b"".join(re.escape(bytes((number & 0xFF,))) for number in sorted(CLONES | WAITS | _EXECS)) + b"]"
)
_SAYS = re.compile(b"[" + re.escape(bytes((NEWTID, START))) + b"]")


@dataclass(slots=True)
class Families:
    """What the slots say of processes, by their indexes."""

    births: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Clone -> thread and process that it made."""
    entered: set[int] = field(default_factory=set)
    """Execs whose program was seen to start."""
    called: dict[int, int] = field(default_factory=dict)
    """Start -> the exec that led to it."""


def find(ring: Ring) -> Families:
    """Match clones with children and execs with starts, in the order of the slots."""
    families = Families()
    numbers = (
        bytes(ring.data[HEADER_BYTES + 80 : HEADER_BYTES + ring.n_slots * SLOT_BYTES : SLOT_BYTES])
        if ring.n_slots
        else b""
    )
    indexes = [match.start() for match in _LOW_BYTES.finditer(numbers) if ring.kinds[match.start()] == CALL]
    indexes += [match.start() for match in _SAYS.finditer(ring.kinds)]
    pid_of: dict[int, int] = {}
    clones: dict[int, int] = {}
    by_pointer: dict[tuple[int, int], int] = {}
    execs: dict[int, int] = {}
    forks: dict[int, deque[int]] = {}
    strangers: list[tuple[int, int, int]] = []
    for index in sorted(indexes):
        slot = slot_at(ring, index)
        kind, tid = ring.kinds[index], slot.tid
        if kind == CALL:
            pid = pid_of.get(tid, tid)
            if slot.nr in CLONES:
                clones[index] = pid
                if slot.arg1:
                    by_pointer[pid, slot.arg1] = index
                if not slot.arg0 & _CLONE_THREAD:
                    forks.setdefault(pid, deque()).append(index)
            elif slot.nr in WAITS:
                if pid_of.pop(slot.arg0, None) is None:
                    strangers.append((index, slot.arg0, pid))
            elif slot.nr in _EXECS and slot.state == BEGUN:
                execs[pid] = index
        elif kind == NEWTID:
            pid = slot.arg0
            if tid != pid:
                made_by = by_pointer.pop((pid, slot.arg3), None)
            else:
                made_by = slot.arg2 - 1 if clones.get(slot.arg2 - 1) == slot.arg1 else None
            if made_by is not None and made_by not in families.births and pid_of.get(tid) != pid:
                families.births[made_by] = (tid, pid)
            pid_of[tid] = pid
        else:
            pid = pid_of[tid] = slot.arg0
            called = execs.pop(pid, None)
            if called is not None:
                families.entered.add(called)
                families.called[index] = called
    for index, child, parent in strangers:
        # it ended before it made a call of interest: any fork of its parent that nobody else has come from
        waiting = forks.get(parent, _NOBODY)
        while waiting and waiting[0] < index:
            made_by = waiting.popleft()
            if made_by not in families.births:
                families.births[made_by] = (child, child)
                break
    return families
