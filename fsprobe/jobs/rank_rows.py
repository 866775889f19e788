"""The ranks of a job as rows: one each, one a node, and what is to be said of all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsprobe.analysis.counting.rates import PEAK_S, busiest
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.requests.rows import RequestCounts
from fsprobe.capture.machine import ranks
from fsprobe.jobs import sums as merging
from fsprobe.model.counts import Counts
from fsprobe.model.events import ParseQuality
from fsprobe.model.formats import JsonObject

N_SLOWEST = 5
MAX_PROCESS_ROWS = 1_000
SPREADS = ("wall_s", "startup_s", "n_metadata", "n_open", "n_missing", "fs_time_s", "peak_open_per_s")
CLOCK = (
    "Times of different nodes are compared by their own clocks, as the recorder read them when each rank began: they are as good "
    "as the nodes' synchronisation (usually some ms), and bins of 0.1 s make rates right to 0.2 s."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFile:
    """One recording, by its manifest alone."""

    path: str
    name: str
    """How it is called in the report: `rank 3`, else the file's name."""
    rank: int | None
    local_rank: int | None
    node: str
    job: str
    """Batch job and step, empty outside of a batch system."""
    size: int | None
    local_size: int | None
    n_nodes: int | None
    selection: str


def rank_row(
    file: RankFile, manifest: Mapping[str, Any], tally: Tally, quality: ParseQuality, start_ns: int
) -> JsonObject:
    """One recording as a row; `start_ns` is where its time axis begins on the wall clock."""
    total = tally.total
    opens: dict[int, int] = {}
    for process in tally.by_process.values():
        merging.add_numbers(opens, process.n_open_by_bin)
    startup_s = (
        round((tally.startup_end_ns - tally.first_ns) / 1e9, 6)
        if tally.startup_end_ns is not None and tally.first_ns is not None
        else None
    )
    return {
        "key": file.name,
        "rank": file.rank,
        "local_rank": file.local_rank,
        "node": file.node,
        "host": manifest.get("host"),
        "file": os.path.basename(file.path),
        "backend": manifest.get("backend"),
        "exit_code": manifest.get("exit_code"),
        "signal": manifest.get("signal"),
        "complete": not (manifest.get("log_truncated") or manifest.get("flushed") or manifest.get("salvaged")),
        "started_s": round((start_ns + tally.first_ns) / 1e9, 3)
        if tally.first_ns is not None
        else manifest.get("started_s"),
        "wall_s": manifest.get("wall_s"),
        "user_s": manifest.get("user_s"),
        "sys_s": manifest.get("sys_s"),
        "read_bytes": manifest.get("read_bytes"),
        "startup_s": startup_s,
        "n_open": total.n_open,
        "n_stat": total.n_stat,
        "n_readlink": total.n_readlink,
        "n_list": total.n_list,
        "n_exec": total.n_exec,
        "n_change": total.n_change,
        "n_missing": total.n_missing,
        "n_metadata": total.n_metadata,
        "n_paths": len(tally.by_path),
        "fs_time_s": round(total.time_ns / 1e9, 6) if quality.has_durations else None,
        "peak_open_per_s": max(busiest(opens, PEAK_S), tally.settled_rates.get("peak_open_per_s", 0))
        if tally.n_timed
        else None,
    }


def natural(name: str) -> tuple[int, str]:
    """A key that sorts nid2 before nid10."""
    return len(name), name


