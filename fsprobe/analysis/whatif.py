"""What start-up would take elsewhere: on another filesystem, and on many nodes at once. Estimates, and they say so.

One start alone: t = CPU + requests x latency, where the latency is known per request; CPU + open calls x latency where it
was published as seconds per open call, with the lookups and data reads of that open in it. Many nodes: every node's client asks
once for what its processes share, so with R processes a node and a server that answers `rate` requests a second

    t >= max(start alone, nodes x (requests + settling + (R - 1) x again) / rate)

where `again` is what each further process of a node asks: by FUSE's rules its opens; on NFS and Lustre what the same run asks a
third time in the cache that it left (a GETATTR per open on NFS 3; nothing for files that are lent on NFS 4; on Lustre an
enqueue and a close per open that is not kept). `settling` is what the second process asks beyond that.

It is a lower bound: processes that start at the same moment also list a directory each while no listing is cached yet (up
to R x readdir), and CPU that no waiting hides comes on top.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fsprobe.errors import BadInput
from fsprobe.model.answers import CurvePoint, Estimate
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Profile
from fsprobe.model.requests import RequestCounts, RequestRow, total_of

DEFAULT_RATE = 75_000.0
"""Requests/s of one Lustre metadata server, realistic (up to 200,000 at best): LUMI training notes, 203-Lustre, 2025-10."""
DEFAULT_RATE_SOURCE = "one Lustre metadata server, LUMI training notes, 2025-10"
DEFAULT_NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


REQUEST, OPEN_CALL = "request", "open call"
"""What a latency is multiplied with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a request, or an open call, takes on some filesystem: an estimate with its source."""

    name: str
    ms: float
    source: str
    per: str = REQUEST
    """REQUEST, or OPEN_CALL: lookups, the open and the data reads of one open call together."""
    is_local: bool = False
    """A disk of the node's own: no server is shared, so nodes don't wait for each other."""
    is_hot: bool = False
    """Measured with full caches: how much of what is counted still reaches the server is not known."""


_TENSORFLOW = (
    "(wall - 2.0 s of a RAM disk) / 4,190 open calls of `import tensorflow`, EESSI measurements in multixscale/"
    "cvmfs-tutorial-hpc-best-practices docs/performance.md; lookups and data reads are in it"
)
PROFILES = (
    Latency(name="local SSD, cold", ms=0.55, source=_TENSORFLOW + ": 4.3 s", per=OPEN_CALL, is_local=True),
    Latency(name="Lustre, hot", ms=0.2, source=_TENSORFLOW + ": 2.8 s", per=OPEN_CALL, is_hot=True),
    Latency(
        name="Lustre, quiet", ms=0.5, source="mdtest stat with one thread, about 2,000/s, in Dell's Lustre white papers"
    ),
    Latency(name="NFS, cold", ms=1.05, source=_TENSORFLOW + ": 6.4 s", per=OPEN_CALL),
    Latency(name="GPFS, cold", ms=7.9, source=_TENSORFLOW + ": 35-48 s, the lower end", per=OPEN_CALL),
    Latency(name="Lustre, busy, cold", ms=17.4, source=_TENSORFLOW + ": 75 s", per=OPEN_CALL),
)
CURVE = PROFILES[2]
"""What a request takes in the curve over nodes: of a quiet filesystem, since the job's own load is in the server's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one process (and the node it runs on) asks of the file server at start-up, with an empty cache."""

    layout: str
    cpu_s: float | None
    """None: not observed; times are of the waits alone then."""
    lookup: int
    open: int
    opendir: int
    readdir: int
    readlink: int
    cpu_source: str = ""
    """where `cpu_s` comes from, in words"""
    shared_open: int = 0
    """Opens that a node makes once for all its processes: of an image that is mounted once."""
    other: int = 0
    """What only the clients of NFS and Lustre ask for: rights, attributes, closes."""
    again: int | None = None
    """What each further process of a node asks; None: its opens (FUSE)."""
    settling: int = 0
    """What the second process of a node asks beyond that."""
    n_open_calls: int | None = None
    """Open calls of one start, of files and directories, failed ones included; None where only requests are known."""

    def n_waits(self, latency: Latency) -> int:
        """How often a start waits for what the latency is of."""
        if latency.per == REQUEST:
            return self.n_requests
        return self.open + self.opendir + self.shared_open if self.n_open_calls is None else self.n_open_calls

    @property
    def n_requests(self) -> int:
        """Metadata requests of one start alone."""
        return self.lookup + self.open + self.opendir + self.readdir + self.readlink + self.shared_open + self.other

    def n_requests_node(self, ranks_per_node: int) -> int:
        """Metadata requests of one node with R processes: the first asks for everything, each further one `again`."""
        again = self.open + self.opendir if self.again is None else self.again
        return self.n_requests + (ranks_per_node - 1) * again + (self.settling if ranks_per_node > 1 else 0)


def start_s(demand: Demand, latency: Latency) -> float:
    """Seconds that one start takes, alone on a cold client; its waits alone where its CPU was not observed."""
    return (demand.cpu_s or 0.0) + demand.n_waits(latency) * latency.ms / 1e3


def job_s(demand: Demand, latency: Latency, nodes: float, ranks_per_node: int, rate: float) -> float:
    """Seconds that a job's start takes at least."""
    if latency.is_local or latency.is_hot:
        return start_s(demand, latency)
    return max(start_s(demand, latency), nodes * demand.n_requests_node(ranks_per_node) / rate)


