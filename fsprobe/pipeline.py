"""The whole flow on one screen: a recording goes in, a profile comes out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from fsprobe import foreign_json
from fsprobe.analysis.attribution.attribute import Attributed, Attributor, Notes, Running, attribute, label_of
from fsprobe.analysis.attribution.not_found import WhyNotFound
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.analysis.counting.profile import make_profile
from fsprobe.analysis.counting.tally import Tally, fold
from fsprobe.analysis.findings.evidence import Evidence, Watch, watch
from fsprobe.analysis.findings.rules import find
from fsprobe.analysis.findings.thresholds import DEFAULTS, Thresholds
from fsprobe.analysis.garbage import SELDOM, seldom_collected
from fsprobe.analysis.interpreters import told_by_paths
from fsprobe.analysis.manifest import check_manifest, complete_manifest, is_observed, not_as_written, with_open_names
from fsprobe.analysis.requests.model import RequestModel, Requests
from fsprobe.analysis.requests.steps import kind_of_number
from fsprobe.analysis.streaming import tally_file
from fsprobe.analysis.streaming.bounds import settle_reasons
from fsprobe.analysis.time.account import time_account, with_time
from fsprobe.analysis.time.observed import Observed, watch_time
from fsprobe.analysis.verdict import verdict
from fsprobe.capture.directories import scratch
from fsprobe.capture.machine import mounts as mount_table
from fsprobe.errors import BadInput
from fsprobe.events import clocks, cpu_times, marks, ring
from fsprobe.events.ring import mapped
from fsprobe.events.strace import parser
from fsprobe.model.events import Event, Mount, ParseQuality
from fsprobe.model.profile import Profile
from fsprobe.recording import distributions
from fsprobe.recording.file import MAX_MOUNTS_BYTES, MAX_RING_BYTES, Recording
from fsprobe.recording.shapes import LOOKUPS, misfit

TALLY = "tally"
RING = "ring"
T = TypeVar("T")
BATCH = 512
CPU = "cpu"
SMALL_LOG_BYTES = 4 << 20
"""A log with marks is read twice; up to this size, that of most ranks, its lines are kept meanwhile and unpacked once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A recording, read: its profile, and the tables that comparisons and findings look into."""

    profile: Profile
    tally: Tally
    notes: Notes
    requests: Requests | None


def analyse(path: str | Path, thresholds: Thresholds = DEFAULTS) -> Profile:
    """Read a recording and say what it means: its profile.

    Raises:
        BadInput: not a recording, or a damaged one.
    """
    return read(path, thresholds).profile


@seldom_collected(SELDOM)
def read(path: str | Path, thresholds: Thresholds = DEFAULTS) -> Analysis:
    """Read a recording: parse, attribute, fold, predict requests, find what to do.

    Args:
        path: the recording.
        thresholds: from which number on a finding is one.

    Raises:
        BadInput: not a recording, or a damaged one.
    """
    recording = Recording(str(path))
    if recording.kind != "recording":
        raise BadInput(f"{path} is a {recording.kind}, not a recording", "see `fsprobe report --help`")
    check_manifest(recording)
    hooks = read_hooks(recording)
    facts = list(hooks.facts.values())
    mounts = read_mounts(recording, hooks)
    lookups = read_lookups(recording)
    model = None if is_streamed(recording) else make_model(recording, mounts, lookups, keeps_order=False)
    times = Observed()
    if model is None:
        tally, notes, quality, seen = read_tally(recording, facts)
    else:
        quality, notes, seen = ParseQuality(), Notes(), Watch()
        found = fold_large_ring(recording, quality, notes, WhyNotFound(facts), model, times, seen)
        if found is not None:
            tally = found
        else:
            events = read_events(recording, quality, hooks, model, times)
            tally = fold(watch(taken_in(attributed(recording, events, notes), model), seen), WhyNotFound(facts))
    requests = model.count() if model is not None else None
    facts = facts or told_by_paths(tally, recording.manifest.get("environment") or {})
    owners = Owners(facts, lookups.get("distributions", {}), cwd_of(recording), tally.by_path)
    table = mount_finder(mounts, tally)
    profile = make_profile(
        kind=recording.kind,
        manifest=complete_manifest(recording, hooks, mounts, facts),
        tally=tally,
        notes=notes,
        quality=quality,
        mounts=table,
        owners=owners,
        requests=requests.value(owners) if requests is not None else None,
        marks_unread=hooks.unread,
    )
    account = time_account(
        profile.manifest, tally, times, profile.metrics.by_mount, table.of, wall_start_ns=quality.wall_start_ns
    )
    profile = with_time(with_open_names(profile, distributions.open_names(lookups)), account)
    evidence = Evidence(
        tally=tally,
        notes=notes,
        profile=profile,
        facts=facts,
        mounts_of=table.of,
        requests=requests,
        count_without=model.count if model is not None else None,
        watch=seen,
        thresholds=thresholds,
    )
    profile = replace(
        profile,
        findings=tuple(find(evidence)),
        verdict=verdict(evidence) if is_observed(profile.manifest, tally) else None,
    )
    return Analysis(profile=profile, tally=tally, notes=notes, requests=requests)


def is_streamed(recording: Recording) -> bool:
    """Whether a recording holds the tally of its run instead of a log."""
    return TALLY in recording.names()


def read_tally(recording: Recording, facts: Iterable[Mapping[str, Any]]) -> tuple[Tally, Notes, ParseQuality, Watch]:
    """The tally that a streamed run was folded into while it ran.

    Raises:
        BadInput: it is damaged, or of a newer version.
    """
    tally, notes, quality, seen = tally_file.read(recording.whole(TALLY), recording.path)
    settle_reasons(tally, WhyNotFound(facts))
    return tally, notes, quality, seen


def mount_finder(mounts: Iterable[Mount], tally: Tally) -> Mounts:
    """The target's mounts, with what its opens showed of symlinked directories."""
    table = Mounts(mounts)
    for path, counted in tally.by_path.items():
        if counted.resolved is not None:
            table.learn(path, counted.resolved)
    return table.or_equal()


