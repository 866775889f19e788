"""What fsprobe wrote as format 1, as format 2 has it: JSON objects in, JSON objects out, for `serial.from_json`.

Only what was renamed or rearranged is named here. What is not as format 1 wrote it is passed on as it is, so that
`from_json` says where it differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from fsprobe.model.capability import Capability
from fsprobe.model.formats import JsonObject
from fsprobe.model.rows import OURS, PROGRAM

OUTSIDE = "(not in an import)"
"""Key of the main module in format 1."""
_TRACED = (
    Capability.LOADER,
    Capability.RESULTS,
    Capability.DURATIONS,
    Capability.STATS,
    Capability.CHILDREN,
    Capability.FOREIGN_PROGRAMS,
)
_CAPABILITIES: Mapping[str, tuple[Capability, ...]] = {
    "strace": _TRACED,
    "ptrace": _TRACED,
    "audit": (Capability.RESULTS, Capability.STATS),
    "strace log": (Capability.LOADER, Capability.RESULTS, Capability.STATS, Capability.FOREIGN_PROGRAMS),
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


def capabilities(backend: Any) -> tuple[str, ...]:
    """What a recording shows that does not say it itself; empty where that is not known."""
    return tuple(part.value for part in _CAPABILITIES.get(str(backend), ()))


def manifest(old: JsonObject) -> JsonObject:
    """The manifest of a recording or job: what nobody knows is left out, and what it shows is named."""
    new = {name: value for name, value in old.items() if value is not None}
    new.setdefault("capabilities", list(capabilities(old.get("backend"))))
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
    new = {**old, "format": 2, "manifest": _if_object(old.get("manifest"), manifest)}
    new["quality"] = _renamed(old.get("quality"))
    new["metrics"] = _if_object(old.get("metrics"), _metrics)
    classes = _mounts(old)
    new["requests"] = _if_object(old.get("requests"), lambda requests: _requests(requests, classes))
    new["job"] = _if_object(old.get("job"), lambda job: _job(job, new["requests"]))
    return new


def comparison(old: JsonObject) -> JsonObject:
    """A comparison of storage layouts."""
    return {**old, "format": 2, "rows": _each(old.get("rows"), _layout_row)}


# ---- parts ------------------------------------------------------------------------------------------------------------


def _if_object(value: Any, change: Callable[[JsonObject], JsonObject]) -> Any:
    return change(value) if isinstance(value, dict) else value


def _each(value: Any, change: Callable[[JsonObject], JsonObject]) -> Any:
    return [_if_object(row, change) for row in value] if isinstance(value, list) else value


def _renamed(value: Any) -> Any:
    return {_RENAMED.get(name, name): inner for name, inner in value.items()} if isinstance(value, dict) else value


def _metrics(old: JsonObject) -> JsonObject:
    new: JsonObject = _renamed({name: value for name, value in old.items() if name != "fs_time_s"})
    for name in ("by_phase", "by_package", "by_mount", "by_process", "by_path"):
        new[name] = _each(old.get(name), _renamed)
    new["by_module"] = _each(old.get("by_module"), _named_module)
    new["timeline"] = _each(old.get("timeline"), _timeline_row)
    new["processes"], new["n_processes_at_least"] = _processes(old.get("by_process"))
    return new


def _named_module(old: JsonObject) -> JsonObject:
    new: JsonObject = _renamed(old)
    return {**new, "key": PROGRAM} if new.get("key") == OUTSIDE else new


def _timeline_row(old: JsonObject) -> JsonObject:
    return {"t_s": old.get("t_s"), "by_phase": {name: value for name, value in old.items() if name != "t_s"}}


def _processes(rows: Any) -> tuple[dict[str, int], bool]:
    """Processes by kind. Ranks may have had the same process numbers: a key that comes again is that of another rank."""
    kinds: dict[tuple[Any, int], str] = {}
    seen: Counter[tuple[Any, Any]] = Counter()
    at_least = False
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
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
        rows = place.get(table) if isinstance(place, dict) else None
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and isinstance(row.get(key), str):
                found[row[key]] = (row.get("fs_class"), row.get("fstype"))
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
    new = {**old, "by_mount": _request_rows(old.get("by_mount"), mounts)}
    for name in ("by_package", "by_module"):
        new[name] = _request_rows(old.get(name), {})
    return new


def _job(old: JsonObject, requests: Any) -> JsonObject:
    new = {**old, "ranks": _each(old.get("ranks"), _renamed), "absent": old.get("missing")}
    new.pop("missing", None)
    new["spread"] = _renamed(old.get("spread"))
    new["scaled"] = _if_object(old.get("scaled"), lambda scaled: {**scaled, "metrics": _renamed(scaled.get("metrics"))})
    n_nodes = len(old["nodes"]) if isinstance(old.get("nodes"), list) else 0
    ranks = [row for row in new["ranks"] if isinstance(row, dict)] if isinstance(new["ranks"], list) else []
    new["nodes"] = _each(old.get("nodes"), lambda node: _node(node, ranks, n_nodes, requests))
    return new


_CALLS = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")


def _node(old: JsonObject, ranks: list[JsonObject], n_nodes: int, requests: Any) -> JsonObject:
    """A node's row had some classes of calls only, and requests of all mounts: the others stand in the ranks' rows."""
    mine = [row for row in ranks if row.get("node") == old.get("key")]
    new: JsonObject = _renamed(old)
    for name in _CALLS:
        numbers = [row.get(name) for row in mine]
        if all(isinstance(n, int) for n in numbers):
            new[name] = sum(n for n in numbers if isinstance(n, int))
    if isinstance(new.get("requests"), dict):
        new["requests"] = _node_requests(new["requests"], n_nodes, requests)
    return new


def _node_requests(old: JsonObject, n_nodes: int, requests: Any) -> JsonObject | None:
    """What a node asks of servers: exact where no mount of the job answers by itself; else not known of one node of many."""
    by_mount = requests.get("by_mount") if isinstance(requests, dict) else None
    rows = [row for row in by_mount if isinstance(row, dict)] if isinstance(by_mount, list) else []
    names = ("lookup", "negative", "open", "opendir", "readdir", "readlink", "change")
    if not any(row.get(name) for row in rows if row.get("fs_class") in OURS for name in names):
        return old
    if n_nodes > 1 or any(not isinstance(row.get(name), int) for row in rows for name in names):
        return None
    return {name: sum(row[name] for row in rows if row.get("fs_class") not in OURS) for name in names}


def _layout_row(old: JsonObject) -> JsonObject:
    new = {**old, "metrics": _renamed(old.get("metrics"))}
    requests = old.get("requests")
    if isinstance(requests, dict):
        table = {key: row for key, row in requests.items() if key not in ("environment", "environment_counts")}
        new["requests"] = _request_rows(table, {})
        new["environment_requests"] = requests.get("environment_counts")
    return new
