"""The common clock of a job: when each node made its calls, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fsprobe.analysis.counting.rates import PEAK_S, SUSTAINED_S, busiest
from fsprobe.analysis.counting.tally import BIN_NS, Tally
from fsprobe.jobs.sums import add_numbers, add_timeline

N_SLOTS = 120
"""Slots that the time of a job is cut into: as many as a small picture shows, few enough to keep for each node."""
_WIDTHS = (1, 2, 5)


@dataclass(slots=True)
class NodeClock:
    """When one node, all its ranks together, made its calls. Its bins are those of the common clock."""

    calls_by_bin: dict[int, int] = field(default_factory=dict)
    opens_by_bin: dict[int, int] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    timeline: Tally = field(default_factory=Tally)

    def join(self, tally: Tally, shift_ns: int) -> None:
        """Let in what a rank of this node did.

        Args:
            tally: its tables.
            shift_ns: what its times lie before the common clock.
        """
        n_bins = shift_ns // BIN_NS
        for process in tally.by_process.values():
            for mine, theirs in (
                (self.calls_by_bin, process.n_metadata_by_bin),
                (self.opens_by_bin, process.n_open_by_bin),
            ):
                for number, n in theirs.items():
                    mine[number + n_bins] = mine.get(number + n_bins, 0) + n
        for name, value in tally.settled_rates.items():
            self.settled[name] = max(value, self.settled.get(name, 0))
        add_timeline(self.timeline, tally, n_bins)

    def add(self, other: NodeClock) -> None:
        """Let in what other ranks of this node did."""
        add_numbers(self.calls_by_bin, other.calls_by_bin)
        add_numbers(self.opens_by_bin, other.opens_by_bin)
        for name, value in other.settled.items():
            self.settled[name] = max(value, self.settled.get(name, 0))
        add_timeline(self.timeline, other.timeline, 0)

    def rates(self) -> dict[str, Any]:
        """The rates of a `NodeRow`: the busiest second and the busiest ten; None where its logs have no times."""
        found = {
            "peak_metadata_per_s": busiest(self.calls_by_bin, PEAK_S),
            "sustained_metadata_per_s": busiest(self.calls_by_bin, SUSTAINED_S),
            "peak_open_per_s": busiest(self.opens_by_bin, PEAK_S),
        }
        if not self.timeline.timeline:
            return dict.fromkeys(found)
        return {name: max(value, self.settled.get(name, 0)) for name, value in found.items()}

    def calls(self) -> dict[int, int]:
        """Bin of 0.1 s -> metadata calls; where bins were put together they stand at the first one."""
        return {number: sum(phases.values()) for number, phases in self.timeline.timeline.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Equal slots of time from the first call of a job to its last."""

    first: int
    """The bin of 0.1 s that the first slot begins with."""
    width: int
    """Bins a slot."""
    n: int

    @property
    def slot_s(self) -> float:
        """How long a slot is, in s."""
        return self.width * BIN_NS / 1e9

    @property
    def start_s(self) -> float:
        """When the first slot begins, in s since the epoch."""
        return self.first * BIN_NS / 1e9

    def sums(self, by_bin: Mapping[int, int]) -> tuple[int, ...]:
        """Bins added up by slot."""
        row = [0] * self.n
        for number, n in by_bin.items():
            row[(number - self.first) // self.width] += n
        return tuple(row)


def make_slots(tally: Tally) -> Slots | None:
    """Cut the time of a job, as its merged timeline has it, into at most `N_SLOTS`; None without times."""
    if not tally.timeline:
        return None
    first, last = min(tally.timeline), max(tally.timeline)
    n_bins = last - first + tally.timeline_step
    power = 1
    while True:
        for factor in _WIDTHS:
            width = factor * power
            # bins that were put together are not taken apart again
            if width >= tally.timeline_step and n_bins <= width * N_SLOTS:
                return Slots(first=first, width=width, n=-(-n_bins // width))
        power *= 10
