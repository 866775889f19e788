"""Processes of a job: the busiest keep a row of their own, the others are added up as they come, for a job has a thousand ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fsprobe.analysis.counting.profile import numbers, processes
from fsprobe.analysis.counting.tally import FURTHER_PROCESSES, ProcessTally, Tally, add
from fsprobe.jobs.sums import fields_of_sum
from fsprobe.model.rows import CallCounts, Counts, ProcessRow

MAX_ROWS = 1_000
REST = "(rest)"


@dataclass(slots=True)
class Processes:
    """What is known of all processes of some ranks besides their rows."""

    kinds: Counter[str] = field(default_factory=Counter)
    """How many ran what kind of program: see `counting.profile.processes`."""
    is_at_least: bool = False
    """Some run did not tell all of its own apart."""
    rest: Counts | None = None
    """The sum of those that have lost their row; None while all have one."""

    def count(self, tally: Tally) -> None:
        """Let in the processes of one rank."""
        self.kinds.update(processes(tally))
        self.is_at_least |= any(process.label == FURTHER_PROCESSES for process in tally.by_process.values())

    def add(self, other: Processes) -> None:
        """Let in those of other ranks, which are counted already."""
        self.kinds.update(other.kinds)
        self.is_at_least |= other.is_at_least

    def shorten(self, by_process: dict[str, ProcessTally]) -> None:
        """Take out of a table that has become twice too long all but the `MAX_ROWS` busiest.

        Those that came first stay where several are as busy, so it does not matter how often this is done.
        """
        if len(by_process) <= 2 * MAX_ROWS:
            return
        ranked = sorted(by_process.items(), key=lambda item: -item[1].counts.n_metadata)
        self.rest = self.rest or Counts()
        for _, process in ranked[MAX_ROWS:]:
            add(self.rest, process.counts)
            # as its row would have been rounded: then it does not matter either when it was added to the rest
            shown_us = round(round(process.counts.time_ns / 1e9, 6) * 1e6)
            self.rest.time_ns += shown_us * 1_000 - process.counts.time_ns
        by_process.clear()
        by_process.update(ranked[:MAX_ROWS])

    def rows(self, rows: Sequence[ProcessRow], timed: bool) -> tuple[ProcessRow, ...]:
        """The busiest processes, and one row for the rest.

        Args:
            rows: of those that have one still.
            timed: whether calls have durations.
        """
        if self.rest is None and len(rows) <= MAX_ROWS:
            return tuple(rows)
        ranked = sorted(rows, key=lambda row: -row.n_metadata)
        others = [*ranked[MAX_ROWS:], CallCounts(**numbers(self.rest or Counts(), timed))]
        return (*ranked[:MAX_ROWS], ProcessRow(key=REST, label=REST, **fields_of_sum(others)))
