"""Ranks that made the same calls: what one was found to do holds for the others too, and of these only the times are read.

Most ranks of a job differ in nothing but times and in names that mean nothing: process numbers, addresses, fsprobe's own
directories. The first of them is read as any recording; which path, import, phase and process each of its calls belongs to is
kept as columns (`Pattern`). Of a further one the texts of all lines are compared, what its hooks and its manifest say, and
where its marks stand among its calls. Where all is the same, its tables are those columns with its own times, counted by
`analysis.columns`. A pattern is kept only if it gives the very tables that its own recording gave the long way, and whatever
differs otherwise, or is not certain, is read the long way.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Attributed, Notes, ProcessInfo
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.columns import timed
from fsprobe.analysis.columns.contexts import Contexts
from fsprobe.analysis.columns.counted import Rows, tally_of
from fsprobe.analysis.columns.groups import group
from fsprobe.analysis.columns.slots import LAYOUT, MOST_NS, Columns, Shapes
from fsprobe.analysis.counting.latency import bin_edges
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.requests.alike import without_own
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.time.observed import Observed
from fsprobe.events.clocks import offsets
from fsprobe.events.marks import HookFiles
from fsprobe.events.ring.slots import HAS_NO_USAGE
from fsprobe.jobs.reading import stamped
from fsprobe.jobs.reading.stamped import Ints, Stamped
from fsprobe.model.events import Call, Event, Mark, Mount, Op, ParseQuality, Process
from fsprobe.recording.file import Recording

N_KEPT = 8
MAX_UNUSED = 3
"""So many patterns are kept before one has been of use: a job whose ranks all differ is not to pay for it."""
_ADDRESS = re.compile(rb"0x[0-9a-f]+")
_NUMBERS = re.compile(rb"\d{6,}")
_UNTOLD = ("pid", "ns", "environment", "mounts")
"""What an interpreter says of itself that says nothing of whose a call is."""
T = TypeVar("T")


@dataclass(slots=True)
class Source:
    """A recording as it is compared."""

    recording: Recording
    hooks: HookFiles
    log: Stamped
    surroundings: tuple[object, ...]
    own: tuple[bytes, ...]
    """Names that only this run has: of fsprobe's directories, and of interpreters."""

    def plainly(self, text: bytes, is_note: bool) -> bytes:
        """A line without what is this run's own."""
        for number, name in enumerate(self.own):
            text = text.replace(name, b"\0%d" % number)
        for number, pid in enumerate(self.log.pids):
            text = re.sub(rb"(?<!\d)%b(?!\d)" % pid, b"\1%d" % number, text)
        text = _ADDRESS.sub(b"0x", text)
        return _NUMBERS.sub(b"\2", text) if is_note else text


@dataclass(slots=True)
class Same:
    """What is known of a recording by another one."""

    tally: Tally
    notes: Notes
    quality: ParseQuality
    times: Observed
    requests: Requests | None
    """Known once its pattern was kept."""


@dataclass(slots=True)
class Lesson:
    """What passes while a recording is read the long way."""

    source: Source
    why: WhyNotFound
    events: list[Event] = field(default_factory=list)
    rows: list[Attributed] = field(default_factory=list)

    def watch(self, items: Iterable[T], kept: list[T]) -> Iterator[T]:
        """Pass on, and keep."""
        for item in items:
            kept.append(item)
            yield item


