"""What fsprobe wrote as format 1, as format 2 has it: JSON objects in, JSON objects out, for `serial.from_json`.

Only what was renamed or rearranged is named here. What is not as format 1 wrote it is passed on as it is, so that
`from_json` says where it differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from fsprobe import capabilities
from fsprobe.model.formats import JsonObject
from fsprobe.model.rows import OURS, PROGRAM

OUTSIDE = "(not in an import)"
"""Key of the main module in format 1."""
_TRACED = (
    capabilities.LOADER,
    capabilities.RESULTS,
    capabilities.DURATIONS,
    capabilities.STATS,
    capabilities.CHILDREN,
    capabilities.FOREIGN_PROGRAMS,
)
_CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "strace": _TRACED,
    "ptrace": _TRACED,
    "audit": (capabilities.RESULTS, capabilities.STATS),
    "strace log": (capabilities.LOADER, capabilities.RESULTS, capabilities.STATS, capabilities.FOREIGN_PROGRAMS),
}
"""What each way of recording sees, for recordings that do not say it themselves."""
_RENAMED = {
    "n_missing": "n_not_found",
    "n_missing_cum": "n_not_found_cum",
    "missing": "not_found",
    "fs_time_s": "time_s",
    "tracer_floor_us": "tracing_overhead_us",
    "fs_time_above_floor_s": "time_less_overhead_s",
    "share_fs_time_at_most": "share_of_wall",
    "own": "own_calls",
}


def capabilities_of(backend: Any) -> tuple[str, ...]:
    """What a recording shows that does not say it itself; empty where that is not known."""
    return _CAPABILITIES.get(str(backend), ())


def manifest(old: JsonObject) -> JsonObject:
    """The manifest of a recording or job: what nobody knows is left out, and what it shows is named."""
    new = {name: value for name, value in old.items() if value is not None}
    new.setdefault("capabilities", list(capabilities_of(old.get("backend"))))
    return new


def tally(old: JsonObject) -> JsonObject:
    """The tally of a streamed run, from version 1 to version 2."""
    counts = [_RENAMED.get(name, name) for name in old["counts"]]
    new = {**old, "counts": counts, "version": 2, "by_module": [_module_row(row) for row in old["by_module"]]}
    new["not_found"] = new.pop("missing")
    return new


def _module_row(row: list[Any]) -> list[Any]:
    return [PROGRAM if row[0] == OUTSIDE else row[0], *row[1:]]


def profile(old: JsonObject) -> JsonObject:
    """The profile of a job."""
    mounts = _mounts(old)
    new = _with_parts(
        {**old, "format": 2},
        manifest=manifest,
        quality=_renamed,
        metrics=_metrics,
        requests=lambda requests: _requests(requests, mounts),
    )
    return _with_parts(new, job=lambda job: _job(job, new.get("requests")))


def comparison(old: JsonObject) -> JsonObject:
    """A comparison of storage layouts."""
    return _with_tables({**old, "format": 2}, rows=_layout_row)


# ---- parts ------------------------------------------------------------------------------------------------------------


Change = Callable[[JsonObject], JsonObject]


def _with_parts(old: JsonObject, **changes: Change) -> JsonObject:
    """An object with some of its objects changed, where it has them."""
    new = dict(old)
    for name, change in changes.items():
        if isinstance(old.get(name), dict):
            new[name] = change(old[name])
    return new


def _with_tables(old: JsonObject, **changes: Change) -> JsonObject:
    """An object with the rows of some of its lists changed, where it has them."""
    new = dict(old)
    for name, change in changes.items():
        if isinstance(old.get(name), list):
            new[name] = [change(row) if isinstance(row, dict) else row for row in old[name]]
    return new


def _objects(value: Any) -> list[JsonObject]:
    """Those rows of a list that are objects."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _renamed(old: JsonObject) -> JsonObject:
    return {_RENAMED.get(name, name): inner for name, inner in old.items()}


def _metrics(old: JsonObject) -> JsonObject:
    new = _with_tables(
        _renamed({name: value for name, value in old.items() if name != "fs_time_s"}),
        by_phase=_renamed,
        by_module=_module,
        by_package=_renamed,
        by_mount=_renamed,
        by_process=_renamed,
        by_path=_renamed,
        timeline=_timeline_row,
    )
    new["processes"], new["n_processes_at_least"] = _processes(_objects(old.get("by_process")))
    return new


def _module(old: JsonObject) -> JsonObject:
    new = _renamed(old)
    return {**new, "key": PROGRAM} if new.get("key") == OUTSIDE else new


