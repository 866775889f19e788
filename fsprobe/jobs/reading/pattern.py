"""What a recording says of others that made the same calls: whose each call is, as columns that only want other times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from fsprobe.analysis.attribution.attribute import Attributed, Notes
from fsprobe.analysis.columns import timed
from fsprobe.analysis.columns.contexts import Contexts
from fsprobe.analysis.columns.counted import Rows, bins_of
from fsprobe.analysis.columns.groups import group
from fsprobe.analysis.columns.retimed import N_BINS, Retimed, RunColumns
from fsprobe.analysis.columns.slots import MOST_NS, Columns, Shapes, room_for_noted
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.time.observed import Observed
from fsprobe.events.clocks import offsets
from fsprobe.events.cpu_times import CpuTimes
from fsprobe.events.marks import HookFiles
from fsprobe.events.ring.slots import HAS_NO_USAGE
from fsprobe.jobs.reading import stamped
from fsprobe.jobs.reading.stamped import Ints, Stamped
from fsprobe.model.events import Call, Event, Mark, Op, ParseQuality, Process

_ADDRESS = re.compile(rb"0x[0-9a-f]+")
ARGUMENT_ADDRESS = re.compile(rb", 0x[0-9a-f]+(?=[ ,)]|\Z)")
_NUMBERS = re.compile(rb"\d{6,}")
_USED = re.compile(rb"(?<=, si_[us]time=)\d+")
"""CPU time of a child, in the line that tells of its end."""
T = TypeVar("T")


class Unlike(Exception):
    """A recording that can't be the pattern of others."""


@dataclass(slots=True)
class Source:
    """A recording as it is compared."""

    hooks: HookFiles
    log: Stamped
    surroundings: tuple[object, ...]
    own: tuple[bytes, ...]
    """Names that only this run has: of fsprobe's directories, and of interpreters."""
    cpu: CpuTimes | None

    def place_of(self, tid: int) -> int:
        """Which of the log's threads it is."""
        return self.log.pids.index(b"%d" % tid) if b"%d" % tid in self.log.pids else -1

    def plainly(self, text: bytes, is_note: bool) -> bytes:
        """A line without what is this run's own."""
        return plainly(text, self.own, self.log.pids, is_note)


@dataclass(slots=True)
class Same:
    """What is known of a recording by another one."""

    tally: Tally
    """Without paths and modules."""
    columns: RunColumns
    """Its paths and modules."""
    notes: Notes
    quality: ParseQuality
    times: Observed
    requests: Requests | None
    """Known once its pattern was kept."""

    def in_full(self) -> Tally:
        """Its whole tally."""
        tables = self.columns.of.tables(self.columns)
        return replace(self.tally, by_path=tables.by_path, by_module=tables.by_module)


@dataclass(slots=True)
class Lesson:
    """What passes while a recording is read the long way."""

    source: Source
    events: list[Event] = field(default_factory=list)
    rows: list[Attributed] = field(default_factory=list)

    def watch(self, items: Iterable[T], kept: list[T]) -> Iterator[T]:
        """Pass on, and keep."""
        for item in items:
            kept.append(item)
            yield item


