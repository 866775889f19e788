"""A profile: what a recording means. Each total that a view shows is a property here; views add nothing up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from fsprobe.model.finding import Finding
from fsprobe.model.formats import FORMAT
from fsprobe.model.job import Job
from fsprobe.model.manifest import Manifest
from fsprobe.model.requests import Requests
from fsprobe.model.rows import (
    NO_MODULES,
    PROGRAM,
    UNOWNED,
    CallCounts,
    ModuleRow,
    MountRow,
    NotFoundRow,
    PathRow,
    ProcessRow,
    Rates,
    Row,
    SyscallRow,
    TimelineRow,
    sum_of,
)
from fsprobe.model.time.account import TimeAccount

STARTUP_PHASES = ("launch", "loader", "init", "site", "import")
"""What comes before the program's own work."""
PHASES = (*STARTUP_PHASES, "run")


ENOUGH_CALLS = 20
"""A log with fewer metadata calls of a whole class missing may be that of a small program: a judgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What of the recording could not be used, and what of it is fsprobe's own."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_own_calls",)

    n_lines: int = 0
    n_unparsed: int = 0
    n_partial: int = 0
    n_unfinished: int = 0
    n_unread_paths: int = 0
    """Calls whose path the tracer could not read: a program that lets nobody look into it (PR_SET_DUMPABLE, setuid)."""
    n_untraced: int = 0
    """Processes that no tracer could follow (CLONE_UNTRACED)."""
    n_refused_traces: int = 0
    """Attempts of the program to trace a process that were refused: it is traced itself."""
    n_lost: int = 0
    """Calls, and notes about processes, that were made and not recorded: the recorder had no room for them."""
    unseen: Mapping[str, int] = field(default_factory=dict)
    """Programs that were started and of which no call is in the numbers, and how often."""
    not_started: Mapping[str, int] = field(default_factory=dict)
    """Programs that ended with exit code 127 while they were being loaded: they may have failed because they were observed."""
    by_preload: Mapping[str, int] = field(default_factory=dict)
    """Programs of which the dynamic loader's calls are not in the numbers: something was preloaded into them."""
    unparsed_examples: tuple[str, ...] = ()
    own_calls: Mapping[str, int] = field(default_factory=dict)
    """fsprobe's own calls (excluded), by class."""
    n_marks_unread: int = 0
    marks_unread: Mapping[str, int] = field(default_factory=dict)
    """`n_marks_unread` by reason: room, watched, processes, damaged, thread, file."""
    n_marks_lost: int = 0
    n_marks_unpaired: int = 0
    n_killed: int = 0
    n_estimated: int = 0
    """Calls whose import was estimated from paths."""
    n_not_told: int = 0
    """Those of them whose module the paths do not tell."""
    expected_error: float | None = None
    """Share of the imports' opens, or of their stats if that is larger, of which the paths do not tell the module; None where
    nothing was estimated."""
    unmarked: Mapping[str, int] = field(default_factory=dict)
    """Interpreters without import timing, by reason."""
    is_marked: bool = True
    """Whether any import was timed."""
    io_uring: bool = False
    names_as_imported: tuple[str, ...] = ()
    """Packages called as they are imported: which distribution they are the recording leaves open, and nobody could tell."""

    @property
    def n_own_calls(self) -> int:
        """fsprobe's own calls (excluded), all classes."""
        return sum(self.own_calls.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(CallCounts):
    """Everything that was counted: the totals, and the same calls grouped."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_metadata", "n_startup", "n_processes")

    n_paths: int = 0
    n_paths_at_least: bool = False
    """Whether there were more than was kept apart."""
    tracing_overhead_us: float | None = None
    """What tracing adds to one call; see docs/method.md."""
    time_less_overhead_s: float | None = None
    """Waiting in metadata calls, as the time account says; without one: time in them, the tracing overhead subtracted."""
    share_of_wall: float | None = None
    """`time_less_overhead_s` as a part of the wall time, from which the overhead is subtracted too; of a job, of all its ranks'."""
    by_syscall: Mapping[str, SyscallRow] = field(default_factory=dict)
    by_phase: tuple[Row, ...] = ()
    by_module: tuple[ModuleRow, ...] | None = None
    """None where imports were not observed."""
    imports_by: str = "module"
    """module | package: what a row of `by_module` is. Estimated imports are shown by top-level package where their expected
    error is above 5 %."""
    by_package: tuple[Row, ...] = ()
    by_mount: tuple[MountRow, ...] = ()
    by_process: tuple[ProcessRow, ...] = ()
    """A row for each program image that a process ran."""
    processes: Mapping[str, int] = field(default_factory=dict)
    """Processes that made a call, by what the last program of each was: python, launcher, program, "" where not known."""
    n_processes_at_least: bool = False
    """Whether there were more than was kept apart."""
    by_path: tuple[PathRow, ...] = ()
    not_found: tuple[NotFoundRow, ...] = ()
    rates: Rates = Rates()
    timeline: tuple[TimelineRow, ...] = ()
    timeline_step_s: float = 0.1

    @property
    def startup(self) -> CallCounts:
        """The calls before the program's own work."""
        return sum_of(row for row in self.by_phase if row.key in STARTUP_PHASES)

    @property
    def n_startup(self) -> int:
        """Metadata calls before the program's own work."""
        return self.startup.n_metadata

    @property
    def n_unowned(self) -> int:
        """Calls between estimated imports that may be an import's or the program's own; they count for the phase import."""
        return sum(row.n_metadata for row in self.by_module or () if row.key in UNOWNED)

    @property
    def n_of_no_import(self) -> int:
        """Calls of estimated imports that stand in the row of no import: those, and imports that failed."""
        return sum(row.n_metadata for row in self.by_module or () if row.key in NO_MODULES and row.key != PROGRAM)

    @property
    def n_processes(self) -> int:
        """Processes that made a call: each once, however many programs it became; threads are no processes."""
        return sum(self.processes.values())

    @property
    def pseudo(self) -> CallCounts:
        """The calls on /proc, /sys and the like."""
        return sum_of(row for row in self.by_mount if row.fs_class == "pseudo")

    def mount(self, key: str) -> MountRow | None:
        """The row of a mount."""
        return next((row for row in self.by_mount if row.key == key), None)


LEVELS = ("not the filesystem", "noticeable", "heavy", "danger")
"""What a verdict can be, besides that it can't be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Is it the filesystem?"""

    level: str
    """not the filesystem | noticeable | heavy | danger"""
    sentence: str
    reasons: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    """What the verdict could not take into account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a recording means; of a job, the sum of its ranks and the section `job`."""

    format: int = FORMAT
    kind: str = "recording"
    """recording | job"""
    manifest: Manifest = Manifest()
    quality: Quality = Quality()
    metrics: Metrics = Metrics()
    time: TimeAccount | None = None
    """None where the wall time is not known, or the run's time was not kept."""
    requests: Requests | None = None
    """None where they can't be predicted."""
    findings: tuple[Finding, ...] = ()
    verdict: Verdict | None = None
    """None where nothing was observed."""
    job: Job | None = None

    @property
    def of_job(self) -> Job:
        """The section `job`, which a job's profile has."""
        assert self.job is not None
        return self.job

    @property
    def n_requests(self) -> int | None:
        """Metadata requests that reach a file server or disk; None where they were not predicted."""
        return None if self.requests is None else self.requests.at_servers.n_metadata

    @property
    def has_start(self) -> bool:
        """Whether a log holds the execve of the process with most calls, which gives it its name; our own recordings do."""
        busiest = max(self.metrics.by_process, key=lambda row: row.n_metadata, default=None)
        return not self.manifest.logs or busiest is None or " " in busiest.key

    @property
    def absent_calls(self) -> tuple[str, ...]:
        """Kinds of calls, as views name them, that a log holds none of although its program must have made some: not traced."""
        metrics = self.metrics
        if not self.manifest.logs:
            return ()
        counts = [("open", metrics.n_open), ("stat", metrics.n_stat)]
        # the import system lists each directory that it searches
        if not metrics.n_metadata or any(row.kind == "python" for row in metrics.by_process):
            counts.append(("list", metrics.n_list))
        is_small = 0 < metrics.n_metadata <= ENOUGH_CALLS
        return () if is_small else tuple(name for name, n in counts if not n)
