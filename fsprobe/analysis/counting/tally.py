"""Tally: tables of counts that add. One fold serves a run, a stream and a job; a merge is an addition.

Every call that is counted is added once to each table, so each grouping sums to the totals by construction (and
`check_sums` says so in tests). What needs the whole run, such as the mount of a path whose directory turned out to be a
symlink, is computed when a profile is made of the tally, once per distinct path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fsprobe.analysis.attribution.attribute import NO_IMPORT, Attributed, Frame
from fsprobe.analysis.attribution.program_images import image_key
from fsprobe.analysis.counting.latency import BINS, bin_of
from fsprobe.events.strace.arguments import resolved_of
from fsprobe.model.events import MISSING_ERRORS, Op
from fsprobe.model.rows import Counts

BIN_NS = 100_000_000
"""Width of a time bin, 0.1 s: windows of 1 s and 10 s are slid over these."""

FIELD = {
    Op.OPEN: "n_open",
    Op.STAT: "n_stat",
    Op.READLINK: "n_readlink",
    Op.LIST: "n_list",
    Op.EXEC: "n_exec",
    Op.CHANGE: "n_change",
    Op.OTHER: "n_other",
}

MAX_INSIDE = 4_096
"""Imports whose sums wait to be added to those that they are in."""
FURTHER_PROCESSES = "(further processes)"
"""The label of a row that stands for many processes; see `streaming.bounds`."""

_STAT, _OPEN, _OTHER = Op.STAT, Op.OPEN, Op.OTHER  # a member of an enumeration takes longer to look up than a name


def add_call(counts: Counts, op: Op) -> None:
    """Count one call, without its time."""
    name = FIELD[op]
    setattr(counts, name, getattr(counts, name) + 1)


def add(into: Counts, other: Counts) -> None:
    """Add a row to a row."""
    into.n_open += other.n_open
    into.n_stat += other.n_stat
    into.n_readlink += other.n_readlink
    into.n_list += other.n_list
    into.n_exec += other.n_exec
    into.n_change += other.n_change
    into.n_other += other.n_other
    into.n_not_found += other.n_not_found
    into.time_ns += other.time_ns


@dataclass(slots=True)
class ModuleTally:
    """One module over all processes: its own calls, and with the imports inside it."""

    own: Counts = field(default_factory=Counts)
    cumulative: Counts = field(default_factory=Counts)
    parents: dict[str, int] = field(default_factory=dict)
    n_imports: int = 0
    first_ns: int | None = None
    """When its first call began, its own or one of what it imported; None without times."""


@dataclass(slots=True)
class ProcessTally:
    """One program image of one process."""

    pid: int
    parent: int
    label: str
    kind: str
    counts: Counts = field(default_factory=Counts)
    n_open_by_bin: dict[int, int] = field(default_factory=dict)
    n_metadata_by_bin: dict[int, int] = field(default_factory=dict)
    of: str = ""
    """In a job: the rank whose process it is. Two nodes may have the same process number."""

    @property
    def key(self) -> str:
        """As `ProcessInfo.key`."""
        return image_key(self.pid, self.label, self.kind)


@dataclass(slots=True)
class PathTally:
    """One distinct path, as the program named it."""

    counts: Counts = field(default_factory=Counts)
    resolved: bytes | None = None
    """Where a successful open of it led, by the tracer's annotation of the descriptor; the path itself where there is none."""
    latency: dict[int, int] = field(default_factory=dict)
    """bin -> calls; see `latency.bin_of`"""
    max_ns: int = 0


@dataclass(slots=True)
class Tally:
    """All tables of one run, or of many."""

    total: Counts = field(default_factory=Counts)
    own: dict[str, int] = field(default_factory=dict)
    """op -> fsprobe's own calls, which are in no other table"""
    own_by_syscall: dict[str, int] = field(default_factory=dict)
    by_syscall: dict[str, list[int]] = field(default_factory=dict)
    """name -> [calls, errors]"""
    by_phase: dict[str, Counts] = field(default_factory=dict)
    by_module: dict[str, ModuleTally] = field(default_factory=dict)
    by_process: dict[str, ProcessTally] = field(default_factory=dict)
    by_path: dict[bytes, PathTally] = field(default_factory=dict)
    not_found: dict[tuple[str, bytes], int] = field(default_factory=dict)
    """(reason, path) -> failed lookups; see `attribution.not_found`"""
    timeline: dict[int, dict[str, int]] = field(default_factory=dict)
    """bin -> {phase: metadata calls}"""
    n_timed: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    startup_end_ns: int | None = None
    """When the last import that was not yet in `run` ended: the start of the last call of phase import."""
    floor: dict[int, int] = field(default_factory=dict)
    """latency bin -> calls, over all paths: what the cheapest calls took is the tracer's own cost"""
    n_further_rows: int = 0
    """Rows of `by_path` that stand for many paths; see `streaming.bounds`. 0: every path has its own."""
    settled_rates: dict[str, float] = field(default_factory=dict)
    """The busiest windows among bins that are no longer kept; see `analysis.rates`."""
    timeline_step: int = 1
    """How many bins of `BIN_NS` one of the timeline covers."""


