"""What `check`, `whatif` and `fix` answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fsprobe.model.comparison import Comparison
from fsprobe.model.finding import Finding
from fsprobe.model.formats import FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Offender:
    """An import (or package) with what it and its own imports do, and what they did in the baseline."""

    key: str
    n: int
    n_before: int | None = None
    """None where there is no baseline."""
    is_new: bool = False
    """Imported in this run and not in the baseline."""
    through: tuple[str, ...] = ()
    """The imports that led to it, outermost first."""

    @property
    def n_more(self) -> int:
        """What it has more than in the baseline; all of it without one."""
        return self.n - (self.n_before or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """One limit, and whether the run kept it."""

    DERIVED: ClassVar[tuple[str, ...]] = ("is_exceeded",)

    name: str
    """metadata | not_found | requests"""
    what: str
    """The same in words."""
    n: int
    n_most: int
    because: str
    """Where the limit comes from."""
    grouping: str | None = None
    """What the offenders are: imports | packages; None where the limit was kept."""
    offenders: tuple[Offender, ...] = ()

    @property
    def is_exceeded(self) -> bool:
        """Whether there was more than the limit allows."""
        return self.n > self.n_most

    @property
    def n_over(self) -> int:
        """How much more there was than the limit allows; 0 where it was kept."""
        return max(0, self.n - self.n_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether a run stayed within its limits."""

    DERIVED: ClassVar[tuple[str, ...]] = ("passed",)

    format: int = FORMAT
    kind: str = "check"
    failure: str = ""
    """How the command itself failed; "" where it did not, or where that was to be ignored."""
    baseline: str | None = None
    """Its command."""
    limits: tuple[LimitRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exceeded(self) -> tuple[LimitRow, ...]:
        """The limits that were not kept."""
        return tuple(row for row in self.limits if row.is_exceeded)

    @property
    def passed(self) -> bool:
        """Whether all limits were kept and the command did not fail."""
        return not self.exceeded and not self.failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Start-up of one storage layout on one filesystem, alone and as a job."""

    layout: str
    latency: str
    """Name of the filesystem."""
    latency_ms: float
    """Time of one request, or of one open call: see `latency_per`."""
    latency_per: str
    """request | open call"""
    n_waits: int
    """How many of these one process makes alone."""
    latency_source: str
    n_requests: int
    """Of one process on a node with a cold cache."""
    n_requests_node: int
    """Of a node with all its processes."""
    cpu_s: float | None
    cpu_source: str
    start_s: float
    """One process alone."""
    n_nodes: int
    n_ranks_per_node: int
    requests_per_s: float
    """What the server answers."""
    job_s: float
    """All nodes at once, at least."""
    saturates_at_n_nodes: float | None = None
    """From how many nodes on all wait for the server; None where nothing is asked of it, or caches are full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Start-up of one storage layout on so many nodes, predicted and, in benchmarks, measured."""

    layout: str
    n_nodes: float
    latency_ms: float | None = None
    predicted_s: float | None = None
    measured_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Estimates of start-up elsewhere."""

    format: int = FORMAT
    kind: str = "whatif"
    rows: tuple[Estimate, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What will be done."""

    env: Path
    command: tuple[str, ...]
    cwd: Path
    image: Path
    n_runs: int
    cache: str
    """cold | warm"""
    make_cold: str
    n_files: int
    n_bytes: int
    n_to_compile: int
    """Sources without valid byte code; it will be in the image."""
    estimate_s: float | None = None
    """How long all of it takes, from the recorded wall time; None where nobody knows that."""
    warnings: tuple[str, ...]

    @property
    def words(self) -> tuple[str, str]:
        """The command's program: by a path that holds wherever one is, and as it is called inside a container."""
        program = self.command[0]
        bin_dir = self.env / "bin"
        if "/" in program:
            place = Path(os.path.abspath(self.cwd / program))
            if Path(os.path.realpath(place.parent)) == bin_dir:
                return str(bin_dir / place.name), place.name
            return str(place), str(place)
        # a container has it on its PATH, by the environment's directory first
        return (str(bin_dir / program) if (bin_dir / program).exists() else program), program

    @property
    def n_starts(self) -> int:
        """How often the command runs: a first time, traced in each layout, timed in each, a warm run right after another."""
        return 1 + 2 * (1 + self.n_runs * (2 if self.cache == "warm" else 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    comparison: Comparison
    image: Path | None
    """The image that is kept; None where the environment as it is was no worse."""
    why: str
    left: tuple[Finding, ...]
    """What was found in the run from the image: no layout cures it."""
    changed: tuple[str, ...]
    """Names in the environment that changed meanwhile: fsprobe writes none there."""
    recordings: Mapping[str, bytes]
    """Of the traced runs, by layout."""
