"""The tables of the HTML report as plain columns and rows: at most 2,000 rows each, and one row for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsprobe.model.formats import JsonObject
from fsprobe.report import facts, sentences

MAX_ROWS = 2_000
REST = "(rest)"

Column = tuple[str, str, str]
"""Key of the row, heading, kind: name | text | count | seconds | ms."""

_CALLS: tuple[Column, ...] = (
    ("n_metadata", "calls", "count"),
    ("n_open", "open", "count"),
    ("n_stat", "stat", "count"),
    ("n_list", "list", "count"),
    ("n_missing", "in vain", "count"),
    ("time_s", "time", "seconds"),
)
_REQUESTS: Column = ("n_requests", "requests", "count")


def all_tables(profile: JsonObject) -> list[JsonObject]:
    """Every table of the report: `{"id", "title", "unit", "columns", "rows", "rest", "sort", "note"}`."""
    metrics = profile["metrics"]
    by_package = with_requests(metrics.get("by_package") or [], facts.requests_table(profile, "by_package"))
    by_module = with_requests(metrics.get("by_module") or [], facts.requests_table(profile, "by_module"))
    by_mount = with_requests(metrics.get("by_mount") or [], facts.requests_table(profile, "by_mount"))
    syscalls = [
        {"key": name, "calls": row["calls"], "errors": row["errors"]}
        for name, row in (metrics.get("by_syscall") or {}).items()
    ]
    return [
        _table(
            "modules",
            "Modules",
            (
                ("key", "module", "name"),
                ("n_metadata_cum", "calls, with its imports", "count"),
                ("n_metadata", "its own", "count"),
                ("n_open", "open", "count"),
                ("n_stat", "stat", "count"),
                ("n_missing", "in vain", "count"),
                _REQUESTS,
                ("time_cum_s", "time, with imports", "seconds"),
                ("parent", "asked for by", "text"),
            ),
            [{**row, "parent": _asked_for_by(row)} for row in by_module],
            "n_metadata_cum",
            "Open, stat, in vain and requests are the module's own; a name is asked for once, by the first module that needs it.",
            observed=metrics.get("by_module") is not None,
        ),
        _table(
            "packages",
            "Packages",
            (("key", "package", "name"), *_CALLS, _REQUESTS),
            by_package,
            "n_metadata",
            "A package is the installed distribution whose file or directory the call named.",
        ),
        _table(
            "mounts",
            "Mounts",
            (
                ("key", "mount", "name"),
                ("fstype", "type", "text"),
                ("fs_class", "class", "text"),
                *_CALLS[:5],
                _REQUESTS,
                ("p50_ms", "median", "ms"),
                ("p95_ms", "p95", "ms"),
                ("max_ms", "max", "ms"),
                ("n_over_1ms", "over 1 ms", "count"),
            ),
            by_mount,
            "n_metadata",
            "Latencies hold the tracer's own stop.",
        ),
        _table(
            "processes",
            "Processes",
            (
                ("key", "process", "name"),
                ("kind", "kind", "text"),
                *_CALLS[:4],
                ("n_exec", "exec", "count"),
                *_CALLS[4:],
                ("parent_pid", "parent pid", "text"),
            ),
            metrics.get("by_process") or [],
            "n_metadata",
            "One row for each program image that a process ran.",
        ),
        _table(
            "paths",
            "Paths",
            (("key", "path", "name"), *_CALLS),
            metrics.get("by_path") or [],
            "n_metadata",
            "Paths as the program wrote them. Bytes that are not UTF-8 and control characters are shown as escapes.",
        ),
        _table(
            "syscalls",
            "System calls",
            (("key", "system call", "name"), ("calls", "calls", "count"), ("errors", "failed", "count")),
            syscalls,
            "calls",
            "What the target did; fsprobe's own calls are taken out.",
        ),
    ]


def _asked_for_by(row: JsonObject) -> str:
    if row["key"] == sentences.NO_IMPORT:
        return ""
    return row.get("parent") or "the program"


def with_requests(rows: Sequence[JsonObject], requests: dict[str, JsonObject]) -> list[JsonObject]:
    """The rows with `n_requests`: 0 for what the prediction does not name, None where there is no prediction."""
    missing = 0 if requests else None
    return [
        {**row, "n_requests": facts.n_requests(requests[row["key"]]) if row["key"] in requests else missing}
        for row in rows
    ]


def _table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[JsonObject],
    sort: str,
    note: str,
    observed: bool = True,
) -> JsonObject:
    shown = [row for row in rows if row["key"] != REST]
    rest_rows = [row for row in rows if row["key"] == REST]
    shown.sort(key=lambda row: -(row.get(sort) or 0))
    rest_rows += shown[MAX_ROWS:]
    n_rest = len(shown[MAX_ROWS:]) + sum(int(row.get("n_paths") or 1) for row in rest_rows if row["key"] == REST)
    if not any(row.get("n_requests") is not None for row in rows):
        columns = [column for column in columns if column[0] != "n_requests"]
    return {
        "id": name,
        "title": title,
        "observed": observed,
        "columns": [{"key": key, "label": label, "kind": kind} for key, label, kind in columns],
        "rows": [[row.get(key) for key, _, _ in columns] for row in shown[:MAX_ROWS]],
        "rest": [_rest_cell(key, kind, rest_rows, n_rest) for key, _, kind in columns] if rest_rows else None,
        "sort": sort,
        "note": note,
    }


def _rest_cell(key: str, kind: str, rows: Sequence[JsonObject], n_rest: int) -> Any:
    """Counts and times add up; a median or a maximum of medians means nothing, and cumulative counts overlap."""
    if kind == "name":
        return f"{n_rest:,} more"
    if kind in ("count", "seconds") and "_cum" not in key:
        values = [row[key] for row in rows if row.get(key) is not None]
        return sum(values) if values else None
    return ""
