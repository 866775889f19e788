"""Where the wall time went: CPU, waiting in metadata calls, waiting in reads, and the rest, named by what it can't be told from.

A call's duration holds its own work on the CPU, which a run's cheapest calls show, and under a tracer what tracing adds. What
it took above that is waiting; but a tracer also holds calls up by some 10 us here and 100 us there, so under one what fast
calls took above the cheapest is taken for tracing, and so are the time until the command's first call and what lies between
two calls of a thread at least. CPU time is that of all
processes. Where all together are more than the wall time, something was counted twice, and it is taken off in this order: of
each call and read what it may have computed (all of a fast one's time, of a slow one as much); the work of being traced; and
the rest was done at the same time, by other threads or processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from fsprobe import capabilities
from fsprobe.analysis.counting.latency import bin_middle_ns, bin_ns
from fsprobe.analysis.counting.profile import cheap_ns, tracing_overhead_ns
from fsprobe.analysis.counting.tally import Tally
from fsprobe.analysis.time.cache import guess
from fsprobe.analysis.time.observed import FAST_CALL_NS, READ_NS, Observed, Used
from fsprobe.analysis.time.paths import PathTimes, TallyPaths, mount_key
from fsprobe.model.events import Mount
from fsprobe.model.manifest import Manifest
from fsprobe.model.profile import Profile
from fsprobe.model.rows import MountRow
from fsprobe.model.time.account import TICK_S, MountTime, TimeAccount, TimeRow, TimeSplit

MAX_ROWS = 2000
N_TICKS = 100
"""Of a run that is shorter than so many ticks of the kernel's clock, a CPU time of none says nothing. A judgement."""
MOST_START_S = 1.0
"""A tracer that takes longer to begin has not begun yet: clocks were set, or a container was started. A judgement."""


def time_account(
    manifest: Manifest,
    tally: Tally,
    seen: Observed,
    mounts: Sequence[MountRow] = (),
    mount_of: Callable[[bytes], Mount | None] = lambda _: None,
    wall_start_ns: int | None = None,
    *,
    paths: PathTimes | None = None,
    is_part: bool = False,
) -> TimeAccount | None:
    """Account for a run's wall time; None where that is not known.

    Args:
        manifest: what is known besides the calls.
        tally: the counts.
        seen: what passed when it was folded.
        mounts: the profile's rows by mount.
        mount_of: finds the mount of a path.
        wall_start_ns: wall clock where the calls' own time axis starts, ns since the epoch; None where that is not known.
        paths: how long the calls on its paths took, where the tally does not say that.
        is_part: it will be added to others: without the rows that are sums of other rows, and imports unrounded, in no order.
    """
    if not manifest.wall_s or manifest.wall_s <= 0:
        return None
    paths = paths or TallyPaths(tally)
    cheapest_ns = tracing_overhead_ns(tally) if manifest.shows(capabilities.DURATIONS) else None
    if cheapest_ns:
        cheapest_ns *= bin_middle_ns(0) / bin_ns(0)  # it is the edge of a bin
    overhead_ns = 0.0 if manifest.shows(capabilities.TRUE_DURATIONS) or cheapest_ns is None else cheapest_ns
    n_timed = sum(tally.floor.values())
    at_once = seen.n_at_once
    overhead_s = overhead_ns * n_timed / at_once / 1e9
    calls_s = fast_calls_s = computing_s = 0.0
    if cheapest_ns is not None:
        scale = _exact_over_binned(tally, paths)
        above = [(max(0.0, bin_middle_ns(number) * scale - cheapest_ns), n) for number, n in tally.floor.items()]
        calls_s = sum(ns * n for ns, n in above) / at_once / 1e9
        fast_calls_s = sum(ns * n for ns, n in above if ns <= FAST_CALL_NS) / at_once / 1e9
        computing_s = sum(min(ns, FAST_CALL_NS) * n for ns, n in above) / at_once / 1e9
    if overhead_s:
        overhead_s, calls_s, computing_s = overhead_s + fast_calls_s, calls_s - fast_calls_s, computing_s - fast_calls_s
        overhead_s += _tracers_start_s(manifest, seen, wall_start_ns)
    overhead_s = min(overhead_s, 0.99 * manifest.wall_s)
    between_ns = (cheap_ns(seen.between) or 0.0) if overhead_ns else 0.0
    wall_s = manifest.wall_s - overhead_s
    cpu_total_s = None if manifest.user_s is None else manifest.user_s + (manifest.sys_s or 0.0)
    if cpu_total_s == 0 and manifest.wall_s < N_TICKS * TICK_S:
        cpu_total_s = None  # no tick is no count of a time as short as this
    reads_at_once = seen.n_reads_at_once
    reads_s = sum(of_file.wait_ns for of_file in seen.reads.values()) / reads_at_once / 1e9
    fast_reads_s = sum(of_file.fast_ns for of_file in seen.reads.values()) / reads_at_once / 1e9
    split = divide(
        wall_s,
        cpu_total_s,
        metadata_s=None if cheapest_ns is None else calls_s,
        reads_s=reads_s if seen.has_reads else None,
        computing_metadata_s=computing_s,
        computing_reads_s=fast_reads_s,
        overhead_s=overhead_s,
    )
    # what stops take before and after a call is no CPU time, and in nobody's call: it can only be in the rest
    between_s = min(split.other_s, between_ns * n_timed / at_once / 1e9)
    overhead_s += between_s
    split = replace(split, wall_s=round(split.wall_s - between_s, 6), other_s=round(split.other_s - between_s, 6))
    by_import = _Imports(seen, cheapest_ns, overhead_ns, between_ns, is_part).rows()
    return TimeAccount(
        wall_s=split.wall_s,
        cpu_s=split.cpu_s,
        metadata_s=split.metadata_s,
        reads_s=split.reads_s,
        both_s=split.both_s,
        other_s=split.other_s,
        traced_wall_s=manifest.wall_s,
        overhead_s=round(overhead_s, 6),
        cpu_total_s=cpu_total_s,
        n_major_faults=manifest.majflt,
        read_bytes=manifest.read_bytes,
        n_reads=sum(of_file.n for of_file in seen.reads.values()) if seen.has_reads else None,
        n_read_bytes=sum(of_file.n_bytes for of_file in seen.reads.values()) if seen.has_reads else None,
        cache_guess=guess(paths, cheapest_ns, mounts),
        by_mount=by_mount(paths, seen, mount_of, split, cheapest_ns, is_traced=overhead_ns > 0),
        by_import=by_import,
        by_package=None if is_part else by_package(by_import),
    )