@dataclass(slots=True)
class Pattern:
    """A recording as columns: a row for each event, in their order."""

    source: Source
    why: WhyNotFound
    quality: ParseQuality
    notes: Notes
    shapes: Shapes = field(default_factory=Shapes)
    contexts: Contexts = field(default_factory=Contexts)
    lives: timed.Lives = field(default_factory=timed.Lives)
    line: list[int] = field(default_factory=list)
    """Of each row where it began; -1: a mark of a hook."""
    end_line: list[int] = field(default_factory=list)
    """... and which line says how long it took; -1: none."""
    shape: list[int] = field(default_factory=list)
    tid: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    """Rows of the calls."""
    between: list[int] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Rows of two calls that a thread made one after the other."""
    lists: list[int] = field(default_factory=list)
    marks: list[tuple[int, tuple[str, int], int, int, int]] = field(default_factory=list)
    """Marks of hooks: row, whose, which of its marks, and the rows of its thread before and after it (-1: none)."""
    row: list[int] = field(default_factory=list)
    """Of each attributed call its row."""
    context: list[int] = field(default_factory=list)
    fixed: frozenset[int] = frozenset()
    """Lines that may differ in nothing but addresses."""
    requests: Requests | None = None

    # -- learning ---------------------------------------------------------------------------------------------------

    def learn(self, lesson: Lesson) -> bool:
        """Take in what passed; whether all of it has its place."""
        log = self.source.log
        line_at = {t_ns: number for number, t_ns in enumerate(log.t_ns.tolist())}
        marks_of = {tid: (token, tid) for token, tid in self.source.hooks.marks}
        if len(line_at) < len(log.texts) or len(marks_of) < len(self.source.hooks.marks) or self.source.hooks.forks:
            return False
        numbers: dict[tuple[object, ...], int] = {}
        last: dict[int, int] = {}
        n_marks: dict[int, int] = {}
        waiting: dict[int, list[int]] = {}
        ended: dict[int, int] = {}
        row_of: dict[int, int] = {}
        before: dict[int, int] = {}
        after: dict[int, int] = {}
        for row, event in enumerate(lesson.events):
            shape = end_line = -1
            tid = event.tid
            if type(event) is Mark and event.kind != "note":
                key, number = marks_of.get(tid), n_marks.get(tid, 0)
                if key is None or self.source.hooks.marks[key][number][1] != event.kind:
                    return False
                n_marks[tid] = number + 1
                self.marks.append((row, key, number, 0, 0))
                before[row] = last.get(tid, -1)
                waiting.setdefault(tid, []).append(row)
                line = -1
            else:
                found = None if event.t_ns is None else line_at.get(event.t_ns)
                if found is None:
                    return False
                line = found
                for mark in waiting.pop(tid, ()):
                    after[mark] = row
                last[tid] = row
            if type(event) is Mark:
                self.lives.mark(row, tid, event.kind, event.name.decode("utf-8", "backslashreplace"))
            elif type(event) is Process:
                self.lives.process(event)
                if event.kind not in ("fork", "thread"):
                    ended.pop(event.child or tid, None)
                    ended.pop(tid, None)
            elif type(event) is Call:
                end_line = _end_of(log, line, event)
                if end_line < 0 and event.dur_ns is not None:
                    return False
                what = (event.syscall, event.path, event.error, event.result if event.op is Op.OPEN else b"")
                shape = numbers.setdefault(what, len(numbers))
                if shape == len(self.shapes.calls):
                    self.shapes.calls.append(event)
                    self.shapes.led_to.append(b"")
                    self.shapes.statuses.append((0, 0))
                row_of[id(event)] = row
                self.calls.append(row)
                self.between.append(self.lives.between(tid))
                if event.op is Op.LIST:
                    self.lists.append(row)
                if event.dur_ns is not None and event.op is not Op.OTHER:
                    if tid in ended:
                        self.gaps.append((ended[tid], row))
                    ended[tid] = row
            self.line.append(line)
            self.end_line.append(end_line)
            self.shape.append(shape)
            self.tid.append(tid)
        self.lives.close()
        self.marks = [(row, key, number, before[row], after.get(row, -1)) for row, key, number, _, _ in self.marks]
        if sum(n_marks.values()) != sum(map(len, self.source.hooks.marks.values())):
            return False
        fixed: set[int] = set()
        for one in lesson.rows:
            row = row_of[id(one.call)]
            self.row.append(row)
            self.context.append(self.contexts.of(one))
            if not one.own:
                fixed.update((self.line[row], self.end_line[row]))
        self.fixed = frozenset(fixed)
        known = {int(pid) for pid in log.pids} | {0}
        return all({info.pid, info.parent} <= known for info in self.contexts.processes)

    # -- a further one ----------------------------------------------------------------------------------------------

    def match(self, source: Source) -> bool:
        """Whether the lines of another recording say the same."""
        mine, theirs = self.source, source
        if (
            len(mine.log.texts) != len(theirs.log.texts)
            or mine.surroundings != theirs.surroundings
            or len(mine.own) != len(theirs.own)
            or len(mine.log.pids) != len(theirs.log.pids)
            or not np.array_equal(mine.log.pid, theirs.log.pid)
            or not np.array_equal(mine.log.dur_ns < 0, theirs.log.dur_ns < 0)
        ):
            return False
        n_own = dict.fromkeys(set(theirs.own).difference(mine.own), 0)
        pairs = zip(mine.log.texts, theirs.log.texts, strict=True)
        for number, (one, other) in enumerate(pairs):
            if one == other:
                continue
            if number in self.fixed:
                if _ADDRESS.sub(b"0x", one) != _ADDRESS.sub(b"0x", other):
                    return False
                continue
            is_note = b'"fsprobe!' in one
            if mine.plainly(one, is_note) != theirs.plainly(other, is_note):
                return False
            for name in n_own:
                n_own[name] += other.count(name)
        # what is one run's own has to be nobody's in the other
        data = b"\n".join(theirs.log.texts) if n_own else b""
        return all(data.count(name) == n for name, n in n_own.items()) and not any(
            name in data for name in set(mine.own).difference(theirs.own)
        )

    def read(self, source: Source) -> Same | None:
        """The tables of a recording whose lines say the same; None where its times could lead to others."""
        log = source.log
        marks = _marks(self.source, source)
        if marks is None or int(log.t_ns[-1]) >= MOST_NS or int(log.dur_ns.sum()) >= MOST_NS:
            return None
        line, end_line = np.array(self.line), np.array(self.end_line)
        t_ns, dur_ns = log.t_ns[line], np.where(end_line < 0, -1, log.dur_ns[end_line])
        for row, key, number, before, after in self.marks:
            t_ns[row] = at_ns = marks[key][number]
            if (before >= 0 and at_ns <= t_ns[before]) or (after >= 0 and at_ns > t_ns[after]):
                return None
        ends = (t_ns + np.maximum(dur_ns, 0))[self.lists]
        if (t_ns[self.lists][1:] < ends[:-1]).any():
            return None  # several read directories at once
        slots = np.zeros(len(line), dtype=LAYOUT)
        slots["has"] = HAS_NO_USAGE
        numbers = {int(pid): int(other) for pid, other in zip(self.source.log.pids, log.pids, strict=True)}
        columns = Columns(
            ring=None,  # type: ignore[arg-type]  # there is none
            first=0,
            slots=slots,
            kinds=np.zeros(0, dtype=np.uint8),
            shapes=self.shapes,
            shape=np.array(self.shape, dtype=np.int32),
            tid=np.array([numbers.get(tid, tid) for tid in self.tid], dtype=np.uint32),
            t_ns=t_ns,
            dur_ns=dur_ns,
        )
        contexts = copy(self.contexts)
        contexts.processes = [
            ProcessInfo(numbers[one.pid], numbers.get(one.parent, 0), one.label, one.kind) for one in contexts.processes
        ]
        times = Observed()
        timed.fill(times, columns, self.lives, np.array(self.calls), np.array(self.between))
        times.has_reads = times.has_usage = times.has_faults = False
        gaps = np.array(self.gaps).reshape(-1, 2)
        times.between = _binned(t_ns[gaps[:, 1]] - (t_ns + dur_ns)[gaps[:, 0]])
        rows = Rows(columns, contexts, np.array(self.row), np.array(self.context))
        return Same(
            tally=tally_of(rows, self.why),
            notes=self.notes,
            quality=replace(self.quality, wall_start_ns=log.wall_start_ns),
            times=times,
            requests=self.requests,
        )


def _end_of(log: Stamped, line: int, call: Call) -> int:
    """The line that says how long a call took; -1: none does."""
    if call.dur_ns is None:
        return -1
    durations = log.dur_ns
    if durations[line] == call.dur_ns:
        return line
    begins = b"<... " + call.syscall.encode() + b" resumed>"
    for number in range(line + 1, len(log.texts)):
        if log.pid[number] == log.pid[line] and log.texts[number].startswith(begins):
            return number if durations[number] == call.dur_ns else -1
    return -1


def _binned(gaps_ns: Ints) -> dict[int, int]:
    """Latency bin -> how many, in the order in which they come."""
    edges = np.array(bin_edges())
    bins = np.where(
        gaps_ns <= 1000, 0, np.minimum(np.searchsorted(edges, (gaps_ns // 1000).astype(np.float64)), len(edges) - 1)
    )
    found = group(bins, len(edges))
    return dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True))


def _marks(mine: Source, theirs: Source) -> dict[tuple[str, int], list[int]] | None:
    """When another run's hooks noted the same marks, by its log's clock; None where they noted others, or where that isn't known."""
    one, other = mine.hooks.marks, theirs.hooks.marks
    if len(one) != len(other):
        return None
    clocks = stamped.clocks(theirs.log)
    if any(tid != host for (_, tid), host in clocks.host_tid.items()):
        return None  # numbered otherwise inside
    shifts = offsets(clocks, {thread: [when for when, _, _ in marks] for thread, marks in other.items()})
    found: dict[tuple[str, int], list[int]] = {}
    place_of = {int(pid): place for place, pid in enumerate(mine.log.pids)}
    other_place_of = {int(pid): place for place, pid in enumerate(theirs.log.pids)}
    for (key, marks), ((token, tid), others) in zip(one.items(), other.items(), strict=True):
        shift = shifts.get(token)
        if shift is None or place_of.get(key[1], -1) != other_place_of.get(tid):
            return None
        if len(marks) != len(others) or any(a[1:] != b[1:] for a, b in zip(marks, others, strict=True)):
            return None
        found[key] = [when - shift[0] for when, _, _ in others]
    return found


