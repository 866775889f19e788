"""What the stream of events says about time: how long somebody was in a metadata call, and what each import used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from operator import attrgetter

from fsprobe.analysis.counting.latency import BINS, bin_of
from fsprobe.analysis.time.spans import Span, covered_by
from fsprobe.events.cpu_times import CpuTimes
from fsprobe.events.ring import Reads, RingFacts, Usage
from fsprobe.model.events import Call, Event, Mark, Op, Process

NO_FILES = (b"/proc/", b"/sys/", b"/dev/")
"""What is read there waits for no filesystem: terminals, pipes by name, the kernel."""
FAST_CALL_NS = 100_000
"""A call that takes no longer than this above the cheapest may have computed all the time, or been held up by its tracer: a
judgement. Disks and servers take longer."""
SLOW_CALL_NS = 150_000
"""The same of a single call, before it is known what the cheapest took."""
FAST_READ_NS = FAST_CALL_NS
FAST_BYTE_NS = 1.0
READ_NS = 1_000
"""A read that takes less than the first two, per call and per byte, may have copied all the time: then it is CPU. The third is
what one costs that finds its bytes in memory. Judgements."""


@dataclass(slots=True)
class Used:
    """What an import used: its own, or with the imports inside it."""

    wall_ns: int = 0
    cpu_ns: int = 0
    n_major_faults: int = 0
    n_calls: int = 0
    calls_ns: int = 0
    """In metadata calls, the call's own work and the tracing included."""
    n_slow: int = 0
    slow_ns: int = 0
    """Of these: in calls that took more than `SLOW_CALL_NS`."""
    n_reads: int = 0
    reads_ns: int = 0

    def add_since(self, before: Moment, after: Used) -> None:
        """Add what was used between two moments; `before` is that of `moment`."""
        # written out: this is done for each import
        wall_ns, cpu_ns, n_major_faults, n_calls, calls_ns, n_slow, slow_ns, n_reads, reads_ns = before
        self.wall_ns += after.wall_ns - wall_ns
        self.cpu_ns += after.cpu_ns - cpu_ns
        self.n_major_faults += after.n_major_faults - n_major_faults
        self.n_calls += after.n_calls - n_calls
        self.calls_ns += after.calls_ns - calls_ns
        self.n_slow += after.n_slow - n_slow
        self.slow_ns += after.slow_ns - slow_ns
        self.n_reads += after.n_reads - n_reads
        self.reads_ns += after.reads_ns - reads_ns

    def add(self, other: Used) -> None:
        """Add what another used."""
        # most of what lies between two marks holds no read and no slow call
        self.wall_ns += other.wall_ns
        self.cpu_ns += other.cpu_ns
        self.n_major_faults += other.n_major_faults
        if other.n_calls:
            self.n_calls += other.n_calls
            self.calls_ns += other.calls_ns
        if other.n_slow:
            self.n_slow += other.n_slow
            self.slow_ns += other.slow_ns
        if other.n_reads or other.reads_ns:
            self.n_reads += other.n_reads
            self.reads_ns += other.reads_ns


Moment = tuple[int, int, int, int, int, int, int, int, int]
moment: Callable[[Used], Moment] = attrgetter(*(one.name for one in fields(Used)))
"""What was used so far, as it stands now."""


@dataclass(slots=True)
class FileReads:
    """What was read of a file, and mapped."""

    n: int = 0
    n_bytes: int = 0
    time_ns: int = 0
    mapped_bytes: int = 0

    @property
    def wait_ns(self) -> int:
        """Without what a read costs that finds its bytes in memory."""
        return max(0, self.time_ns - READ_NS * self.n)

    @property
    def fast_ns(self) -> int:
        """Of the wait: what may have been copying."""
        return min(self.wait_ns, int(self.n * FAST_READ_NS + self.n_bytes * FAST_BYTE_NS))


_MOST_SPANS = 65_536


