"""Who made whom, found before the events are told: a birth is told where it happened, which is before the child speaks.

A child says of itself which clone made it: a forked one finds that in its copy of its parent's memory, a thread has the thread
pointer that the clone was given. An exec ended where the same process says that a program has started.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from fsprobe.events.ring.slots import BEGUN, CALL, NEWTID, SLOT_BYTES, START, Ring, Slot, slot_at

CLONES = frozenset({56, 57, 58, 435})
WAITS = frozenset({61, 247})
_EXECS = frozenset({59, 322})
MEANT = CLONES | WAITS | _EXECS
SAYING = (NEWTID, START)
_CLONE_THREAD = 0x10000
_NOBODY: deque[int] = deque()
_LOW_BYTES = re.compile(b"[" + b"".join(re.escape(bytes((number & 0xFF,))) for number in sorted(MEANT)) + b"]")
_SAYS = re.compile(b"[" + re.escape(bytes(SAYING)) + b"]")


@dataclass(slots=True)
class Families:
    """What the slots say of processes, by their indexes."""

    births: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Clone -> thread and process that it made."""
    entered: set[int] = field(default_factory=set)
    """Execs whose program was seen to start."""
    called: dict[int, int] = field(default_factory=dict)
    """Start -> the exec that led to it."""


def find(ring: Ring, places: Iterable[int] | None = None) -> Families:
    """Match clones with children and execs with starts, in the order of the slots.

    Args:
        ring: where they are.
        places: the calls of `MEANT` and all that says who a thread is, in their order, where that is known.
    """
    kinship = Kinship()
    kinship.feed(ring, places)
    kinship.close()
    return kinship.families


class Kinship:
    """The same for a ring that still grows: stretch after stretch is fed."""

    def __init__(self, keeps_forks: bool = True) -> None:
        self.families = Families()
        self._keeps_forks = keeps_forks
        self._pid_of: dict[int, int] = {}
        self._clones: dict[int, int] = {}
        self._by_pointer: dict[tuple[int, int], int] = {}
        self._execs: dict[int, int] = {}
        self._forks: dict[int, deque[int]] = {}
        self._strangers: list[tuple[int, int, int]] = []

    def feed(self, ring: Ring, places: Iterable[int] | None = None) -> None:
        """Take the slots of a ring or a stretch."""
        for place in _places(ring) if places is None else places:
            index = ring.first + place
            slot = slot_at(ring, index)
            if ring.kinds[place] == CALL:
                self._call(index, slot)
            else:
                self._says(index, slot, ring.kinds[place])

    def _call(self, index: int, slot: Slot) -> None:
        pid = self._pid_of.get(slot.tid, slot.tid)
        if slot.nr in CLONES:
            self._clones[index] = pid
            if slot.arg1:
                self._by_pointer[pid, slot.arg1] = index
            if not slot.arg0 & _CLONE_THREAD and self._keeps_forks:
                self._forks.setdefault(pid, deque()).append(index)
        elif slot.nr in WAITS:
            if self._pid_of.pop(slot.arg0, None) is None and self._keeps_forks:
                self._strangers.append((index, slot.arg0, pid))
        elif slot.nr in _EXECS and slot.state == BEGUN:
            self._execs[pid] = index

    def _says(self, index: int, slot: Slot, kind: int) -> None:
        tid, pid = slot.tid, slot.arg0
        births = self.families.births
        if kind != NEWTID:
            self._pid_of[tid] = pid
            called = self._execs.pop(pid, None)
            if called is not None:
                self.families.entered.add(called)
                self.families.called[index] = called
            return
        if tid != pid:
            made_by = self._by_pointer.pop((pid, slot.arg3), None)
        else:
            made_by = slot.arg2 - 1 if self._clones.get(slot.arg2 - 1) == slot.arg1 else None
        if made_by is not None and made_by not in births and self._pid_of.get(tid) != pid:
            births[made_by] = (tid, pid)
        self._pid_of[tid] = pid

    def close(self) -> None:
        """The ring is at its end: who ended before it made a call of interest came from any fork that nobody else has come from."""
        for index, child, parent in self._strangers:
            waiting = self._forks.get(parent, _NOBODY)
            while waiting and waiting[0] < index:
                made_by = waiting.popleft()
                if made_by not in self.families.births:
                    self.families.births[made_by] = (child, child)
                    break


def _places(ring: Ring) -> list[int]:
    """Where there is something to be said of processes."""
    n_here = ring.n_slots - ring.first
    begin = ring.zero_at + ring.first * SLOT_BYTES
    numbers = bytes(ring.data[begin + 80 : begin + n_here * SLOT_BYTES : SLOT_BYTES]) if n_here else b""
    places = [match.start() for match in _LOW_BYTES.finditer(numbers) if ring.kinds[match.start()] == CALL]
    places += [match.start() for match in _SAYS.finditer(ring.kinds)]
    return sorted(places)
