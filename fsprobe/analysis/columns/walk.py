"""The walk over a ring that is read as columns: only what changes where calls belong is looked at one by one.

Marks, processes, and calls of programs that are not past their start go through the same attribution as in any other log. All
other calls are those of a thread whose place is known, and only that place's number is noted.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fsprobe.analysis.attribution.attribute import Attributed, Attributor
from fsprobe.analysis.attribution.program_images import Thread
from fsprobe.analysis.columns.contexts import Contexts, Node
from fsprobe.analysis.columns.slots import Columns, Ints
from fsprobe.analysis.columns.timed import Lives
from fsprobe.events.ring.reader import CALLS, HAS_ODD_TEXT, MARKS, Run, spelled
from fsprobe.events.ring.slots import BEGUN, CALL, MARK, SLOT_BYTES, TEXT_BYTES, slot_at
from fsprobe.model.events import Call, Mark, Op, Process

_TEXT_AT = SLOT_BYTES - TEXT_BYTES
_READ_AHEAD = 1 << 16


@dataclass(slots=True)
class _Known:
    """A thread whose calls need no look."""

    thread: Thread
    process: int
    node: Node
    life: int


@dataclass(slots=True)
class Walked:
    """What a walk has found. Rows are those of the columns."""

    plain: Ints
    """Rows that were not looked at one by one, in order."""
    stretch: Ints
    """Of each of them: which stretch of its thread it is in."""
    place: Ints
    """Of each stretch its context; -1 where each of its calls has been attributed by itself."""
    between: Ints
    """Of each stretch which time between two marks it is in; see `Lives.between`."""
    rows: Ints
    """All attributed calls, in the order in which they were attributed."""
    contexts: Ints
    """Of each of these its context."""
    emitted: Ints
    """Of each of these the row at which it was attributed."""
    odd: list[tuple[int, int]]
    """Calls that were looked at one by one: row, and time between two marks."""


@dataclass(slots=True)
class Walk:
    """One pass over the slots."""

    columns: Columns
    run: Run
    attributor: Attributor
    contexts: Contexts
    lives: Lives
    _known: dict[int, _Known] = field(default_factory=dict)
    _stretch_of: dict[int, int] = field(default_factory=dict)
    """Thread -> its stretch; only of threads that are known."""
    _stretches: array[int] = field(default_factory=lambda: array("i"))
    _place: array[int] = field(default_factory=lambda: array("i"))
    _between: array[int] = field(default_factory=lambda: array("i"))
    _waiting: dict[int, tuple[int, Call]] = field(default_factory=dict)
    """Calls that were given to be attributed, by their ids."""
    _single: list[tuple[int, int, int]] = field(default_factory=list)
    """Row at which a call was attributed, its own row, its context."""
    _odd: list[tuple[int, int]] = field(default_factory=list)
    _names: dict[bytes, tuple[str, bytes, str]] = field(default_factory=dict)

    def go(self) -> Walked:
        """Walk over all slots."""
        columns, kinds = self.columns, self.columns.kinds
        stops = columns.stops(self._is_of_marks)
        plain = np.flatnonzero(columns.shape >= 0)
        is_easy = _are_easy_marks(columns, stops)
        at = 0
        upto = np.searchsorted(plain, stops).tolist()
        tids = columns.tid[stops].tolist()
        lengths = columns.slots["n1"][stops].tolist()
        text_at = columns.ring.zero_at + columns.first * SLOT_BYTES + _TEXT_AT
        data = columns.ring.data
        ahead = _Ahead(columns, plain)
        for row, before, kind, easy, tid, n in zip(
            stops.tolist(), upto, kinds[stops].tolist(), is_easy.tolist(), tids, lengths, strict=True
        ):
            if before > at:
                self._take(at, before, plain, ahead)
                at = before
            if easy:
                place = text_at + row * SLOT_BYTES
                words = bytes(data[place : place + n])
                name = self._names.get(words) or self._name(words)
                if name is not None:
                    self._mark(row, tid, *name)
            elif kind == MARK:
                mark = self.run.mark(slot_at(columns.ring, columns.first + row))
                if mark is not None:
                    self._mark(row, tid, mark.kind, mark.name, mark.name.decode("utf-8", "backslashreplace"))
            else:
                self._seldom(row, kind)
        if len(plain) > at:
            self._take(at, len(plain), plain, ahead)
        self._emit(self.attributor.close(), len(kinds))
        self.lives.close()
        return self._walked(plain)

    def _is_of_marks(self, call: Call) -> bool:
        return call.op is Op.OPEN and self.attributor.is_of_marks(call)

    def _name(self, words: bytes) -> tuple[str, bytes, str] | None:
        kind = MARKS.get(words[7:8]) if words[:7] == b"fsprobe" else None
        if kind is None:
            self.run.damaged()
            return None
        name = self._names[words] = (kind, words[8:], words[8:].decode("utf-8", "backslashreplace"))
        return name

    # -- calls ------------------------------------------------------------------------------------------------------

    def _take(self, at: int, before: int, plain: Ints, ahead: _Ahead) -> None:
        """Calls between two stops."""
        tids = ahead.tids(at, before)
        try:
            found = list(map(self._stretch_of.__getitem__, tids))
        except KeyError:
            found = [self._one(tid, plain, place) for place, tid in enumerate(tids, at)]
        self._stretches.extend(found)

    def _one(self, tid: int, plain: Ints, place: int) -> int:
        stretch = self._stretch_of.get(tid)
        if stretch is None:
            stretch = self._settle(tid)
        if stretch is None:
            row = int(plain[place])
            stretch = self._new_stretch(-1, self.lives.between(tid))
            self._attribute(row, self.columns.call(row))
        return stretch

    def _settle(self, tid: int) -> int | None:
        """The stretch of a thread, where what it does next needs no look."""
        known = self._know(tid)
        if known is None:
            return None
        stretch = self._stretch_of[tid] = self._new_stretch(
            self.contexts.settled(known.process, known.node), self.lives.between(tid)
        )
        return stretch

    def _know(self, tid: int) -> _Known | None:
        thread = self.attributor.threads.get(tid)
        if thread is None or not thread.image.is_settled:
            return None
        process, node = self.contexts.process(thread.image.process), self.contexts.node(thread.stack)
        known = self._known[tid] = _Known(thread, process, node, self.lives.life(tid))
        return known

    def _new_stretch(self, place: int, between: int) -> int:
        self._place.append(place)
        self._between.append(between)
        return len(self._place) - 1

    def _attribute(self, row: int, call: Call) -> None:
        """Have one call attributed by itself."""
        self._waiting[id(call)] = (row, call)
        settled = self.attributor.settled(call)
        self._emit((settled,) if settled is not None else self.attributor.call(call), row)

    def _emit(self, rows: Iterable[Attributed], at: int) -> None:
        for row in rows:
            self._single.append((at, self._waiting.pop(id(row.call))[0], self.contexts.of(row)))

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _seldom(self, row: int, kind: int) -> None:
        columns = self.columns
        index = columns.first + row
        slot = slot_at(columns.ring, index) if kind == CALL else None
        if slot is not None and slot.nr in CALLS:
            texts = self.run.texts(slot)
            call = spelled(slot, texts)
            if call is not None:
                if slot.state == BEGUN:
                    self.run.quality.n_unfinished += 1
                self._odd_call(row, columns.shapes.number(slot, texts, call), call)
            return
        for event in self.run.seldom(index, kind, slot):
            if type(event) is Call:
                self._odd_call(row, columns.shapes.plain_number(event), event)
            elif type(event) is Process:
                self.lives.process(event)
                self._emit(self.attributor.process(event), row)
                self._known.clear()
                self._stretch_of.clear()

    def _odd_call(self, row: int, number: int, call: Call) -> None:
        self.columns.put(row, number, call)
        self._odd.append((row, self.lives.between(call.tid)))
        self._attribute(row, call)

    def _mark(self, row: int, tid: int, kind: str, raw: bytes, name: str) -> None:
        known = self._known.get(tid) or self._know(tid)
        self.lives.mark(row, tid, kind, name)
        if known is None or kind == "note" or known.thread.image.site_marks_left:
            mark = Mark(tid, int(self.columns.t_ns[row]), kind, raw)
            self._emit(self.attributor.mark(mark), row)
            if kind == "note":  # of all threads of a program
                self._known.clear()
                self._stretch_of.clear()
            else:
                self._known.pop(tid, None)
                self._stretch_of.pop(tid, None)
            return
        number = self.lives.last[known.life]
        # as Attributor.mark has it
        notes, stack, node = self.attributor.notes, known.thread.stack, known.node
        if kind == "begin":
            parent = stack[-1].name if stack else ""
            node = node.known.get(name) or self.contexts.child(node, name)
            assert node.frame is not None
            stack.append(node.frame)
            parents = notes.imports.get(name)
            if parents is None:
                parents = notes.imports[name] = {}
            parents[parent] = parents.get(parent, 0) + 1
            notes.n_imports[name] = notes.n_imports.get(name, 0) + 1
        elif stack and stack[-1].name == name and node.parent is not None:
            stack.pop()
            node = node.parent
        else:
            for depth in range(len(stack) - 1, -1, -1):
                if stack[depth].name == name:
                    notes.n_unpaired_marks += len(stack) - depth - 1
                    del stack[depth:]
                    break
            else:
                notes.n_unpaired_marks += 1
            node = self.contexts.node(stack)
        known.node = node
        context = node.settled.get(known.process)
        self._stretch_of[tid] = len(self._place)
        self._place.append(self.contexts.settled(known.process, node) if context is None else context)
        self._between.append(number)

    def _walked(self, plain: Ints) -> Walked:
        stretch = np.frombuffer(self._stretches, dtype=np.int32) if self._stretches else np.zeros(0, dtype=np.int32)
        place = np.frombuffer(self._place, dtype=np.int32) if self._place else np.zeros(0, dtype=np.int32)
        contexts = place[stretch]
        bulk = contexts >= 0
        rows, contexts = plain[bulk], contexts[bulk].astype(np.int64)
        emitted = rows
        if self._single:
            single = np.array(self._single, dtype=np.int64)
            emitted = np.concatenate((rows, single[:, 0]))
            order = np.argsort(emitted, kind="stable")
            rows = np.concatenate((rows, single[:, 1]))[order]
            contexts = np.concatenate((contexts, single[:, 2]))[order]
            emitted = emitted[order]
        return Walked(
            plain=plain,
            stretch=stretch.astype(np.int64),
            place=place.astype(np.int64),
            between=np.array(self._between, dtype=np.int64),
            rows=rows,
            contexts=contexts,
            emitted=emitted,
            odd=self._odd,
        )


class _Ahead:
    """The threads of calls as a list, some at a time: all at once would take much memory."""

    def __init__(self, columns: Columns, plain: Ints) -> None:
        self._columns, self._plain = columns, plain
        self._from = self._upto = 0
        self._tids: list[int] = []

    def tids(self, at: int, before: int) -> list[int]:
        """Those of some calls; later ones each time."""
        if before > self._upto:
            self._from, self._upto = at, max(before, at + _READ_AHEAD)
            self._tids = self._columns.tid[self._plain[at : self._upto]].tolist()
        return self._tids[at - self._from : before - self._from]


def _are_easy_marks(columns: Columns, stops: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of some slots are marks with one text that stands beside them."""
    slots = columns.slots
    found = (columns.kinds[stops] == MARK) & ((slots["has"][stops] & HAS_ODD_TEXT) == 0)
    found &= slots["n1"][stops] <= TEXT_BYTES
    for name in ("n2", "n3", "n4"):
        found &= slots[name][stops] == 0
    return np.asarray(found)
