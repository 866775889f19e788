"""The tables of the HTML report as plain columns and rows: at most 2,000 rows each, and one row for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fsprobe import numbers
from fsprobe.model.formats import JsonObject
from fsprobe.model.profile import Profile
from fsprobe.model.requests import RequestRow
from fsprobe.model.rows import PROGRAM, CallCounts, ModuleRow, MountRow, PathRow, ProcessRow, Row, SyscallRow, sum_of
from fsprobe.report import request_facts, sentences

MAX_ROWS = 2_000
REST = "(rest)"

Column = tuple[str, str, str]
"""Key, heading, kind: name | text | count | seconds | ms."""
R = TypeVar("R")
Cell = Callable[[R], Any]
Cells = dict[str, Cell[R]]
"""What a row shows in the column of a key, where that is no attribute of the row itself."""

_CALLS: tuple[Column, ...] = (
    ("n_metadata", "calls", "count"),
    ("n_open", "open", "count"),
    ("n_stat", "stat", "count"),
    ("n_list", "list", "count"),
    ("n_not_found", "not found", "count"),
    ("time_s", "time", "seconds"),
)


def all_tables(profile: Profile) -> list[JsonObject]:
    """Every table of the report: `{"id", "title", "unit", "columns", "rows", "rest", "sort", "note"}`."""
    return [
        _modules(profile),
        _packages(profile),
        *_seconds(profile),
        _mounts(profile),
        _processes(profile),
        _paths(profile),
        _syscalls(profile),
    ]


def _modules(profile: Profile) -> JsonObject:
    rows = profile.metrics.by_module
    requests = None if profile.requests is None else profile.requests.by_module
    return _table(
        "modules",
        "Modules" if profile.metrics.imports_by == "module" else "Imports by package",
        (
            ("key", profile.metrics.imports_by, "name"),
            ("n_metadata_cum", "calls, cumulative", "count"),
            ("n_metadata", "self", "count"),
            ("n_open", "open", "count"),
            ("n_stat", "stat", "count"),
            ("n_not_found", "not found", "count"),
            *_requests_column(profile),
            ("time_cum_s", "time, cumulative", "seconds"),
            ("parent", "imported by", "text"),
        ),
        rows or (),
        "n_metadata_cum",
        "Open, stat, not found and requests are self: without what the module imports. A name is asked for once, by the "
        "first module that needs it." + _traced(profile),
        cells={"n_requests": requests_of(requests), "parent": _imported_by(profile)},
        observed=rows is not None,
    )


def _packages(profile: Profile) -> JsonObject:
    requests = None if profile.requests is None else profile.requests.by_package
    cells: Cells[Row] = {"n_requests": requests_of(requests)}
    return _table(
        "packages",
        "Packages",
        (("key", "package", "name"), *_CALLS, *_requests_column(profile)),
        profile.metrics.by_package,
        "n_metadata",
        "A package is the installed distribution whose file or directory the call named." + _traced(profile),
        cells=cells,
    )


_SECONDS: tuple[Column, ...] = (
    ("wall_s", "own", "seconds"),
    ("wall_cum_s", "with what it imports", "seconds"),
    ("cpu_s", "CPU", "seconds"),
    ("metadata_s", "waiting in metadata calls", "seconds"),
    ("reads_s", "in reads", "seconds"),
    ("other_s", "other", "seconds"),
    ("n_major_faults", "major page faults", "count"),
)


def _seconds(profile: Profile) -> list[JsonObject]:
    """Where the seconds of imports and of packages went; nothing where imports were not timed."""
    account = profile.time
    if account is None or not account.by_import or not account.by_package:
        return []
    made = []
    for name, title, what, rows in (
        ("import-seconds", "Seconds by import", "import", account.by_import),
        ("package-seconds", "Seconds by package", "package", account.by_package),
    ):
        seen = [column for column in _SECONDS if any(getattr(row, column[0]) is not None for row in rows)]
        columns = (("key", what, "name"), *seen)
        cells = [[getattr(row, key) for key, _, _ in columns] for row in rows[:MAX_ROWS]]
        note = "CPU, waiting and the rest are parts of the own time, in the thread that imported, tracing overhead subtracted."
        made.append({**_frame(name, title, columns, "wall_s", note), "rows": cells, "rest": None})
    return made


def _mounts(profile: Profile) -> JsonObject:
    requests = profile.requests
    cells: Cells[MountRow] = {"n_requests": lambda row: None if requests is None else requests.n_at_server(row.key)}
    return _table(
        "mounts",
        "Mounts",
        (
            ("key", "mount", "name"),
            ("fstype", "type", "text"),
            ("fs_class", "class", "text"),
            *_CALLS[:5],
            *_requests_column(profile),
            ("p50_ms", "median", "ms"),
            ("p95_ms", "p95", "ms"),
            ("max_ms", "max", "ms"),
            ("n_over_1ms", "over 1 ms", "count"),
        ),
        profile.metrics.by_mount,
        "n_metadata",
        "What is asked of an image, of memory or of /proc reaches no server." + _traced(profile),
        cells=cells,
    )


def _processes(profile: Profile) -> JsonObject:
    rows: Sequence[ProcessRow] = profile.metrics.by_process
    return _table(
        "processes",
        "Program images",
        (
            ("key", "process", "name"),
            ("kind", "kind", "text"),
            *_CALLS[:4],
            ("n_exec", "exec", "count"),
            *_CALLS[4:],
            ("parent_pid", "parent pid", "text"),
        ),
        rows,
        "n_metadata",
        "One row for each program image that a process ran." + _traced(profile),
    )


def _paths(profile: Profile) -> JsonObject:
    rows: Sequence[PathRow] = profile.metrics.by_path
    return _table(
        "paths",
        "Paths",
        (("key", "path", "name"), *_CALLS),
        rows,
        "n_metadata",
        "Paths as the program wrote them. Bytes that are not UTF-8 and control characters are shown as escapes."
        + _traced(profile),
    )


def _syscalls(profile: Profile) -> JsonObject:
    rows: Sequence[tuple[str, SyscallRow]] = tuple(profile.metrics.by_syscall.items())
    columns: tuple[Column, ...] = (
        ("key", "system call", "name"),
        ("calls", "calls", "count"),
        ("errors", "failed", "count"),
    )
    rows = sorted(rows, key=lambda item: -item[1].calls)
    return {
        **_frame(
            "syscalls", "System calls", columns, "calls", "What the target did; fsprobe's own calls are excluded."
        ),
        "rows": [[name, row.calls, row.errors] for name, row in rows],
        "rest": None,
    }


def _traced(profile: Profile) -> str:
    return " Times include the tracing overhead." if profile.metrics.tracing_overhead_us else ""


def requests_of(requests: Sequence[RequestRow] | None) -> Callable[[Row], int | None]:
    """What says how many metadata requests a row's key has: 0 where the prediction has none, None without one."""
    if requests is None:
        return lambda row: None
    known = {row.key: row.n_metadata for row in requests}
    return lambda row: known.get(row.key, 0)


