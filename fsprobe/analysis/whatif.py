"""What start-up would take elsewhere: on another filesystem, and on many nodes at once. Estimates, and they say so.

One start alone: t = t_cpu + requests x latency. Many nodes: every node's client looks names up once for all its
processes, but every successful open is a request of its own, so with R processes a node and a server that answers
`rate` requests a second

    t >= max(t_cpu + requests x latency, nodes x (lookup + readdir + readlink + R x (open + opendir)) / rate)

It is a lower bound: processes that start at the same moment also list a directory each while no listing is cached yet (up
to R x readdir), and CPU that no waiting hides comes on top.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsprobe.errors import BadInput
from fsprobe.model.formats import JsonObject

DEFAULT_RATE = 75_000.0
"""Requests/s of one Lustre metadata server, realistic (up to 200,000 at best): LUMI training notes, 203-Lustre, 2025-10."""
DEFAULT_RATE_SOURCE = "one Lustre metadata server, LUMI training notes, 2025-10"
DEFAULT_NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What a request takes on some filesystem: an estimate with its source."""

    name: str
    ms: float
    source: str


_TENSORFLOW = (
    "(wall - 2.0 s of a RAM disk) / 4,190 opens of `import tensorflow`, EESSI measurements in multixscale/"
    "cvmfs-tutorial-hpc-best-practices docs/performance.md; holds data reads too, so an upper bound per request"
)
PROFILES = (
    Latency(name="local SSD, cold", ms=0.55, source=_TENSORFLOW + ": 4.3 s"),
    Latency(name="Lustre, hot", ms=0.2, source=_TENSORFLOW + ": 2.8 s"),
    Latency(
        name="Lustre, quiet", ms=0.5, source="mdtest stat with one thread, about 2,000/s, in Dell's Lustre white papers"
    ),
    Latency(name="NFS, cold", ms=1.05, source=_TENSORFLOW + ": 6.4 s"),
    Latency(name="GPFS, cold", ms=7.9, source=_TENSORFLOW + ": 35-48 s, the lower end"),
    Latency(name="Lustre, busy, cold", ms=17.4, source=_TENSORFLOW + ": 75 s"),
)
CURVE = PROFILES[2]
"""What a request takes in the curve over nodes: of a quiet filesystem, since the job's own load is in the server's rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one process (and the node it runs on) asks of the file server at start-up, with an empty cache."""

    layout: str
    t_cpu_s: float
    lookup: int
    open: int
    opendir: int
    readdir: int
    readlink: int
    t_cpu_from: str = ""
    """where `t_cpu_s` comes from, in words"""
    shared_open: int = 0
    """Opens that a node makes once for all its processes: of an image that is mounted once."""

    @property
    def requests(self) -> int:
        """Metadata requests of one start alone."""
        return self.lookup + self.open + self.opendir + self.readdir + self.readlink + self.shared_open

    def node_requests(self, ranks_per_node: int) -> int:
        """Metadata requests of one node with R processes: names are looked up once, opens are each process's own."""
        return (
            self.lookup + self.readdir + self.readlink + self.shared_open + ranks_per_node * (self.open + self.opendir)
        )


FIELDS = ("lookup", "open", "opendir", "readdir", "readlink")


def start_s(demand: Demand, latency_ms: float) -> float:
    """Seconds that one start takes, alone on a cold client."""
    return demand.t_cpu_s + demand.requests * latency_ms / 1e3


def job_s(demand: Demand, latency_ms: float, nodes: float, ranks_per_node: int, rate: float) -> float:
    """Seconds that a job's start takes at least."""
    return max(start_s(demand, latency_ms), nodes * demand.node_requests(ranks_per_node) / rate)


def knee_nodes(demand: Demand, latency_ms: float, ranks_per_node: int, rate: float) -> float:
    """From how many nodes on the server is what the start waits for; infinite where nothing is asked."""
    asked = demand.node_requests(ranks_per_node)
    return start_s(demand, latency_ms) * rate / asked if asked else float("inf")


def demand_of(
    layout: str, t_cpu_s: float, counts: Mapping[str, Any], *, is_image: bool = False, t_cpu_from: str = ""
) -> Demand:
    """The demand behind request counts.

    Args:
        layout: what to call it.
        t_cpu_s: CPU of one start, s.
        counts: requests (lookup, open, opendir, readdir, readlink) for the environment, or for the image that holds it.
        is_image: the counts are of mounting an image, which a node does once for all its processes.
        t_cpu_from: where the CPU time comes from, in words.
    """
    numbers = {name: int(counts.get(name) or 0) for name in FIELDS}
    if is_image:
        numbers["shared_open"] = numbers["open"] + numbers["opendir"]
        numbers["open"] = numbers["opendir"] = 0
    return Demand(layout=layout, t_cpu_s=t_cpu_s, t_cpu_from=t_cpu_from, **numbers)


