"""A job: the recordings of its ranks go in, one profile comes out. Reading them is mapped over an executor.

    files = gather([directory])         # headers only: who is who, and what can't be read
    profile = merge(files, executor)    # a stream: in memory are one chunk a worker, and the sum

Chunks are cut by node and rank and added in that order, so the result does not depend on who did the work.
"""

from __future__ import annotations

import gc
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsprobe import pipeline, recording
from fsprobe.analysis import merge as merging
from fsprobe.analysis.attribute import Notes
from fsprobe.analysis.merge import NodeRequests
from fsprobe.analysis.missing import WhyMissing
from fsprobe.analysis.places import Owners
from fsprobe.analysis.profile import make_profile
from fsprobe.analysis.ranks import RankFile, bounded, natural, rank_row, section, sum_of
from fsprobe.analysis.requests import RequestModel
from fsprobe.analysis.requests_counts import CAVEAT, RequestCounts
from fsprobe.analysis.tally import Tally, fold
from fsprobe.capture import naming, ranks
from fsprobe.errors import EXIT_USAGE, BadInput, FsprobeError
from fsprobe.model import JsonObject, Mount, ParseQuality, text
from fsprobe.parse.marks import HookFiles

CHUNK = 16
"""Recordings that one task reads: enough to make its way to a worker worth it, few enough to spread."""
WINDOW = 2
"""Tasks per worker that are under way at once; what has been read waits in memory until its turn."""
GC_THRESHOLD = 200_000
"""Tables of counts hold no cycles: looking for some after every 700 new objects takes a sixth of the time."""
REQUESTS = (
    "A node asks for names, listings and links once for all its ranks, and for every open of every process. " + CAVEAT
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What was found: recordings in the order in which they are added, and what is none."""

    ranks: Sequence[RankFile]
    unreadable: Sequence[tuple[str, str]]
    """(file, why)"""
    n_foreign: int
    """Other files in the directories: neither named nor made as recordings are."""


@dataclass(slots=True)
class Part:
    """The sum of some recordings of one node."""

    tally: Tally = field(default_factory=Tally)
    notes: Notes = field(default_factory=Notes)
    quality: ParseQuality = field(default_factory=ParseQuality)
    requests: NodeRequests = field(default_factory=NodeRequests)
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
        """Add another part, but for its requests: those are joined by node."""
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


# ---- which files --------------------------------------------------------------------------------------------------


def gather(places: Sequence[str], job: str = "") -> Files:
    """Read the headers and manifests of recordings.

    Args:
        places: files, and directories whose files are looked at (not what lies deeper).
        job: take only the recordings of this batch job (`123` or `123.0`).

    Raises:
        BadInput: nothing that can be read.
        FsprobeError: recordings of several jobs, and `job` does not say which.
    """
    found: list[RankFile] = []
    unreadable: list[tuple[str, str]] = []
    n_foreign = 0
    for place in places:
        inside = os.path.isdir(place)
        for path in sorted(_listed(place)) if inside else [place]:
            if inside and not path.endswith(".fsprobe") and not _begins_as_ours(path):
                n_foreign += 1
                continue
            try:
                found.append(_rank_file(path))
            except FsprobeError as error:
                unreadable.append((path, error.message))
    if job:
        found = [file for file in found if file.job == job or file.job.partition(".")[0] == job]
    if not found:
        reason = f" ({unreadable[0][1]})" if unreadable else ""
        raise BadInput(
            f"no recording that can be read in {', '.join(places)}{reason}",
            "ranks write theirs with `fsprobe run -o DIR/ -- ...`",
        )
    jobs = sorted({file.job for file in found})
    if len(jobs) > 1:
        shown = ", ".join(repr(name or "(none)") for name in jobs[:8])
        raise FsprobeError(f"recordings of {len(jobs)} jobs: {shown}", "choose one with --job", EXIT_USAGE)
    found.sort(key=lambda file: (natural(file.node), file.rank if file.rank is not None else -1, file.path))
    return Files(ranks=found, unreadable=unreadable, n_foreign=n_foreign)


def _listed(directory: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(directory) if entry.is_file()]
    except OSError as error:
        raise BadInput(f"cannot read {directory}: {error.strerror}", "check the name and its permissions") from None


def _begins_as_ours(path: str) -> bool:
    try:
        with open(path, "rb") as source:
            return source.read(len(recording.MAGIC)) == recording.MAGIC
    except OSError:
        return False


def _rank_file(path: str) -> RankFile:
    opened = recording.Recording(path)
    if opened.kind != "recording":
        raise BadInput(f"{path} is a {opened.kind}, no recording")
    manifest = opened.manifest
    variables = manifest.get("job")
    job = {str(name): str(value) for name, value in variables.items()} if isinstance(variables, dict) else {}
    rank = ranks.identify(job)
    number = job.get("SLURM_JOB_ID") or job.get("PBS_JOBID") or job.get("LSB_JOBID") or ""
    step = job.get("SLURM_STEP_ID", "")
    return RankFile(
        path=path,
        name=f"rank {rank.number}" if rank is not None else Path(path).name,
        rank=rank.number if rank is not None else None,
        local_rank=rank.local_rank if rank is not None else None,
        node=naming.node_name(job, str(manifest.get("host") or "(not known)")),
        job=f"{number}.{step}" if number and step else number,
        size=rank.size if rank is not None else None,
        local_size=rank.local_size if rank is not None else None,
        n_nodes=rank.n_nodes if rank is not None else None,
        selection=str(manifest.get("ranks") or ""),
    )


# ---- one chunk: runs in a worker ----------------------------------------------------------------------------------


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
    return part


def _read_into(part: Part, file: RankFile) -> None:
    opened = recording.Recording(file.path)
    hooks = pipeline.read_hooks(opened)
    mounts = pipeline.read_mounts(opened, hooks)
    lookups = pipeline.read_json(opened, "lookups")
    tally, notes, quality, model = _fold(opened, hooks, mounts, lookups)
    start_ns = quality.wall_start_ns
    if start_ns is None and tally.first_ns is not None:
        # the log tells only how long after each other things were; the recorder noted when it began
        began_ns = int(float(opened.manifest.get("started_s") or 0) * 1e9)
        start_ns = began_ns - tally.first_ns if tally.first_ns < 10**17 else 0
    part.rows.append(rank_row(file, opened.manifest, tally, quality, start_ns or 0))
    merging.add_tally(part.tally, tally, prefix=f"{file.name}: ", shift_ns=start_ns or 0)
    merging.add_notes(part.notes, notes)
    merging.add_quality(part.quality, quality)
    part.n_marks_unread += hooks.n_unread
    entries = (str(entry) for fact in hooks.facts.values() for entry in fact.get("path") or ())
    part.add_places(mounts, entries, lookups.get("distributions", {}), [pipeline.cwd_of(opened)])
    if model is None:
        part.n_without_requests += 1
        return
    requests = model.count()
    part.requests.join(requests.per_path, requests.mount_of)
    part.requests.n_unplaced += requests.n_unplaced


def _fold(
    opened: recording.Recording, hooks: HookFiles, mounts: Sequence[Mount], lookups: Mapping[str, Any]
) -> tuple[Tally, Notes, ParseQuality, RequestModel | None]:
    if pipeline.is_streamed(opened):
        # of a run that kept no log: its tally is what there is
        return (*pipeline.tally_recording(opened)[:3], None)
    quality, notes = ParseQuality(), Notes()
    model = RequestModel(mounts, lookups, pipeline.cwd_of(opened))
    events = pipeline.read_events(opened, quality, hooks, watch=model.watch)
    rows = pipeline.taken_in(pipeline.attributed(opened, events, notes), model)
    return fold(rows, WhyMissing(hooks.facts.values())), notes, quality, model


# ---- all of them --------------------------------------------------------------------------------------------------


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


def merge(files: Files, executor: Executor | None = None, n_workers: int = 1) -> JsonObject:
    """Merge the recordings of a job: its profile, of kind "job", with a section "job".

    Args:
        files: as `gather` gave them.
        executor: where chunks are read; here and now without one.
        n_workers: how many the executor has.

    Raises:
        BadInput: not one of them could be read.
    """
    total = Part()
    nodes: dict[str, RequestCounts] = {}
    by_mount: dict[str, RequestCounts] = {}
    by_path: dict[bytes, RequestCounts] = {}
    current, asked = "", NodeRequests()
    n_unplaced = 0
    for node, part in read_all(files.ranks, executor, n_workers):
        if node != current:
            _close_node(current, asked, nodes, by_mount, by_path)
            current, asked = node, NodeRequests()
        asked.join(part.requests.per_path, part.requests.mount_of)
        n_unplaced += part.requests.n_unplaced
        total.add(part)
    _close_node(current, asked, nodes, by_mount, by_path)
    if not total.rows:
        raise BadInput(
            f"none of {len(files.ranks)} recordings can be read ({total.failed[0][1]})", "see `fsprobe salvage --help`"
        )
    return _profile(files, total, nodes, by_mount, by_path, n_unplaced)


def _close_node(
    node: str,
    asked: NodeRequests,
    nodes: dict[str, RequestCounts],
    by_mount: dict[str, RequestCounts],
    by_path: dict[bytes, RequestCounts],
) -> None:
    if not node:
        return
    nodes[node] = asked.total()
    for path, row in asked.per_path.items():
        mount = asked.mount_of[path]
        key = text(mount.path) if mount is not None else "(not known)"
        by_mount.setdefault(key, RequestCounts()).add(row)
        by_path.setdefault(path, RequestCounts()).add(row)


def _profile(
    files: Files,
    total: Part,
    nodes: Mapping[str, RequestCounts],
    by_mount: Mapping[str, RequestCounts],
    by_path: Mapping[bytes, RequestCounts],
    n_unplaced: int,
) -> JsonObject:
    tally = total.tally
    table = pipeline.mount_finder(total.mounts.values(), tally)
    owners = Owners([{"path": list(total.path_entries)}], total.distributions, next(iter(total.cwds), None))
    by_package: dict[str, RequestCounts] = {}
    for path, row in by_path.items():
        by_package.setdefault(owners.of(path), RequestCounts()).add(row)
    manifest = _manifest(files, total)
    walls = [row["wall_s"] for row in total.rows if row["wall_s"] is not None]
    profile = make_profile(
        kind="job",
        # the calls' share of the time: of all ranks' time together
        manifest={**manifest, "wall_s": sum(walls) if walls else None},
        tally=tally,
        notes=total.notes,
        quality=total.quality,
        mounts=table,
        owners=owners,
        requests={
            "by_mount": {key: row.as_json() for key, row in _most_first(by_mount)},
            "by_package": {key: row.as_json() for key, row in _most_first(by_package)},
            "by_module": {},
            "n_unplaced": n_unplaced,
            "caveat": REQUESTS,
        }
        if total.n_without_requests < len(total.rows)
        else None,
        n_marks_unread=total.n_marks_unread,
    )
    profile["manifest"] = manifest
    profile["metrics"]["by_process"] = bounded(profile["metrics"]["by_process"])
    profile["job"] = section(
        files.ranks,
        total.rows,
        nodes,
        tally.total,
        unreadable=[*files.unreadable, *total.failed],
        n_without_requests=total.n_without_requests,
    )
    profile["job"].update(n_foreign=files.n_foreign, n_mounts_differ=total.n_mounts_differ)
    return profile


def _most_first(table: Mapping[str, RequestCounts]) -> list[tuple[str, RequestCounts]]:
    return sorted(table.items(), key=lambda item: (-item[1].metadata, item[0]))


def _manifest(files: Files, total: Part) -> JsonObject:
    """What the ranks' manifests have in common."""
    first = recording.Recording(next(file.path for file in files.ranks if file.name == total.rows[0]["key"])).manifest
    starts = [row["started_s"] for row in total.rows if row["started_s"] is not None]
    ends = [
        row["started_s"] + row["wall_s"]
        for row in total.rows
        if row["started_s"] is not None and row["wall_s"] is not None
    ]
    manifest = {
        name: first.get(name)
        for name in (
            "command",
            "label",
            "backend",
            "backend_version",
            "markers",
            "cwd",
            "layout",
            "cache",
            "fsprobe_version",
        )
    }
    codes = {row["exit_code"] for row in total.rows}
    manifest.update(
        job_id=files.ranks[0].job or None,
        job_name=(first.get("job") or {}).get("SLURM_JOB_NAME"),
        exit_code=codes.pop() if len(codes) == 1 else max((code for code in codes if code is not None), default=None),
        started_s=min(starts, default=None),
        wall_s=round(max(ends) - min(starts), 6) if ends else None,
        user_s=sum_of(total.rows, "user_s"),
        sys_s=sum_of(total.rows, "sys_s"),
        majflt=None,
        read_bytes=sum_of(total.rows, "read_bytes"),
        python=None,
        environment=first.get("environment"),
        observes=list(pipeline.OBSERVES.get(str(first.get("backend")), ())),
        mounts=[
            {"path": text(mount.path), "fstype": mount.fstype, "fs_class": mount.fs_class}
            for mount in total.mounts.values()
            if mount.fs_class != "pseudo"
        ],
    )
    return manifest


def write(path: str, profile: JsonObject) -> None:
    """Write a job's file: the profile itself, so that what comes later needs no recording of a rank.

    Raises:
        FsprobeError: it can't be written.
    """
    recording.write(path, "job", [("manifest", json.dumps(profile, indent=1).encode("ascii"))])