def _timeline_row(old: JsonObject) -> JsonObject:
    return {"t_s": old.get("t_s"), "by_phase": {name: value for name, value in old.items() if name != "t_s"}}


def _processes(rows: list[JsonObject]) -> tuple[dict[str, int], bool]:
    """Processes by kind. Ranks may have had the same process numbers: a key that comes again is that of another rank."""
    kinds: dict[tuple[Any, int], str] = {}
    seen: Counter[tuple[Any, Any]] = Counter()
    at_least = False
    for row in rows:
        pid, key = str(row.get("pid")), str(row.get("key"))
        if key in ("(rest)", "(further processes)"):
            at_least = True
            continue
        kinds[pid if row.get("pid") else key, seen[pid, key]] = str(row.get("kind") or "")
        seen[pid, key] += 1
    return dict(Counter(kinds.values())), at_least


def _mounts(old: JsonObject) -> dict[str, tuple[Any, Any]]:
    """Mount -> (fs_class, fstype), from wherever the profile has it."""
    found: dict[str, tuple[Any, Any]] = {}
    for part, table, key in (("manifest", "mounts", "path"), ("metrics", "by_mount", "key")):
        place = old.get(part)
        for row in _objects(place.get(table)) if isinstance(place, dict) else ():
            found[str(row.get(key))] = (row.get("fs_class"), row.get("fstype"))
    return found


def _request_rows(table: Any, mounts: Mapping[str, tuple[Any, Any]]) -> Any:
    if not isinstance(table, dict):
        return table
    rows = []
    for key, row in table.items():
        fs_class, fstype = mounts.get(key, (None, None))
        rows.append({**row, "key": key, "fs_class": fs_class, "fstype": fstype} if isinstance(row, dict) else row)
    return rows


def _requests(old: JsonObject, mounts: Mapping[str, tuple[Any, Any]]) -> JsonObject:
    new = dict(old)
    for name, classes in (("by_mount", mounts), ("by_package", {}), ("by_module", {})):
        if name in old:
            new[name] = _request_rows(old[name], classes)
    return new


def _job(old: JsonObject, requests: Any) -> JsonObject:
    new = {("absent" if name == "missing" else name): value for name, value in old.items()}
    new = _with_tables(new, ranks=_renamed)
    new = _with_parts(new, spread=_renamed, scaled=lambda scaled: _with_parts(scaled, metrics=_renamed))
    ranks, nodes = _objects(new.get("ranks")), _objects(new.get("nodes"))
    by_mount = _objects(requests.get("by_mount")) if isinstance(requests, dict) else []
    return _with_tables(new, nodes=lambda node: _node(node, ranks, by_mount, is_only=len(nodes) == 1))


_CALLS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")
_REQUESTS = ("lookup", "negative", "open", "opendir", "readdir", "readlink", "change")


def _node(old: JsonObject, ranks: list[JsonObject], by_mount: list[JsonObject], is_only: bool) -> JsonObject:
    """A node's row had some classes of calls only, and requests of all mounts: the others stand in the ranks' rows."""
    new = _renamed(old)
    for name in _CALLS:
        numbers = [row.get(name) for row in ranks if row.get("node") == old.get("key")]
        if all(isinstance(n, int) for n in numbers):
            new[name] = sum(n for n in numbers if isinstance(n, int))
    if isinstance(old.get("requests"), dict):
        new["requests"] = _at_servers(old["requests"], by_mount, is_only)
    return new


def _at_servers(old: JsonObject, by_mount: list[JsonObject], is_only: bool) -> JsonObject | None:
    """What a node asks of servers: exact where nothing is asked of an image or memory, else known of a job's only node."""
    if not any(row.get(name) for row in by_mount if str(row.get("fs_class")) in OURS for name in _REQUESTS):
        return old
    if not is_only or any(not isinstance(row.get(name), int) for row in by_mount for name in _REQUESTS):
        return None
    return {name: sum(row[name] for row in by_mount if str(row.get("fs_class")) not in OURS) for name in _REQUESTS}


def _layout_row(old: JsonObject) -> JsonObject:
    new = _with_parts(old, metrics=_renamed)
    requests = old.get("requests")
    if isinstance(requests, dict):
        table = {key: row for key, row in requests.items() if key not in ("environment", "environment_counts")}
        new["requests"] = _request_rows(table, {})
        new["environment_requests"] = requests.get("environment_counts")
    return new
