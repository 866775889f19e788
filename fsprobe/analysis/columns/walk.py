"""The walk over a ring that is read as columns: only what changes where calls belong is looked at one by one.

Marks, processes, and calls of programs that are not past their start go through the same attribution as in any other log. All
other calls are those of a thread whose place is known, and only that place's number is noted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.attribution.attribute import Attributed, Attributor
from fsprobe.analysis.attribution.program_images import Thread
from fsprobe.analysis.columns.contexts import NODE_BITS, Contexts, Node
from fsprobe.analysis.columns.nesting import NOT_KNOWN, Nesting
from fsprobe.analysis.columns.slots import Columns, Ints, Told
from fsprobe.analysis.columns.timed import Lives
from fsprobe.events.ring.reader import CALLS, Run, spelled
from fsprobe.events.ring.slots import BEGUN, CALL, MARK, slot_at
from fsprobe.model.events import Call, Mark, Op, Process

Flags = NDArray[np.bool_]
_READ_AHEAD, _AT_ONCE = 1 << 16, 32
_MAY_BE_ESTIMATED = ("site", "main")
"""States of program images in which a call may tell of imports that nothing marks."""


@dataclass(slots=True)
class _Known:
    """A thread whose calls need no look."""

    thread: Thread
    node: Node
    """The imports under way."""
    life: int
    spell: int
    """See `Nesting`."""
    told: Node
    """What `thread` has as its imports under way: it is told of others when somebody looks."""

    def tell(self) -> None:
        """Let the attribution know."""
        if self.told is not self.node:
            self.told = self.node
            self.thread.stack[:] = self.node.stack()


@dataclass(slots=True)
class Walked:
    """What a walk has found. Rows are those of the columns."""

    calls: Ints
    """Rows of all calls, in the order of the slots."""
    between: Ints
    """Of each of them the time between two marks that it is in; see `Lives.between`."""
    rows: Ints
    """All attributed calls, in the order in which they were attributed."""
    contexts: Ints
    """Of each of these its context."""
    emitted: Ints
    """Of each of these the row at which it was attributed."""


@dataclass(slots=True)
class Walk:
    """One pass over the slots."""

    columns: Columns
    run: Run
    attributor: Attributor
    contexts: Contexts
    lives: Lives
    nesting: Nesting = field(init=False)
    _known: dict[int, _Known] = field(default_factory=dict)
    _easy: dict[int, _Known] = field(default_factory=dict)
    """Those of them of which marks change no more than the imports under way."""
    _alone: dict[int, int] = field(default_factory=dict)
    """Threads whose calls are attributed each by itself, since their last mark -> the life of each."""
    _told: list[Told] = field(default_factory=list)
    _is_begin: Flags = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Of each row whether it is a mark that begins an import."""
    _waiting: dict[int, tuple[int, Call]] = field(default_factory=dict)
    """Calls that were given to be attributed, by their ids."""
    _single: list[tuple[int, int, int]] = field(default_factory=list)
    """Row at which a call was attributed, its own row, its context."""
    _odd: list[tuple[int, int]] = field(default_factory=list)
    """Calls that were looked at one by one: row, and life of their thread."""

    def __post_init__(self) -> None:
        self.nesting = Nesting(self.contexts, self.lives)

    def go(self) -> Walked:
        """Walk over all slots."""
        columns = self.columns
        stops = columns.stops(self._is_of_marks)
        plain = np.flatnonzero(columns.shape >= 0)
        words, told = columns.word[stops], columns.words
        self._told = told
        self._is_begin = _begins(len(columns.kinds), stops, words, told)
        befores = np.searchsorted(plain, stops)
        # written out: this is done for each mark of a run
        easy_of, mark, seldom = self._easy, self._mark, self._seldom
        rows, nodes, spells = self.nesting.rows, self.nesting.nodes, self.nesting.spells
        at, was_easy = 0, False
        for row, before, others, word, tid in zip(
            stops.tolist(),
            befores.tolist(),
            _are_of_others(columns, stops, plain, befores),
            words.tolist(),
            columns.tid[stops].tolist(),
            strict=True,
        ):
            if before > at:
                if others or not was_easy:
                    self._take(at, before, plain)
                at = before
            was_easy = False
            if word < 0:
                seldom(row, columns.kinds[row])
                continue
            known = easy_of.get(tid)
            if known is not None:
                node = known.node.steps.get(word) or self._step(known.node, word)
                if node is not None:
                    known.node = node
                    rows.append(row)
                    nodes.append(node.number)
                    spells.append(known.spell)
                    was_easy = True
                    continue
            mark(row, tid, *told[word])
        self._take(at, len(plain), plain)
        self._count_begun()
        self._note_begun(self.nesting.begun_again())
        self._tell_all()
        self._emit(self.attributor.close(), len(columns.kinds))
        self.nesting.close()
        return self._walked(plain)

    def _is_of_marks(self, call: Call) -> bool:
        return call.op is Op.OPEN and self.attributor.is_of_marks(call)

    def _step(self, node: Node, word: int) -> Node | None:
        """The stack that a mark leaves, where it begins an import or ends the last one, as `Attributor.mark` has it."""
        kind, _, name = self._told[word]
        found = None
        if kind == "begin":
            found = self.contexts.child(node, name)
        elif kind == "end" and node.frame is not None and node.frame.name == name:
            found = node.parent
        if found is not None:
            node.steps[word] = found
        return found

    # -- calls ------------------------------------------------------------------------------------------------------

    def _take(self, at: int, before: int, plain: Ints) -> None:
        """Calls between two stops."""
        for begin in range(at, before, _READ_AHEAD):
            end = min(before, begin + _READ_AHEAD)
            if not self._known.keys() >= set(self.columns.tid[plain[begin:end]].tolist()):
                for at_once in range(begin, end, _AT_ONCE):
                    self._look(plain[at_once : min(end, at_once + _AT_ONCE)])

    def _look(self, rows: Ints) -> None:
        """Calls of which some are of threads that are not known; soon they may be."""
        known = self._known
        if known.keys() >= set(self.columns.tid[rows].tolist()):
            return
        for row, call in zip(rows.tolist(), self.columns.calls(rows), strict=True):
            if call.tid not in known:
                self._one(call.tid, row, call)

    def _one(self, tid: int, row: int, call: Call) -> None:
        """A call of a thread that is not known."""
        known = self._know(tid)
        if known is not None:
            self.nesting.begin(row, tid, known.node, known.spell)
            return
        life = self.lives.life(tid)
        if self._alone.get(tid) != life:
            self._alone[tid] = life
            self.nesting.begin(row, tid, self.contexts.root, self.nesting.spell(life, NOT_KNOWN))
        self._wait(row, call)

    def _know(self, tid: int) -> _Known | None:
        """A thread, where what it does next needs no look."""
        thread = self.attributor.threads.get(tid)
        if thread is None or not thread.image.is_settled:
            return None
        life, process = self.lives.life(tid), self.contexts.process(thread.image.process)
        node = self.contexts.node(thread.stack)
        self._alone.pop(tid, None)
        known = self._known[tid] = _Known(thread, node, life, self.nesting.spell(life, process), node)
        # a forked process goes on in its parent's imports, but has begun none itself
        if not thread.image.site_marks_left and self.nesting.node_of.get(life, self.contexts.root).has_names_of(node):
            self._easy[tid] = known
        return known

    def _attribute(self, row: int, call: Call) -> None:
        """Have one call attributed by itself."""
        known = self._known.get(call.tid)
        if known is not None:
            known.tell()
        settled = self.attributor.settled(call)
        if settled is None:
            self._wait(row, call)
        else:
            self._waiting[id(call)] = (row, call)
            self._emit((settled,), row)

    def _wait(self, row: int, call: Call) -> None:
        """The same for one of an interpreter that is not past its start: it may be held back."""
        self._waiting[id(call)] = (row, call)
        if self.attributor.thread(call.tid).image.state in _MAY_BE_ESTIMATED:
            self._count_begun()  # what is estimated goes to the same tables
        told = self.attributor.call(call)
        if told:
            self._emit(told, row)

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
        number = columns.apart.get(row)
        if number is not None:
            self._odd_call(row, number, columns.call(row, number))
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
                self._count_begun()
                self._tell_all()
                self.nesting.process(event)
                self._emit(self.attributor.process(event), row)

    def _odd_call(self, row: int, number: int, call: Call) -> None:
        self.columns.put(row, number, call)
        self._odd.append((row, self.lives.life(call.tid)))
        self._attribute(row, call)

    def _mark(self, row: int, tid: int, kind: str, raw: bytes, name: str) -> None:
        """A mark, in any case."""
        self._count_begun()
        if kind == "note":  # of all threads of a program
            self._tell_all()
        elif (known := self._known.get(tid)) is not None:
            self._tell(tid, known)
            del self._known[tid]
            self._easy.pop(tid, None)
        self._alone.pop(tid, None)
        self.nesting.mark(row, tid, kind, name)
        self._emit(self.attributor.mark(Mark(tid, int(self.columns.t_ns[row]), kind, raw)), row)

    def _tell(self, tid: int, known: _Known) -> None:
        known.tell()
        if tid in self._easy:
            self.nesting.node_of[known.life] = known.node

    def _tell_all(self) -> None:
        """Let attribution know all stacks; what comes next may change more of threads than these."""
        for tid, known in self._known.items():
            self._tell(tid, known)
        self._known.clear()
        self._easy.clear()

    def _count_begun(self) -> None:
        """Count the imports that have begun since the last time, as `Attributor.mark` does."""
        if self.nesting.has_begun:
            self._note_begun(self.nesting.count_begun(self._is_begin))

    def _note_begun(self, begun: list[tuple[Node, int]]) -> None:
        notes = self.attributor.notes
        for node, n in begun:
            if node.frame is not None and node.parent is not None:
                name = node.frame.name
                parents = notes.imports.setdefault(name, {})
                parent = node.parent.frame.name if node.parent.frame is not None else ""
                parents[parent] = parents.get(parent, 0) + n
                notes.n_imports[name] = notes.n_imports.get(name, 0) + n

    def _walked(self, plain: Ints) -> Walked:
        pairs, between = self.nesting.places(self.columns, plain, NODE_BITS)
        contexts = self.contexts.add_settled(pairs)
        bulk = contexts >= 0
        rows, contexts = plain[bulk], contexts[bulk]
        emitted, calls = rows, plain
        if self._single:
            single = np.array(self._single, dtype=np.int64)
            emitted = np.concatenate((rows, single[:, 0]))
            order = np.argsort(emitted, kind="stable")
            rows = np.concatenate((rows, single[:, 1]))[order]
            contexts = np.concatenate((contexts, single[:, 2]))[order]
            emitted = emitted[order]
        if self._odd:
            odd = np.array(self._odd, dtype=np.int64)
            calls = np.concatenate((plain, odd[:, 0]))
            between = np.concatenate((between, self.nesting.between(odd[:, 0], odd[:, 1])))
            order = np.argsort(calls, kind="stable")
            calls, between = calls[order], between[order]
        return Walked(calls=calls, between=between, rows=rows, contexts=contexts, emitted=emitted)


def _begins(n_rows: int, stops: Ints, words: NDArray[np.int32], told: list[Told]) -> Flags:
    """Of each row whether it is a mark that begins an import."""
    begins = np.zeros(n_rows, dtype=bool)
    kinds = np.array([kind == "begin" for kind, _, _ in told] + [False], dtype=bool)
    begins[stops] = kinds[words]  # of -1 the last one
    return begins


def _are_of_others(columns: Columns, stops: Ints, plain: Ints, befores: Ints) -> list[bool]:
    """Of each stop whether a call between it and the stop before is not of the thread of that one."""
    tids = columns.tid
    at = np.searchsorted(stops, plain)  # the stop after each call
    is_other = np.ones(len(plain), dtype=bool)
    follows = at > 0
    is_other[follows] = tids[plain[follows]] != tids[stops[at[follows] - 1]]
    n_others = np.concatenate(([0], np.cumsum(is_other)))[befores]
    others: list[bool] = (np.diff(n_others, prepend=0) > 0).tolist()
    return others
