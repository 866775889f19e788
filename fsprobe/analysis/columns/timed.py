"""What `time.observed.watch_time` notes, of a ring that is read as columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, fields

import numpy as np

from fsprobe.analysis.columns.groups import group, sums
from fsprobe.analysis.columns.slots import MOST_NS, Columns, Ints
from fsprobe.analysis.time.observed import FAST_READ_NS, NO_FILES, SLOW_CALL_NS, FileReads, Observed, Used
from fsprobe.analysis.time.spans import Span
from fsprobe.events.ring.slots import HAS_NO_USAGE, SPAN_SHIFT
from fsprobe.model.events import Op, Process

_NEVER = -1
FIELDS = tuple(one.name for one in fields(Used))


@dataclass(slots=True)
class Lives:
    """Threads from their first event to their end: the imports they are in, and the times between their marks."""

    _lives: dict[int, int] = field(default_factory=dict)
    """Thread -> which life it is in."""
    stacks: list[list[tuple[str, int]]] = field(default_factory=list)
    """Of each life: the imports under way, each with the mark that began it; -1 for one inside itself."""
    last: list[int] = field(default_factory=list)
    """Of each life its last mark."""
    rows: array[int] = field(default_factory=lambda: array("q"))
    """Of each mark its row."""
    before: array[int] = field(default_factory=lambda: array("i"))
    """... the one before it in its thread; -1: none."""
    life_of: array[int] = field(default_factory=lambda: array("i"))
    tops: array[int] = field(default_factory=lambda: array("i"))
    """... the import in which its thread was, as `names` numbers them; -1: in none."""
    spans: list[tuple[int, int, int]] | Ints = field(default_factory=list)
    """Imports that have ended: their name, likewise, the mark that began and that which ended them."""
    names: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def name(self, name: str) -> int:
        """The number of an import's name."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def life(self, tid: int) -> int:
        """The life that a thread is in."""
        number = self._lives.get(tid)
        if number is None:
            number = self._lives[tid] = len(self.stacks)
            self.stacks.append([])
            self.last.append(_NEVER)
        return number

    def between(self, tid: int) -> int:
        """The time between two marks that a thread is in: the number of the mark before it, or -1 less the number of the life."""
        life = self.life(tid)
        last = self.last[life]
        return last if last >= 0 else -1 - life

    def mark(self, row: int, tid: int, kind: str, name: str) -> None:
        """A mark ends what was between, and may begin or end an import."""
        life = self._lives.get(tid)
        if life is None:
            life = self.life(tid)
        stack, number, last = self.stacks[life], len(self.rows), self.last[life]
        self.rows.append(row)
        self.before.append(last)
        self.life_of.append(life)
        self.tops.append(self.name(stack[-1][0]) if stack and last >= 0 else _NEVER)
        self.last[life] = number
        if kind == "begin":
            is_again = False
            for one in stack:
                if one[0] == name:
                    is_again = True
                    break
            stack.append((name, -1 if is_again else number))
        elif kind == "end":
            if stack and stack[-1][0] == name:
                begun = stack.pop()[1]
                if begun >= 0:
                    self._ended(name, begun, number)
                return
            for depth in range(len(stack) - 1, -1, -1):
                if stack[depth][0] == name:
                    self._end(life, depth)
                    break

    def process(self, event: Process) -> None:
        """A thread or a program has ended."""
        if event.kind in ("fork", "thread"):
            return
        for tid in (event.child or event.tid, event.tid):
            life = self._lives.pop(tid, None)
            if life is not None:
                self._end(life, 0)

    def close(self) -> None:
        """The ring is at its end."""
        for life in self._lives.values():
            self._end(life, 0)

    def _end(self, life: int, depth: int) -> None:
        stack = self.stacks[life]
        for name, begun in stack[depth:]:
            if begun >= 0:
                self._ended(name, begun, self.last[life])
        del stack[depth:]

    def _ended(self, name: str, begun: int, number: int) -> None:
        assert isinstance(self.spans, list)  # who tells of marks one by one gives no others
        self.spans.append((self.name(name), begun, number))


