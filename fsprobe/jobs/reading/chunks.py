"""Some recordings, read and added up. `read_chunk` runs in a worker, wherever the executor has one."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.garbage import NEVER, seldom_collected
from fsprobe.analysis.requests.alike import Alike
from fsprobe.analysis.time.sums import TimeSums
from fsprobe.errors import FsprobeError
from fsprobe.jobs import sums as merging
from fsprobe.jobs.clock import NodeClock
from fsprobe.jobs.executors import result
from fsprobe.jobs.node_counters import NodeCounters
from fsprobe.jobs.node_requests import JobRequests, NodeRequests
from fsprobe.jobs.rank_rows import RankFile, rank_row
from fsprobe.jobs.reading.processes import Processes
from fsprobe.jobs.reading.rank import read_rank
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.model.job import RankRow
from fsprobe.model.manifest import Manifest
from fsprobe.recording import distributions

if TYPE_CHECKING:  # numpy need not be there
    from fsprobe.analysis.columns.retimed import Retimed, RunColumns, SumOfRuns
    from fsprobe.jobs.reading.same_calls import SameCalls

CHUNK = 16
"""Recordings that one task reads: enough to make the way of what it found worth it, few enough to spread."""
LARGE_CHUNK, MANY = 64, 512
"""The same of a job from so many recordings on."""
FEWEST_SAME = 8
"""With fewer recordings it is not worth it to look which of them made the same calls: numpy alone takes 0.1 s to load."""
WINDOW = 2
"""Tasks per worker that are under way at once; what has been read waits in memory until its turn."""


@dataclass(slots=True)
class Part:
    """The sum of some recordings: of whole nodes, or of some ranks of one node."""

    tally: Tally = field(default_factory=Tally)
    notes: Notes = field(default_factory=Notes)
    quality: ParseQuality = field(default_factory=ParseQuality)
    requests: JobRequests = field(default_factory=JobRequests)
    asked: dict[str, NodeRequests] = field(default_factory=dict)
    """By node, of nodes that have more ranks than those that were read."""
    clocks: dict[str, NodeClock] = field(default_factory=dict)
    counters: dict[str, NodeCounters] = field(default_factory=dict)
    """By node, what its ranks read of its clients' counters (`run --counters`)."""
    processes: Processes = field(default_factory=Processes)
    """Of them all; the tally has rows of the busiest."""
    rows: list[RankRow] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    first: Manifest | None = None
    """Of the first of them, with the capabilities that all have."""
    tracers: Counter[str] = field(default_factory=Counter)
    """Ranks that started each program that traces others."""
    mounts: dict[bytes, Mount] = field(default_factory=dict)
    n_mounts_differ: int = 0
    path_entries: dict[str, None] = field(default_factory=dict)
    distributions: dict[str, dict[str, str]] = field(default_factory=dict)
    undecided: dict[str, set[str]] = field(default_factory=dict)
    """Top-level names of a site directory of which a rank could not tell the distribution; another one may."""
    cwds: dict[bytes | None, None] = field(default_factory=dict)
    times: TimeSums = field(default_factory=TimeSums)
    marks_unread: Counter[str] = field(default_factory=Counter)
    n_without_requests: int = 0

    def add(self, other: Part) -> None:
        """Add another part, but for what its nodes have asked so far: that is joined by node."""
        merging.add_tally(self.tally, other.tally, keeps_bins=False)
        self.processes.add(other.processes)
        self.processes.shorten(self.tally.by_process)
        merging.add_notes(self.notes, other.notes)
        merging.add_quality(self.quality, other.quality)
        self.requests.add(other.requests)
        for node, clock in other.clocks.items():
            mine = self.clocks.setdefault(node, NodeClock())
            mine.add(clock)
            mine.pack()
        for node, counters in other.counters.items():
            self.counters.setdefault(node, NodeCounters()).add(counters)
        self.rows.extend(other.rows)
        self.failed.extend(other.failed)
        if other.first is not None:
            self.add_manifest(other.first)
        self.add_places(other.mounts.values(), other.path_entries, other.distributions, other.cwds)
        self.add_open_names(other.undecided)
        self.tracers.update(other.tracers)
        self.times.join(other.times)
        self.n_mounts_differ += other.n_mounts_differ
        self.marks_unread.update(other.marks_unread)
        self.n_without_requests += other.n_without_requests

    def add_open_names(self, names: Mapping[str, Iterable[str]]) -> None:
        """Let in names of which a rank could not tell the distribution."""
        for site, found in names.items():
            self.undecided.setdefault(site, set()).update(found)

    def open_names(self, site: str) -> list[str]:
        """Those names of a site directory of which no rank could tell it."""
        return [name for name in self.undecided[site] if name not in self.distributions.get(site, {})]

    def add_manifest(self, manifest: Manifest) -> None:
        """Let in a manifest: the first counts, but what one of them can't show the sum can't."""
        first = manifest if self.first is None else self.first
        shown = tuple(name for name in first.capabilities if name in manifest.capabilities)
        self.first = first if shown == first.capabilities else replace(first, capabilities=shown)

    def add_places(
        self,
        mounts: Iterable[Mount],
        entries: Iterable[str],
        distributions: Mapping[str, Mapping[str, str]],
        cwds: Iterable[bytes | None],
    ) -> None:
        """Let in what is known of where things lie; of two mounts at one place the first counts."""
        for mount in mounts:
            known = self.mounts.setdefault(mount.path, mount)
            self.n_mounts_differ += known.fstype != mount.fstype
        for entry in entries:
            self.path_entries.setdefault(entry)
        for site, owners in distributions.items():
            self.distributions.setdefault(site, {}).update(owners)
        for cwd in cwds:
            self.cwds.setdefault(cwd)


