"""The ranks of a job as rows: one each, one a node, and what is to be said of all of them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fsprobe.analysis.counting.profile import numbers
from fsprobe.analysis.counting.rates import PEAK_S, busiest
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.requests.rows import RequestCounts
from fsprobe.capture.machine import ranks
from fsprobe.jobs import sums as merging
from fsprobe.jobs.node_requests import JobRequests
from fsprobe.model.events import ParseQuality
from fsprobe.model.job import Absent, Ended, Job, NodeRow, RankRow, RankSpreads, Unreadable
from fsprobe.model.manifest import Manifest
from fsprobe.model.rows import Counts

N_SLOWEST = 5
SPREADS = tuple(item.name for item in fields(RankSpreads))
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
    lookups_of: str = ""
    """The recording that holds what the first rank of its node looked up for this one too; "" where it looked for itself."""
    program: tuple[str, ...] = ()
    """Its command up to the script, the module or the code."""
    scratch: str = ""
    """Where the run kept its log: a name of its own for each run; "" for a log that was loaded."""
    is_whole: bool = True
    """False for what `salvage` made: it does not know how the run ended."""


def rank_row(
    file: RankFile, manifest: Manifest, tally: Tally, quality: ParseQuality, *, n_paths: int, start_ns: int
) -> RankRow:
    """One recording as a row; `start_ns` is where its time axis begins on the wall clock."""
    opens: dict[int, int] = {}
    for process in tally.by_process.values():
        merging.add_numbers(opens, process.n_open_by_bin)
    startup_s = (
        round((tally.startup_end_ns - tally.first_ns) / 1e9, 6)
        if tally.startup_end_ns is not None and tally.first_ns is not None
        else None
    )
    return RankRow(
        key=file.name,
        rank=file.rank,
        local_rank=file.local_rank,
        node=file.node,
        host=sys.intern(manifest.host) if manifest.host else None,
        file=os.path.basename(file.path),
        backend=sys.intern(manifest.backend) if manifest.backend else None,
        exit_code=manifest.exit_code,
        signal=manifest.signal,
        complete=not (manifest.log_truncated or manifest.flushed or manifest.salvaged),
        started_s=round((start_ns + tally.first_ns) / 1e9, 3) if tally.first_ns is not None else manifest.started_s,
        wall_s=manifest.wall_s,
        user_s=manifest.user_s,
        sys_s=manifest.sys_s,
        read_bytes=manifest.read_bytes,
        startup_s=startup_s,
        **numbers(tally.total, quality.has_durations),
        n_paths=n_paths,
        peak_open_per_s=max(busiest(opens, PEAK_S), tally.settled_rates.get("peak_open_per_s", 0))
        if tally.n_timed
        else None,
    )


def natural(name: str) -> tuple[int, str]:
    """A key that sorts nid2 before nid10."""
    return len(name), name


def section(
    files: Sequence[RankFile],
    rank_rows: Sequence[RankRow],
    requests: JobRequests,
    total: Counts,
    *,
    unreadable: Sequence[tuple[str, str]],
    n_without_requests: int,
) -> Job:
    """The section `job` of a job's profile, without its times.

    Args:
        files: all recordings that were to be merged.
        rank_rows: those that were, as `rank_row` made them.
        requests: what each node asks of servers.
        total: the sum of all calls.
        unreadable: (file, why).
        n_without_requests: of how many recordings no requests are known.
    """
    rows = sorted(rank_rows, key=lambda row: (row.rank is None, row.rank or 0, row.file))
    size = max((file.size for file in files if file.size is not None), default=None)
    n_nodes = _n_nodes(files, size)
    n_of_rank = Counter(row.rank for row in rows if row.rank is not None)
    return Job(
        n_ranks=size,
        n_ranks_traced=len(n_of_rank) if n_of_rank else len(rows),
        n_nodes=n_nodes,
        n_nodes_traced=len({row.node for row in rows}),
        selection=next((file.selection for file in files if file.selection), "all"),
        ranks=tuple(rows),
        nodes=_node_rows(rows, requests.nodes, n_without_requests == len(rows)),
        spread=RankSpreads(
            **{name: merging.spread([(row.key, getattr(row, name)) for row in rows]) for name in SPREADS}
        ),
        slowest=tuple(row.key for row in sorted(rows, key=lambda row: -(row.wall_s or 0)) if row.wall_s is not None)[
            :N_SLOWEST
        ],
        killed=tuple(Ended(of=row.key, signal=row.signal) for row in rows if row.signal),
        failed=tuple(Ended(of=row.key, exit_code=row.exit_code) for row in rows if row.exit_code and not row.signal),
        incomplete=tuple(row.key for row in rows if not row.complete),
        absent=_absent(files, set(n_of_rank), size, n_nodes),
        repeated=tuple(f"rank {number}" for number, n in sorted(n_of_rank.items()) if n > 1),
        unreadable=tuple(Unreadable(file=os.path.basename(path), why=why) for path, why in unreadable),
        n_without_requests=n_without_requests,
        scaled=merging.scaled(
            n_ranks=size,
            n_nodes=n_nodes,
            n_traced=len(n_of_rank),
            total=total,
            nodes=requests.nodes.values() if not n_without_requests else (),
            by_clients=list(requests.by_clients.values()),
        ),
        clock=CLOCK,
    )


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


def _absent(files: Sequence[RankFile], seen: set[int], size: int | None, n_nodes: int | None) -> Absent:
    """Ranks that should have been traced and left nothing that can be read."""
    selection = next((file.selection for file in files if file.selection), ranks.ALL)
    if ranks.ONE_PER_NODE in selection.split(","):
        n_seen = len({file.node for file in files})
        return Absent(n=max(0, n_nodes - n_seen) if n_nodes is not None else None)
    if size is None:
        return Absent()
    wanted = [number for number in range(size) if ranks.selects(selection, ranks.Rank(number, ""))]
    absent = tuple(number for number in wanted if number not in seen)
    return Absent(ranks=absent, n=len(absent))


def _node_rows(rows: Sequence[RankRow], nodes: Mapping[str, RequestCounts], unobserved: bool) -> tuple[NodeRow, ...]:
    by_node: dict[str, list[RankRow]] = {}
    for row in rows:
        by_node.setdefault(row.node, []).append(row)
    return tuple(
        NodeRow(
            key=node,
            **merging.fields_of_sum(by_node[node]),
            n_recordings=len(by_node[node]),
            wall_s=max((row.wall_s for row in by_node[node] if row.wall_s is not None), default=None),
            requests=None if unobserved else nodes[node].value(),
        )
        for node in sorted(by_node, key=natural)
    )


def sum_over(rows: Iterable[RankRow], name: str) -> Any:
    """The sum of what was observed; None where nothing was."""
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    return round(sum(values), 6) if values else None
