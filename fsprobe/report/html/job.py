"""The part of the HTML page that only a job has: its ranks and nodes, when they made their calls, how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from fsprobe.model.formats import JsonObject
from fsprobe.report import job_facts, numbers
from fsprobe.report.html.tables import MAX_ROWS, Column

SPARK_WIDTH, SPARK_HEIGHT = 120, 26
N_DETAILED = 400
"""Nodes whose share of a slot the chart can name; of more only the sum is drawn."""
MEASURES = (
    ("wall_s", "Wall time", "seconds"),
    ("startup_s", "Start and import", "seconds"),
    ("n_metadata", "Calls", "count"),
    ("n_missing", "In vain", "count"),
    ("fs_time_s", "Time in calls", "seconds"),
    ("peak_open_per_s", "Opens/s, busiest", "rate"),
    ("offset_s", "Began after", "seconds"),
)
_CALLS: tuple[Column, ...] = (
    ("n_metadata", "calls", "count"),
    ("n_open", "open", "count"),
    ("n_stat", "stat", "count"),
    ("n_missing", "in vain", "count"),
)
_RANK_COLUMNS: tuple[Column, ...] = (
    ("key", "rank", "name"),
    ("node", "node", "text"),
    ("wall_s", "wall, traced", "seconds"),
    ("startup_s", "start and import", "seconds"),
    *_CALLS,
    ("fs_time_s", "time in calls", "seconds"),
    ("peak_open_per_s", "opens/s, busiest 1 s", "count"),
    ("offset_s", "began after", "seconds"),
    ("ended", "ended", "text"),
)
_NODE_COLUMNS: tuple[Column, ...] = (
    ("key", "node", "name"),
    ("n_recordings", "ranks", "count"),
    *_CALLS,
    ("n_requests", "requests", "count"),
    ("peak_metadata_per_s", "calls/s, busiest 1 s", "count"),
    ("peak_open_per_s", "opens/s, busiest 1 s", "count"),
    ("wall_s", "slowest rank", "seconds"),
)


def view(profile: JsonObject) -> JsonObject:
    """What the section of a job shows, ready for the template."""
    job = profile["job"]
    shown, rest = job_facts.rank_rows(job)
    nodes, nodes_rest = job_facts.node_rows(job)
    most = max((n for row in job["nodes"] for n in row.get("timeline") or ()), default=0)
    timeline = job.get("timeline")
    return {
        "reasons": job_facts.reasons(profile),
        "who": job_facts.who(job),
        "n_ranks": len(job["ranks"]),
        "n_nodes": len(job["nodes"]),
        "warnings": job_facts.warnings(job),
        "spread": job_facts.spread_rows(job),
        "ranks": [{**row, "ended": ended(row)} for row in shown],
        "ranks_rest": rest,
        "nodes": [{**row, "spark": spark(row.get("timeline") or (), most)} for row in nodes],
        "nodes_rest": nodes_rest,
        "spark_box": f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}",
        "spark_most": most / timeline["slot_s"] if timeline else None,
        "slot_s": timeline["slot_s"] if timeline else None,
        "estimate": job_facts.estimate(job),
        "clock": job["clock"],
    }


def ended(row: JsonObject) -> str:
    """How a rank ended, in a word or two."""
    if row["signal"]:
        return f"signal {row['signal']}"
    if row["exit_code"]:
        return f"exit code {row['exit_code']}"
    return "" if row["complete"] else "not complete"


def spark(calls: Sequence[int], most: int) -> str:
    """The outline of a small picture of calls over time, as the path of an SVG; all nodes share its scale."""
    if not calls or not most:
        return ""
    step = SPARK_WIDTH / len(calls)
    words = [f"M0 {SPARK_HEIGHT}"]
    for number, n in enumerate(calls):
        words.append(f"V{SPARK_HEIGHT - (SPARK_HEIGHT - 1) * n / most:.1f}H{(number + 1) * step:.1f}")
    return "".join([*words, f"V{SPARK_HEIGHT}Z"])


def charts(profile: JsonObject) -> JsonObject:
    """The data of the two charts: calls in each slot of time by node, and each rank's numbers."""
    job = profile["job"]
    timeline = job.get("timeline")
    rows = with_offsets(job)
    spreads = job["spread"]
    return {
        "timeline": {
            "slot_s": timeline["slot_s"],
            "all": timeline["n_metadata"],
            "nodes": [row["key"] for row in job["nodes"][:N_DETAILED]] if len(job["nodes"]) <= N_DETAILED else [],
            "by_node": [row.get("timeline") for row in job["nodes"]] if len(job["nodes"]) <= N_DETAILED else [],
        }
        if timeline
        else None,
        "ranks": {
            "names": [row["key"] for row in rows],
            "nodes": [row["node"] for row in rows],
            "ended": [ended(row) for row in rows],
            "measures": [
                {
                    "key": key,
                    "label": label,
                    "kind": kind,
                    "values": [row[key] for row in rows],
                    "far": [entry["of"] for entry in (spreads.get(key) or {}).get("outliers", ())],
                }
                for key, label, kind in MEASURES
                if any(row[key] is not None for row in rows)
            ],
        },
    }


def with_offsets(job: JsonObject) -> list[JsonObject]:
    """All ranks, each with when it began after the first one."""
    rows: list[JsonObject] = job["ranks"]
    first_s = min((row["started_s"] for row in rows if row["started_s"] is not None), default=None)
    return [
        {
            **row,
            "offset_s": round(row["started_s"] - first_s, 3)
            if first_s is not None and row["started_s"] is not None
            else None,
            "ended": ended(row),
        }
        for row in rows
    ]


def tables(profile: JsonObject) -> list[JsonObject]:
    """The tables of all ranks and all nodes, as `report.tables` makes the others."""
    job = profile["job"]
    every, _ = job_facts.node_rows(job, n_most=len(job["nodes"]))
    return [
        _table(
            "ranks",
            "Ranks",
            _RANK_COLUMNS,
            with_offsets(job),
            "n_metadata",
            f"{job_facts.who(job)} traced. {job_facts.TRACED_RATES}",
        ),
        _table(
            "nodes",
            "Nodes",
            _NODE_COLUMNS,
            every,
            "n_metadata",
            "Requests are those of a node with empty caches to all its filesystems; the slowest rank's wall time is traced.",
        ),
    ]


def _table(
    name: str, title: str, columns: Sequence[Column], rows: Sequence[JsonObject], sort: str, note: str
) -> JsonObject:
    columns = [
        column
        for column in columns
        if column[2] in ("name", "text") or any(row.get(column[0]) is not None for row in rows)
    ]
    ranked = sorted(rows, key=lambda row: -(row.get(sort) or 0)) if len(rows) > MAX_ROWS else list(rows)
    shown, rest = ranked[:MAX_ROWS], ranked[MAX_ROWS:]
    return {
        "id": name,
        "title": title,
        "observed": True,
        "columns": [{"key": key, "label": label, "kind": kind} for key, label, kind in columns],
        "rows": [[row.get(key) for key, _, _ in columns] for row in shown],
        "rest": [
            f"{numbers.count(len(rest))} more"
            if kind == "name"
            else sum(row.get(key) or 0 for row in rest)
            if kind == "count" and not key.startswith("peak")
            else ""
            for key, _, kind in columns
        ]
        if rest
        else None,
        "sort": sort,
        "note": note,
    }