def _requests_column(profile: Profile) -> tuple[Column, ...]:
    return () if profile.requests is None else (("n_requests", request_facts.name_of(profile), "count"),)


def _imported_by(profile: Profile) -> Callable[[ModuleRow], str]:
    return lambda row: "" if row.key == PROGRAM else sentences.importer(row, profile) or numbers.NOT_OBSERVED


C = TypeVar("C", bound=Row)


def _table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[C],
    sort: str,
    note: str,
    *,
    cells: Cells[C] | None = None,
    observed: bool = True,
) -> JsonObject:
    def cell(row: C, key: str) -> Any:
        return cells[key](row) if cells is not None and key in cells else getattr(row, key)

    shown = sorted((row for row in rows if row.key != REST), key=lambda row: -(getattr(row, sort) or 0))
    others = [*(row for row in rows if row.key == REST), *shown[MAX_ROWS:]]
    n_others = sum(row.n_paths if isinstance(row, PathRow) else 1 for row in others)
    total = sum_of(others)
    return {
        **_frame(name, title, columns, sort, note),
        "observed": observed,
        "rows": [[cell(row, key) for key, _, _ in columns] for row in shown[:MAX_ROWS]],
        "rest": [_rest_cell(key, kind, total, n_others) for key, _, kind in columns] if others else None,
    }


def _frame(name: str, title: str, columns: Sequence[Column], sort: str, note: str) -> JsonObject:
    return {
        "id": name,
        "title": title,
        "observed": True,
        "columns": [{"key": key, "label": label, "kind": kind} for key, label, kind in columns],
        "sort": sort,
        "note": note,
    }


def _rest_cell(key: str, kind: str, total: CallCounts, n_others: int) -> Any:
    """Calls and times add up; a median, requests of names that are shared, and cumulative counts that overlap do not."""
    if kind == "name":
        return f"{n_others:,} more"
    return getattr(total, key) if hasattr(total, key) else ""