def _exact_over_binned(tally: Tally, paths: PathTimes) -> float:
    """What calls took together, over the sum of their bins' middles: latencies are counted in bins, their sum is exact."""
    exact = paths.total_ns()
    binned = sum(bin_middle_ns(number) * n for number, n in tally.floor.items())
    return exact / binned if exact and binned else 1.0


def with_time(profile: Profile, account: TimeAccount | None) -> Profile:
    """The profile with its account; what is said of waiting in calls is what the account says."""
    metrics = profile.metrics
    if account is not None and account.metadata_s is not None:
        share = round(account.share(account.metadata_s), 4)
        metrics = replace(metrics, time_less_overhead_s=account.metadata_s, share_of_wall=share)
    return replace(profile, time=account, metrics=metrics)


def _tracers_start_s(manifest: Manifest, seen: Observed, wall_start_ns: int | None) -> float:
    """How long a tracer took until it let the command begin; 0 where the first thing seen is not that beginning."""
    if seen.begun_ns is None or wall_start_ns is None or manifest.started_s is None:
        return 0.0
    started_s = (wall_start_ns + seen.begun_ns) / 1e9 - manifest.started_s
    return started_s if 0 < started_s <= MOST_START_S else 0.0


def divide(
    wall_s: float,
    cpu_s: float | None,
    *,
    metadata_s: float | None,
    reads_s: float | None,
    computing_metadata_s: float = 0.0,
    computing_reads_s: float = 0.0,
    overhead_s: float = 0.0,
) -> TimeSplit:
    """Divide a wall time into parts that sum to it.

    Args:
        wall_s: without what tracing added.
        cpu_s: of all processes; None where it was not observed.
        metadata_s: waiting in metadata calls; None where it was not observed.
        reads_s: waiting in reads; None likewise.
        computing_metadata_s: of `metadata_s`: what may have been CPU.
        computing_reads_s: of `reads_s`: likewise.
        overhead_s: what tracing added; some of it was CPU.
    """
    parts = _parts(wall_s, cpu_s, metadata_s, reads_s, computing_metadata_s, computing_reads_s, overhead_s=overhead_s)
    wall_s, cpu_s, metadata_s, reads_s, both_s, other_s = _rounded(parts)
    return TimeSplit(wall_s=wall_s, cpu_s=cpu_s, metadata_s=metadata_s, reads_s=reads_s, both_s=both_s, other_s=other_s)


_Parts = tuple[float, float | None, float | None, float | None, float, float]
"""The fields of a `TimeSplit`."""


