"""A comparison: the same program in several storage layouts, or two recordings or jobs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from fsprobe.model.formats import FORMAT
from fsprobe.model.requests import Operation, RequestCounts, RequestRow, side_by_side
from fsprobe.model.rows import CallCounts, Rates

IMAGE_KINDS = ("squashfs", "overlay")
"""Kinds of layouts that hold the environment in one file."""
REQUEST_KINDS = ("lookup", "open", "opendir", "readdir", "readlink")
"""What metadata requests consist of, as file servers' counters name them."""


CLEAR_P = 0.01
"""A difference is called clear at a p value of at most this. A judgement: one false alarm in a hundred comparisons."""
SMALLEST_RATIO = 0.03
"""... and if its interval leaves out this neighbourhood of 1: less is of no use to anybody. A judgement."""


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
        return _sum_of_medians(self.user, self.sys)

    @property
    def total_s(self) -> float | None:
        """The same, with that of what serves the layout beside the command."""
        return _sum_of_medians(self.user, self.sys, self.around)


def _sum_of_medians(*parts: Spread | None) -> float | None:
    found = [part.median for part in parts if part is not None]
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
    is_made: bool = False
    """Whether `where` is a copy that the comparison made, two directories below the one that was named, and removed but with `--keep`."""
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
    n_environment_opens: int | None = None
    """Open calls at or below the environment, failed ones included; None where the environment was not told apart."""
    server_requests: Mapping[str, Spread] | None = None
    """Counted at the file server, by kind."""
    client_counters: Mapping[str, Spread] | None = None
    """Counted by the node's client, of all its programs, in its own words."""
    counted_mount: str = ""
    """The mount whose client that was; "" where nobody counted."""
    counted_mounts: tuple[str, ...] = ()
    """That one, and where else the same filesystem is mounted in the layout: its client counts them together."""
    ratio_wall: float | None = None
    """Layout over baseline."""
    ratio_wall_low: float | None = None
    ratio_wall_high: float | None = None
    p: float | None = None
    ratio_requests: float | None = None
    clear: bool | None = None
    verdict: str = ""
    job: JobSummary | None = None

    @property
    def n_requests(self) -> int | None:
        """Metadata requests for the environment (or the image that holds it); None where they were not predicted."""
        return None if self.environment_requests is None else self.environment_requests.n_metadata

    @property
    def n_served(self) -> int | None:
        """Metadata requests that the file server, else the node's client, counted, median of the runs; None: nobody counted."""
        counted = self.server_requests or self.client_counters
        if not counted:
            return None
        wanted = ("metadata",) if "metadata" in counted else REQUEST_KINDS
        found = [spread.median for name, spread in counted.items() if name.lower() in wanted]
        return round(sum(found)) if found else None

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Requests to the counted mount by its client's own names, predicted beside counted (median of the runs).

        Without a counted mount, those of the mount that most is asked of, predicted. Of a warm cache what each process of the
        node after the second one asks is predicted: a timed run comes after the traced one and one that is not counted. Of an
        image nothing, since the traced run has not seen its mounting.
        """
        rows = [row for row in self.requests or () if row.reaches_server and (row.operations or self.counted_mount)]
        keys = self.counted_mounts or (self.counted_mount or next((row.key for row in rows), ""),)
        mine = [row for row in rows if row.key in keys]
        counted = {name: spread.median for name, spread in (self.client_counters or {}).items()}
        predicted: Mapping[str, int] | None = None
        if self.requests is not None and self.kind not in IMAGE_KINDS:
            predicted = added(row.steady if self.cache == "warm" else row.operations for row in mine)
        if not predicted and not counted:
            return ()
        doubts = {name: why for row in mine for name, why in row.not_predictable.items()}
        if predicted is None:
            doubts = {}
        elif self.cache == "warm":
            doubts = {name: why for name, why in doubts.items() if name in predicted}
        return side_by_side(predicted, doubts, counted if self.client_counters else None)

    @property
    def is_failed(self) -> bool:
        """Whether the command failed in one of its runs."""
        return any(self.exit_codes)


def added(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Tables of numbers, added up."""
    total: dict[str, int] = {}
    for table in tables:
        for name, n in table.items():
            total[name] = total.get(name, 0) + n
    return total


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

    @property
    def n_more(self) -> int:
        """Calls that the layout has more than the baseline; negative where it has fewer."""
        return self.n_layout - self.n_baseline


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
class JobSide:
    """One of two jobs: what all its traced ranks did."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_metadata_per_rank",)

    calls: CallCounts = CallCounts()
    n_recordings: int = 0
    n_nodes: int = 0
    """Those that were traced."""
    rates: Rates = Rates()

    @property
    def n_metadata_per_rank(self) -> float | None:
        """Metadata calls of a rank on average; None without ranks."""
        return self.calls.n_metadata / self.n_recordings if self.n_recordings else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsComparison:
    """Two jobs side by side: their calls, and what their nodes ask for."""

    DERIVED: ClassVar[tuple[str, ...]] = ("same_calls", "same_size")

    baseline: JobSide = JobSide()
    other: JobSide = JobSide()
    requests: RequestPair | None = None
    by_mount: tuple[MountPair, ...] = ()
    by_package: tuple[PackagePair, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def same_calls(self) -> bool:
        """Whether both made the same number of calls of each class, and of failed ones."""
        return replace(self.baseline.calls, time_s=None) == replace(self.other.calls, time_s=None)

    @property
    def same_size(self) -> bool:
        """Whether the same number of ranks and nodes were traced in both."""
        ours, theirs = self.baseline, self.other
        return (ours.n_recordings, ours.n_nodes) == (theirs.n_recordings, theirs.n_nodes)


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

    @property
    def best(self) -> LayoutRow | None:
        """The layout that is clearly fastest; None where none is clearly faster than the baseline."""
        faster = [row for row in self.rows if row.layout != self.baseline and row.clear and (row.ratio_wall or 1.0) < 1]
        return min(faster, key=lambda row: row.ratio_wall or 1.0, default=None)

    @property
    def gentlest(self) -> LayoutRow | None:
        """The layout with the fewest requests for the baseline's one."""
        rows = [row for row in self.rows if row.layout != self.baseline and row.ratio_requests is not None]
        return min(rows, key=lambda row: 1.0 if row.ratio_requests is None else row.ratio_requests, default=None)
