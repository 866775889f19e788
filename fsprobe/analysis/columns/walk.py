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
from fsprobe.analysis.attribution.program_images import Frame
from fsprobe.analysis.columns.contexts import NODE_BITS, Contexts, Node
from fsprobe.analysis.columns.slots import Columns, Ints
from fsprobe.analysis.columns.timed import Lives
from fsprobe.events.ring.reader import CALLS, HAS_ODD_TEXT, MARKS, Run, spelled
from fsprobe.events.ring.slots import BEGUN, CALL, MARK, TEXT_BYTES, slot_at
from fsprobe.model.events import Call, Mark, Op, Process

_READ_AHEAD = 1 << 16


@dataclass(slots=True)
class _Known:
    """A thread whose calls need no look."""

    stack: list[Frame]
    """The imports under way, as `Thread.stack`."""
    begun: list[tuple[str, int]]
    """... and as `Lives.stacks`."""
    process: int
    node: Node
    life: int
    is_easy: bool
    """Whether marks change no more of it than these."""


@dataclass(slots=True)
class Walked:
    """What a walk has found. Rows are those of the columns."""

    plain: Ints
    """Rows that were not looked at one by one, in order."""
    stretch: Ints
    """Of each of them: which stretch of its thread it is in."""
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
    _place: array[int] = field(default_factory=lambda: array("q"))
    _between: array[int] = field(default_factory=lambda: array("i"))
    _waiting: dict[int, tuple[int, Call]] = field(default_factory=dict)
    """Calls that were given to be attributed, by their ids."""
    _single: list[tuple[int, int, int]] = field(default_factory=list)
    """Row at which a call was attributed, its own row, its context."""
    _odd: list[tuple[int, int]] = field(default_factory=list)
    _begun: list[Node] = field(default_factory=list)
    """Stacks whose imports have begun since they were counted last."""

    def go(self) -> Walked:
        """Walk over all slots."""
        columns = self.columns
        stops = columns.stops(self._is_of_marks)
        plain = np.flatnonzero(columns.shape >= 0)
        words = Words(columns, stops)
        ahead = _Ahead(columns, plain)
        # written out: this is done for each mark of a run
        known_of, stretch_of, place, between = self._known, self._stretch_of, self._place, self._between
        rows, befores, lives_of = self.lives.rows, self.lives.before, self.lives.life_of
        tops, last, begun_nodes = self.lives.tops, self.lives.last, self._begun
        told = words.told
        at = 0
        for row, before, kind, word, tid in zip(
            stops.tolist(),
            np.searchsorted(plain, stops).tolist(),
            columns.kinds[stops].tolist(),
            words.numbers,
            columns.tid[stops].tolist(),
            strict=True,
        ):
            if before > at:
                self._take(at, before, plain, ahead)
                at = before
            if word < 0:
                self._seldom(row, kind)
                continue
            mark_kind, raw, name = told[word]
            known = known_of.get(tid)
            if known is None or not known.is_easy:
                self._mark(row, tid, mark_kind, raw, name)
                continue
            # as Attributor.mark and Lives.mark have it
            stack, begun, node, life = known.stack, known.begun, known.node, known.life
            number = len(rows)
            top = begun[-1][0] if begun else None
            if mark_kind == "begin":
                node = node.known.get(name) or self.contexts.child(node, name)
                frame = node.frame
                stack.append(frame)  # type: ignore[arg-type]  # only the root has none
                begun.append((name, -1 if frame.recursive else number))  # type: ignore[union-attr]
                if not node.n_begun:
                    begun_nodes.append(node)
                node.n_begun += 1
            elif mark_kind == "end" and name == top:
                stack.pop()
                since = begun.pop()[1]
                if since >= 0:
                    self.lives.spans.append((name, since, number))
                node = node.parent  # type: ignore[assignment]
            else:
                self._mark(row, tid, mark_kind, raw, name)
                continue
            rows.append(row)
            befores.append(last[life])
            lives_of.append(life)
            tops.append(top)
            last[life] = number
            known.node = node
            stretch_of[tid] = len(place)
            place.append(known.process << NODE_BITS | node.number)
            between.append(number)
        if len(plain) > at:
            self._take(at, len(plain), plain, ahead)
        self._count_begun()
        self._emit(self.attributor.close(), len(columns.kinds))
        self.lives.close()
        return self._walked(plain)

    def _is_of_marks(self, call: Call) -> bool:
        return call.op is Op.OPEN and self.attributor.is_of_marks(call)

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
            known.process << NODE_BITS | known.node.number, self.lives.between(tid)
        )
        return stretch

    def _know(self, tid: int) -> _Known | None:
        thread = self.attributor.threads.get(tid)
        if thread is None or not thread.image.is_settled:
            return None
        process, node, life = (
            self.contexts.process(thread.image.process),
            self.contexts.node(thread.stack),
            self.lives.life(tid),
        )
        begun = self.lives.stacks[life]
        # a forked process goes on in its parent's imports, but has begun none itself
        is_easy = not thread.image.site_marks_left and [one[0] for one in begun] == [one.name for one in thread.stack]
        known = self._known[tid] = _Known(thread.stack, begun, process, node, life, is_easy)
        return known

    def _new_stretch(self, place: int, between: int) -> int:
        self._place.append(place)
        self._between.append(between)
        return len(self._place) - 1

    def _attribute(self, row: int, call: Call) -> None:
        """Have one call attributed by itself."""
        self._waiting[id(call)] = (row, call)
        self._count_begun()  # what is estimated goes to the same tables
        settled = self.attributor.settled(call)
        self._emit((settled,) if settled is not None else self.attributor.call(call), row)

    def _emit(self, rows: Iterable[Attributed], at: int) -> None:
        for row in rows:
            self._single.append((at, self._waiting.pop(id(row.call))[0], self.contexts.of(row)))

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _seldom(self, row: int, kind: int) -> None:
        columns = self.columns
        index = columns.first + row
        if kind == MARK:
            mark = self.run.mark(slot_at(columns.ring, index))
            if mark is not None:
                self._mark(row, mark.tid, mark.kind, mark.name, mark.name.decode("utf-8", "backslashreplace"))
            return
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
                self._count_begun()
                self._emit(self.attributor.process(event), row)
                self._known.clear()
                self._stretch_of.clear()

    def _odd_call(self, row: int, number: int, call: Call) -> None:
        self.columns.put(row, number, call)
        self._odd.append((row, self.lives.between(call.tid)))
        self._attribute(row, call)

    def _mark(self, row: int, tid: int, kind: str, raw: bytes, name: str) -> None:
        """A mark, in any case."""
        self._count_begun()
        self.lives.mark(row, tid, kind, name)
        self._emit(self.attributor.mark(Mark(tid, int(self.columns.t_ns[row]), kind, raw)), row)
        if kind == "note":  # of all threads of a program
            self._known.clear()
            self._stretch_of.clear()
        else:
            self._known.pop(tid, None)
            self._stretch_of.pop(tid, None)

    def _count_begun(self) -> None:
        """Count the imports that have begun since the last time, as `Attributor.mark` does."""
        notes = self.attributor.notes
        for node in self._begun:
            if node.frame is not None and node.parent is not None:
                name = node.frame.name
                parents = notes.imports.setdefault(name, {})
                parent = node.parent.frame.name if node.parent.frame is not None else ""
                parents[parent] = parents.get(parent, 0) + node.n_begun
                notes.n_imports[name] = notes.n_imports.get(name, 0) + node.n_begun
                node.n_begun = 0
        self._begun.clear()

    def _walked(self, plain: Ints) -> Walked:
        stretch = np.array(self._stretches, dtype=np.int64)
        place = self.contexts.add_settled(np.array(self._place, dtype=np.int64))
        contexts = place[stretch]
        bulk = contexts >= 0
        rows, contexts = plain[bulk], contexts[bulk]
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
            stretch=stretch,
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


