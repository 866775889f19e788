"""Some recordings of one node, read and added up. `read_chunk` runs in a worker, wherever the executor has one."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from fsprobe import pipeline
from fsprobe.analysis import merge as merging
from fsprobe.analysis.attribute import Notes
from fsprobe.analysis.clock import NodeClock
from fsprobe.analysis.merge import NodeRequests
from fsprobe.analysis.ranks import RankFile, rank_row
from fsprobe.analysis.tally import Tally
from fsprobe.errors import FsprobeError
from fsprobe.job.reading import read_rank
from fsprobe.model import JsonObject, Mount, ParseQuality

CHUNK = 16
"""Recordings that one task reads: enough to make its way to a worker worth it, few enough to spread."""
WINDOW = 2
"""Tasks per worker that are under way at once; what has been read waits in memory until its turn."""
GC_THRESHOLD = 200_000
"""Tables of counts hold no cycles: looking for some after every 700 new objects takes a sixth of the time."""


@dataclass(slots=True)
class Part:
    """The sum of some recordings of one node."""

    tally: Tally = field(default_factory=Tally)
    notes: Notes = field(default_factory=Notes)
    quality: ParseQuality = field(default_factory=ParseQuality)
    requests: NodeRequests = field(default_factory=NodeRequests)
    clock: NodeClock = field(default_factory=NodeClock)
    rows: list[JsonObject] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    mounts: dict[bytes, Mount] = field(default_factory=dict)
    n_mounts_differ: int = 0
    path_entries: dict[str, None] = field(default_factory=dict)
    distributions: dict[str, dict[str, str]] = field(default_factory=dict)
    cwds: dict[bytes | None, None] = field(default_factory=dict)
    n_marks_unread: int = 0
    n_without_requests: int = 0

    def add(self, other: Part) -> None:
        """Add another part, but for its requests and its clock: those are joined by node."""
        merging.add_tally(self.tally, other.tally)
        merging.add_notes(self.notes, other.notes)
        merging.add_quality(self.quality, other.quality)
        self.rows.extend(other.rows)
        self.failed.extend(other.failed)
        self.add_places(other.mounts.values(), other.path_entries, other.distributions, other.cwds)
        self.n_mounts_differ += other.n_mounts_differ
        self.n_marks_unread += other.n_marks_unread
        self.n_without_requests += other.n_without_requests

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


def read_chunk(files: Sequence[RankFile]) -> Part:
    """Read recordings of one node and add them up; a damaged one is named in `failed` and adds nothing."""
    part = Part()
    thresholds = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, *thresholds[1:])
    try:
        for file in files:
            try:
                _read_into(part, file)
            except FsprobeError as error:
                part.failed.append((file.path, error.message))
    finally:
        gc.set_threshold(*thresholds)
    part.clock.join(part.tally)
    return part


def _read_into(part: Part, file: RankFile) -> None:
    read = read_rank(file.path)
    tally, manifest = read.tally, read.recording.manifest
    start_ns = read.quality.wall_start_ns
    if start_ns is None and tally.first_ns is not None:
        # the log tells only how long after each other things were; the recorder noted when it began
        began_ns = int(float(manifest.get("started_s") or 0) * 1e9)
        start_ns = began_ns - tally.first_ns if tally.first_ns < 10**17 else 0
    part.rows.append(rank_row(file, manifest, tally, read.quality, start_ns or 0))
    merging.add_tally(part.tally, tally, prefix=f"{file.name}: ", shift_ns=start_ns or 0)
    merging.add_notes(part.notes, read.notes)
    merging.add_quality(part.quality, read.quality)
    part.n_marks_unread += read.hooks.n_unread
    entries = (str(entry) for fact in read.hooks.facts.values() for entry in fact.get("path") or ())
    cwd = pipeline.cwd_of(read.recording)
    part.add_places(read.mounts, entries, read.lookups.get("distributions", {}), [cwd])
    if read.model is None:
        part.n_without_requests += 1
        return
    requests = read.model.count()
    part.requests.join(requests.per_path, requests.mount_of)
    part.requests.n_unplaced += requests.n_unplaced


def chunks(files: Sequence[RankFile]) -> Iterator[list[RankFile]]:
    """Cut files that are sorted by node into tasks, none of which spans two nodes."""
    chunk: list[RankFile] = []
    for file in files:
        if chunk and (len(chunk) >= CHUNK or chunk[-1].node != file.node):
            yield chunk
            chunk = []
        chunk.append(file)
    if chunk:
        yield chunk


def read_all(files: Sequence[RankFile], executor: Executor | None, n_workers: int) -> Iterator[tuple[str, Part]]:
    """Read the chunks wherever the executor does, and give them in their order, each with its node."""
    tasks = chunks(files)
    if executor is None:
        for chunk in tasks:
            yield chunk[0].node, read_chunk(chunk)
        return
    under_way: deque[tuple[str, Future[Part]]] = deque()
    for chunk in tasks:
        under_way.append((chunk[0].node, executor.submit(read_chunk, chunk)))
        if len(under_way) >= WINDOW * max(1, n_workers):
            node, future = under_way.popleft()
            yield node, future.result()
    while under_way:
        node, future = under_way.popleft()
        yield node, future.result()
