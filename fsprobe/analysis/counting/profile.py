"""From a tally to a profile: what reports, scripts and comparisons read (the Contract in the documentation)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from fsprobe import capabilities
from fsprobe.analysis.attribution import not_found as reasons
from fsprobe.analysis.attribution.attribute import NO_IMPORT, PHASES, Notes
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.analysis.counting.estimated import MOST, expected_error, package_of, requests_by_package
from fsprobe.analysis.counting.estimated import by_package as by_import_package
from fsprobe.analysis.counting.latency import bin_ns, quantile_ns
from fsprobe.analysis.counting.rates import rates
from fsprobe.analysis.counting.tally import BIN_NS, FURTHER_PROCESSES, PathTally, Tally, add
from fsprobe.capabilities import MARKED_IN_RING
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.model.formats import text
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Metrics, Profile, Quality
from fsprobe.model.requests import Requests
from fsprobe.model.rows import (
    Counts,
    ModuleRow,
    MountRow,
    NotFoundRow,
    PathRow,
    ProcessRow,
    Row,
    SyscallRow,
    TimelineRow,
)

TOP_PATHS = 2000
N_EXAMPLES = 5
N_CHEAPEST = 20
MAX_OVERHEAD_NS = 100_000
"""No tracer stops a call for longer, as long as it has a processor: 5 to 30 us were measured (reports/overhead.md)."""


def numbers(counts: Counts, timed: bool) -> dict[str, Any]:
    """The fields of a `CallCounts`."""
    return {
        "n_open": counts.n_open,
        "n_stat": counts.n_stat,
        "n_readlink": counts.n_readlink,
        "n_list": counts.n_list,
        "n_exec": counts.n_exec,
        "n_change": counts.n_change,
        "n_not_found": counts.n_not_found,
        "time_s": round(counts.time_ns / 1e9, 6) if timed else None,
    }


def make_profile(
    *,
    kind: str,
    manifest: Manifest,
    tally: Tally,
    notes: Notes,
    quality: ParseQuality,
    mounts: Mounts,
    owners: Owners,
    requests: Requests | None = None,
    marks_unread: Mapping[str, int] = MappingProxyType({}),
    traced_s: float | None = None,
) -> Profile:
    """Make the profile of a run or job, without findings and verdict.

    Args:
        kind: the recording's kind.
        manifest: what is known besides the calls.
        tally: the counts.
        notes: what the stream said besides calls.
        quality: what the parser could not use.
        mounts: finds the mount of a path.
        owners: says which package a path belongs to.
        requests: what a cold client would ask the file servers; None where that is not modelled.
        marks_unread: marks that could not be read or placed, by reason.
        traced_s: wall time of all that was traced, s; that of the manifest without it.
    """
    error = expected_error(tally, notes)
    is_by_package = error is not None and error > MOST
    return Profile(
        kind=kind,
        manifest=manifest,
        quality=make_quality(
            tally, notes, quality, marks_unread, error, marks_are_calls=manifest.markers != MARKED_IN_RING
        ),
        metrics=make_metrics(
            tally,
            notes,
            mounts,
            owners,
            quality.has_durations,
            manifest.wall_s if traced_s is None else traced_s,
            manifest.shows(capabilities.TRUE_DURATIONS),
            is_by_package,
        ),
        requests=requests_by_package(requests) if is_by_package and requests is not None else requests,
    )


def make_quality(
    tally: Tally,
    notes: Notes,
    quality: ParseQuality,
    marks_unread: Mapping[str, int],
    error: float | None,
    marks_are_calls: bool = True,
) -> Quality:
    """What of a recording could not be used; `marks_are_calls`: the hook's notes reached the kernel."""
    own_calls = dict(tally.own)
    if notes.n_own_marks and marks_are_calls:
        own_calls["stat"] = own_calls.get("stat", 0) + notes.n_own_marks
    return Quality(
        n_lines=quality.n_lines,
        n_unparsed=quality.n_unparsed,
        n_partial=quality.n_partial,
        n_unfinished=quality.n_unfinished,
        n_unread_paths=quality.n_unread_paths,
        n_untraced=quality.n_untraced,
        n_refused_traces=quality.n_refused_traces,
        n_lost=quality.n_lost,
        unseen=_by_name(quality.unseen),
        not_started=_by_name(quality.not_started),
        by_preload=_by_name(quality.by_preload),
        unparsed_examples=tuple(text(line) for line in quality.unparsed_examples),
        own_calls=own_calls,
        n_marks_unread=sum(marks_unread.values()),
        marks_unread={reason: n for reason, n in sorted(marks_unread.items()) if n},
        n_marks_lost=notes.n_marks_lost,
        n_marks_unpaired=notes.n_unpaired_marks,
        n_killed=notes.n_killed,
        n_estimated=notes.n_estimated,
        n_not_told=sum(notes.unsure.values()),
        expected_error=error,
        unmarked=dict(notes.unmarked),
        is_marked=notes.is_marked,
        io_uring=quality.io_uring,
    )