def _parts(
    wall_s: float,
    cpu_s: float | None,
    metadata_s: float | None,
    reads_s: float | None,
    computing_metadata_s: float,
    computing_reads_s: float,
    *,
    overhead_s: float = 0.0,
) -> _Parts:
    """As `divide`."""
    # without `min` and `max` where it is done for each import
    metadata, reads, cpu = metadata_s or 0.0, reads_s or 0.0, cpu_s or 0.0
    waits = metadata + reads
    if waits > wall_s:
        # some waited for the one while others waited for the other: the seconds are shared
        metadata, reads = metadata * wall_s / waits, reads * wall_s / waits
    if cpu > wall_s:
        cpu = wall_s
    both = 0.0
    excess = cpu + metadata + reads - wall_s
    if excess > 0:
        computing = min(computing_metadata_s, metadata) + min(computing_reads_s, reads)
        off = min(excess, computing)
        if computing:
            # all of a part, rounded, may be a bit more than the part
            metadata = max(0.0, metadata - min(computing_metadata_s, metadata) * off / computing)
            reads = max(0.0, reads - min(computing_reads_s, reads) * off / computing)
        excess -= off
        off = min(excess, overhead_s, cpu)
        cpu -= off
        both = min(max(0.0, excess - off), cpu, metadata + reads)
        if both:
            waits = metadata + reads
            metadata, reads = metadata * (1 - both / waits), reads * (1 - both / waits)
            cpu -= both
    rest = wall_s - cpu - metadata - reads - both
    return (
        wall_s,
        None if cpu_s is None else cpu,
        None if metadata_s is None else metadata,
        None if reads_s is None else reads,
        both,
        rest if rest > 0.0 else 0.0,
    )


def _rounded(parts: _Parts) -> _Parts:
    """To the microsecond, so that they still sum to the wall time."""
    wall_s, cpu_s, metadata_s, reads_s, both_s, _ = parts
    wall_s, both_s = round(wall_s, 6), round(both_s, 6)
    cpu_s, metadata_s, reads_s = (None if one is None else round(one, 6) for one in (cpu_s, metadata_s, reads_s))
    rest = wall_s - (cpu_s or 0.0) - (metadata_s or 0.0) - (reads_s or 0.0) - both_s
    return wall_s, cpu_s, metadata_s, reads_s, both_s, round(rest, 6) if rest > 0.0 else 0.0


def by_mount(
    paths: PathTimes,
    seen: Observed,
    mount_of: Callable[[bytes], Mount | None],
    split: TimeSplit,
    cheapest_ns: float | None,
    *,
    is_traced: bool,
) -> tuple[MountTime, ...]:
    """What the run waited for on each mount: the two kinds of waiting, shared out as the mounts' calls and reads took it."""
    table: dict[str, _OnMount] = {}
    known: dict[int, _OnMount] = {}

    def of(path: bytes) -> _OnMount:
        mount = mount_of(path)
        place = known.get(id(mount))
        if place is None:
            place = known[id(mount)] = table.setdefault(mount_key(mount), _OnMount(mount))
        return place

    least_ns = FAST_CALL_NS if is_traced else 0
    if cheapest_ns is not None:
        for key, (mount, latencies) in paths.by_mount(mount_of).items():
            place = table[key] = _OnMount(mount)
            above = [(bin_middle_ns(number) - cheapest_ns, n) for number, n in latencies.items()]
            place.metadata_ns = sum(ns * n for ns, n in above if ns > least_ns)
    for path, of_file in seen.reads.items():
        place = of(path)
        place.reads_ns += of_file.wait_ns
        place.mapped_bytes += of_file.mapped_bytes
    waits = (split.metadata_s or 0.0) + (split.reads_s or 0.0)
    # what was done at the same time as CPU was waiting too
    whole = 1 + split.both_s / waits if waits else 1.0
    n_metadata_ns = sum(place.metadata_ns for place in table.values()) or 1.0
    n_reads_ns = sum(place.reads_ns for place in table.values()) or 1.0
    rows = [
        MountTime(
            key=key,
            fstype=place.mount.fstype if place.mount is not None else None,
            fs_class=place.mount.fs_class if place.mount is not None else None,
            metadata_s=None
            if split.metadata_s is None
            else round(split.metadata_s * whole * place.metadata_ns / n_metadata_ns, 6),
            reads_s=None if split.reads_s is None else round(split.reads_s * whole * place.reads_ns / n_reads_ns, 6),
            mapped_bytes=place.mapped_bytes if seen.has_reads else None,
        )
        for key, place in table.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.waited_s, row.key)))


