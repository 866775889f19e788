"""A profile in the formats of other tools: folded stacks, speedscope, Chrome trace events, CSV."""

from __future__ import annotations

import csv as csv_format
import io
import json
from collections.abc import Sequence

from fsprobe import __version__
from fsprobe.model.formats import JsonObject
from fsprobe.report import facts
from fsprobe.report.foreign import visible
from fsprobe.report.import_tree import import_tree

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
BIN_US = 100_000
PHASES = ("launch", "loader", "init", "site", "import", "run")
COUNTS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_missing", "n_metadata")
CSV_COLUMNS = (
    "grouping",
    "key",
    "parent",
    *COUNTS,
    "time_s",
    "n_metadata_cum",
    "n_missing_cum",
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


def stacks(profile: JsonObject, name: str) -> list[tuple[list[str], float]]:
    """Every module's chain of importers with the module's own count; the counts sum to the total.

    Where imports were not observed the chains are the packages whose files were named, one frame each.

    Args:
        profile: the profile.
        name: a self count of the rows: n_metadata, n_missing or time_s.
    """
    rows = profile["metrics"].get("by_module")
    if rows is None:
        return [([row["key"]], row[name] or 0) for row in profile["metrics"].get("by_package") or [] if row.get(name)]
    tree = import_tree(rows)
    own = {row["key"]: row.get(name) or 0 for row in rows}
    return [(tree.chain(key), own[key]) for key in tree.order if own[key]]


def folded(profile: JsonObject) -> str:
    """Folded stacks (`a;b;c N`), N metadata calls: what flamegraph.pl, inferno and speedscope read.

    Source of the format: Brendan Gregg's stackcollapse scripts: frames apart by `;`, the count after the last space.
    """
    lines = []
    for chain, n in stacks(profile, "n_metadata"):
        lines.append(";".join(visible(frame).replace(";", ":") for frame in chain) + f" {n:.0f}")
    return "\n".join(lines) + "\n" if lines else ""


def speedscope(profile: JsonObject) -> str:
    """A speedscope file with one profile each for metadata calls, look-ups in vain and time (where observed).

    Source of the format: speedscope's file-format-schema.json, "sampled" profiles.
    """
    at: dict[str, int] = {}
    made = []
    for name, title, unit in (
        ("n_metadata", "metadata calls", "none"),
        ("n_missing", "looked up in vain", "none"),
        ("time_s", "time in filesystem calls", "seconds"),
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
        "name": visible(facts.command_line(profile["manifest"])),
        "exporter": f"fsprobe {__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in at]},
        "profiles": made,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def chrome_trace(profile: JsonObject) -> str:
    """Chrome trace events of the timeline, for chrome://tracing and Perfetto.

    A profile knows calls per 0.1 s and phase, so each phase is a thread with a span (ph X) for every unbroken row of
    bins in which it made calls, and a counter (ph C) says how many calls each bin held. Times are in us and right to
    a bin.

    Source of the format: "Trace Event Format", the Chromium project's document of the JSON object format.
    """
    rows = profile["metrics"].get("timeline") or []
    events: list[JsonObject] = [
        {
            "name": "process_name",
            "ph": "M",
            "pid": 1,
            "args": {"name": visible(facts.command_line(profile["manifest"]))},
        }
    ]
    for tid, phase in enumerate(PHASES, 1):
        events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": phase}})
        bins = {round(row["t_s"] * 10): row[phase] for row in rows if row.get(phase)}
        for first, last in _unbroken(sorted(bins)):
            events.append(
                {
                    "name": phase,
                    "cat": "phase",
                    "ph": "X",
                    "ts": first * BIN_US,
                    "dur": (last - first + 1) * BIN_US,
                    "pid": 1,
                    "tid": tid,
                    "args": {"calls": sum(bins[number] for number in range(first, last + 1))},
                }
            )
    counted = {round(row["t_s"] * 10): {phase: row.get(phase, 0) for phase in PHASES} for row in rows}
    ends = {number + 1 for number in counted} - set(counted)
    for number in sorted({*counted, *ends}):
        # a counter holds its value until the next one: a pause needs a zero of its own
        args = counted.get(number, dict.fromkeys(PHASES, 0))
        events.append({"name": "metadata calls", "ph": "C", "ts": number * BIN_US, "pid": 1, "args": args})
    document = {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "exporter": f"fsprobe {__version__}",
            "note": "phases are right to 0.1 s; times under the tracer",
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


def csv(profile: JsonObject) -> str:
    """Every grouping in one long table, a line a row; an empty cell is what was not observed or has no meaning there.

    Groupings: total, phase, module, package, mount, process, path (each sums to the total), syscall, missing, timeline.
    Read it with `pandas.read_csv(FILE, keep_default_na=False, na_values=[""])`, so that a module called `nan` stays one.
    """
    metrics = profile["metrics"]
    total = {**metrics, "key": "total", "time_s": metrics.get("fs_time_s"), "n_requests": facts.total_requests(profile)}
    out = io.StringIO()
    writer = csv_format.DictWriter(out, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()

    def write(grouping: str, row: JsonObject) -> None:
        cells = {name: visible(value) if isinstance(value, str) else value for name, value in row.items()}
        writer.writerow({**cells, "grouping": grouping})

    write("total", total)
    for grouping in ("phase", "module", "package", "mount", "process", "path"):
        requests = facts.requests_table(profile, f"by_{grouping}")
        for row in metrics.get(f"by_{grouping}") or []:
            extra = {"n_requests": facts.n_requests(requests[row["key"]])} if row["key"] in requests else {}
            parent = row.get("parent_pid") if grouping == "process" else row.get("parent")
            write(grouping, {**row, **extra, "parent": parent})
    for name, row in (metrics.get("by_syscall") or {}).items():
        write("syscall", {"key": name, "n_calls": row["calls"], "n_errors": row["errors"]})
    for row in metrics.get("missing") or []:
        write("missing", {"key": row["reason"], "n_missing": row["n"], "n_paths": row.get("n_paths")})
    for row in metrics.get("timeline") or []:
        for phase in PHASES:
            if row.get(phase):
                write("timeline", {"key": phase, "t_s": row["t_s"], "n_metadata": row[phase]})
    return out.getvalue()