@dataclass(slots=True)
class Observed:
    """Filled by `watch_time` while the events pass."""

    calls_ns: int = 0
    """Sum of what metadata calls took."""
    covered_ns: int = 0
    """Time in which somebody was in a metadata call: less than their sum where several were at once."""
    between: dict[int, int] = field(default_factory=dict)
    """From the end of a thread's call to its next one, under a tracer: latency bin -> how often."""
    begun_ns: int | None = None
    """When the command was started, on the calls' own axis; None where the first event is not that it is."""
    has_reads: bool = False
    """Whether reads were observed at all."""
    reads: dict[bytes, FileReads] = field(default_factory=dict)
    """By where the open led to."""
    spans: list[Span] = field(default_factory=list)
    """When files were read that were waited for: the latest of them."""
    in_reads_ns: int = 0
    """Of those before: what their reads took together, and in how much of the time."""
    reads_covered_ns: float = 0.0
    own: dict[str, Used] = field(default_factory=dict)
    """Import -> what it used itself."""
    cumulative: dict[str, Used] = field(default_factory=dict)
    """Import -> what it used with the imports inside it; an import inside itself counts once."""
    has_usage: bool = True
    """Whether of each mark it is known what CPU time its thread had used."""
    has_faults: bool = True
    """... and how many major page faults it had had."""

    @property
    def n_at_once(self) -> float:
        """How many were in a metadata call where anybody was, on the average."""
        return max(1.0, self.calls_ns / self.covered_ns) if self.covered_ns else 1.0

    @property
    def n_reads_at_once(self) -> float:
        """How many waited in a read where anybody did, on the average."""
        self._fold_spans()
        return max(1.0, self.in_reads_ns / self.reads_covered_ns) if self.reads_covered_ns else 1.0

    def add_span(self, tid: int, opened_ns: int, first_ns: int, last_ns: int, time_ns: int) -> None:
        """A file was read between two moments; where these are not known (0), right after its open."""
        if time_ns <= FAST_READ_NS:
            return
        known = Span(tid, first_ns, last_ns, time_ns) if last_ns else Span(tid, opened_ns, opened_ns + time_ns, time_ns)
        self.add_spans((known,))

    def add_spans(self, spans: Iterable[Span]) -> None:
        """Files were read in so many spans, each with more than `FAST_READ_NS` in reads."""
        source = iter(spans)
        while True:
            self.spans += islice(source, _MOST_SPANS - len(self.spans))
            if len(self.spans) < _MOST_SPANS:
                return
            self._fold_spans()

    def _fold_spans(self) -> None:
        self.in_reads_ns += sum(span.time_ns for span in self.spans)
        self.reads_covered_ns += covered_by(self.spans)
        self.spans.clear()


@dataclass(slots=True)
class _Import:
    """An import under way in a thread."""

    name: str
    before: Moment | None
    """What the thread had used when it began; None for one inside itself, which counts with the outer one."""


