"""The clock of a job: what is kept by node gives the rates that all processes' bins give, however it is added and packed."""

from __future__ import annotations

import random

import pytest

from fsprobe.analysis.counting.rates import windows
from fsprobe.analysis.counting.tally import BIN_NS, ProcessTally, Tally
from fsprobe.jobs.clock import Bins, NodeClock, job_rates
from fsprobe.jobs.sums import add_tally

S = 10 * BIN_NS


def rank(number: int) -> tuple[Tally, int]:
    """A rank of two processes, and what its times lie before the common clock."""
    chance = random.Random(number)
    tally = Tally(n_timed=1, first_ns=0, last_ns=9 * S)
    for pid in (100 + number, 200 + number):
        opens = {chance.randrange(150): chance.randrange(1, 400) for _ in range(9)}
        process = ProcessTally(pid, 1, "python", "python", n_open_by_bin=opens, n_metadata_by_bin={**opens, 151: 7})
        tally.by_process[process.key] = process
        for at, n in process.n_metadata_by_bin.items():
            phases = tally.timeline.setdefault(at, {})
            phases["import"] = phases.get("import", 0) + n
    return tally, number * 7 * S + 3


@pytest.mark.parametrize("n_nodes", [1, 4])
def test_rates_are_those_of_all_bins(n_nodes: int) -> None:
    kept, without = Tally(), Tally()
    clocks = {node: NodeClock() for node in range(n_nodes)}
    for number in range(12):
        tally, shift_ns = rank(number)
        add_tally(kept, tally, of=f"rank {number}", shift_ns=shift_ns)
        add_tally(without, tally, of=f"rank {number}", shift_ns=shift_ns, keeps_bins=False)
        part = NodeClock()
        part.join(tally, shift_ns)
        part.pack()
        mine = clocks[number % n_nodes]
        mine.add(part)
        mine.pack()
    assert not any(row.n_open_by_bin or row.n_metadata_by_bin for row in without.by_process.values())
    for name, value in job_rates(clocks.values()).items():
        without.settled_rates[name] = max(value, without.settled_rates.get(name, 0))
    assert windows(without) == windows(kept)
    calls: dict[int, int] = {}
    for clock in clocks.values():
        for at, n in clock.calls().items():
            calls[at] = calls.get(at, 0) + n
    assert calls == {at: sum(phases.values()) for at, phases in kept.timeline.items()}


def test_bins_are_the_same_packed_and_put_together() -> None:
    bins, other = Bins(), Bins()
    bins.add({3: 1, 14: 2, 17: 1 << 40})
    other.add({3: 1, 14: 2, 17: 1 << 40})
    bins.pack()
    assert bins
    assert bins == other
    bins.add({3: 5}, n_bins=1)
    assert bins.numbers() == {3: 1, 4: 5, 14: 2, 17: 1 << 40}
    bins.coarsen(10)
    assert bins.numbers() == {0: 6, 10: 2 + (1 << 40)}
    assert not Bins()