def fill(seen: Observed, columns: Columns, lives: Lives, calls: Ints, between: Ints) -> None:
    """Note what the calls and marks of a ring say about time.

    Args:
        seen: to be filled.
        columns: the ring.
        lives: its threads.
        calls: rows of all calls, in the order of the slots.
        between: of each the time between two marks that it is in, as `Lives.between` has it.
    """
    n_marks = len(lives.rows)
    n_between = n_marks + len(lives.stacks)
    between = np.where(between >= 0, between, n_marks - 1 - between)
    seen.has_reads = seen.has_usage = seen.has_faults = True
    shapes = columns.shapes
    if len(calls):
        first = columns.call(int(calls[0]))
        seen.begun_ns = first.t_ns if first.op is Op.EXEC else None
    of = columns.shape[calls]
    is_other = np.array([call.op is Op.OTHER for call in shapes.calls], dtype=bool)
    dur_ns, t_ns = columns.dur_ns[calls], columns.t_ns[calls]
    counted = (dur_ns >= 0) & ~is_other[of]
    seen.calls_ns = int(dur_ns[counted].sum())
    seen.covered_ns = _covered(t_ns[counted], dur_ns[counted])
    used = np.zeros((len(FIELDS), n_between), dtype=np.int64)
    column = {name: number for number, name in enumerate(FIELDS)}

    def add(name: str, which: Ints, values: Ints | None) -> None:
        weights = None if values is None else values.astype(np.float64)
        used[column[name]] += np.bincount(which, weights, n_between).astype(np.int64)

    add("n_calls", between[counted], None)
    add("calls_ns", between[counted], dur_ns[counted])
    slow = counted & (dur_ns > SLOW_CALL_NS)
    add("n_slow", between[slow], None)
    add("slow_ns", between[slow], dur_ns[slow])
    reads, is_file = _reads(seen, columns, calls)
    files = reads[is_file]
    add("n_reads", between[files], columns.more("n_reads", calls[files]).astype(np.int64))
    add("reads_ns", between[files], columns.more("read_ns", calls[files]).astype(np.int64))
    _imports(seen, columns, lives, used, column)


def _covered(t_ns: Ints, dur_ns: Ints) -> int:
    if not len(t_ns):
        return 0
    end_ns = t_ns + dur_ns
    until = np.concatenate(([0], np.maximum.accumulate(np.maximum(end_ns, 0))[:-1]))
    return int(np.maximum(0, end_ns - np.maximum(t_ns, until)).sum())


