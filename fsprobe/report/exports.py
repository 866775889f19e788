"""A profile in the formats of other tools: folded stacks, speedscope, Chrome trace events, CSV."""

from __future__ import annotations

import csv as csv_format
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fsprobe import __version__
from fsprobe.model import serial
from fsprobe.model.formats import JsonObject
from fsprobe.model.profile import PHASES, Profile
from fsprobe.model.rows import CallCounts
from fsprobe.report import facts
from fsprobe.report.foreign import visible
from fsprobe.report.html.import_tree import import_tree

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
COUNTS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found", "n_metadata")
CSV_COLUMNS = (
    "grouping",
    "key",
    "parent",
    *COUNTS,
    "time_s",
    "n_metadata_cum",
    "n_not_found_cum",
    "time_cum_s",
    "n_requests",
    "n_calls",
    "n_errors",
    "n_paths",
    "t_s",
    "fstype",
    "fs_class",
    "p50_ms",
    "p95_ms",
    "max_ms",
    "n_over_1ms",
)


def stacks(profile: Profile, name: str) -> list[tuple[list[str], float]]:
    """Every module's chain of importers with the module's own count; the counts sum to the total.

    Where imports were not observed the chains are the packages whose files were named, one frame each.

    Args:
        profile: the profile.
        name: a self count of the rows: n_metadata, n_not_found or time_s.
    """
    rows = profile.metrics.by_module
    if rows is None:
        return [([row.key], getattr(row, name)) for row in profile.metrics.by_package if getattr(row, name)]
    tree = import_tree(rows)
    own = {row.key: getattr(row, name) or 0 for row in rows}
    return [(tree.chain(key), own[key]) for key in tree.order if own[key]]


def folded(profile: Profile) -> str:
    """Folded stacks (`a;b;c N`), N metadata calls: what flamegraph.pl, inferno and speedscope read.

    Source of the format: Brendan Gregg's stackcollapse scripts: frames apart by `;`, the count after the last space.
    """
    lines = []
    for chain, n in stacks(profile, "n_metadata"):
        lines.append(";".join(visible(frame).replace(";", ":") for frame in chain) + f" {n:.0f}")
    return "\n".join(lines) + "\n" if lines else ""


