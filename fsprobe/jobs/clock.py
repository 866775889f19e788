"""The common clock of a job: when each node made its calls, and how fast."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from fsprobe.analysis.counting.rates import PEAK_S, SUSTAINED_S, busiest
from fsprobe.analysis.counting.tally import BIN_NS, Tally

N_SLOTS = 120
"""Slots that the time of a job is cut into: as many as a small picture shows, few enough to keep for each node."""
_WIDTHS = (1, 2, 5)


class Bins:
    """Bin of 0.1 s -> a number; packed where nothing more is added for now."""

    __slots__ = ("_numbers", "_packed")

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._packed: array[int] | None = None

    def numbers(self) -> dict[int, int]:
        """As a table."""
        if self._packed is not None:
            self._numbers = dict(zip(self._packed[::2], self._packed[1::2], strict=True))
            self._packed = None
        return self._numbers

    def add(self, other: Mapping[int, int], n_bins: int = 0) -> None:
        """Add a table, moved by so many bins."""
        mine = self.numbers()
        for number, n in other.items():
            mine[number + n_bins] = mine.get(number + n_bins, 0) + n

    def coarsen(self, step: int) -> None:
        """Put so many bins together; they stand at the first one."""
        before, self._numbers = self.numbers(), {}
        for number, n in before.items():
            self._numbers[number - number % step] = self._numbers.get(number - number % step, 0) + n

    def pack(self) -> None:
        """Take less memory: a node's bins wait until those of all nodes are known."""
        if self._packed is None:
            self._packed = array("q", chain.from_iterable(self._numbers.items()))
            self._numbers = {}

    def __bool__(self) -> bool:
        return bool(self._packed or self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bins) and self.numbers() == other.numbers()

    __hash__ = None  # type: ignore[assignment]  # it changes


@dataclass(slots=True)
class NodeClock:
    """When one node, all its ranks together, made its calls. Its bins are those of the common clock."""

    calls_by_bin: Bins = field(default_factory=Bins)
    opens_by_bin: Bins = field(default_factory=Bins)
    active_by_s: Bins = field(default_factory=Bins)
    """Second -> processes that opened something in it."""
    settled: dict[str, float] = field(default_factory=dict)
    timeline: Bins = field(default_factory=Bins)
    """Metadata calls, where `timeline_step` bins are put together."""
    timeline_step: int = 1

    def join(self, tally: Tally, shift_ns: int) -> None:
        """Let in what a rank of this node did.

        Args:
            tally: its tables.
            shift_ns: what its times lie before the common clock.
        """
        n_bins = shift_ns // BIN_NS
        for process in tally.by_process.values():
            self.calls_by_bin.add(process.n_metadata_by_bin, n_bins)
            self.opens_by_bin.add(process.n_open_by_bin, n_bins)
            seconds = {(number + n_bins) * BIN_NS // 1_000_000_000 for number in process.n_open_by_bin}
            self.active_by_s.add(dict.fromkeys(seconds, 1))
        self._settle(tally.settled_rates)
        calls = {number: sum(phases.values()) for number, phases in tally.timeline.items()}
        self._add_timeline(calls, tally.timeline_step, n_bins)

    def add(self, other: NodeClock) -> None:
        """Let in what other ranks of this node did."""
        self.calls_by_bin.add(other.calls_by_bin.numbers())
        self.opens_by_bin.add(other.opens_by_bin.numbers())
        self.active_by_s.add(other.active_by_s.numbers())
        self._settle(other.settled)
        self._add_timeline(other.timeline.numbers(), other.timeline_step, 0)

    def _settle(self, rates: Mapping[str, float]) -> None:
        for name, value in rates.items():
            self.settled[name] = max(value, self.settled.get(name, 0))

    def _add_timeline(self, other: Mapping[int, int], step: int, n_bins: int) -> None:
        if step > self.timeline_step:
            self.timeline_step = step
            self.timeline.coarsen(step)
        self.timeline.add(other, n_bins)
        if self.timeline_step > 1:
            self.timeline.coarsen(self.timeline_step)

    def pack(self) -> None:
        """Take less memory: no more of this node is expected."""
        for bins in (self.calls_by_bin, self.opens_by_bin, self.active_by_s, self.timeline):
            bins.pack()

    def rates(self) -> dict[str, Any]:
        """The rates of a `NodeRow`: the busiest second and the busiest ten; None where its logs have no times."""
        calls, opens = self.calls_by_bin.numbers(), self.opens_by_bin.numbers()
        found = {
            "peak_metadata_per_s": busiest(calls, PEAK_S),
            "sustained_metadata_per_s": busiest(calls, SUSTAINED_S),
            "peak_open_per_s": busiest(opens, PEAK_S),
        }
        self.pack()
        if not self.timeline:
            return dict.fromkeys(found)
        return {name: max(value, self.settled.get(name, 0)) for name, value in found.items()}

    def calls(self) -> dict[int, int]:
        """Bin of 0.1 s -> metadata calls; where bins were put together they stand at the first one."""
        calls = dict(self.timeline.numbers())
        self.timeline.pack()
        return calls


def job_rates(clocks: Iterable[NodeClock]) -> dict[str, float]:
    """The busiest windows of all nodes together, as `counting.rates.windows` names them."""
    calls, opens, active = Bins(), Bins(), Bins()
    for clock in clocks:
        calls.add(clock.calls_by_bin.numbers())
        opens.add(clock.opens_by_bin.numbers())
        active.add(clock.active_by_s.numbers())
        clock.pack()
    return {
        "peak_metadata_per_s": busiest(calls.numbers(), PEAK_S),
        "sustained_metadata_per_s": busiest(calls.numbers(), SUSTAINED_S),
        "peak_open_per_s": busiest(opens.numbers(), PEAK_S),
        "sustained_open_per_s": busiest(opens.numbers(), SUSTAINED_S),
        "n_processes_busiest_s": max(active.numbers().values(), default=0),
    }


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