@dataclass(slots=True)
class SameCalls:
    """The last patterns."""

    kept: deque[Pattern] = field(default_factory=lambda: deque(maxlen=N_KEPT))
    n_unused: int = 0
    _new: Pattern | None = None

    def source(
        self, recording: Recording, hooks: HookFiles, mounts: Sequence[Mount], lookups: Mapping[str, Any]
    ) -> Source | None:
        """A recording as it is compared; None of one that can't be."""
        manifest = recording.manifest
        if (
            not hooks.marks
            or not hooks.facts
            or hooks.forks
            or manifest.get("markers") != "time"
            or manifest.get("attached")
            or not {pipeline.RING, pipeline.CPU}.isdisjoint(recording.names())
            or recording.size_bytes("log") > pipeline.SMALL_LOG_BYTES
        ):
            return None
        log = stamped.read(recording.whole("log"))
        if log is None:
            return None
        hook_dir, scratch = pipeline.hook_dir_of(manifest), os.fsencode(str(manifest.get("scratch") or ""))
        tokens = [token.rpartition(".")[2].encode() for token, _ in hooks.marks]
        parts = [part for place in (hook_dir, scratch) for part in place.split(b"/") if part.startswith(b"fsprobe-")]
        facts = [{name: said for name, said in one.items() if name not in _UNTOLD} for one in hooks.facts.values()]
        tables, _ = without_own(lookups, [os.fsdecode(place) for place in (scratch, hook_dir) if place])
        surroundings = (
            pipeline.cwd_of(recording),
            tuple(mounts),
            facts,
            tables,
            str(manifest.get("kernel") or ""),
            bool(hook_dir),
            bool(scratch),
        )
        own = tuple(dict.fromkeys(name for name in (hook_dir, scratch, *parts, *tokens) if name))
        return Source(recording, hooks, log, surroundings, own)

    def find(self, source: Source) -> Same | None:
        """The tables of a recording, where one like it was read before."""
        for pattern in self.kept:
            if pattern.match(source):
                found = pattern.read(source)
                if found is not None:
                    self.n_unused = 0
                return found
        return None

    def lesson(self, source: Source, why: WhyNotFound) -> Lesson | None:
        """What is to pass while it is read the long way; None where that was of no use so far."""
        return Lesson(source, why) if self.n_unused < MAX_UNUSED else None

    def learn(self, lesson: Lesson, tally: Tally, notes: Notes, quality: ParseQuality, times: Observed) -> None:
        """Make a pattern of what passed, if that gives what the long way gave."""
        self.n_unused += 1
        without_times = replace(notes, first_site_done_ns=None, ended_ns={})  # nobody asks of a sum when in each that was
        pattern = Pattern(lesson.source, lesson.why, quality, without_times)
        self._new = None
        if pattern.learn(lesson) and pattern.match(lesson.source):
            found = pattern.read(lesson.source)
            if found is not None and found.tally == tally and found.times == times and found.quality == quality:
                self._new = pattern

    def settle(self, requests: Requests, is_of_all: bool) -> None:
        """What was learned last asks for this; `is_of_all`: all that make these calls do."""
        if self._new is not None and is_of_all:
            self._new.requests = requests
            self.kept.appendleft(self._new)
        self._new = None
