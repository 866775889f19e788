"""From a tally to a profile: the JSON that reports, scripts and comparisons read (the Contract in the documentation)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fsprobe.analysis.attribution import not_found as missing_reasons
from fsprobe.analysis.attribution.attribute import NO_IMPORT, PHASES, Notes
from fsprobe.analysis.attribution.ownership import Mounts, Owners
from fsprobe.analysis.counting.rates import rates
from fsprobe.analysis.counting.tally import PathTally, Tally, add, bin_ns, quantile_ns
from fsprobe.model.counts import Counts
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.model.finding import Finding
from fsprobe.model.formats import FORMAT, JsonObject
from fsprobe.model.text import text

TOP_PATHS = 2000
N_EXAMPLES = 5
N_CHEAPEST = 20
STARTUP_PHASES = ("launch", "loader", "init", "site", "import")


def row(key: str, counts: Counts, timed: bool) -> JsonObject:
    """One row of a grouping."""
    return {
        "key": key,
        "n_open": counts.n_open,
        "n_stat": counts.n_stat,
        "n_readlink": counts.n_readlink,
        "n_list": counts.n_list,
        "n_exec": counts.n_exec,
        "n_change": counts.n_change,
        "n_missing": counts.n_missing,
        "n_metadata": counts.n_metadata,
        "time_s": round(counts.time_ns / 1e9, 6) if timed else None,
    }


def make_profile(
    *,
    kind: str,
    manifest: JsonObject,
    tally: Tally,
    notes: Notes,
    quality: ParseQuality,
    mounts: Mounts,
    owners: Owners,
    requests: JsonObject | None = None,
    n_marks_unread: int = 0,
) -> JsonObject:
    """Make the profile of a run.

    Args:
        kind: the recording's kind.
        manifest: its manifest, completed by the pipeline.
        tally: the counts.
        notes: what the stream said besides calls.
        quality: what the parser could not use.
        mounts: finds the mount of a path.
        owners: says which package a path belongs to.
        requests: what a cold client would ask the file servers; None where that is not modelled.
        n_marks_unread: marks that could not be read or placed.
    """
    timed = quality.has_durations
    own_marks = dict(tally.own)
    if notes.n_own_marks:
        own_marks["stat"] = own_marks.get("stat", 0) + notes.n_own_marks
    total = row("total", tally.total, timed)
    total.pop("key")
    return {
        "format": FORMAT,
        "kind": kind,
        "manifest": manifest,
        "quality": {
            "n_lines": quality.n_lines,
            "n_unparsed": quality.n_unparsed,
            "n_partial": quality.n_partial,
            "n_unfinished": quality.n_unfinished,
            "unparsed_examples": [text(line) for line in quality.unparsed_examples],
            "own": own_marks,
            "n_marks_unread": n_marks_unread,
            "n_marks_lost": notes.n_marks_lost,
            "n_marks_unpaired": notes.n_unpaired_marks,
            "n_killed": notes.n_killed,
            "n_estimated": notes.n_estimated,
            "unmarked": notes.unmarked,
            "is_marked": notes.is_marked,
            "io_uring": quality.io_uring,
        },
        "metrics": {
            **total,
            "n_paths": len(tally.by_path) - tally.n_further_rows,
            "n_paths_at_least": tally.n_further_rows > 0,
            "n_startup": sum(tally.by_phase[phase].n_metadata for phase in STARTUP_PHASES if phase in tally.by_phase),
            "fs_time_s": total.pop("time_s"),
            **time_share(tally, manifest, timed),
            "by_syscall": {
                name: {"calls": calls, "errors": errors} for name, (calls, errors) in sorted(tally.by_syscall.items())
            },
            "by_phase": [row(phase, tally.by_phase[phase], timed) for phase in PHASES if phase in tally.by_phase],
            "by_module": by_module(tally, notes, timed),
            "by_package": by_package(tally, owners, timed),
            "by_mount": by_mount(tally, mounts, timed),
            "by_process": by_process(tally, timed),
            "by_path": by_path(tally, timed),
            "missing": missing(tally),
            "rates": rates(tally),
            "timeline": timeline(tally),
            "timeline_step_s": tally.timeline_step / 10,
        },
        "requests": requests,
        "findings": [],
    }


def time_share(tally: Tally, manifest: Mapping[str, Any], timed: bool) -> JsonObject:
    """The share of the wall time that filesystem calls took, as an upper bound.

    A traced call's duration contains the tracer's own stop. What the run's own cheapest calls took (their 10th
    percentile) is taken for that and subtracted from each; the same is taken off the wall time once per call. What
    remains is at most what the calls cost without a tracer, as other costs of tracing stay in it.
    """
    floor_ns = tracer_floor_ns(tally) if timed else None
    wall_s = manifest.get("wall_s")
    if floor_ns is None or not wall_s:
        return {"tracer_floor_us": None, "fs_time_above_floor_s": None, "share_fs_time_at_most": None}
    above_ns = sum(max(0.0, bin_ns(number) - floor_ns) * n for number, n in tally.floor.items())
    wall_ns = max(wall_s * 1e9 - floor_ns * sum(tally.floor.values()), above_ns)
    return {
        "tracer_floor_us": round(floor_ns / 1e3, 1),
        "fs_time_above_floor_s": round(above_ns / 1e9, 6),
        "share_fs_time_at_most": round(above_ns / wall_ns, 4) if wall_ns else 0.0,
    }


def tracer_floor_ns(tally: Tally) -> float | None:
    """What the tracer adds to a call: the 10th percentile of the run's calls, but at most three times the 20th cheapest.

    The bound is for runs in which nearly all calls wait for a server: there the percentile is such a wait itself.
    """
    n_calls = sum(tally.floor.values())
    tenth = quantile_ns(tally.floor, 0.10)
    cheapest = quantile_ns(tally.floor, min(1.0, N_CHEAPEST / n_calls)) if n_calls else None
    return None if tenth is None or cheapest is None else min(tenth, 3 * cheapest)


def by_module(tally: Tally, notes: Notes, timed: bool) -> list[JsonObject] | None:
    """Rows per module, most cumulative metadata calls first; None where imports were not observed."""
    if not notes.hooked and not notes.imports:
        return None
    rows = []
    for name in {*tally.by_module, *notes.imports}:
        module = tally.by_module.get(name)
        entry = row(name, module.own if module else Counts(), timed)
        cumulative = module.cumulative if module else Counts()
        parents = notes.imports.get(name, {})
        # "" stands for an import that the program itself asked for
        # of equally frequent ones the first: it is the one that really loaded the module
        entry["parent"] = (max(parents, key=parents.__getitem__) or None) if parents else None
        entry["n_imports"] = notes.n_imports.get(name, 0)
        if name in notes.lazy:
            entry["loaded_lazily_at"] = notes.lazy[name]
        entry["n_open_cum"] = cumulative.n_open
        entry["n_stat_cum"] = cumulative.n_stat
        entry["n_metadata_cum"] = cumulative.n_metadata
        entry["n_missing_cum"] = cumulative.n_missing
        entry["time_cum_s"] = round(cumulative.time_ns / 1e9, 6) if timed else None
        rows.append(entry)
    return sorted(rows, key=lambda entry: (entry["key"] == NO_IMPORT, -entry["n_metadata_cum"], entry["key"]))


def by_package(tally: Tally, owners: Owners, timed: bool) -> list[JsonObject]:
    """Rows per package, most metadata calls first."""
    table: dict[str, Counts] = {}
    for path, counted in tally.by_path.items():
        add(table.setdefault(owners.of(path), Counts()), counted.counts)
    return _sorted_rows(table, timed)


def by_mount(tally: Tally, mounts: Mounts, timed: bool) -> list[JsonObject]:
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
    rows = []
    for key, (mount, total) in table.items():
        entry = row(key, total.counts, timed)
        entry["fstype"] = mount.fstype if mount is not None else None
        entry["fs_class"] = mount.fs_class if mount is not None else None
        entry["source"] = text(mount.source) if mount is not None else None
        for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95)):
            value = quantile_ns(total.latency, share)
            entry[name] = round(min(value, total.max_ns) / 1e6, 4) if value is not None else None
        entry["max_ms"] = round(total.max_ns / 1e6, 4) if total.latency else None
        entry["n_over_1ms"] = sum(n for number, n in total.latency.items() if bin_ns(number) > 1e6) if timed else None
        rows.append(entry)
    return sorted(rows, key=lambda entry: (-entry["n_metadata"], entry["key"]))


def by_process(tally: Tally, timed: bool) -> list[JsonObject]:
    """Rows per program image of each process, in order of appearance."""
    rows = []
    for process in tally.by_process.values():
        entry = row(process.key, process.counts, timed)
        entry.update(pid=process.pid, parent_pid=process.parent, label=process.label, kind=process.kind)
        rows.append(entry)
    return rows


def by_path(tally: Tally, timed: bool) -> list[JsonObject]:
    """The `TOP_PATHS` busiest paths and one row for the rest."""
    ranked = sorted(tally.by_path.items(), key=lambda item: (-item[1].counts.n_metadata, item[0]))
    rows = [row(text(path), counted.counts, timed) for path, counted in ranked[:TOP_PATHS]]
    rest = Counts()
    for _, counted in ranked[TOP_PATHS:]:
        add(rest, counted.counts)
    if ranked[TOP_PATHS:]:
        entry = row("(rest)", rest, timed)
        entry["n_paths"] = len(ranked) - TOP_PATHS
        rows.append(entry)
    return rows


def missing(tally: Tally) -> list[JsonObject]:
    """Failed look-ups by reason, most first, each with its busiest paths."""
    reasons: dict[str, dict[bytes, int]] = {}
    for (reason, path), n in tally.missing.items():
        reasons.setdefault(reason, {})[path] = n
    rows = []
    for reason in missing_reasons.REASONS:
        paths = reasons.get(reason)
        if paths:
            examples = sorted(paths, key=lambda path: (-paths[path], path))[:N_EXAMPLES]
            rows.append(
                {
                    "reason": reason,
                    "n": sum(paths.values()),
                    "n_paths": len(paths),
                    "examples": [text(path) for path in examples],
                }
            )
    return sorted(rows, key=lambda entry: -entry["n"])


def timeline(tally: Tally) -> list[JsonObject]:
    """Metadata calls per step (0.1 s, unless bins were put together) and phase, from the first call on.

    Empty where the log has no times.
    """
    if tally.first_ns is None:
        return []
    rows: dict[int, dict[str, int]] = {}
    for number, phases in tally.timeline.items():
        slot = rows.setdefault(number - number % tally.timeline_step, {})
        for phase, n in phases.items():
            slot[phase] = slot.get(phase, 0) + n
    start = min(rows)
    return [{"t_s": round((number - start) / 10, 1), **dict(sorted(rows[number].items()))} for number in sorted(rows)]


def _sorted_rows(table: Mapping[str, Counts], timed: bool) -> list[JsonObject]:
    return sorted(
        (row(key, counts, timed) for key, counts in table.items()),
        key=lambda entry: (-entry["n_metadata"], entry["key"]),
    )


def finding_row(finding: Finding) -> JsonObject:
    """A finding as JSON."""
    return {name: getattr(finding, name) for name in Finding.__slots__}


def text_of(name: str) -> str:
    """Text that came from the operating system (surrogates for odd bytes), as `model.text` writes it."""
    return text(os.fsencode(name))