def saturates_at_n_nodes(demand: Demand, latency: Latency, ranks_per_node: int, rate: float) -> float:
    """From how many nodes on all wait for the server; infinite where nothing is asked of it, or nobody knows how much."""
    if latency.is_local or latency.is_hot:
        return float("inf")
    asked = demand.n_requests_node(ranks_per_node)
    return start_s(demand, latency) * rate / asked if asked else float("inf")


def demand_of(
    layout: str,
    cpu_s: float | None,
    counts: RequestCounts,
    *,
    is_image: bool = False,
    cpu_source: str = "",
    n_open_calls: int | None = None,
) -> Demand:
    """The demand behind request counts.

    Args:
        layout: what to call it.
        cpu_s: CPU of one start, s; None where it was not observed.
        counts: requests for the environment, or for the image that holds it.
        is_image: the counts are of mounting an image, which a node does once for all its processes.
        cpu_source: where the CPU time comes from, in words.
        n_open_calls: open calls for files of the environment, where they were counted; of an image it is opened once.
    """
    n_opens = (0, 0) if is_image else (counts.open, counts.opendir)
    return Demand(
        layout=layout,
        cpu_s=cpu_s,
        cpu_source=cpu_source,
        lookup=counts.lookup,
        open=n_opens[0],
        opendir=n_opens[1],
        readdir=counts.readdir,
        readlink=counts.readlink,
        shared_open=counts.open + counts.opendir if is_image else 0,
        other=counts.other,
        again=0 if is_image else counts.again,
        settling=0 if is_image else counts.settling,
        n_open_calls=1 if is_image else n_open_calls,
    )


def from_profile(
    manifest: Manifest, layout: str, environment: RequestCounts, n_open_calls: int | None = None
) -> Demand:
    """The demand of one run; its CPU is that of the traced run.

    Args:
        manifest: of the run.
        layout: what to call it.
        environment: requests for the environment.
        n_open_calls: open calls for files of the environment.
    """
    cpu_s = None if manifest.user_s is None else manifest.user_s + (manifest.sys_s or 0.0)
    return demand_of(
        layout,
        cpu_s,
        environment,
        cpu_source="" if cpu_s is None else "of the traced run, which is more than without tracing",
        n_open_calls=n_open_calls,
    )


