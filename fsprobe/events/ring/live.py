"""The events of a ring that still grows: what `--stream` folds while the program runs.

A slot is told when it is `2 * LAG_S` old. By then it was written, or its thread is in the call still; and who was made by whom,
which a child says itself, was found in the slots that came up to `LAG_S` later. A call that has not returned is told when it
has, or at the end: its thread makes no other one meanwhile, so each thread's order is kept.

What is read from a file after its open was told is not in the events: reads are not observed in a stream.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from typing import Protocol, runtime_checkable

from fsprobe.events.ring import kinship
from fsprobe.events.ring.facts import RingFacts
from fsprobe.events.ring.reader import EXECS, Run
from fsprobe.events.ring.slots import (
    BEGUN,
    CALL,
    HAS_LONG,
    SLOT_BYTES,
    START,
    Ring,
    Slot,
    n_running_over,
    open_stretch,
    slot_at,
)
from fsprobe.events.ring.spelling import NAMES
from fsprobe.model.events import Event, ParseQuality

LAG_S = 0.5
"""A judgement: what is not written by then belongs to a thread that was killed; a child has made its first call."""
STRETCH = 4096
"""Slots that are read at once."""
_LONGEST_TEXT = 255


@runtime_checkable
class Growing(Protocol):
    """A ring that others write into meanwhile."""

    def ticks(self) -> Iterator[tuple[int, int, bool]]:
        """Now and then: slots that are there, slots that were asked for, whether nothing comes any more (then it ends)."""

    def read(self, first: int, n: int) -> bytes:
        """Slots as they are now; fewer where there are fewer."""

    def free(self, end: int, kept: Collection[int]) -> None:
        """Slots below `end` are not read again, but for those in `kept`."""


def follow(
    source: Growing,
    quality: ParseQuality,
    facts: RingFacts,
    *,
    cwd: bytes | None = None,
    wall_start_ns: int | None = None,
) -> Iterator[Event]:
    """Tell the events of a ring while it grows; arguments as of `read`."""
    quality.has_times = quality.has_tids = quality.has_durations = True
    quality.wall_start_ns = wall_start_ns
    kin = kinship.Kinship(keeps_forks=False)
    run = _Live(source, quality, facts, kin.families, cwd)
    ages: deque[tuple[float, int]] = deque()
    known, told = _Stretches(source), _Stretches(source)
    fed = due = 0
    for n_there, n_asked, is_over in source.ticks():
        now_s = time.monotonic()
        ages.append((now_s, n_there))
        if is_over:
            fed = due = n_there
            facts.n_lost += n_asked - n_there
        else:
            fed = max([fed, *(n for at_s, n in ages if at_s <= now_s - LAG_S)])
            while ages and ages[0][0] <= now_s - 2 * LAG_S:
                due = max(due, ages.popleft()[1])
        for ring in known.up_to(fed):
            kin.feed(ring)
        yield from run.again(is_over=False)
        for ring in told.up_to(due):
            yield from run.stretch(ring)
        if is_over:
            yield from run.again(is_over=True)
            break
        source.free(due, run.waiting)
    run.close()


class _Stretches:
    """Reads on from where it was."""

    def __init__(self, source: Growing) -> None:
        self._source = source
        self._at = self._n_inside = 0

    def up_to(self, end: int) -> Iterator[Ring]:
        while self._at < end:
            data = self._source.read(self._at, min(STRETCH, end - self._at))
            ring = open_stretch(data, self._at, self._n_inside)
            n = ring.n_slots - self._at
            if n <= 0:
                return
            over = n_running_over(ring)
            self._at += n
            self._n_inside = over or max(0, self._n_inside - n)
            yield ring


class _Live(Run):
    """Slots of stretches, and those that wait for their end."""

    def __init__(
        self, source: Growing, quality: ParseQuality, facts: RingFacts, families: kinship.Families, cwd: bytes | None
    ) -> None:
        super().__init__(open_stretch(b"", 0), quality, facts, families, cwd, None)
        self.source = source
        self.waiting: dict[int, None] = {}
        """Indexes of calls that have not returned."""
        self.replaced: dict[int, int] = {}
        """Process -> the exec that it has not returned from: it succeeds, and a program starts, or fails."""

    def stretch(self, ring: Ring) -> Iterator[Event]:
        self.ring = ring
        self.facts.n_lost += ring.n_lost
        for index in range(ring.first, ring.n_slots):
            kind = ring.kinds[index - ring.first]
            slot = slot_at(ring, index) if kind == CALL else None
            if slot is None:
                yield from self.seldom(index, kind, None)
                if kind == START:
                    self._started(slot_at(ring, index).tid)
            elif slot.state == BEGUN and slot.nr in NAMES:
                self.waiting[index] = None
                if slot.nr in EXECS:
                    self.replaced[self.pid_of.get(slot.tid, slot.tid)] = index
            elif slot.nr in NAMES and slot.nr not in EXECS:
                call = self.call(index, slot)
                if call is not None:
                    yield call
            else:
                if slot.nr in kinship.WAITS:
                    yield from self._given_up(slot.arg0)
                yield from self.seldom(index, kind, slot)
            self.quality.n_lines += 1
            self.facts.n_slots += 1

    def again(self, is_over: bool) -> Iterator[Event]:
        """Look at the calls that had not returned."""
        for index in list(self.waiting):
            slot = self.slot(index)
            if slot.state == BEGUN and not is_over:
                continue
            del self.waiting[index]
            if slot.nr in EXECS:
                yield from self.exec(index, slot)
            elif slot.nr in NAMES:
                call = self.call(index, slot)
                if call is not None:
                    yield call

    def _started(self, pid: int) -> None:
        index = self.replaced.pop(pid, None)
        if index is not None:
            self.waiting.pop(index, None)
            self.families.entered.discard(index)

    def _given_up(self, pid: int) -> Iterator[Event]:
        """A process has ended of which an exec was the last that was seen."""
        index = self.replaced.pop(pid, None)
        if index is not None and index in self.waiting:
            del self.waiting[index]
            yield from self.exec(index, self.slot(index))

    def slot(self, index: int) -> Slot:
        if self.ring.first <= index < self.ring.n_slots:
            return slot_at(self.ring, index)
        return slot_at(open_stretch(self.source.read(index, 1).ljust(SLOT_BYTES, b"\0"), index), index)

    def ring_of(self, slot: Slot) -> Ring:
        at = slot.text_at
        if not slot.has & HAS_LONG or self.ring.first <= at < self.ring.n_slots - _LONGEST_TEXT:
            return self.ring
        return open_stretch(self.source.read(at, _LONGEST_TEXT), at)