def _reads(seen: Observed, columns: Columns, calls: Ints) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Reads by file; which of the calls are opens that something was read through, and which of those are of files."""
    shapes = columns.shapes
    of = columns.shape[calls]
    is_open = np.array([call.op is Op.OPEN and not call.error for call in shapes.calls], dtype=bool)[of]
    opens = np.flatnonzero(is_open & (columns.place[calls] != 0))
    found = (columns.more("n_reads", calls[opens]) != 0) | (columns.more("n_maps", calls[opens]) != 0)
    opens = opens[found]
    counts_file = np.array(
        [place[:1] == b"/" and not place.startswith(NO_FILES) for place in shapes.led_to], dtype=bool
    )
    is_file = counts_file[of[opens]] if len(opens) else np.zeros(0, dtype=bool)
    places: dict[bytes, int] = {}
    place_of = np.array([places.setdefault(place, len(places)) for place in shapes.led_to], dtype=np.int64)
    which, rows = place_of[of[opens][is_file]], calls[opens][is_file]
    summed = [
        np.bincount(which, columns.more(name, rows).astype(np.float64), len(places)).astype(np.int64).tolist()
        for name in ("n_reads", "read_bytes", "read_ns", "map_bytes")
    ]
    paths = list(places)
    for number in dict.fromkeys(which.tolist()):
        seen.reads[paths[number]] = FileReads(*(column[number] for column in summed))
    _spans(seen, columns, rows[columns.more("read_ns", rows) > FAST_READ_NS])
    return opens, is_file


def _spans(seen: Observed, columns: Columns, opens: Ints) -> None:
    """When these opened files were read, as `Observed.add_span`; where no recorder noted it, right after the open."""
    t_ns, time_ns = columns.t_ns[opens], columns.more("read_ns", opens).astype(np.int64)
    words = columns.more("arg", opens)[:, 3]
    first, last = (words & 0xFFFFFFFF).astype(np.int64), (words >> 32).astype(np.int64)
    is_noted = (first > 0) & (first <= last)  # as `span_of` has it
    begun_ns = np.where(is_noted, t_ns + (first - 1 << SPAN_SHIFT), t_ns)
    ended_ns = np.where(is_noted, t_ns + (last << SPAN_SHIFT), t_ns + time_ns)
    seen.add_spans(map(Span, columns.tid[opens].tolist(), begun_ns.tolist(), ended_ns.tolist(), time_ns.tolist()))


def sizes(columns: Columns, calls: Ints) -> dict[bytes, tuple[int, int]]:
    """As `RingFacts.fstats`: of files that were opened, st_mode and size as they were asked for through the descriptor."""
    shapes = columns.shapes
    is_open = np.array([call.op is Op.OPEN and not call.error for call in shapes.calls], dtype=bool)
    of = columns.shape[calls]
    opens = np.flatnonzero(is_open[of] & (columns.place[calls] != 0))
    asked = opens[columns.more("n_fstats", calls[opens]) != 0]
    found: dict[bytes, tuple[int, int]] = {}
    # a file's mode is what it was told last: of calls that are alike only the last one can be that
    backwards = list(dict.fromkeys(of[asked][::-1].tolist()))
    for number in dict.fromkeys(of[asked].tolist()):
        found[shapes.led_to[number]] = (0, 0)
    for number in reversed(backwards):
        path, (mode, size) = shapes.led_to[number], shapes.statuses[number]
        found[path] = (mode, max(size, found[path][1]))
    return found


def _imports(seen: Observed, columns: Columns, lives: Lives, used: Ints, column: dict[str, int]) -> None:
    """What each import used, between the marks of its thread."""
    if not lives.rows:
        return
    rows = np.array(lives.rows, dtype=np.int64)
    before = np.array(lives.before, dtype=np.int64)
    tops = np.array(lives.tops, dtype=np.int64)
    # in an import that no mark followed, nothing was used
    named = group(tops[tops >= 0], len(lives.names)).keys
    names = [lives.names[number] for number in named.tolist()]
    rank = np.full(len(lives.names) + 1, -1, dtype=np.int64)
    rank[named] = np.arange(len(named))
    tops = rank[tops]  # of -1 the last one
    life_of = np.array(lives.life_of, dtype=np.int64)
    places = np.where(before >= 0, before, len(rows) + life_of)
    has_usage = (columns.more("has", rows) & HAS_NO_USAGE) == 0
    is_used = tops >= 0
    last = np.maximum(before, 0)
    t_ns = columns.t_ns[rows]
    both = has_usage & has_usage[last]
    if bool((is_used & ~both).any()):
        seen.has_usage = False
    arguments = columns.more("arg", rows)[:, :2].astype(np.int64)
    since = {
        "wall_ns": t_ns - t_ns[last],
        "cpu_ns": np.where(both, arguments[:, 0] - arguments[last, 0], 0),
        "n_major_faults": np.where(both, arguments[:, 1] - arguments[last, 1], 0),
    }
    order = np.argsort(life_of, kind="stable")
    spans = np.array(lives.spans, dtype=np.int64).reshape(-1, 3)
    spans[:, 0] = rank[spans[:, 0]]
    spans = spans[spans[:, 0] >= 0]
    tops_used = tops[is_used]
    own, cumulative = [], []
    for number, name in enumerate(FIELDS):  # one by one: they are small enough for the processor's caches
        values = np.maximum(0, since[name]) if name in since else used[number][places]
        values *= is_used
        if float(np.abs(values).sum(dtype=np.float64)) >= MOST_NS:
            values = values.astype(object)  # of times that jump to and fro
        own.append(_sums(tops_used, values[is_used], len(names)))
        total = np.empty_like(values)
        total[order] = np.cumsum(values[order])
        cumulative.append(_sums(spans[:, 0], total[spans[:, 2]] - total[spans[:, 1]], len(names)))
    for name, own_row, cumulative_row in zip(names, zip(*own, strict=True), zip(*cumulative, strict=True), strict=True):
        seen.own[name], seen.cumulative[name] = Used(*own_row), Used(*cumulative_row)


def _sums(numbers: Ints, values: Ints, n_possible: int) -> list[int]:
    """Sums of values by number."""
    if values.dtype != object:
        found: list[int] = sums(numbers, values, n_possible).tolist()
        return found
    table = [0] * n_possible
    for number, value in zip(numbers.tolist(), values.tolist(), strict=True):
        table[number] += value
    return table