class Pattern:
    """A recording as columns: a row for each event, in their order.

    Args:
        lesson: what passed when it was read the long way.
        tally: what came of it.
        notes: likewise.
        quality: likewise.

    Raises:
        Unlike: something of it has no place in columns.
    """

    def __init__(self, lesson: Lesson, tally: Tally, notes: Notes, quality: ParseQuality) -> None:
        self.source = lesson.source
        self.requests: Requests | None = None
        # nobody asks of a sum when in each of them that was
        self._notes = replace(notes, first_site_done_ns=None, ended_ns={})
        self._quality = quality
        self._lives = timed.Lives()
        self._noted_by: list[int] = []
        """Of each mark its thread."""
        self._shapes = Shapes()
        self._marks: list[tuple[int, tuple[str, int], int, int, int]] = []
        """Marks of hooks: row, whose, which of its marks, and the rows of its thread before and after it (-1: none)."""
        self._plain: dict[int, bytes] = {}
        """Lines without what is the run's own, as far as others were compared."""
        self._learn(lesson, tally)

    # -- learning ---------------------------------------------------------------------------------------------------

    def _learn(self, lesson: Lesson, tally: Tally) -> None:
        log, noted = self.source.log, self.source.hooks.marks
        line_at = {t_ns: number for number, t_ns in enumerate(log.t_ns.tolist())}
        marks_of = {tid: (token, tid) for token, tid in noted}
        if len(line_at) < len(log.texts) or len(marks_of) < len(noted) or self._quality.unparsed_examples:
            raise Unlike
        lines, end_lines, shapes, calls, between = [], [], [], [], []
        gaps: list[tuple[int, int]] = []
        numbers: dict[tuple[object, ...], int] = {}
        last: dict[int, int] = {}
        ended: dict[int, int] = {}
        n_marks: Counter[int] = Counter()
        before: dict[int, int] = {}
        after: dict[int, int] = {}
        waiting: dict[int, list[int]] = {}
        row_of: dict[int, int] = {}
        for row, event in enumerate(lesson.events):
            line = end_line = shape = -1
            tid = event.tid
            if type(event) is Mark and event.kind != "note":
                key, number = marks_of.get(tid), n_marks[tid]
                if key is None or noted[key][number][1] != event.kind:
                    raise Unlike
                n_marks[tid] += 1
                self._marks.append((row, key, number, 0, 0))
                before[row] = last.get(tid, -1)
                waiting.setdefault(tid, []).append(row)
            else:
                if event.t_ns not in line_at:
                    raise Unlike
                line = line_at[event.t_ns]
                after.update((mark, row) for mark in waiting.pop(tid, ()))
                last[tid] = row
            if type(event) is Mark:
                self._noted_by.append(tid)
                self._lives.mark(row, tid, event.kind, event.name.decode("utf-8", "backslashreplace"))
            elif type(event) is Process:
                self._lives.process(event)
                if event.kind not in ("fork", "thread"):
                    ended.pop(event.child or tid, None)
                    ended.pop(tid, None)
            elif type(event) is Call:
                end_line = _end_of(log, line, event)
                what = (event.syscall, event.path, event.error, event.result if event.op is Op.OPEN else b"")
                shape = numbers.setdefault(what, len(numbers))
                if shape == len(self._shapes.calls):
                    self._shapes.calls.append(event)
                    self._shapes.led_to.append(b"")
                    self._shapes.statuses.append((0, 0))
                row_of[id(event)] = row
                calls.append(row)
                between.append(self._lives.between(tid))
                if event.dur_ns is not None and event.op is not Op.OTHER:
                    if tid in ended:
                        gaps.append((ended[tid], row))
                    ended[tid] = row
            lines.append(line)
            end_lines.append(end_line)
            shapes.append(shape)
        if n_marks.total() != sum(map(len, noted.values())):
            raise Unlike
        self._lives.close()
        self._marks = [(row, key, number, before[row], after.get(row, -1)) for row, key, number, _, _ in self._marks]
        self._line, self._end_line, self._shape = np.array(lines), np.array(end_lines), np.array(shapes, dtype=np.int32)
        self._calls, self._between = np.array(calls, dtype=np.int64), np.array(between, dtype=np.int64)
        self._gaps = np.array(gaps, dtype=np.int64).reshape(-1, 2)
        self._lists = np.array([row for row in calls if lesson.events[row].op is Op.LIST], dtype=np.int64)  # type: ignore[union-attr]
        self._notes_at = [number for number, text in enumerate(log.texts) if b'"fsprobe!' in text]
        self._resumed_at = [number for number, text in enumerate(log.texts) if b" resumed>" in text]
        self._learn_rows(lesson, tally, row_of)

    def _learn_rows(self, lesson: Lesson, tally: Tally, row_of: Mapping[int, int]) -> None:
        """Whose each call is."""
        contexts, rows, of = Contexts(), [], []
        fixed: set[int] = set()
        for one in lesson.rows:
            row = row_of[id(one.call)]
            rows.append(row)
            of.append(contexts.of(one))
            if not one.own:
                fixed.update((int(self._line[row]), int(self._end_line[row])))
        self._fixed = frozenset(fixed)
        """Lines that may differ in nothing but addresses: of calls that count."""
        known = {int(pid) for pid in self.source.log.pids} | {0}
        if not tally.n_timed or any(not {info.pid, info.parent} <= known for info in contexts.processes):
            raise Unlike
        log = self.source.log
        columns = self._columns(log.t_ns[self._line], log.dur_ns[self._end_line], None, {})
        self._retimed = Retimed(tally, Rows(columns, contexts, np.array(rows), np.array(of)))

    def _columns(self, t_ns: Ints, dur_ns: Ints, cpu: CpuTimes | None, pids: Mapping[int, int]) -> Columns:
        noted = room_for_noted(len(t_ns))
        noted["has"][:] = HAS_NO_USAGE
        if cpu is not None:
            rows = np.array(self._lives.rows, dtype=np.int64)
            used = [cpu.at(pids.get(tid, tid), at) for tid, at in zip(self._noted_by, t_ns[rows].tolist(), strict=True)]
            is_known = np.array([n is not None for n in used], dtype=bool)
            noted["has"][rows[is_known]] = 0
            noted["arg"][rows, 0] = [n or 0 for n in used]
        return Columns(
            ring=None,  # type: ignore[arg-type]  # there is none
            first=0,
            noted=noted,
            place=np.arange(len(t_ns), dtype=np.int32),
            kinds=np.zeros(0, dtype=np.uint8),
            shapes=self._shapes,
            shape=self._shape,
            tid=np.zeros(len(t_ns), dtype=np.uint32),
            t_ns=t_ns,
            dur_ns=dur_ns,
        )

    # -- a further one ----------------------------------------------------------------------------------------------

    def match(self, source: Source) -> bool:
        """Whether the lines of another recording say the same."""
        mine, theirs = self.source, source
        if (
            len(mine.log.texts) != len(theirs.log.texts)
            or len(mine.own) != len(theirs.own)
            or len(mine.log.pids) != len(theirs.log.pids)
            or mine.surroundings != theirs.surroundings
            or not np.array_equal(mine.log.pid, theirs.log.pid)
            or not np.array_equal(mine.log.dur_ns < 0, theirs.log.dur_ns < 0)
        ):
            return False
        n_own = dict.fromkeys(_shortest(set(theirs.own).difference(mine.own)), 0)
        for number, (one, other) in enumerate(zip(mine.log.texts, theirs.log.texts, strict=True)):
            if one == other:
                continue
            plain = self._plain.get(number)
            if plain is None:
                plain = self._plain[number] = self._plainly(mine, number, one)
            if plain != self._plainly(theirs, number, other):
                return False
            if number not in self._fixed:
                for name in n_own:
                    n_own[name] += other.count(name)
        # what is one run's own has to be nobody's in the other
        data = b"\n".join(theirs.log.texts) if n_own else b""
        return all(data.count(name) == n for name, n in n_own.items()) and not any(
            name in data for name in _shortest(set(mine.own).difference(theirs.own))
        )

    def _plainly(self, source: Source, number: int, text: bytes) -> bytes:
        if number in self._fixed:
            return without_addresses(text)
        plain = source.plainly(text, is_note=b'"fsprobe!' in text)
        return _USED.sub(b"", plain) if text.startswith(b"--- SIG") else plain

    def read(self, source: Source) -> Same | None:
        """The tables of a recording whose lines say the same; None where its times could lead to others."""
        log = source.log
        if int(log.t_ns[-1]) >= MOST_NS or int(log.dur_ns.sum()) >= MOST_NS:
            return None
        marks = self._times_of_marks(source)
        if marks is None:
            return None
        t_ns, dur_ns = log.t_ns[self._line], np.where(self._end_line < 0, -1, log.dur_ns[self._end_line])
        for row, key, number, before, after in self._marks:
            t_ns[row] = at_ns = marks[key][number]
            if (before >= 0 and at_ns <= t_ns[before]) or (after >= 0 and at_ns > t_ns[after]):
                return None
        ends_ns = t_ns + np.maximum(dur_ns, 0)
        if (t_ns[self._lists][1:] < ends_ns[self._lists][:-1]).any():
            return None  # several read directories at once
        times = Observed()
        pids = {int(pid): int(other) for pid, other in zip(self.source.log.pids, log.pids, strict=True)}
        columns = self._columns(t_ns, dur_ns, source.cpu, pids)
        timed.fill(times, columns, self._lives, self._calls, self._between)
        times.has_usage = times.has_usage and source.cpu is not None
        times.has_reads = times.has_faults = False
        found = group(bins_of(t_ns[self._gaps[:, 1]] - ends_ns[self._gaps[:, 0]]), N_BINS)
        times.between = dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True))
        return Same(
            tally=self._retimed.tally(t_ns, dur_ns, pids),
            columns=self._retimed.columns(t_ns, dur_ns),
            notes=self._notes,
            quality=replace(self._quality, wall_start_ns=log.wall_start_ns),
            times=times,
            requests=self.requests,
        )

    def _times_of_marks(self, source: Source) -> dict[tuple[str, int], list[int]] | None:
        """When its hooks noted the same marks, by its log's clock; None where they noted others, or where that is not known."""
        mine, theirs = self.source.hooks.marks, source.hooks.marks
        clocks = stamped.clocks(source.log, self._notes_at, self._resumed_at)
        if len(mine) != len(theirs) or any(tid != host for (_, tid), host in clocks.host_tid.items()):
            return None  # or they are numbered otherwise inside
        shifts = offsets(clocks, {thread: [when for when, _, _ in marks] for thread, marks in theirs.items()})
        found: dict[tuple[str, int], list[int]] = {}
        for (key, marks), ((token, tid), others) in zip(mine.items(), theirs.items(), strict=True):
            shift = shifts.get(token)
            if shift is None or self.source.place_of(key[1]) != source.place_of(tid):
                return None
            _, *said = zip(*marks, strict=True)
            times, *others_said = zip(*others, strict=True)
            if said != others_said:
                return None
            found[key] = [when - shift[0] for when in times]
        return found