def read_chunk(files: Sequence[RankFile], *, is_whole: bool = False) -> Part:
    """Read recordings and add them up; a damaged one is named in `failed` and adds nothing.

    Args:
        files: sorted by node.
        is_whole: no rank of these nodes is left out, so that what they ask for can be added up.
    """
    part = Part()
    alike, known = Alike(), _known_of(len(files))
    sums: dict[Retimed, SumOfRuns | None] = {}
    with seldom_collected(NEVER):
        for file in files:
            try:
                _read_into(part, file, alike, known, sums)
            except FsprobeError as error:
                part.failed.append((file.path, error.message))
        for further in sums.values():
            if further is not None:
                merging.add_tally(part.tally, further.tables())
    if is_whole:
        for node, asked in part.asked.items():
            part.requests.close(node, asked)
        part.asked = {}
    for asked in part.asked.values():
        asked.settle()
    return part


def _known_of(n_files: int) -> Callable[[], SameCalls | None] | None:
    """Gives what this process knows of ranks that it has read; None for a few. Without numpy, as in fsprobe.pyz, it is nothing."""

    @cache
    def known() -> SameCalls | None:
        try:
            from fsprobe.jobs.reading.same_calls import KNOWN
        except ImportError:
            return None
        KNOWN.begin()
        return KNOWN

    return known if n_files >= FEWEST_SAME else None