def _by_name(programs: Mapping[str, int]) -> dict[str, int]:
    return {text(os.fsencode(name)): n for name, n in sorted(programs.items(), key=lambda item: (-item[1], item[0]))}


def make_metrics(
    tally: Tally,
    notes: Notes,
    mounts: Mounts,
    owners: Owners,
    timed: bool,
    wall_s: float | None,
    is_true: bool = False,
    is_by_package: bool = False,
) -> Metrics:
    """The totals, and the same calls grouped.

    `is_true`: observing adds nothing to a call's duration; `is_by_package`: imports are known by their packages alone.
    """
    return Metrics(
        **numbers(tally.total, timed),
        n_paths=len(tally.by_path) - tally.n_further_rows,
        n_paths_at_least=tally.n_further_rows > 0,
        **time_share(tally, wall_s, timed, is_true),
        by_syscall={
            name: SyscallRow(calls=calls, errors=errors) for name, (calls, errors) in sorted(tally.by_syscall.items())
        },
        by_phase=tuple(
            Row(key=phase, **numbers(tally.by_phase[phase], timed)) for phase in PHASES if phase in tally.by_phase
        ),
        by_module=by_module(tally, notes, timed, is_by_package),
        imports_by="package" if is_by_package else "module",
        by_package=by_package(tally, owners, timed),
        by_mount=by_mount(tally, mounts, timed),
        by_process=by_process(tally, timed),
        processes=processes(tally),
        n_processes_at_least=any(process.label == FURTHER_PROCESSES for process in tally.by_process.values()),
        by_path=by_path(tally, timed),
        not_found=not_found(tally),
        rates=rates(tally),
        timeline=timeline(tally),
        timeline_step_s=tally.timeline_step / 10,
    )


def time_share(tally: Tally, wall_s: float | None, timed: bool, is_true: bool = False) -> dict[str, Any]:
    """The share of the wall time that filesystem calls took, as an upper bound.

    A traced call's duration contains the tracing overhead. What the run's own cheapest calls took (their 10th
    percentile) is taken for that and subtracted from each; the same is taken off the wall time once per call. What
    remains is at most what the calls cost without a tracer, as other costs of tracing stay in it. Where durations are the
    calls' own nothing is subtracted.
    """
    overhead_ns = (0.0 if is_true else tracing_overhead_ns(tally)) if timed else None
    if overhead_ns is None or not wall_s:
        return {"tracing_overhead_us": None, "time_less_overhead_s": None, "share_of_wall": None}
    above_ns = (
        float(tally.total.time_ns)
        if is_true or not overhead_ns
        else sum(max(0.0, bin_ns(number) - overhead_ns) * n for number, n in tally.floor.items())
    )
    wall_ns = max(wall_s * 1e9 - overhead_ns * sum(tally.floor.values()), above_ns)
    return {
        "tracing_overhead_us": round(overhead_ns / 1e3, 1),
        "time_less_overhead_s": round(above_ns / 1e9, 6),
        "share_of_wall": round(above_ns / wall_ns, 4) if wall_ns else 0.0,
    }


