"""A comparison: the same program in several storage layouts, or two recordings or jobs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fsprobe.model.formats import FORMAT
from fsprobe.model.requests import RequestCounts, RequestRow
from fsprobe.model.rows import CallCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, least and greatest of several runs, and each run in order."""

    median: float
    min: float
    max: float
    runs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSpread:
    """CPU seconds of the command, and of what serves its layout beside it."""

    user: Spread | None = None
    sys: Spread | None = None
    around: Spread | None = None

    @property
    def median_s(self) -> float | None:
        """Median user and system time together."""
        found = [part.median for part in (self.user, self.sys) if part is not None]
        return sum(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutCounts(CallCounts):
    """What the traced run of a layout did."""

    n_paths: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """Of a comparison of jobs: who ran, and how it went."""

    who: str
    job_id: str | None = None
    n_ranks: int | None = None
    n_ranks_traced: int = 0
    n_nodes: int | None = None
    n_nodes_traced: int = 0
    wall_s: float | None = None
    startup_s: float | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutRow:
    """One storage layout with one state of the cache."""

    layout: str
    kind: str = "plain"
    """plain | copy | squashfs | overlay"""
    where: str = ""
    fstype: str | None = None
    mount_how: str = ""
    in_place: bool = False
    """Whether it ran from where it lies, not from the environment's own path."""
    cache: str = "unknown"
    wall_s: Spread | None = None
    cpu_s: CpuSpread | None = None
    majflt: Spread | None = None
    exit_codes: tuple[int, ...] = ()
    metrics: LayoutCounts = LayoutCounts()
    requests: tuple[RequestRow, ...] | None = None
    """By mount; None where they were not predicted."""
    environment_requests: RequestCounts | None = None
    """For paths at or below the environment, or for the image file that holds it."""
    server_requests: Mapping[str, Spread] | None = None
    """Counted at the file server, by kind."""
    client_counters: Mapping[str, Spread] | None = None
    """Counted by the node's client, of all its programs."""
    ratio_wall: float | None = None
    """Layout over baseline."""
    ratio_wall_low: float | None = None
    ratio_wall_high: float | None = None
    p: float | None = None
    ratio_requests: float | None = None
    clear: bool | None = None
    verdict: str = ""
    job: JobSummary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A path that was called more or less often than in the baseline."""

    path: str
    op: str
    baseline: int
    layout: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """How the calls of a layout differ from the baseline's, by name."""

    n_baseline: int = 0
    n_layout: int = 0
    n_paths: int = 0
    """How many (path, class of call) differ in all."""
    rows: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A number on either side."""

    baseline: float | None = None
    other: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPair:
    """Requests at servers on either side, in all and per node."""

    baseline: int
    other: int
    ratio: float | None = None
    baseline_node: int = 0
    other_node: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSide:
    """One mount of one job."""

    fstype: str | None = None
    n_metadata: int = 0
    n_requests: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPair:
    """One mount of two jobs."""

    key: str
    fs_class: str | None = None
    fstype: str | None = None
    baseline: MountSide = MountSide()
    other: MountSide = MountSide()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePair:
    """Metadata calls of one package in two jobs."""

    key: str
    baseline: int = 0
    other: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsComparison:
    """Two jobs side by side: their calls, and what their nodes ask for."""

    same_calls: bool
    alike: bool
    """Whether as many ranks and nodes were traced in both."""
    counts: Mapping[str, Pair] = field(default_factory=dict)
    per_rank: Mapping[str, Pair] = field(default_factory=dict)
    requests: RequestPair | None = None
    by_mount: tuple[MountPair, ...] = ()
    by_package: tuple[PackagePair, ...] = ()
    rates: Mapping[str, Pair] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Storage layouts, or two recordings, of one program."""

    format: int = FORMAT
    kind: str = "comparison"
    baseline: str = ""
    environment: str | None = None
    command: tuple[str, ...] | None = None
    date: str | None = None
    host: Mapping[str, Any] = field(default_factory=dict)
    n_runs: int | None = None
    make_cold: str | None = None
    order: tuple[tuple[str, ...], ...] = ()
    """(layout, cache) of each timed run as they came."""
    interrupted: str | None = None
    counted_by: str | None = None
    notes: tuple[str, ...] = ()
    rows: tuple[LayoutRow, ...] = ()
    differences: Mapping[str, Differences] = field(default_factory=dict)
    jobs: JobsComparison | None = None
