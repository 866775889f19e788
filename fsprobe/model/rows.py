"""Rows of a profile: what was counted for one import, package, mount, process or path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

PROGRAM = "(program)"
"""Key of the main module: what is in no import."""
FAILED_IMPORTS = "(failed imports)"
"""Key of searches for modules that were not found, where imports are estimated: the calls don't hold their names."""
UNASSIGNED = "(not assigned)"
"""Key of what was done between imports, where these are estimated and the paths don't tell for which."""
INSTALLED = "(package metadata)"
"""Key of what was asked of the metadata of installed distributions, where imports are estimated: the paths don't tell who reads them."""
NO_MODULES = frozenset({PROGRAM, FAILED_IMPORTS, UNASSIGNED, INSTALLED})
UNOWNED = frozenset({UNASSIGNED, INSTALLED})
"""What may be an import's or the program's own, for all that the paths tell."""
OURS = frozenset({"image", "memory", "pseudo"})
"""Classes of mounts that the node answers itself: what is asked of them reaches no file server and no disk by name."""


@dataclass(slots=True)
class Counts:
    """Numbers that add. Every grouping of a profile is a table of these."""

    n_open: int = 0
    n_stat: int = 0
    n_readlink: int = 0
    n_list: int = 0
    n_exec: int = 0
    n_change: int = 0
    n_other: int = 0
    n_not_found: int = 0
    time_ns: int = 0

    @property
    def n_metadata(self) -> int:
        return self.n_open + self.n_stat + self.n_readlink + self.n_list + self.n_exec + self.n_change


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCounts:
    """Metadata calls by class, failed ones included, and the time they took."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_metadata",)

    n_open: int = 0
    n_stat: int = 0
    n_readlink: int = 0
    n_list: int = 0
    n_exec: int = 0
    n_change: int = 0
    n_not_found: int = 0
    """Calls of any class whose result was ENOENT or ENOTDIR."""
    time_s: float | None = None
    """Time in these calls as traced, the tracing overhead included; None where no call was timed."""

    @property
    def n_metadata(self) -> int:
        """All metadata calls."""
        return self.n_open + self.n_stat + self.n_readlink + self.n_list + self.n_exec + self.n_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(CallCounts):
    """The calls of one key: a phase, a package."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest(CallCounts):
    """The sum of the rows that a view has no room for."""

    n_rows: int


R = TypeVar("R", bound=CallCounts)


def sum_of(rows: Iterable[CallCounts]) -> CallCounts:
    """The sum of rows; its time is that of the rows that were timed."""
    return CallCounts(**_summed(rows))


def first_rows(rows: Sequence[R], n: int) -> tuple[Sequence[R], Rest | None]:
    """The first `n` rows, and the sum of the others; None where there are no others."""
    others = rows[n:]
    return rows[:n], Rest(**_summed(others), n_rows=len(others)) if others else None


def _summed(rows: Iterable[CallCounts]) -> dict[str, Any]:
    rows = list(rows)
    names = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")
    times = [row.time_s for row in rows if row.time_s is not None]
    return {
        **{name: sum(getattr(row, name) for row in rows) for name in names},
        "time_s": sum(times) if times else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRow(Row):
    """The calls of one import: self, and cumulative with what it imported."""

    parent: str | None = None
    """The import that loaded it first; None for the main module."""
    n_imports: int = 0
    """How often it was loaded, in all processes together."""
    loaded_lazily_at: str | None = None
    """FILE:LINE of the first use that loaded it; None where it was imported at once."""
    first_s: float | None = None
    """When its first call began, from the start of the timeline on; None without times."""
    n_open_cum: int = 0
    n_stat_cum: int = 0
    n_metadata_cum: int = 0
    n_not_found_cum: int = 0
    time_cum_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRow(Row):
    """The calls on one mount, and their latency as traced."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_metadata",)

    fstype: str | None = None
    fs_class: str | None = None
    """local | network | image | memory | pseudo; None where the mount is not known."""
    source: str | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    max_ms: float | None = None
    n_over_1ms: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the node answers these calls itself (image, memory, pseudo)."""
        return self.fs_class in OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow(Row):
    """The calls of one program image of one process."""

    pid: int = 0
    parent_pid: int = 0
    label: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRow(Row):
    """The calls on one path; the last row may stand for all further paths."""

    n_paths: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFoundRow:
    """Failed lookups of one reason."""

    reason: str
    n: int
    n_paths: int
    examples: tuple[str, ...]
    """The busiest of these paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyscallRow:
    """Calls of one system call, and how many of them failed."""

    calls: int
    errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Calls/s in the busiest 1 s (peak) and 10 s (sustained), as they were while traced; None where the log has no times."""

    peak_metadata_per_s: float | None = None
    sustained_metadata_per_s: float | None = None
    peak_open_per_s: float | None = None
    sustained_open_per_s: float | None = None
    peak_open_per_s_process: float | None = None
    sustained_open_per_s_process: float | None = None
    n_processes_busiest_s: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """Metadata calls of one step of time, by phase."""

    t_s: float
    by_phase: Mapping[str, int]

    @property
    def n_metadata(self) -> int:
        """Metadata calls of this step."""
        return sum(self.by_phase.values())