@dataclass(slots=True)
class _Thread:
    """One thread: which imports it is in, and what it had used at its last mark."""

    stack: list[_Import] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Of the imports in `stack`."""
    since_ns: int | None = None
    usage: Usage | None = None
    pending: Used = field(default_factory=Used)
    """Its calls and reads since its last mark."""
    ended_ns: int | None = None
    """When its last call ended."""
    total: Used = field(default_factory=Used)
    """What it used in imports up to its last mark: an import used the difference between its end and its begin."""


def watch_time(
    events: Iterable[Event], seen: Observed, facts: RingFacts | None = None, cpu: CpuTimes | None = None
) -> Iterator[Event]:
    """Pass a stream of events on, and note what passes.

    Args:
        events: with the marks in their places.
        seen: filled while the result is consumed.
        facts: what a ring says beyond its events, filled by whoever makes the events; None where there is no ring.
        cpu: CPU times of threads, where a tracer noted them.
    """
    threads: dict[int, _Thread] = {}
    names: dict[bytes, str] = {}
    seen.has_reads = facts is not None
    seen.has_usage = facts is not None or cpu is not None
    seen.has_faults = facts is not None
    reads = facts.reads if facts is not None else []
    n_reads = n_usages = 0
    calls_ns = covered_ns = covered_until = 0
    other, between, bins = Op.OTHER, seen.between, BINS
    thread: _Thread | None
    is_first = True
    try:
        for event in events:
            if type(event) is Call:
                # written out: this is done for each call of a run
                tid, t_ns, _, op, _, _, dur_ns, _, _ = event
                if is_first:
                    is_first = False
                    seen.begun_ns = t_ns if op is Op.EXEC else None
                if dur_ns is not None and t_ns is not None and op is not other:
                    calls_ns += dur_ns
                    end_ns = t_ns + dur_ns
                    if end_ns > covered_until:
                        covered_ns += dur_ns if t_ns >= covered_until else end_ns - covered_until
                        covered_until = end_ns
                    thread = threads.get(tid)
                    if thread is None:
                        thread = threads[tid] = _Thread()
                    if facts is None:
                        ended_ns = thread.ended_ns
                        if ended_ns is not None:
                            gap_us = (t_ns - ended_ns) // 1000
                            number = bins.get(gap_us)
                            if number is None:
                                number = bin_of(gap_us)
                            between[number] = between.get(number, 0) + 1
                        thread.ended_ns = end_ns
                    pending = thread.pending
                    pending.n_calls += 1
                    pending.calls_ns += dur_ns
                    if dur_ns > SLOW_CALL_NS:
                        pending.n_slow += 1
                        pending.slow_ns += dur_ns
                while reads and n_reads < len(reads):
                    _read(reads[n_reads], seen, threads)
                    n_reads += 1
            elif type(event) is Mark:
                usage = None
                if facts is not None and n_usages < len(facts.usages):
                    usage = facts.usages[-1]
                    n_usages = len(facts.usages)
                elif cpu is not None and event.t_ns is not None:
                    used_ns = cpu.at(event.tid, event.t_ns)
                    usage = None if used_ns is None else Usage(event.tid, event.t_ns, used_ns, 0, 0, 0)
                _mark(event, usage, _thread(threads, event.tid), seen, names)
            elif type(event) is Process and event.kind != "fork" and event.kind != "thread":
                for gone in (threads.pop(event.child or event.tid, None), threads.pop(event.tid, None)):
                    if gone is not None:
                        _end(gone, 0, seen)
            yield event
    finally:
        seen.calls_ns, seen.covered_ns = calls_ns, covered_ns
        for thread in threads.values():
            _end(thread, 0, seen)


def _thread(threads: dict[int, _Thread], tid: int) -> _Thread:
    thread = threads.get(tid)
    if thread is None:
        thread = threads[tid] = _Thread()
    return thread


def _read(reads: Reads, seen: Observed, threads: dict[int, _Thread]) -> None:
    """Reads of a file, at its open: that is whose file it is."""
    if reads.path[:1] != b"/" or reads.path.startswith(NO_FILES):
        return
    of_file = seen.reads.get(reads.path)
    if of_file is None:
        of_file = seen.reads[reads.path] = FileReads()
    of_file.n += reads.n_reads
    of_file.n_bytes += reads.n_bytes
    of_file.time_ns += reads.time_ns
    of_file.mapped_bytes += reads.map_bytes
    seen.add_span(reads.tid, reads.t_ns, reads.first_ns, reads.last_ns, reads.time_ns)
    pending = _thread(threads, reads.tid).pending
    pending.n_reads += reads.n_reads
    pending.reads_ns += reads.time_ns


def _mark(mark: Mark, usage: Usage | None, thread: _Thread, seen: Observed, names: dict[bytes, str]) -> None:
    """Give what a thread has used since its last mark to the import that it was in."""
    t_ns = mark.t_ns
    if t_ns is None:
        seen.has_usage = False
        return
    stack, used = thread.stack, thread.pending
    if stack and thread.since_ns is not None:
        used.wall_ns = max(0, t_ns - thread.since_ns)
        if usage is not None and thread.usage is not None:
            used.cpu_ns = max(0, usage.cpu_ns - thread.usage.cpu_ns)
            used.n_major_faults = max(0, usage.n_major_faults - thread.usage.n_major_faults)
        else:
            seen.has_usage = False
        name = stack[-1].name
        own = seen.own.get(name)
        if own is None:
            own = seen.own[name] = Used()
        own.add(used)
        if name not in seen.cumulative:
            seen.cumulative[name] = Used()
        thread.total.add(used)
    if used.n_calls or used.n_reads or used.reads_ns:
        thread.pending = Used()
    else:
        used.wall_ns = used.cpu_ns = used.n_major_faults = 0
    thread.since_ns, thread.usage = t_ns, usage
    if mark.kind not in ("begin", "end"):
        return
    known = names.get(mark.name)
    name = mark.name.decode("utf-8", "backslashreplace") if known is None else known
    names[mark.name] = name
    if mark.kind == "begin":
        stack.append(_Import(name, None if name in thread.names else moment(thread.total)))
        thread.names.append(name)
    else:
        for depth in range(len(stack) - 1, -1, -1):
            if stack[depth].name == name:
                _end(thread, depth, seen)
                break


def _end(thread: _Thread, depth: int, seen: Observed) -> None:
    """The imports from `depth` on have ended, or their thread has: they used what it has used since they began."""
    for one in thread.stack[depth:]:
        if one.before is not None and one.name in seen.cumulative:
            seen.cumulative[one.name].add_since(one.before, thread.total)
    del thread.stack[depth:], thread.names[depth:]