def section(
    files: Sequence[RankFile],
    rank_rows: Sequence[JsonObject],
    nodes: Mapping[str, RequestCounts],
    total: Counts,
    *,
    unreadable: Sequence[tuple[str, str]],
    n_without_requests: int,
) -> JsonObject:
    """The section "job" of a job's profile.

    Args:
        files: all recordings that were to be merged.
        rank_rows: those that were, as `rank_row` made them.
        nodes: what each node asks for.
        total: the sum of all calls.
        unreadable: (file, why).
        n_without_requests: of how many recordings no requests are known.
    """
    rows = sorted(rank_rows, key=lambda row: (row["rank"] is None, row["rank"] or 0, row["file"]))
    size = max((file.size for file in files if file.size is not None), default=None)
    n_nodes = _n_nodes(files, size)
    seen = {row["rank"] for row in rows if row["rank"] is not None}
    return {
        "n_recordings": len(rows),
        "n_ranks": size,
        "n_ranks_traced": len(seen) if seen else len(rows),
        "n_nodes": n_nodes,
        "n_nodes_traced": len({row["node"] for row in rows}),
        "selection": next((file.selection for file in files if file.selection), "all"),
        "ranks": rows,
        "nodes": _node_rows(rows, nodes, n_without_requests == len(rows)),
        "spread": {name: merging.spread([(row["key"], row[name]) for row in rows]) for name in SPREADS},
        "slowest": [
            row["key"]
            for row in sorted(
                (row for row in rows if row["wall_s"] is not None), key=lambda row: (-row["wall_s"], row["key"])
            )[:N_SLOWEST]
        ],
        "killed": [{"of": row["key"], "signal": row["signal"]} for row in rows if row["signal"]],
        "failed": [
            {"of": row["key"], "exit_code": row["exit_code"]} for row in rows if row["exit_code"] and not row["signal"]
        ],
        "incomplete": [row["key"] for row in rows if not row["complete"]],
        "missing": _missing(files, seen, size, n_nodes),
        "repeated": sorted({f"rank {number}" for number in seen if sum(row["rank"] == number for row in rows) > 1}),
        "unreadable": [{"file": os.path.basename(path), "why": why} for path, why in unreadable],
        "n_without_requests": n_without_requests,
        "scaled": merging.scaled(
            n_ranks=size,
            n_nodes=n_nodes,
            n_traced=len(seen),
            total=total,
            nodes=nodes.values() if not n_without_requests else (),
        ),
        "clock": CLOCK,
    }


def _n_nodes(files: Sequence[RankFile], size: int | None) -> int | None:
    """How many nodes the job has: as the launcher says, else from the ranks of a node where all have as many."""
    said = max((file.n_nodes for file in files if file.n_nodes is not None), default=None)
    if said is not None:
        return said
    local_sizes = {file.local_size for file in files}
    if size is not None and len(local_sizes) == 1:
        local_size = local_sizes.pop()
        return -(-size // local_size) if local_size else None
    return None


def _missing(files: Sequence[RankFile], seen: set[int], size: int | None, n_nodes: int | None) -> JsonObject:
    """Ranks that should have been traced and left nothing that can be read."""
    selection = next((file.selection for file in files if file.selection), ranks.ALL)
    if ranks.ONE_PER_NODE in selection.split(","):
        n_seen = len({file.node for file in files})
        return {"ranks": None, "n": max(0, n_nodes - n_seen) if n_nodes is not None else None}
    if size is None:
        return {"ranks": None, "n": None}
    wanted = [number for number in range(size) if ranks.selects(selection, ranks.Rank(number, ""))]
    absent = [number for number in wanted if number not in seen]
    return {"ranks": absent, "n": len(absent)}


def _node_rows(rows: Sequence[JsonObject], nodes: Mapping[str, RequestCounts], unobserved: bool) -> list[JsonObject]:
    by_node: dict[str, list[JsonObject]] = {}
    for row in rows:
        by_node.setdefault(row["node"], []).append(row)
    table = []
    for node in sorted(by_node, key=natural):
        members = by_node[node]
        entry: JsonObject = {"key": node, "n_recordings": len(members)}
        for name in ("n_open", "n_stat", "n_missing", "n_metadata"):
            entry[name] = sum(row[name] for row in members)
        walls = [row["wall_s"] for row in members if row["wall_s"] is not None]
        entry["wall_s"] = max(walls, default=None)
        entry["requests"] = None if unobserved else nodes[node].as_json()
        table.append(entry)
    return table


def bounded(rows: list[JsonObject]) -> list[JsonObject]:
    """The busiest processes, and one row for the rest."""
    if len(rows) <= MAX_PROCESS_ROWS:
        return rows
    ranked = sorted(rows, key=lambda row: -row["n_metadata"])
    rest = dict(ranked[MAX_PROCESS_ROWS], key="(rest)", label="(rest)", pid=0, parent_pid=0)
    for row in ranked[MAX_PROCESS_ROWS + 1 :]:
        for name, value in row.items():
            if name.startswith("n_") or (name == "time_s" and value is not None):
                rest[name] = rest[name] + value
    return [*ranked[:MAX_PROCESS_ROWS], rest]


def sum_of(rows: Iterable[JsonObject], name: str) -> Any:
    """The sum of what was observed; None where nothing was."""
    values = [row[name] for row in rows if row[name] is not None]
    return round(sum(values), 6) if values else None