def _shortest(names: Collection[bytes]) -> list[bytes]:
    """Names without those that hold another one: where that one is not, they are not either."""
    return [name for name in names if not any(other in name for other in names if other != name)]


def plainly(text: bytes, own: Sequence[bytes], pids: Sequence[bytes], is_note: bool) -> bytes:
    """A text without what is one run's own.

    Args:
        text: the text.
        own: names that only this run has.
        pids: its threads.
        is_note: it is what an interpreter says of itself, in which every large number is its own.
    """
    for number, name in enumerate(own):
        text = text.replace(name, b"\0%d" % number)
    for number, pid in enumerate(pids):
        text = re.sub(rb"(?<!\d)%b(?!\d)" % pid, b"\1%d" % number, text)
    text = _ADDRESS.sub(b"0x", text)
    return _NUMBERS.sub(b"\2", text) if is_note else text


def without_addresses(text: bytes) -> bytes:
    """A call's line without the addresses among its arguments; what stands in a name stays."""
    at = text.rfind(b'"')
    if at < 0:
        at = text.find(b">, ")
    if at < 0:
        return text
    end = text.find(b") = ", at)
    end = len(text) if end < 0 else end
    return text[:at] + ARGUMENT_ADDRESS.sub(b", 0x", text[at:end]) + text[end:]


def _end_of(log: Stamped, line: int, call: Call) -> int:
    """The line that says how long a call took; -1: none does."""
    if call.dur_ns is None:
        return -1
    if log.dur_ns[line] == call.dur_ns:
        return line
    begins = b"<... " + call.syscall.encode() + b" resumed>"
    for number in range(line + 1, len(log.texts)):
        if log.pid[number] == log.pid[line] and log.texts[number].startswith(begins):
            if log.dur_ns[number] == call.dur_ns:
                return number
            break
    raise Unlike
