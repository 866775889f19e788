"""The part of the HTML page that only a job has: its ranks and nodes, when they made their calls, how they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fsprobe import numbers
from fsprobe.model.formats import JsonObject
from fsprobe.model.job import Job, NodeRow, RankRow
from fsprobe.model.profile import Profile
from fsprobe.model.rows import CallCounts, Row, sum_of
from fsprobe.report import facts, job_facts, job_rows, request_facts
from fsprobe.report.html.tables import MAX_ROWS, Column

SPARK_WIDTH, SPARK_HEIGHT = 120, 26
N_DETAILED = 400
"""Nodes whose share of a slot the chart can name; of more only the sum is drawn."""
MEASURES = (
    ("wall_s", "Wall time", "seconds"),
    ("startup_s", "Start and import", "seconds"),
    ("n_metadata", "Calls", "count"),
    ("n_not_found", "Not found", "count"),
    ("time_s", "Time in calls", "seconds"),
    ("peak_open_per_s", "Opens/s, busiest", "rate"),
    ("offset_s", "Began after", "seconds"),
)
_CALLS: tuple[Column, ...] = (
    ("n_metadata", "calls", "count"),
    ("n_open", "open", "count"),
    ("n_stat", "stat", "count"),
    ("n_not_found", "not found", "count"),
)
_RANK_COLUMNS: tuple[Column, ...] = (
    ("key", "rank", "name"),
    ("node", "node", "text"),
    ("wall_s", "wall, traced", "seconds"),
    ("startup_s", "start and import", "seconds"),
    *_CALLS,
    ("time_s", "time in calls", "seconds"),
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


def view(profile: Profile) -> JsonObject:
    """What the section of a job shows, ready for the template."""
    job = profile.of_job
    shown, rest = job_rows.rank_rows(job)
    nodes, nodes_rest = job_rows.node_rows(job)
    most = max((n for row in job.nodes for n in row.timeline or ()), default=0)
    slot_s = job.timeline.slot_s if job.timeline is not None else None
    return {
        "reasons": job_facts.reasons(profile),
        "who": job_facts.who(job),
        "n_ranks": len(job.ranks),
        "warnings": job_facts.warnings(job),
        "spread": job_rows.spread_rows(job),
        "ranks": shown,
        "ranks_rest": rest,
        "nodes": [(row, spark(row.timeline or (), most)) for row in nodes],
        "nodes_rest": nodes_rest,
        "spark_box": f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}",
        "spark_most": most / slot_s if slot_s else None,
        "slot_s": slot_s,
        "asked": request_facts.name_of(profile),
        "estimate": job_facts.estimate(job, request_facts.name_of(profile)),
        "times_note": job_facts.times_note(profile),
    }


def spark(calls: Sequence[int], most: int) -> str:
    """The outline of a small picture of calls over time, as the path of an SVG; all nodes share its scale."""
    if not calls or not most:
        return ""
    step = SPARK_WIDTH / len(calls)
    words = [f"M0 {SPARK_HEIGHT}"]
    for number, n in enumerate(calls):
        words.append(f"V{SPARK_HEIGHT - (SPARK_HEIGHT - 1) * n / most:.1f}H{(number + 1) * step:.1f}")
    return "".join([*words, f"V{SPARK_HEIGHT}Z"])


def charts(profile: Profile) -> JsonObject:
    """The data of the two charts: calls in each slot of time by node, and each rank's numbers."""
    job = profile.of_job
    timeline = job.timeline
    detailed = job.nodes if len(job.nodes) <= N_DETAILED else ()
    cells = _rank_cells(job)
    spreads = job.spread.observed
    measures = []
    for key, label, kind in MEASURES:
        values = [_cell(row, key, cells) for row in job.ranks]
        if any(value is not None for value in values):
            far = [entry.of for entry in spreads[key].outliers] if key in spreads else []
            measures.append({"key": key, "label": label, "kind": kind, "values": values, "far": far})
    return {
        "timeline": {
            "slot_s": timeline.slot_s,
            "all": timeline.n_metadata,
            "nodes": [row.key for row in detailed],
            "by_node": [row.timeline for row in detailed],
        }
        if timeline is not None
        else None,
        "ranks": {
            "names": [row.key for row in job.ranks],
            "nodes": [row.node for row in job.ranks],
            "ended": [job_rows.ended(row) for row in job.ranks],
            "measures": measures,
        },
    }


def tables(profile: Profile) -> list[JsonObject]:
    """The tables of all ranks and all nodes, as `report.html.tables` makes the others, where the job's section has not all."""
    job = profile.of_job
    nodes: Mapping[str, Callable[[NodeRow], Any]] = {}
    asked = request_facts.name_of(profile)
    made = [
        _table(
            "ranks",
            "Ranks",
            _RANK_COLUMNS,
            job.ranks,
            _rank_cells(job),
            f"{job_facts.who(job)} traced. {job_facts.rates_note(profile)}",
        ),
        _table(
            "nodes",
            "Nodes",
            [(key, asked if key == "n_requests" else label, kind) for key, label, kind in _NODE_COLUMNS],
            job.nodes,
            nodes,
            f"{facts.sentence_case(asked)} are those of a node with a cold cache (predicted); the slowest rank's wall time is traced.",
        ),
    ]
    is_cut = {"ranks": job_rows.rank_rows(job)[1] is not None, "nodes": job_rows.node_rows(job)[1] is not None}
    return [table for table in made if is_cut[table["id"]]]


def _rank_cells(job: Job) -> Mapping[str, Callable[[RankRow], Any]]:
    first_s = job.first_start_s
    return {"offset_s": lambda row: row.offset_s(first_s), "ended": job_rows.ended}


R = TypeVar("R", bound=Row)


def _cell(row: R, key: str, cells: Mapping[str, Callable[[R], Any]]) -> Any:
    return cells[key](row) if key in cells else getattr(row, key)


def _table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[R],
    cells: Mapping[str, Callable[[R], Any]],
    note: str,
) -> JsonObject:
    columns = [
        (key, label, kind)
        for key, label, kind in columns
        if kind in ("name", "text") or any(_cell(row, key, cells) is not None for row in rows)
    ]
    ranked = sorted(rows, key=lambda row: -row.n_metadata) if len(rows) > MAX_ROWS else list(rows)
    shown, rest = ranked[:MAX_ROWS], ranked[MAX_ROWS:]
    total = sum_of(rest)
    return {
        "id": name,
        "title": title,
        "observed": True,
        "columns": [{"key": key, "label": label, "kind": kind} for key, label, kind in columns],
        "rows": [[_cell(row, key, cells) for key, _, _ in columns] for row in shown],
        "rest": [_rest_cell(key, kind, total, len(rest)) for key, _, kind in columns] if rest else None,
        "sort": "n_metadata",
        "note": note,
    }


def _rest_cell(key: str, kind: str, total: CallCounts, n_rest: int) -> Any:
    """Calls add up; times of ranks side by side, and rates, do not."""
    if kind == "name":
        return f"{numbers.count(n_rest)} more"
    return getattr(total, key) if kind == "count" and hasattr(total, key) else ""