def from_job(profile: Profile, layout: str) -> Demand:
    """The demand of a job's average rank, and of the average node it ran on, for all that leaves the node.

    A node asks for names, listings and links once for all its ranks, so these are divided by the nodes; opens are each
    rank's own.

    Raises:
        BadInput: requests were not predicted.
    """
    job = profile.job
    assert job is not None
    if profile.requests is None:
        raise BadInput("the requests of this job were not predicted", "its ranks were recorded with --stream")
    n_nodes, n_ranks = max(1, len(job.nodes)), max(1, job.n_recordings - job.n_without_requests)
    cpu = [row.user_s + (row.sys_s or 0.0) for row in job.ranks if row.user_s is not None]
    at_servers = [row for row in profile.requests.by_mount if row.reaches_server]
    return demand_of(
        layout,
        statistics.median(cpu) if cpu else None,
        _of_a_rank(at_servers, n_nodes, n_ranks),
        cpu_source="median of the traced ranks, which is more than without tracing" if cpu else "",
        n_open_calls=round(sum(row.n_open for row in profile.metrics.by_mount if not row.is_ours) / n_ranks),
    )


def _of_a_rank(rows: Sequence[RequestRow], n_nodes: int, n_ranks: int) -> RequestCounts:
    """What the first rank of an average node asks, from what all ranks of all nodes ask together."""
    total = total_of(row for row in rows if not row.operations)
    counts = RequestCounts(
        lookup=round(total.lookup / n_nodes),
        open=round(total.open / n_ranks),
        opendir=round(total.opendir / n_ranks),
        readdir=round(total.readdir / n_nodes),
        readlink=round(total.readlink / n_nodes),
    )
    # clients of NFS and Lustre: a node's first rank asks for everything, each further one again for what it must
    own = total_of(row for row in rows if row.operations)
    again, settling = own.n_again / n_nodes, own.settling / n_nodes if n_ranks > n_nodes else 0.0
    first = own.n_metadata / n_nodes - (n_ranks / n_nodes - 1) * again - settling
    return replace(
        counts, other=max(0, round(first)), again=round(again) + counts.open + counts.opendir, settling=round(settling)
    )


def one_file(demand: Demand, layout: str = "squashfs") -> Demand:
    """The same program with its environment in one image: the server sees one lookup and one open of one file per node."""
    return Demand(
        layout=layout,
        cpu_s=demand.cpu_s,
        cpu_source=demand.cpu_source,
        lookup=1,
        open=0,
        opendir=0,
        readdir=0,
        readlink=0,
        shared_open=1,
        n_open_calls=1,
    )


def table(
    demands: Iterable[Demand], latencies: Sequence[Latency], *, nodes: int, ranks_per_node: int, rate: float
) -> list[Estimate]:
    """One row per layout and latency: requests, a start alone, the job, from how many nodes on the server is saturated."""
    rows = []
    for demand in demands:
        for latency in latencies:
            n_nodes = saturates_at_n_nodes(demand, latency, ranks_per_node, rate)
            rows.append(
                Estimate(
                    layout=demand.layout,
                    latency=latency.name,
                    latency_ms=latency.ms,
                    latency_per=latency.per,
                    latency_source=latency.source,
                    n_waits=demand.n_waits(latency),
                    n_requests=demand.n_requests,
                    n_requests_node=demand.n_requests_node(ranks_per_node),
                    cpu_s=None if demand.cpu_s is None else round(demand.cpu_s, 3),
                    cpu_source=demand.cpu_source,
                    start_s=round(start_s(demand, latency), 3),
                    n_nodes=nodes,
                    n_ranks_per_node=ranks_per_node,
                    requests_per_s=rate,
                    job_s=round(job_s(demand, latency, nodes, ranks_per_node, rate), 3),
                    saturates_at_n_nodes=None if n_nodes == float("inf") else round(n_nodes, 1),
                )
            )
    return rows


def curve(
    demand: Demand, latency: Latency, ranks_per_node: int, rate: float, nodes: Sequence[float] = DEFAULT_NODES
) -> list[CurvePoint]:
    """The job's start over the number of nodes."""
    return [
        CurvePoint(
            layout=demand.layout,
            n_nodes=n,
            latency_ms=latency.ms,
            predicted_s=round(job_s(demand, latency, n, ranks_per_node, rate), 4),
        )
        for n in nodes
    ]
