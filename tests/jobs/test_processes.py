"""Processes of a job: the busiest have rows, and what is kept of the others does not grow with their number."""

from __future__ import annotations

import pytest

from fsprobe.analysis.counting.profile import by_process
from fsprobe.analysis.counting.tally import FURTHER_PROCESSES, ProcessTally, Tally
from fsprobe.jobs.reading import processes
from fsprobe.jobs.reading.processes import Processes
from fsprobe.model.rows import Counts, ProcessRow

N_RANKS = 40


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MAX_ROWS", 6)


def a_process(rank: int) -> ProcessTally:
    """Several are as busy; times are no whole microseconds."""
    counts = Counts(n_open=rank % 7, n_stat=1, time_ns=1_500 + 777 * rank)
    return ProcessTally(100 + rank, 1, "python", "python", counts, of=f"rank {rank}")


def rows_of(tally: Tally) -> tuple[ProcessRow, ...]:
    return by_process(tally, timed=True)


def test_however_often_a_table_is_shortened_the_rows_are_those_of_all() -> None:
    everybody, kept = Tally(), Tally()
    seen = Processes()
    most = 0
    for rank in range(N_RANKS):
        everybody.by_process[f"rank {rank}"] = a_process(rank)
        kept.by_process[f"rank {rank}"] = a_process(rank)
        seen.shorten(kept.by_process)
        most = max(most, len(kept.by_process))
    assert most <= 12
    rows = seen.rows(rows_of(kept), timed=True)
    assert rows == Processes().rows(rows_of(everybody), timed=True)
    # n_open is the rank modulo 7: the busiest are 6, 13, 20, 27, 34 and then the first one with 5
    assert [row.key for row in rows] == [f"rank {rank}" for rank in (6, 13, 20, 27, 34, 5)] + ["(rest)"]
    assert sum(row.n_open for row in rows) == sum(rank % 7 for rank in range(N_RANKS))
    others = [rank for rank in range(N_RANKS) if rank not in (6, 13, 20, 27, 34, 5)]
    assert rows[-1].time_s == round(sum(round((1_500 + 777 * rank) / 1e9, 6) for rank in others), 6)


def test_few_processes_keep_their_order_and_have_no_rest() -> None:
    tally = Tally(by_process={f"rank {rank}": a_process(rank) for rank in range(6)})
    seen = Processes()
    seen.shorten(tally.by_process)
    assert seen.rows(rows_of(tally), timed=True) == rows_of(tally)


def test_without_durations_the_rest_has_no_time() -> None:
    tally = Tally(by_process={f"rank {rank}": a_process(rank) for rank in range(13)})
    seen = Processes()
    seen.shorten(tally.by_process)
    assert seen.rows(by_process(tally, timed=False), timed=False)[-1].time_s is None


def test_kinds_are_of_all_processes_and_a_process_that_became_another_program_counts_once() -> None:
    shell, python = ProcessTally(7, 1, "sh", "launcher"), ProcessTally(7, 1, "python", "python")
    other, further = ProcessTally(8, 7, "ls", "program"), ProcessTally(0, 0, FURTHER_PROCESSES, "program")
    one, two, both = Processes(), Processes(), Processes()
    one.count(Tally(by_process={"7 sh": shell, "7 python": python, "8 ls": other}))
    two.count(Tally(by_process={"7 python": python, FURTHER_PROCESSES: further}))
    both.add(one)
    assert not both.is_at_least
    both.add(two)
    assert both.kinds == {"python": 2, "program": 1}
    assert both.is_at_least