def tracing_overhead_ns(tally: Tally) -> float | None:
    """What tracing adds to a call: the 10th percentile of the run's calls, but at most three times the 20th cheapest.

    The bound is for runs in which nearly all calls wait for a server: there the percentile is such a wait itself. Where even
    the cheapest calls wait, what tracing adds is not known; 0 then, since it is little beside the waits.
    """
    return cheap_ns(tally.floor)


def cheap_ns(bins: dict[int, int]) -> float | None:
    """The 10th percentile of durations in latency bins, at most three times the 20th cheapest; 0 where that is long, None without any."""
    n = sum(bins.values())
    tenth = quantile_ns(bins, 0.10)
    cheapest = quantile_ns(bins, min(1.0, N_CHEAPEST / n)) if n else None
    if tenth is None or cheapest is None:
        return None
    cheap = min(tenth, 3 * cheapest)
    return cheap if cheap <= MAX_OVERHEAD_NS else 0.0


def by_module(tally: Tally, notes: Notes, timed: bool, is_by_package: bool = False) -> tuple[ModuleRow, ...] | None:
    """Rows per module, or per top-level package; most cumulative metadata calls first; None where imports were not observed."""
    if not notes.hooked and not notes.imports:
        return None
    rows = []
    modules = by_import_package(tally.by_module) if is_by_package else tally.by_module
    names = {package_of(name) for name in notes.imports} if is_by_package else set(notes.imports)
    start_ns = _timeline_start(tally) * BIN_NS if tally.timeline else None
    for name in {*modules, *names}:
        module = modules.get(name)
        cumulative = module.cumulative if module else Counts()
        parents = {} if is_by_package else notes.imports.get(name, {})
        rows.append(
            ModuleRow(
                key=name,
                **numbers(module.own if module else Counts(), timed),
                # "" stands for an import of the main module's
                # of equally frequent ones the first: it is the one that really loaded the module
                parent=(max(parents, key=parents.__getitem__) or None) if parents else None,
                n_imports=notes.n_imports.get(name, 0),
                loaded_lazily_at=notes.lazy.get(name),
                first_s=_since_start(module.first_ns if module else None, start_ns),
                n_open_cum=cumulative.n_open,
                n_stat_cum=cumulative.n_stat,
                n_metadata_cum=cumulative.n_metadata,
                n_not_found_cum=cumulative.n_not_found,
                time_cum_s=round(cumulative.time_ns / 1e9, 6) if timed else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.key == NO_IMPORT, -row.n_metadata_cum, row.key)))


def by_package(tally: Tally, owners: Owners, timed: bool) -> tuple[Row, ...]:
    """Rows per package, most metadata calls first."""
    table: dict[str, Counts] = {}
    for path, counted in tally.by_path.items():
        add(table.setdefault(owners.of(path), Counts()), counted.counts)
    return _most_first(Row(key=key, **numbers(counts, timed)) for key, counts in table.items())


def by_mount(tally: Tally, mounts: Mounts, timed: bool) -> tuple[MountRow, ...]:
    """Rows per mount with its type, its class and the latency of its calls, most metadata calls first."""
    table: dict[str, tuple[Mount | None, PathTally]] = {}
    for path, counted in tally.by_path.items():
        mount = mounts.of(path)
        key = text(mount.path) if mount is not None else "(not known)"
        if key not in table:
            table[key] = (mount, PathTally())
        total = table[key][1]
        add(total.counts, counted.counts)
        for number, n in counted.latency.items():
            total.latency[number] = total.latency.get(number, 0) + n
        total.max_ns = max(total.max_ns, counted.max_ns)
    return _most_first(_mount_row(key, mount, total, timed) for key, (mount, total) in table.items())