@dataclass(slots=True)
class _OnMount:
    mount: Mount | None
    metadata_ns: float = 0.0
    reads_ns: int = 0
    mapped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Imports:
    """How the times of imports are divided."""

    seen: Observed
    cheapest_ns: float | None
    overhead_ns: float
    between_ns: float
    is_part: bool
    """Of a sum, which is rounded when it is complete: rounding takes longer than all the rest."""

    def rows(self) -> tuple[TimeRow, ...] | None:
        """A row for each import, most self time first; of a part, as they come."""
        own, cumulative = self.seen.own, self.seen.cumulative
        if not own:
            return None
        names: Iterable[str] = own
        if not self.is_part or len(own) > MAX_ROWS:
            names = sorted(own, key=lambda name: (-own[name].wall_ns, name))[:MAX_ROWS]
        return tuple(self._row(name, own[name], cumulative[name]) for name in names)

    def _row(self, key: str, own: Used, cumulative: Used) -> TimeRow:
        """Where the time of an import went; of one thread, so nothing was done at once."""
        mine = self._split(own)
        # most imports import nothing else
        whole = mine if own == cumulative else self._split(cumulative)
        return TimeRow(
            key=key,
            wall_s=mine[0],
            cpu_s=mine[1],
            metadata_s=mine[2],
            reads_s=mine[3],
            other_s=mine[5],
            wall_cum_s=whole[0],
            cpu_cum_s=whole[1],
            metadata_cum_s=whole[2],
            reads_cum_s=whole[3],
            n_major_faults=own.n_major_faults if self.seen.has_usage and self.seen.has_faults else None,
        )

    def _split(self, used: Used) -> _Parts:
        seen, wall_ns, calls_ns, cpu_ns = self.seen, used.wall_ns, used.calls_ns, used.cpu_ns
        has_usage = seen.has_usage
        waiting_ns, tracing_ns = calls_ns - (self.cheapest_ns or 0.0) * used.n_calls, 0.0
        if self.overhead_ns:
            waiting_ns = used.slow_ns - self.overhead_ns * used.n_slow
            tracing_ns = calls_ns - max(0.0, waiting_ns)
            # as of the whole run: between calls no more than the rest, what was CPU is CPU
            rest_ns = wall_ns - tracing_ns - max(0.0, waiting_ns) - (cpu_ns if has_usage else 0)
            tracing_ns += max(0.0, min(self.between_ns * used.n_calls, rest_ns))
        wall_s = max(0.0, wall_ns - tracing_ns, min(cpu_ns, wall_ns) if has_usage else 0.0) / 1e9
        metadata_s = None if self.cheapest_ns is None else max(0.0, waiting_ns) / 1e9
        reads_s = max(0.0, used.reads_ns - READ_NS * used.n_reads) / 1e9 if seen.has_reads else None
        cpu_s = cpu_ns / 1e9 if has_usage else None
        # its thread's own CPU clock: what is more than the wall time leaves was in the calls
        parts = _parts(wall_s, cpu_s, metadata_s, reads_s, metadata_s or 0.0, reads_s or 0.0)
        return parts if self.is_part else _rounded(parts)


def by_package(rows: tuple[TimeRow, ...] | None) -> tuple[TimeRow, ...] | None:
    """Rows of the packages whose modules were imported: their own times sum; with what they import they are their top module's."""
    if rows is None:
        return None
    table: dict[str, list[TimeRow]] = {}
    for one in rows:
        table.setdefault(one.key.partition(".")[0], []).append(one)
    found = [_summed(key, members) for key, members in table.items()]
    return tuple(sorted(found, key=lambda one: (-one.wall_s, one.key)))


def _summed(key: str, rows: list[TimeRow]) -> TimeRow:
    top = next((one for one in rows if one.key == key), None)

    def total(name: str) -> float | None:
        values = [getattr(one, name) for one in rows]
        return None if None in values else sum(values)

    own = {name: total(name) for name in ("wall_s", "cpu_s", "metadata_s", "reads_s", "other_s")}
    faults = total("n_major_faults")
    return TimeRow(
        key=key,
        wall_s=own["wall_s"] or 0.0,
        cpu_s=own["cpu_s"],
        metadata_s=own["metadata_s"],
        reads_s=own["reads_s"],
        other_s=own["other_s"] or 0.0,
        wall_cum_s=top.wall_cum_s if top is not None else own["wall_s"] or 0.0,
        cpu_cum_s=top.cpu_cum_s if top is not None else own["cpu_s"],
        metadata_cum_s=top.metadata_cum_s if top is not None else own["metadata_s"],
        reads_cum_s=top.reads_cum_s if top is not None else own["reads_s"],
        n_major_faults=None if faults is None else int(faults),
    )