def from_profile(profile: JsonObject, layout: str, environment: JsonObject) -> Demand:
    """The demand that a profile shows; its CPU is that of a traced run.

    Args:
        profile: of one run.
        layout: what to call it.
        environment: as `demand_of`'s counts.
    """
    manifest = profile["manifest"]
    t_cpu_s = float(manifest.get("user_s") or 0.0) + float(manifest.get("sys_s") or 0.0)
    return demand_of(
        layout, t_cpu_s, environment, t_cpu_from="of the traced run, which is more than without the tracer"
    )


def from_job(profile: JsonObject, layout: str) -> Demand:
    """The demand of a job's average rank, and of the average node it ran on, for everything that is no memory or pseudo mount.

    A node asks for names, listings and links once for all its ranks, so these are divided by the nodes; opens are each
    rank's own.

    Raises:
        BadInput: requests were not predicted.
    """
    job = profile["job"]
    classes = {row["key"]: row["fs_class"] for row in profile["metrics"]["by_mount"]}
    table = (profile.get("requests") or {}).get("by_mount")
    if table is None:
        raise BadInput("the requests of this job were not predicted", "its ranks were recorded with --stream or audit")
    counts = [row for key, row in table.items() if classes.get(key) not in ("memory", "pseudo")]
    numbers = {name: sum(row.get(name) or 0 for row in counts) for name in FIELDS}
    cpu = [(row["user_s"] or 0.0) + (row["sys_s"] or 0.0) for row in job["ranks"]]
    n_nodes, n_ranks = max(1, len(job["nodes"])), max(1, job["n_recordings"] - job["n_without_requests"])
    return demand_of(
        layout,
        statistics.median(cpu) if cpu else 0.0,
        {name: round(n / (n_ranks if name in ("open", "opendir") else n_nodes)) for name, n in numbers.items()},
        t_cpu_from="median of the traced ranks, which is more than without the tracer",
    )


def one_file(demand: Demand, layout: str = "squashfs") -> Demand:
    """The same program with its environment in one image: the server sees one look-up and one open of one file per node."""
    return Demand(
        layout=layout,
        t_cpu_s=demand.t_cpu_s,
        t_cpu_from=demand.t_cpu_from,
        lookup=1,
        open=0,
        opendir=0,
        readdir=0,
        readlink=0,
        shared_open=1,
    )


def table(
    demands: Iterable[Demand], latencies: Sequence[Latency], *, nodes: int, ranks_per_node: int, rate: float
) -> list[JsonObject]:
    """One row per layout and latency: requests, a start alone, the job, the knee."""
    rows = []
    for demand in demands:
        for latency in latencies:
            knee = knee_nodes(demand, latency.ms, ranks_per_node, rate)
            rows.append(
                {
                    "layout": demand.layout,
                    "latency": latency.name,
                    "latency_ms": latency.ms,
                    "latency_source": latency.source,
                    "requests": demand.requests,
                    "requests_node": demand.node_requests(ranks_per_node),
                    "t_cpu_s": round(demand.t_cpu_s, 3),
                    "t_cpu_from": demand.t_cpu_from,
                    "start_s": round(start_s(demand, latency.ms), 3),
                    "nodes": nodes,
                    "ranks_per_node": ranks_per_node,
                    "rate": rate,
                    "job_s": round(job_s(demand, latency.ms, nodes, ranks_per_node, rate), 3),
                    "knee_nodes": None if knee == float("inf") else round(knee, 1),
                }
            )
    return rows


def curve(
    demand: Demand, latency_ms: float, ranks_per_node: int, rate: float, nodes: Sequence[float] = DEFAULT_NODES
) -> list[JsonObject]:
    """The job's start over the number of nodes: rows {"layout", "nodes", "latency_ms", "predicted_s", "measured_s": None}."""
    return [
        {
            "layout": demand.layout,
            "nodes": n,
            "latency_ms": latency_ms,
            "predicted_s": round(job_s(demand, latency_ms, n, ranks_per_node, rate), 4),
            "measured_s": None,
        }
        for n in nodes
    ]