def make_model(
    recording: Recording, mounts: Iterable[Mount], lookups: Mapping[str, Any], *, keeps_order: bool = True
) -> RequestModel:
    """The request model of a recording, before it has taken in any call."""
    kernel = str(recording.manifest.get("kernel") or "")
    return RequestModel(mounts, lookups, cwd_of(recording), kernel, keeps_order=keeps_order)


def taken_in(rows: Iterable[Attributed], model: RequestModel) -> Iterator[Attributed]:
    """Pass the rows on, and let the request model have each."""
    take = model.taken.add  # not `fold`, which calls it: this is done for each call of a run
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        for row in batch:
            if not row.own:
                take(row.call, row.module)
        yield from batch


def in_batches(items: Iterable[T]) -> Iterator[T]:
    """Pass a stream on, made ahead by some hundred items.

    A stage that works on many items in a row is faster, by a tenth of all, than stages that take turns for each item: its code
    and its tables stay in the processor's caches. Not for a stage that looks at what the one before has done so far.
    """
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield from batch


def tally_recording(recording: Recording) -> tuple[Tally, Notes, ParseQuality, marks.HookFiles]:
    """Parse, attribute and fold one recording, without the request model."""
    quality, notes = ParseQuality(), Notes()
    hooks = read_hooks(recording)
    if is_streamed(recording):
        tally, notes, quality, _ = read_tally(recording, hooks.facts.values())
        return tally, notes, quality, hooks
    found = fold_large_ring(recording, quality, notes, WhyNotFound(hooks.facts.values()))
    if found is not None:
        return found, notes, quality, hooks
    rows = attributed(recording, read_events(recording, quality, hooks), notes)
    return fold(rows, WhyNotFound(hooks.facts.values())), notes, quality, hooks


def read_hooks(recording: Recording) -> marks.HookFiles:
    """What the hooks left, with fsprobe's own directory taken out of what they say of sys.path."""
    hooks = marks.read_hook_files([recording.whole("marks")])
    n_unread = recording.manifest.get("n_hook_files_unread")  # by the recorder itself
    hooks.unread["file"] += n_unread if isinstance(n_unread, int) else 0
    place = os.fsdecode(hook_dir_of(recording.manifest))
    for fact in hooks.facts.values():
        fact["path"] = [entry for entry in fact.get("path") or () if not place or entry != place]
    return hooks


def hook_dir_of(manifest: Mapping[str, Any]) -> bytes:
    """The directory that was put on PYTHONPATH; b"" where there was none."""
    place = manifest.get("hook_dir")
    if place is None and manifest.get("scratch"):
        place = f"{manifest['scratch']}/{scratch.HOOK}"
    return os.fsencode(str(place or ""))


def attributed(recording: Recording, events: Iterable[Event], notes: Notes) -> Iterator[Attributed]:
    """Attribute the events of a recording."""
    return attribute(
        in_batches(events),
        notes,
        hook_dir=hook_dir_of(recording.manifest),
        marks_dir=marks_dir_of(recording),
        running=running_of(recording),
    )


def marks_dir_of(recording: Recording) -> bytes:
    """Where the hooks wrote; b"" where that is not known."""
    place = os.fsencode(str(recording.manifest.get("scratch") or ""))
    return place + b"/" + scratch.MARKS.encode() if place else b""


def running_of(recording: Recording) -> Running | None:
    """The process that a recording of `fsprobe attach` is about; None for any other."""
    attached = recording.manifest.get("attached")
    if not isinstance(attached, dict):
        return None
    words = [os.fsencode(str(word)) for word in recording.manifest.get("command") or ()]
    try:
        return Running(
            pid=int(attached["pid"]),
            tids=[int(tid) for tid in attached["tids"]],
            label=label_of(os.fsencode(str(attached["program"])), words),
            is_python=bool(attached["is_python"]),
        )
    except (LookupError, TypeError, ValueError):
        raise not_as_written(recording, "manifest: attached") from None


