"""The section `job` of a job's profile: its ranks, its nodes, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

from fsprobe.model.requests import RequestCounts
from fsprobe.model.rows import CallCounts, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow(Row):
    """One recording of a job; `time_s` is None where calls were not timed."""

    rank: int | None = None
    local_rank: int | None = None
    node: str = ""
    host: str | None = None
    file: str = ""
    backend: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    complete: bool = True
    started_s: float | None = None
    wall_s: float | None = None
    user_s: float | None = None
    sys_s: float | None = None
    read_bytes: int | None = None
    startup_s: float | None = None
    n_paths: int = 0
    peak_open_per_s: float | None = None

    def offset_s(self, first_s: float | None) -> float | None:
        """How long after the job's first rank (`Job.first_start_s`) this one began; None where not observed."""
        return None if first_s is None or self.started_s is None else round(self.started_s - first_s, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow(Row):
    """All traced ranks of one node."""

    n_recordings: int = 0
    wall_s: float | None = None
    """Of its slowest rank."""
    requests: RequestCounts | None = None
    """Those that reach a file server or disk: the nodes' sum is the job's `requests.at_servers`."""
    peak_metadata_per_s: float | None = None
    sustained_metadata_per_s: float | None = None
    peak_open_per_s: float | None = None
    timeline: tuple[int, ...] | None = None
    """Metadata calls by slot of the job's timeline."""

    @property
    def n_requests(self) -> int | None:
        """Metadata requests of the node that reach a file server or disk; None where they were not predicted."""
        return None if self.requests is None else self.requests.n_metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A rank or node that is far from the others."""

    of: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSpread:
    """Minimum, median and maximum of a number over ranks, and who has them."""

    n: int
    min: float
    min_of: str
    median: float
    max: float
    max_of: str
    n_outliers: int = 0
    outliers: tuple[Outlier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSpreads:
    """How the ranks differ in each measure; None where no rank's was observed."""

    wall_s: RankSpread | None = None
    startup_s: RankSpread | None = None
    n_metadata: RankSpread | None = None
    n_open: RankSpread | None = None
    n_not_found: RankSpread | None = None
    time_s: RankSpread | None = None
    peak_open_per_s: RankSpread | None = None

    @property
    def observed(self) -> Mapping[str, RankSpread]:
        """Measure -> spread, of those that were observed."""
        found = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: spread for name, spread in found if spread is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A rank that was killed or failed."""

    of: str
    signal: int | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Ranks that should have been traced and left nothing that can be read; None where nobody knows."""

    ranks: tuple[int, ...] | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A recording that could not be read."""

    file: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """The whole job, as if untraced ranks had done what the traced ones did on average."""

    label: str
    n_traced: int
    n_ranks: int
    n_nodes: int | None = None
    metrics: CallCounts = CallCounts()
    requests: RequestCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimeline:
    """Metadata calls of all nodes by slot of the common clock."""

    start_s: float
    slot_s: float
    n_metadata: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Ranks, nodes and what is to be said of all of them."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_recordings",)

    n_ranks: int | None = None
    n_ranks_traced: int = 0
    n_nodes: int | None = None
    n_nodes_traced: int = 0
    selection: str = "all"
    ranks: tuple[RankRow, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    spread: RankSpreads = RankSpreads()
    slowest: tuple[str, ...] = ()
    killed: tuple[Ended, ...] = ()
    failed: tuple[Ended, ...] = ()
    incomplete: tuple[str, ...] = ()
    absent: Absent = Absent()
    repeated: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    n_without_requests: int = 0
    n_foreign: int = 0
    n_mounts_differ: int = 0
    tracers: Mapping[str, int] = field(default_factory=dict)
    """Program that traces others, or tried to -> ranks that started it."""
    scaled: Scaled | None = None
    clock: str = ""
    timeline: JobTimeline | None = None

    @property
    def n_recordings(self) -> int:
        """Recordings that were read."""
        return len(self.ranks)

    @property
    def first_start_s(self) -> float | None:
        """When the first rank began, seconds since the epoch; None where no rank's start was observed."""
        return min((row.started_s for row in self.ranks if row.started_s is not None), default=None)
