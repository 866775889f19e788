"""One recording of a rank, read: what a sum of ranks takes of it, and what findings look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from fsprobe import pipeline
from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.attribution.ownership import Mounts
from fsprobe.analysis.counting.tally import Tally, fold
from fsprobe.analysis.findings.evidence import Watch, watch
from fsprobe.analysis.interpreters import told_by_paths
from fsprobe.analysis.manifest import check_manifest, complete_manifest
from fsprobe.analysis.requests.model import RequestModel
from fsprobe.analysis.requests.rows import Requests
from fsprobe.analysis.time.account import time_account
from fsprobe.analysis.time.observed import Observed
from fsprobe.capabilities import MARKED_BY_TIME, MARKED_IN_RING
from fsprobe.capture.directories import scratch
from fsprobe.errors import FsprobeError
from fsprobe.events.marks import HookFiles
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.model.formats import text
from fsprobe.model.manifest import Manifest
from fsprobe.model.rows import MountRow
from fsprobe.model.time.account import TimeAccount
from fsprobe.recording.file import Recording

MOST_RING_BYTES = 16 << 20
"""Of a ring that others are compared with: most starts are smaller, and several are kept."""
if TYPE_CHECKING:  # numpy need not be there
    from fsprobe.analysis.columns.retimed import RunColumns
    from fsprobe.jobs.reading.same_calls import SameCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One recording: counted, not yet judged."""

    recording: Recording
    manifest: Manifest
    hooks: HookFiles
    mounts: Sequence[Mount]
    lookups: Mapping[str, Any]
    tally: Tally
    columns: RunColumns | None
    """Of one that made the same calls as another one: its paths and modules, which the tally then does not hold."""
    notes: Notes
    quality: ParseQuality
    model: RequestModel | None
    """None for a run that kept no log: its requests are not predicted; and where `requests` are known."""
    requests: Requests | None
    """What it asks for, where that is known of another one that made the same calls."""
    same: SameCalls | None
    """What has learned of it."""
    time: TimeAccount | None
    """As a part of a sum."""
    seen: Watch | None
    """What rules need by process and phase; None where nobody asked for it."""


def read_rank(
    path: str,
    *,
    lookups_of: str = "",
    is_watched: bool = False,
    known: Callable[[], SameCalls | None] | None = None,
) -> Reading:
    """Parse, attribute and fold one recording, with the request model.

    Args:
        path: the recording.
        lookups_of: that of the first rank of its node, which has looked up for this one too what the trace leaves open.
        is_watched: keep what findings need besides the tally; it takes time for each call.
        known: gives what is known of ranks that were read before, which learns of this one. Not with `is_watched`.

    Raises:
        BadInput: not a recording, or a damaged one.
    """
    recording = Recording(path)
    check_manifest(recording)
    hooks = pipeline.read_hooks(recording)
    mounts = pipeline.read_mounts(recording, hooks)
    lookups = pipeline.read_lookups(recording)
    if lookups_of:
        lookups = _completed(lookups, lookups_of)
    facts = list(hooks.facts.values())
    model: RequestModel | None = None
    seen: Watch | None = None
    requests: Requests | None = None
    times = Observed()
    same = known() if known is not None and _is_comparable(recording, hooks) else None
    source = same.source(recording, hooks, mounts, lookups) if same is not None else None
    found = same.find(source) if same is not None and source is not None else None
    if pipeline.is_streamed(recording):
        # of a run that kept no log: its tally is what there is
        tally, notes, quality, seen = pipeline.read_tally(recording, facts)
    elif found is not None:
        tally, notes, quality, times, requests = found.tally, found.notes, found.quality, found.times, found.requests
    else:
        quality, notes = ParseQuality(), Notes()
        model = pipeline.make_model(recording, mounts, lookups, keeps_order=False)
        seen = Watch() if is_watched else None
        reason = WhyNotFound(facts)
        of_ring = same.fold(source, recording, quality, notes, reason, model, times) if same is not None else None
        if of_ring is None:
            of_ring = pipeline.fold_large_ring(recording, quality, notes, reason, model, times, seen)
        if of_ring is not None:
            tally = of_ring
        else:
            lesson = same.lesson(source) if same is not None else None
            events = pipeline.read_events(recording, quality, hooks, model, times)
            if lesson is not None:
                events = lesson.watch(events, lesson.events)
            rows = pipeline.attributed(recording, events, notes)
            if lesson is not None:
                rows = lesson.watch(rows, lesson.rows)
            tally = fold(pipeline.taken_in(watch(rows, seen) if seen is not None else rows, model), reason)
            if same is not None and lesson is not None:
                same.learn(lesson, tally, notes, quality, times)
    told = [] if facts else told_by_paths(tally, recording.manifest.get("environment") or {})
    manifest = complete_manifest(recording, hooks, mounts, told)
    places = [MountRow(key=text(mount.path), fs_class=mount.fs_class) for mount in mounts]
    account = time_account(
        manifest,
        tally,
        times,
        places,
        _mount_of(mounts, found.columns.of.known if found is not None else tally),
        wall_start_ns=quality.wall_start_ns,
        paths=found.columns if found is not None else None,
        is_part=True,
    )
    return Reading(
        recording=recording,
        manifest=manifest,
        hooks=hooks,
        mounts=mounts,
        lookups=lookups,
        tally=tally,
        columns=found.columns if found is not None else None,
        notes=notes,
        quality=quality,
        model=model,
        requests=requests,
        same=same,
        time=account,
        seen=seen,
    )


def _mount_of(mounts: Sequence[Mount], tally: Tally) -> Callable[[bytes], Mount | None]:
    """Finds a path's mount; set up when it is first asked."""

    @cache
    def finder() -> Mounts:
        return pipeline.mount_finder(mounts, tally)

    return lambda path: finder().of(path)


def _completed(lookups: dict[str, Any], path: str) -> dict[str, Any]:
    """A rank's own lookups, which are few, and those of the first rank of its node but for the way to that one's own hook."""
    try:
        found = _first_lookups(path, _version_of(path))
    except FsprobeError:
        return lookups  # which is damaged, and named where its turn comes
    return {**found, **lookups, "links": {**found.get("links", {}), **lookups.get("links", {})}}


@lru_cache(maxsize=2)
def _first_lookups(path: str, version: tuple[int, ...]) -> Mapping[str, Any]:
    """What the first rank of a node looked up for the others, which are read one after the other."""
    first = Recording(path)
    found = pipeline.read_lookups(first)
    to_hook = scratch.links_to_hook(os.fsdecode(pipeline.hook_dir_of(first.manifest)))
    return {**found, "links": {name: to for name, to in found.get("links", {}).items() if name not in to_hook}}


def _version_of(path: str) -> tuple[int, ...]:
    """Which file it is: a worker may live longer than a job's files."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _is_comparable(recording: Recording, hooks: HookFiles) -> bool:
    """Whether it may have made the same calls as others, as far as that can be told without looking: of one with marks."""
    manifest = recording.manifest
    if not hooks.facts or hooks.forks or manifest.get("attached"):
        return False
    if pipeline.RING in recording.names():
        return manifest.get("markers") == MARKED_IN_RING and recording.size_bytes(pipeline.RING) <= MOST_RING_BYTES
    return (
        bool(hooks.marks)
        and manifest.get("markers") == MARKED_BY_TIME
        and recording.size_bytes("log") <= pipeline.SMALL_LOG_BYTES
    )