def cwd_of(recording: Recording) -> bytes | None:
    """The working directory of the command, where the recording has it."""
    cwd = recording.manifest.get("cwd")
    return os.fsencode(cwd) if isinstance(cwd, str) and cwd else None


def read_events(
    recording: Recording,
    quality: ParseQuality,
    hooks: marks.HookFiles,
    model: RequestModel | None = None,
    times: Observed | None = None,
) -> Iterator[Event]:
    """The events of a recording, with the marks of its hooks in their places; `model` and `times` learn of them what they can."""
    if RING in recording.names():
        return ring_events(recording, quality, model, times)
    lines: Iterable[bytes] = recording.lines("log")
    if hooks.marks and recording.size_bytes("log") <= SMALL_LOG_BYTES:
        lines = list(lines)
    events = parser.parse(lines, quality, cwd=cwd_of(recording), on_status=None if model is None else model.add_status)
    if hooks.marks:
        events = marks.merge(
            in_batches(events), hooks, clocks.read(lines if isinstance(lines, list) else recording.lines("log"))
        )
    if times is None:
        return events
    return watch_time(
        in_batches(events), times, cpu=cpu_times.read(recording.whole(CPU)) if CPU in recording.names() else None
    )


def ring_events(
    recording: Recording, quality: ParseQuality, model: RequestModel | None, times: Observed | None = None
) -> Iterator[Event]:
    """The events of a ring, marks included.

    Raises:
        BadInput: it is damaged, or of a newer version.
    """
    facts = ring.RingFacts()
    wall_start_ns = recording.manifest.get("wall_start_ns")
    events = ring.read(
        mapped.in_one_piece(recording, RING),
        quality,
        facts,
        cwd=cwd_of(recording),
        wall_start_ns=wall_start_ns,
        on_status=None if model is None else model.on_status,
    )
    yield from events if times is None else watch_time(events, times, facts)
    if model is not None:
        model.sizes.update({path: (kind_of_number(mode), size) for path, (mode, size) in facts.fstats.items()})


def fold_large_ring(
    recording: Recording,
    quality: ParseQuality,
    notes: Notes,
    why_not_found: WhyNotFound,
    model: RequestModel | None = None,
    times: Observed | None = None,
    seen: Watch | None = None,
) -> Tally | None:
    """Parse, attribute and fold a ring as columns; None, with nothing filled, where its events are to be taken one by one.

    That is so of small ones, where numpy is not installed, and where times are none. The results are the same.

    Raises:
        BadInput: it is damaged, or of a newer version.
    """
    if recording.size_bytes(RING) < mapped.LARGE_BYTES:
        return None
    try:
        from fsprobe.analysis.columns.analysis import fold_ring
    except ImportError:
        return None  # of numpy, which fsprobe.pyz does without
    recording.check_size(RING, MAX_RING_BYTES)
    pieces, n_bytes, cwd = recording.section(RING), recording.size_bytes(RING), cwd_of(recording)
    tally = fold_ring(pieces, n_bytes, quality, attributor(recording, notes), why_not_found, cwd, model, times, seen)
    if tally is not None:
        quality.wall_start_ns = recording.manifest.get("wall_start_ns")
    return tally


def attributor(recording: Recording, notes: Notes) -> Attributor:
    """What attributes the calls of a ring that is read as columns."""
    return Attributor(hook_dir_of(recording.manifest), marks_dir_of(recording), notes, running_of(recording))


def read_mounts(recording: Recording, hooks: marks.HookFiles) -> list[Mount]:
    """The target's own mounts as its hook read them, else those of the recorder."""
    tables = [fact.get("mounts") for fact in hooks.facts.values()]
    data = next((hooks.mounts[name] for name in tables if isinstance(name, str) and hooks.mounts.get(name)), None)
    rows = mount_table.parse_mountinfo(data if data is not None else recording.whole("mounts", MAX_MOUNTS_BYTES))
    variables = recording.manifest.get("environment") or {}
    container = str(variables.get("APPTAINER_CONTAINER") or variables.get("SINGULARITY_CONTAINER") or "")
    return [
        Mount(path=path, fstype=fstype, fs_class=fs_class, source=source, options=options)
        for (path, fstype, source, options), fs_class in zip(
            rows, mount_table.classify_all(rows, container), strict=True
        )
    ]


def read_lookups(recording: Recording) -> dict[str, Any]:
    """What was looked up after the run, and what the environment tells besides: see `recording.distributions`.

    Raises:
        BadInput: the section is damaged.
    """
    data = recording.whole("lookups")
    try:
        found = foreign_json.loads(data.decode("utf-8", "surrogateescape")) if data else {}
    except ValueError:
        raise BadInput(f"{recording.path} is damaged: its section lookups is not JSON") from None
    if not isinstance(found, dict):
        raise BadInput(f"{recording.path} is damaged: its section lookups is no object")
    if where := misfit(found, LOOKUPS):
        raise not_as_written(recording, f"lookups: {where}")
    return distributions.completed(recording, {name: part for name, part in found.items() if part is not None})
