"""The rows of a job's tables: how its ranks differ, the ranks that stand out, its nodes; and one row for the others."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsprobe import numbers
from fsprobe.model.job import Job, NodeRow, RankRow
from fsprobe.model.manifest import signal_name
from fsprobe.model.rows import CallCounts, sum_of

N_NAMED = 8
N_ALL = 16
"""Up to so many ranks each has a row; of more, those that stand out, and one row for the rest."""
N_ROWS = 14
N_NODES = 16
Format = Callable[[float | None], str]
SPREADS: tuple[tuple[str, str, Format], ...] = (
    ("wall_s", "wall, traced", numbers.seconds),
    ("startup_s", "start and import", numbers.seconds),
    ("n_metadata", "metadata calls", numbers.count),
    ("n_open", "opens", numbers.count),
    ("n_not_found", "failed lookups", numbers.count),
    ("time_s", "time in calls", numbers.seconds),
    ("peak_open_per_s", "opens/s, busiest 1 s", numbers.count),
)
"""Key of a rank's row, title, how the number is written."""
_SLOWEST = ("slowest", "2nd slowest", "3rd slowest")
SAME = "same"


def named(names: Iterable[Any]) -> str:
    """The first names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {numbers.count(len(listed) - N_NAMED)} more" if len(listed) > N_NAMED else ""
    return ", ".join(listed[:N_NAMED]) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadRow:
    """How the ranks differ in one measure: texts, and where minimum, median, maximum and outliers lie (0 to 100)."""

    key: str
    title: str
    observed: bool
    min: str = ""
    median: str = ""
    max: str = ""
    min_of: str = ""
    max_of: str = ""
    n_outliers: int = 0
    outliers: str = ""
    at: Mapping[str, float] = field(default_factory=dict)
    far: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankLine:
    """A rank that is shown, and why (empty where all are)."""

    row: RankRow
    why: str
    offset_s: float | None
    """When it began after the first rank."""

    @property
    def ended(self) -> str:
        """How it ended, in a word or two; empty where it ended well."""
        return ended(self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksRest:
    """The ranks that are not shown: calls summed, times the median."""

    n: int
    calls: CallCounts
    wall_s: float | None
    startup_s: float | None
    time_s: float | None
    peak_open_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesRest:
    """The nodes that are not shown: calls and requests summed, the slowest rank's time."""

    n: int
    calls: CallCounts
    n_recordings: int
    n_requests: int | None
    wall_s: float | None


def ended(row: RankRow) -> str:
    """How a rank ended, in a word or two; empty where it ended well."""
    if row.signal:
        return signal_name(row.signal)
    if row.exit_code:
        return f"exit code {row.exit_code}"
    return "" if row.complete else "not complete"


def spread_rows(job: Job) -> list[SpreadRow]:
    """How the ranks differ, one row a measure."""
    rows = []
    spreads = job.spread.observed
    for name, title, show in SPREADS:
        found = spreads.get(name)
        if found is None:
            rows.append(SpreadRow(key=name, title=title, observed=False))
            continue
        longest = found.max or 1
        rows.append(
            SpreadRow(
                key=name,
                title=title,
                observed=True,
                min=show(found.min),
                median=show(found.median),
                max=show(found.max),
                min_of=found.min_of,
                max_of=SAME
                if found.min == found.max
                else "half or more"
                if found.max == found.median
                else found.max_of,
                n_outliers=found.n_outliers,
                outliers=named(f"{entry.of} ({show(entry.value)})" for entry in found.outliers),
                at={
                    name: round(100 * value / longest, 2)
                    for name, value in (("min", found.min), ("median", found.median), ("max", found.max))
                },
                far=tuple(round(100 * entry.value / longest, 2) for entry in found.outliers),
            )
        )
    return rows


def rank_rows(job: Job) -> tuple[list[RankLine], RanksRest | None]:
    """The ranks to show one by one, in their order, and one row for the others; None where all are shown."""
    reasons = _reasons(job)
    shown, rest = list(job.ranks), []
    if len(job.ranks) > N_ALL:
        chosen = set(list(reasons)[:N_ROWS])
        shown = [row for row in job.ranks if row.key in chosen]
        rest = [row for row in job.ranks if row.key not in chosen]
    first_s = job.first_start_s
    made = [RankLine(row=row, why="; ".join(reasons.get(row.key, ())), offset_s=row.offset_s(first_s)) for row in shown]
    return made, _ranks_rest(rest) if rest else None


def _reasons(job: Job) -> dict[str, list[str]]:
    """Who stands out and why: what went wrong first, then outliers, then the extremes."""
    found: dict[str, list[str]] = {}

    def note(name: str, why: str) -> None:
        words = found.setdefault(name, [])
        if why not in words:
            words.append(why)

    for row in job.killed:
        note(row.of, f"killed by {signal_name(row.signal or 0)}")
    for row in job.failed:
        note(row.of, f"exit code {row.exit_code}")
    for name in job.incomplete:
        note(name, "not complete")
    titles = {name: title for name, title, _ in SPREADS}
    unlike: dict[str, list[str]] = {}
    for name, spread in job.spread.observed.items():
        for entry in spread.outliers:
            unlike.setdefault(entry.of, []).append(titles.get(name, name))
    for name, measures in unlike.items():
        note(name, "outlier in " + ", ".join(measures))
    for name, ordinal in zip(job.slowest, _SLOWEST, strict=False):
        note(name, ordinal)
    # what half of the ranks have is no extreme
    wall, calls = job.spread.wall_s, job.spread.n_metadata
    if wall is not None and wall.min != wall.median:
        note(wall.min_of, "fastest")
    if calls is not None and calls.min != calls.median:
        note(calls.min_of, "fewest calls")
    if calls is not None and calls.max != calls.median:
        note(calls.max_of, "most calls")
    return found


def _ranks_rest(rows: Sequence[RankRow]) -> RanksRest:
    return RanksRest(
        n=len(rows),
        calls=sum_of(rows),
        wall_s=_middle(row.wall_s for row in rows),
        startup_s=_middle(row.startup_s for row in rows),
        time_s=_middle(row.time_s for row in rows),
        peak_open_per_s=_middle(row.peak_open_per_s for row in rows),
    )


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def node_rows(job: Job, n_most: int = N_NODES) -> tuple[list[NodeRow], NodesRest | None]:
    """The nodes to show, the busiest where there are many, and one row for the others."""
    if len(job.nodes) <= n_most:
        return list(job.nodes), None
    by_calls = sorted(job.nodes, key=lambda row: -row.n_metadata)  # of as busy ones in the order of their names
    chosen = {row.key for row in by_calls[:n_most]}
    others = [row for row in job.nodes if row.key not in chosen]
    known = [row.n_requests for row in others if row.n_requests is not None]
    rest = NodesRest(
        n=len(others),
        calls=sum_of(others),
        n_recordings=sum(row.n_recordings for row in others),
        n_requests=sum(known) if known else None,
        wall_s=max((row.wall_s for row in others if row.wall_s is not None), default=None),
    )
    return [row for row in job.nodes if row.key in chosen], rest