def _mount_row(key: str, mount: Mount | None, total: PathTally, timed: bool) -> MountRow:
    def quantile_ms(share: float) -> float | None:
        value = quantile_ns(total.latency, share)
        return None if value is None else round(min(value, total.max_ns) / 1e6, 4)

    return MountRow(
        key=key,
        **numbers(total.counts, timed),
        fstype=mount.fstype if mount is not None else None,
        fs_class=mount.fs_class if mount is not None else None,
        source=text(mount.source) if mount is not None else None,
        p50_ms=quantile_ms(0.5),
        p95_ms=quantile_ms(0.95),
        max_ms=round(total.max_ns / 1e6, 4) if total.latency else None,
        n_over_1ms=sum(n for number, n in total.latency.items() if bin_ns(number) > 1e6) if timed else None,
    )


def by_process(tally: Tally, timed: bool) -> tuple[ProcessRow, ...]:
    """Rows per program image of each process, in order of appearance."""
    return tuple(
        ProcessRow(
            key=key,
            **numbers(process.counts, timed),
            pid=process.pid,
            parent_pid=process.parent,
            label=process.label,
            kind=process.kind,
        )
        for key, process in tally.by_process.items()
    )


def processes(tally: Tally) -> dict[str, int]:
    """How many processes ran what kind of program: each process once, by the last program that it became."""
    kinds = {
        (process.of, process.pid if process.pid else process.key): process.kind
        for process in tally.by_process.values()
        if process.label != FURTHER_PROCESSES
    }
    return dict(Counter(kinds.values()))


def by_path(tally: Tally, timed: bool) -> tuple[PathRow, ...]:
    """The `TOP_PATHS` busiest paths and one row for the rest."""
    ranked = sorted(tally.by_path.items(), key=lambda item: (-item[1].counts.n_metadata, item[0]))
    rows = [PathRow(key=text(path), **numbers(counted.counts, timed)) for path, counted in ranked[:TOP_PATHS]]
    rest = Counts()
    for _, counted in ranked[TOP_PATHS:]:
        add(rest, counted.counts)
    if ranked[TOP_PATHS:]:
        rows.append(PathRow(key="(rest)", **numbers(rest, timed), n_paths=len(ranked) - TOP_PATHS))
    return tuple(rows)


def not_found(tally: Tally) -> tuple[NotFoundRow, ...]:
    """Failed lookups by reason, most first, each with its busiest paths."""
    table: dict[str, dict[bytes, int]] = {}
    for (reason, path), n in reasons.settled(tally.not_found).items():
        table.setdefault(reason, {})[path] = n
    rows = []
    for reason in reasons.REASONS:
        paths = table.get(reason)
        if paths:
            examples = sorted(paths, key=lambda path: (-paths[path], path))[:N_EXAMPLES]
            rows.append(
                NotFoundRow(
                    reason=reason,
                    n=sum(paths.values()),
                    n_paths=len(paths),
                    examples=tuple(text(path) for path in examples),
                )
            )
    return tuple(sorted(rows, key=lambda row: -row.n))


def _since_start(t_ns: int | None, start_ns: int | None) -> float | None:
    return None if t_ns is None or start_ns is None else round((t_ns - start_ns) / 1e9, 3)


def _timeline_start(tally: Tally) -> int:
    """The bin that the timeline begins with."""
    return min(number - number % tally.timeline_step for number in tally.timeline)


def timeline(tally: Tally) -> tuple[TimelineRow, ...]:
    """Metadata calls per step (0.1 s, unless bins were put together) and phase, from the first call on.

    Empty where the log has no times.
    """
    if tally.first_ns is None:
        return ()
    table: dict[int, dict[str, int]] = {}
    for number, phases in tally.timeline.items():
        slot = table.setdefault(number - number % tally.timeline_step, {})
        for phase, n in phases.items():
            slot[phase] = slot.get(phase, 0) + n
    start = _timeline_start(tally)
    return tuple(
        TimelineRow(t_s=round((number - start) / 10, 1), by_phase=dict(sorted(table[number].items())))
        for number in sorted(table)
    )


def _most_first(rows: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(sorted(rows, key=attrgetter("key")), key=attrgetter("n_metadata"), reverse=True))
