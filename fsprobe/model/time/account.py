"""The time account: where the wall time of a run, an import or a package went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

CPU, METADATA, READS, BOTH, OTHER = "cpu", "metadata", "reads", "both", "other"
"""Keys of the parts, in the order in which a bar shows them."""
NAMES = {
    CPU: "CPU",
    METADATA: "waiting in metadata calls",
    READS: "waiting in reads",
    BOTH: "CPU while others wait",
}
TICK_S = 0.01
"""What the kernel counts the CPU time of a tracer's children in."""
WARM, PARTLY, COLD = "warm", "partly warm", "cold"
"""What the cache may have been, guessed from latencies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePart:
    """One part of a wall time."""

    key: str
    """cpu | metadata | reads | both | other"""
    name: str
    """What it is; of `other`: all that could not be told apart."""
    time_s: float
    share: float
    """Of the wall time, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSplit:
    """A wall time and its parts, which sum to it. A part that was not observed is None, and its time is in `other_s`."""

    DERIVED: ClassVar[tuple[str, ...]] = ("parts",)

    wall_s: float
    """Less what tracing added."""
    cpu_s: float | None = None
    """Computing, while nothing that was observed waited."""
    metadata_s: float | None = None
    """Waiting in metadata calls: what they took above the run's cheapest."""
    reads_s: float | None = None
    """Waiting in reads of files."""
    both_s: float = 0.0
    """Processes or threads computed while others waited, at least: more CPU and waiting than wall time."""
    other_s: float = 0.0
    """The rest; see `other_name`."""

    @property
    def other_name(self) -> str:
        """What `other_s` holds."""
        held = [
            words
            for part, words in ((self.cpu_s, "CPU"), (self.metadata_s, "metadata calls"), (self.reads_s, "reads"))
            if part is None
        ]
        if "CPU" in held:
            return ", ".join([*held, "page faults, other waiting"])
        return f"other waiting ({', '.join([*held, 'page faults'])})" if held else "page faults and other waiting"

    @property
    def parts(self) -> tuple[TimePart, ...]:
        """The parts that were observed and the rest, for one bar; their times sum to the wall time."""
        times = {CPU: self.cpu_s, METADATA: self.metadata_s, READS: self.reads_s, BOTH: self.both_s or None}
        found = [
            TimePart(key=key, name=NAMES[key], time_s=time_s, share=self.share(time_s))
            for key, time_s in times.items()
            if time_s is not None
        ]
        rest = TimePart(key=OTHER, name=self.other_name, time_s=self.other_s, share=self.share(self.other_s))
        return (*found, rest)

    def share(self, time_s: float | None) -> float:
        """A time as a part of the wall time."""
        return min(1.0, max(0.0, (time_s or 0.0) / self.wall_s)) if self.wall_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRow(TimeSplit):
    """Where the time of an import or a package went: its own (self), without what it imported."""

    DERIVED: ClassVar[tuple[str, ...]] = ()

    key: str
    wall_cum_s: float = 0.0
    """With what it imported; of a package: with the packages that it imported."""
    cpu_cum_s: float | None = None
    metadata_cum_s: float | None = None
    reads_cum_s: float | None = None
    n_major_faults: int | None = None
    """Its own; None where they were not observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountTime:
    """What a run waited for on one mount."""

    key: str
    """The mount point, as in the rows by mount."""
    fstype: str | None = None
    fs_class: str | None = None
    metadata_s: float | None = None
    reads_s: float | None = None
    mapped_bytes: int | None = None
    """What was mapped of its files: page faults may have read it; None where maps were not observed."""

    @property
    def waited_s(self) -> float:
        """In metadata calls and reads, as far as these were observed."""
        return (self.metadata_s or 0.0) + (self.reads_s or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAccount(TimeSplit):
    """Where the wall time of a run went, and of its imports."""

    traced_wall_s: float = 0.0
    """As measured, with what tracing added."""
    overhead_s: float = 0.0
    """What tracing added, as far as it is known: taken off the wall time."""
    cpu_total_s: float | None = None
    """CPU time of all processes; more than the wall time where several computed at once."""
    n_major_faults: int | None = None
    read_bytes: int | None = None
    """What all reads returned, those of pipes and from caches too, by the kernel's count."""
    n_reads: int | None = None
    """Reads of files; None where they were not observed."""
    n_read_bytes: int | None = None
    """What they returned, from caches too."""
    cache_guess: str = ""
    """warm | partly warm | cold, a guess from latencies; "" where there is nothing to guess from."""
    by_mount: tuple[MountTime, ...] = ()
    """Most waiting first; sums to the parts, and to what was done at the same time as CPU."""
    by_import: tuple[TimeRow, ...] | None = None
    """Most self time first; None where imports were not timed."""
    by_package: tuple[TimeRow, ...] | None = None
    """By the first part of the imports' names."""
    n_ranks: int = 1
    """Of how many runs the times are the sum: of a job, of its ranks."""
    slowest: TimeRow | None = None
    """Of a job: the rank with the longest wall time."""