def _read_into(
    part: Part,
    file: RankFile,
    alike: Alike,
    known: Callable[[], SameCalls | None] | None,
    sums: dict[Retimed, SumOfRuns | None],
) -> None:
    """Read a recording and add it; `sums` gets the paths and modules of those that made the same calls as one before."""
    read = read_rank(file.path, lookups_of=file.lookups_of, known=known)
    tally, manifest = read.tally, read.manifest
    start_ns = read.quality.wall_start_ns
    if start_ns is None and tally.first_ns is not None:
        # the log tells only how long after each other things were; the recorder noted when it began
        began_ns = int((manifest.started_s or 0) * 1e9)
        start_ns = began_ns - tally.first_ns if tally.first_ns < 10**17 else 0
    part.add_manifest(manifest)
    part.tracers.update(set(manifest.tracers))
    columns = read.columns
    n_paths = len((columns.of.known if columns is not None else tally).by_path) - tally.n_further_rows
    part.rows.append(rank_row(file, manifest, tally, read.quality, n_paths=n_paths, start_ns=start_ns or 0))
    merging.add_tally(part.tally, tally, of=file.name, shift_ns=start_ns or 0, keeps_bins=False)
    part.processes.count(tally)
    if columns is not None:
        _add_columns(part, columns, start_ns or 0, sums)
    part.clocks.setdefault(file.node, NodeClock()).join(tally, start_ns or 0)
    if manifest.counters:
        part.counters.setdefault(file.node, NodeCounters()).join(manifest.counters)
    merging.add_notes(part.notes, read.notes)
    merging.add_quality(part.quality, read.quality)
    if read.time is not None:
        part.times.add(read.time, file.name)
    part.marks_unread.update(read.hooks.unread)
    entries = (str(entry) for fact in read.hooks.facts.values() for entry in fact.get("path") or ())
    cwd = pipeline.cwd_of(read.recording)
    part.add_places(read.mounts, entries, read.lookups.get("distributions", {}), [cwd])
    part.add_open_names(distributions.open_names(dict(read.lookups)))
    asked = part.asked.setdefault(file.node, NodeRequests())
    if read.requests is not None:
        asked.join(read.requests, manifest.uid)
        return
    if read.model is None:
        part.n_without_requests += 1
        return
    kernel = str(read.recording.manifest.get("kernel") or "")
    own = (
        str(read.recording.manifest.get("scratch") or ""),
        os.fsdecode(pipeline.hook_dir_of(read.recording.manifest)),
    )
    requests = alike.count(read.model, read.mounts, read.lookups, own, cwd, kernel)
    read.model.forget()
    if read.same is not None:
        read.same.settle(requests, alike.holds(requests))
    asked.join(requests, manifest.uid)


def _add_columns(part: Part, columns: RunColumns, shift_ns: int, sums: dict[Retimed, SumOfRuns | None]) -> None:
    from fsprobe.analysis.columns.retimed import SumOfRuns  # numpy is there now

    pattern = columns.of
    if pattern not in sums:
        # the first one gives tables the order of their rows; of the others only numbers are added
        merging.add_tally(part.tally, columns.of.tables(columns), shift_ns=shift_ns)
        sums[pattern] = None
        return
    further = sums[pattern]
    if further is None:
        further = sums[pattern] = SumOfRuns(columns)
    further.add(columns, shift_ns)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one task reads."""

    files: Sequence[RankFile]
    is_whole: bool
    """All ranks of its nodes are in it."""


def chunks(files: Sequence[RankFile]) -> Iterator[Chunk]:
    """Cut files that are sorted by node into tasks: some whole nodes, or a part of one that is too large for that."""
    size = (
        LARGE_CHUNK if len(files) >= MANY else CHUNK
    )  # not by the workers: how floats are rounded depends on the grouping
    whole: list[RankFile] = []
    for _, group in groupby(files, lambda file: file.node):
        node = list(group)
        if whole and len(whole) + len(node) > size:
            yield Chunk(whole, is_whole=True)
            whole = []
        if len(node) <= size:
            whole.extend(node)
            continue
        for at in range(0, len(node), size):
            yield Chunk(node[at : at + size], is_whole=False)
    if whole:
        yield Chunk(whole, is_whole=True)


def read_all(files: Sequence[RankFile], executor: Executor | None, n_workers: int) -> Iterator[Part]:
    """Read the chunks wherever the executor does, and give them in their order."""
    tasks = chunks(files)
    if executor is None:
        for chunk in tasks:
            yield read_chunk(chunk.files, is_whole=chunk.is_whole)
        return
    under_way: deque[Future[Part]] = deque()
    for chunk in tasks:
        under_way.append(executor.submit(read_chunk, chunk.files, is_whole=chunk.is_whole))
        if len(under_way) >= WINDOW * max(1, n_workers):
            yield result(under_way.popleft())
    while under_way:
        yield result(under_way.popleft())