class Words:
    """What marks say whose text stands beside them: most say what others have said."""

    def __init__(self, columns: Columns, stops: Ints) -> None:
        slots = columns.slots
        easy = (columns.kinds[stops] == MARK) & ((slots["has"][stops] & HAS_ODD_TEXT) == 0)
        easy &= slots["n1"][stops] <= TEXT_BYTES
        for name in ("n2", "n3", "n4"):
            easy &= slots[name][stops] == 0
        self.told: list[tuple[str, bytes, str]] = []
        """Kind of the mark, name of the import as bytes and as text."""
        known: dict[tuple[int, bytes], int] = {}
        numbers = np.full(len(stops), -1, dtype=np.int64)
        places = np.flatnonzero(easy)
        for at in range(0, len(places), _READ_AHEAD):
            some = places[at : at + _READ_AHEAD]
            rows = stops[some]
            pairs = zip(slots["n1"][rows].tolist(), slots["text"][rows].tolist(), strict=True)
            numbers[some] = [
                number if (number := known.get(pair)) is not None else self._learn(pair, known) for pair in pairs
            ]
        self.numbers: list[int] = numbers.tolist()
        """Of each stop which of them it says; -1: it is no such mark, or not as it should be."""

    def _learn(self, pair: tuple[int, bytes], known: dict[tuple[int, bytes], int]) -> int:
        words = pair[1][: pair[0]]
        kind = MARKS.get(words[7:8]) if words[:7] == b"fsprobe" else None
        number = known[pair] = len(self.told) if kind is not None else -1
        if kind is not None:
            self.told.append((kind, words[8:], words[8:].decode("utf-8", "backslashreplace")))
        return number