def speedscope(profile: Profile) -> str:
    """A speedscope file with one profile each for metadata calls, failed lookups and time (where observed).

    Source of the format: speedscope's file-format-schema.json, "sampled" profiles.
    """
    at: dict[str, int] = {}
    made = []
    for name, title, unit in (
        ("n_metadata", "metadata calls", "none"),
        ("n_not_found", "failed lookups (not found)", "none"),
        ("time_s", "time in metadata calls", "seconds"),
    ):
        found = stacks(profile, name)
        if not found:
            continue
        weights = [weight for _, weight in found]
        made.append(
            {
                "type": "sampled",
                "name": title,
                "unit": unit,
                "startValue": 0,
                "endValue": sum(weights),
                "samples": [[at.setdefault(visible(frame), len(at)) for frame in chain] for chain, _ in found],
                "weights": weights,
            }
        )
    document = {
        "$schema": SPEEDSCOPE_SCHEMA,
        "name": visible(facts.command_line(profile.manifest)),
        "exporter": f"fsprobe {__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in at]},
        "profiles": made,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def chrome_trace(profile: Profile) -> str:
    """Chrome trace events of the timeline, for chrome://tracing and Perfetto.

    A profile knows calls per step (0.1 s, in long runs more) and phase, so each phase is a thread with a span (ph X) for every unbroken row of
    bins in which it made calls, and a counter (ph C) says how many calls each bin held. Times are in us and right to
    a bin.

    Source of the format: "Trace Event Format", the Chromium project's document of the JSON object format.
    """
    step_s = profile.metrics.timeline_step_s
    step_us = round(step_s * 1e6)
    counted = {round(row.t_s / step_s): row.by_phase for row in profile.metrics.timeline}
    events: list[JsonObject] = [
        {
            "name": "process_name",
            "ph": "M",
            "pid": 1,
            "args": {"name": visible(facts.command_line(profile.manifest))},
        }
    ]
    for tid, phase in enumerate(PHASES, 1):
        events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": phase}})
        bins = {number: by_phase[phase] for number, by_phase in counted.items() if by_phase.get(phase)}
        for first, last in _unbroken(sorted(bins)):
            events.append(
                {
                    "name": phase,
                    "cat": "phase",
                    "ph": "X",
                    "ts": first * step_us,
                    "dur": (last - first + 1) * step_us,
                    "pid": 1,
                    "tid": tid,
                    "args": {"calls": sum(bins[number] for number in range(first, last + 1))},
                }
            )
    ends = {number + 1 for number in counted} - set(counted)
    for number in sorted({*counted, *ends}):
        # a counter holds its value until the next one: a pause needs a zero of its own
        args = {phase: counted.get(number, {}).get(phase, 0) for phase in PHASES}
        events.append({"name": "metadata calls", "ph": "C", "ts": number * step_us, "pid": 1, "args": args})
    document = {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "exporter": f"fsprobe {__version__}",
            "note": f"phases are right to {step_s:g} s; times under tracing",
        },
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def _unbroken(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each row of numbers without a gap."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def _cell(text: str) -> str:
    """A name as a table's cell: a spreadsheet takes `=...` for a formula, and may start a program for it."""
    shown = visible(text)
    return "'" + shown if shown[:1] in ("=", "+", "-", "@") else shown


def csv(profile: Profile) -> str:
    """Every grouping in one long table, a line a row; an empty cell is what was not observed or has no meaning there.

    Groupings: total, phase, module, package, mount, process, path (each sums to the total), syscall, not_found, timeline.
    A name that a spreadsheet would take for a formula has a `'` before it.
    Read it with `pandas.read_csv(FILE, keep_default_na=False, na_values=[""])`, so that a module called `nan` stays one.
    """
    metrics, requests = profile.metrics, profile.requests
    out = io.StringIO()
    writer = csv_format.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()

    def write(grouping: str, row: Mapping[str, Any]) -> None:
        cells = {name: _cell(value) if isinstance(value, str) else value for name, value in row.items()}
        writer.writerow({**cells, "grouping": grouping})

    write("total", {**_counts(metrics), "key": "total", "n_requests": profile.n_requests, "n_paths": metrics.n_paths})
    asked = {
        "module": {row.key: row.n_metadata for row in requests.by_module} if requests is not None else {},
        "package": {row.key: row.n_metadata for row in requests.by_package} if requests is not None else {},
        "mount": {row.key: requests.n_at_server(row.key) for row in metrics.by_mount} if requests is not None else {},
    }
    for grouping, rows in (
        ("phase", metrics.by_phase),
        ("module", metrics.by_module or ()),
        ("package", metrics.by_package),
        ("mount", metrics.by_mount),
        ("path", metrics.by_path),
    ):
        n_requests = asked.get(grouping, {})
        for row in rows:
            write(grouping, {**serial.to_json(row), "n_requests": n_requests.get(row.key)})
    for process in metrics.by_process:
        write("process", {**serial.to_json(process), "parent": process.parent_pid})
    for name, syscall in metrics.by_syscall.items():
        write("syscall", {"key": name, "n_calls": syscall.calls, "n_errors": syscall.errors})
    for reason in metrics.not_found:
        write("not_found", {"key": reason.reason, "n_not_found": reason.n, "n_paths": reason.n_paths})
    for step in metrics.timeline:
        for phase in PHASES:
            if step.by_phase.get(phase):
                write("timeline", {"key": phase, "t_s": step.t_s, "n_metadata": step.by_phase[phase]})
    return out.getvalue()


def _counts(row: CallCounts) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*COUNTS, "time_s")}