def opens_below(tally: Tally, place: bytes) -> int:
    """Open calls of what lies at or below a path, by the name that was asked or the place it led to; failed ones included."""
    start = place.rstrip(b"/") + b"/"
    return sum(
        counted.counts.n_open
        for path, counted in tally.by_path.items()
        if any(name == place or name.startswith(start) for name in (path, counted.resolved) if name is not None)
    )


class Folder:
    """The fold: takes attributed calls one by one and adds them to a tally; `close` when the last one was taken.

    Calls that follow each other mostly belong to the same import, phase and process. Such a stretch is summed up in one
    row, which is added to the tables when it ends. An import's sum goes to the import that it is in when all is added up: a
    module 20 imports deep would otherwise cost 20 additions a stretch.
    """

    def __init__(self, tally: Tally, why_not_found: Callable[[Attributed], str]) -> None:
        self.tally = tally
        self.why_not_found = why_not_found
        self._first: Attributed | None = None
        self._stretch = Counts()
        self._begun_ns: int | None = None  # when the first call of the stretch began
        self._process_now: ProcessTally | None = None
        self._inside: dict[int, _Inside] = {}

    def fold(self, row: Attributed) -> None:
        """Add one call."""
        self.fold_all((row,))

    def fold_all(self, rows: Iterable[Attributed]) -> None:
        """Add calls, one after the other."""
        # written out, not in small functions: this is done for each call of a run, or of a job of a thousand ranks
        tally = self.tally
        by_path, by_syscall, floor, not_found = tally.by_path, tally.by_syscall, tally.floor, tally.not_found
        first, process, stretch, begun_ns = self._first, self._process_now, self._stretch, self._begun_ns
        stack, phase = (first.stack, first.phase) if first is not None else ((), "")
        bin_now, n_in_bin, n_open_in_bin = -1, 0, 0
        first_ns, last_ns, startup_end_ns = tally.first_ns, tally.last_ns, tally.startup_end_ns
        for row in rows:
            call = row.call
            _, t_ns, syscall, op, name, error, dur_ns, _, result = call
            if row.own:
                tally.own[op.value] = tally.own.get(op.value, 0) + 1
                tally.own_by_syscall[syscall] = tally.own_by_syscall.get(syscall, 0) + 1
                continue
            calls = by_syscall.get(syscall)
            if calls is None:
                calls = by_syscall[syscall] = [0, 0]
            calls[0] += 1
            if error and error != "?":
                calls[1] += 1
            if op is _OTHER:
                tally.total.n_other += 1
                continue
            if (
                first is None
                or row.stack is not stack
                or row.phase != phase
                or row.process is not first.process
                or row.module != first.module
            ):
                if n_in_bin and process is not None:
                    self._add_bin(phase, process, bin_now, n_in_bin, n_open_in_bin)
                    n_in_bin = n_open_in_bin = 0
                self._begun_ns = begun_ns
                self._end()
                self._first = first = row
                stack, phase = row.stack, row.phase
                self._process_now = process = self._process(row)
                stretch, begun_ns = self._stretch, None
            path = by_path.get(name)
            if path is None:
                path = by_path[name] = PathTally()
            counts = path.counts
            if op is _STAT:
                stretch.n_stat += 1
                counts.n_stat += 1
            elif op is _OPEN:
                stretch.n_open += 1
                counts.n_open += 1
                if path.resolved is None and not error:
                    path.resolved = resolved_of(name, result)
            else:
                add_call(stretch, op)
                add_call(counts, op)
            if error in MISSING_ERRORS:
                stretch.n_not_found += 1
                counts.n_not_found += 1
                key = (self.why_not_found(row), name)
                not_found[key] = not_found.get(key, 0) + 1
            end = t_ns
            if dur_ns is not None:
                stretch.time_ns += dur_ns
                counts.time_ns += dur_ns
                number = BINS.get(dur_ns // 1000)
                if number is None:
                    number = bin_of(dur_ns // 1000)
                latency = path.latency
                latency[number] = latency.get(number, 0) + 1
                floor[number] = floor.get(number, 0) + 1
                if dur_ns > path.max_ns:
                    path.max_ns = dur_ns
                if t_ns is not None:
                    end = t_ns + dur_ns
            if t_ns is None or end is None:
                continue
            # calls of one stretch in one bin are added together, when either ends
            number = t_ns // BIN_NS
            if number != bin_now:
                if n_in_bin and process is not None:
                    self._add_bin(phase, process, bin_now, n_in_bin, n_open_in_bin)
                bin_now, n_in_bin, n_open_in_bin = number, 0, 0
            n_in_bin += 1
            if op is _OPEN:
                n_open_in_bin += 1
            if begun_ns is None or t_ns < begun_ns:
                begun_ns = t_ns
                if first_ns is None or t_ns < first_ns:
                    first_ns = t_ns
            if last_ns is None or end > last_ns:
                last_ns = end
            if phase == "import" and (startup_end_ns is None or end > startup_end_ns):
                startup_end_ns = end
        tally.first_ns, tally.last_ns, tally.startup_end_ns = first_ns, last_ns, startup_end_ns
        self._begun_ns = begun_ns
        if n_in_bin and process is not None:
            self._add_bin(phase, process, bin_now, n_in_bin, n_open_in_bin)

    def _add_bin(self, phase: str, process: ProcessTally, number: int, n_calls: int, n_opens: int) -> None:
        """Add calls of one bin of time."""
        tally = self.tally
        slot = tally.timeline.get(number)
        if slot is None:
            slot = tally.timeline[number] = {}
        slot[phase] = slot.get(phase, 0) + n_calls
        tally.n_timed += n_calls
        process.n_metadata_by_bin[number] = process.n_metadata_by_bin.get(number, 0) + n_calls
        if n_opens:
            process.n_open_by_bin[number] = process.n_open_by_bin.get(number, 0) + n_opens

    def close(self) -> None:
        """Add to the tables what is not in them yet: the stretch that is under way, and the imports to those that they are in."""
        self._end()
        levels: dict[int, dict[int, _Inside]] = {}
        for key, inside in self._inside.items():
            levels.setdefault(len(inside.stack), {})[key] = inside
        self._inside = {}
        for depth in range(max(levels, default=0), 0, -1):
            for inside in levels.get(depth, {}).values():
                frame = inside.stack[-1]
                if not frame.recursive:
                    module = _module(self.tally, frame.name)
                    add(module.cumulative, inside.counts)
                    _begin(module, inside.first_ns)
                if depth > 1:
                    outer = inside.stack[:-1]
                    table = levels.setdefault(depth - 1, {})
                    table.setdefault(id(outer[-1]), _Inside(outer)).add(inside.counts, inside.first_ns)

    def _end(self) -> None:
        """Add the stretch that is under way."""
        row, counts = self._first, self._stretch
        if row is None or self._process_now is None:
            return
        tally = self.tally
        add(tally.total, counts)
        add(tally.by_phase.setdefault(row.phase, Counts()), counts)
        add(self._process_now.counts, counts)
        module, t_ns = _module(tally, row.module), self._begun_ns
        add(module.own, counts)
        _begin(module, t_ns)
        if row.stack:
            key = id(row.stack[-1])
            inside = self._inside.get(key)
            if inside is None:
                if len(self._inside) >= MAX_INSIDE:
                    self._first = None
                    self.close()
                inside = self._inside[key] = _Inside(row.stack)
            inside.add(counts, t_ns)
        else:
            add(module.cumulative, counts)
        self._first, self._process_now, self._stretch, self._begun_ns = None, None, Counts(), None

    def _process(self, row: Attributed) -> ProcessTally:
        info = row.process
        key = info.key
        process = self.tally.by_process.get(key)
        if process is None:
            process = self.tally.by_process[key] = ProcessTally(info.pid, info.parent, info.label, info.kind)
        process.kind = info.kind
        return process


@dataclass(slots=True)
class _Inside:
    """What was called in an import, and in those inside it that were added to it already."""

    stack: tuple[Frame, ...]
    """The import, after those that it is in; it is known by its identity, so that it is held here."""
    counts: Counts = field(default_factory=Counts)
    first_ns: int | None = None

    def add(self, counts: Counts, first_ns: int | None) -> None:
        """Add calls, and when the first of them began."""
        add(self.counts, counts)
        if first_ns is not None and (self.first_ns is None or first_ns < self.first_ns):
            self.first_ns = first_ns


def _module(tally: Tally, name: str) -> ModuleTally:
    module = tally.by_module.get(name)
    if module is None:
        module = tally.by_module[name] = ModuleTally()
    return module


def _begin(module: ModuleTally, t_ns: int | None) -> None:
    if t_ns is not None and (module.first_ns is None or t_ns < module.first_ns):
        module.first_ns = t_ns


def fold(rows: Iterable[Attributed], why_not_found: Callable[[Attributed], str], *, into: Tally | None = None) -> Tally:
    """Fold a stream of attributed calls into a tally: a new one, or `into`."""
    tally = Tally() if into is None else into
    folder = Folder(tally, why_not_found)
    folder.fold_all(rows)
    folder.close()
    return tally


def check_sums(tally: Tally) -> list[str]:
    """Say which groupings do not sum to the totals; an empty list when all do."""
    wrong = []
    groupings = {
        "phase": tally.by_phase.values(),
        "module": [module.own for module in tally.by_module.values()],
        "process": [process.counts for process in tally.by_process.values()],
        "path": [path.counts for path in tally.by_path.values()],
    }
    for name, rows in groupings.items():
        total = Counts()
        for row in rows:
            add(total, row)
        for field_name in Counts.__slots__:
            found, expected = getattr(total, field_name), getattr(tally.total, field_name)
            if field_name != "n_other" and found != expected:
                wrong.append(f"by {name}: {field_name} {found} != {expected}")
    if sum(tally.not_found.values()) != tally.total.n_not_found:
        wrong.append(f"not found: {sum(tally.not_found.values())} != {tally.total.n_not_found}")
    top = tally.by_module.get(NO_IMPORT)
    if top is not None and top.own != top.cumulative:
        wrong.append("calls outside any import have no nested ones")
    return wrong
