"""A tally with other times: that of a run that made the very same calls as another one, but not when, and not as long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.columns.counted import Rows, bins_of
from fsprobe.analysis.columns.groups import group, sums
from fsprobe.analysis.columns.slots import Ints
from fsprobe.analysis.counting.latency import bin_edges
from fsprobe.analysis.counting.tally import BIN_NS, ModuleTally, PathTally, ProcessTally, Tally
from fsprobe.analysis.time.paths import mount_key
from fsprobe.model.events import Mount, Op
from fsprobe.model.rows import Counts

_NEVER = np.iinfo(np.int64).max
N_BINS = len(bin_edges())


@dataclass(slots=True)
class _Table:
    """Rows of a table that calls are counted in, one in several where imports lie in each other."""

    fixed: list[tuple[int, ...]]
    """The counts of each, without their time."""
    of: Ints
    """Which row a call is counted in, ordered by it."""
    call: Ints
    """... and which call that is."""
    rows: Ints = field(init=False)
    """Rows that calls are counted in."""
    begins: Ints = field(init=False)
    """Where each of these begins in `of`."""

    def __post_init__(self) -> None:
        order = np.argsort(self.of, kind="stable")
        self.of, self.call = self.of[order], self.call[order]
        self.begins = np.flatnonzero(np.diff(self.of, prepend=-1))
        self.rows = self.of[self.begins]

    def sums(self, time_ns: Ints) -> Ints:
        """The time of each row."""
        return sums(self.of, time_ns[self.call], len(self.fixed))

    def counts(self, times: Ints, n: int = 1) -> list[Counts]:
        """The rows with these times, of so many runs."""
        if n == 1:
            return [Counts(*(*fixed, time_ns)) for fixed, time_ns in zip(self.fixed, times.tolist(), strict=True)]
        rows = zip(self.fixed, times.tolist(), strict=True)
        return [Counts(*(*(n * count for count in fixed), time_ns)) for fixed, time_ns in rows]

    def most(self, values: Ints) -> Ints:
        """The largest value of each row."""
        found = np.zeros(len(self.fixed), dtype=np.int64)
        if len(self.of):
            found[self.rows] = np.maximum.reduceat(values[self.call], self.begins)
        return found

    def least(self, values: Ints) -> Ints:
        """The smallest value of each row; `_NEVER` where there is none."""
        found = np.full(len(self.fixed), _NEVER)
        if len(self.of):
            found[self.rows] = np.minimum.reduceat(values[self.call], self.begins)
        return found


def _fixed(counts: Counts) -> tuple[int, ...]:
    return astuple(counts)[:-1]


class Retimed:
    """The tally of a run, and which of its calls each row of its tables holds.

    Args:
        tally: of a run of which all calls have times.
        rows: the same run's calls.
    """

    def __init__(self, tally: Tally, rows: Rows) -> None:
        self._tally = tally
        calls, contexts = rows.columns.shapes.calls, rows.contexts
        is_metadata = ~rows.own & ~rows.of_shapes(lambda call: call.op is Op.OTHER)[rows.shape]
        places = np.flatnonzero(is_metadata)
        self._rows, shape, context = rows.row[places], rows.shape[places], rows.context[places]
        every = np.arange(len(places))

        def numbered(of: list[int], which: Ints) -> Ints:
            return np.array(of, dtype=np.int64)[which]

        paths = {path: number for number, path in enumerate(tally.by_path)}
        self._path = numbered([paths.get(call.path, -1) for call in calls], shape)
        self._paths = _Table([_fixed(one.counts) for one in tally.by_path.values()], self._path, every)
        phases = {name: number for number, name in enumerate(tally.by_phase)}
        self._phase = numbered(
            [phases.get(name, -1) for name in contexts.phases], numbered([*contexts.phase_of], context)
        )
        self._phases = _Table([_fixed(one) for one in tally.by_phase.values()], self._phase, every)
        keys = {key: number for number, key in enumerate(tally.by_process)}
        self._process = numbered(
            [keys.get(info.key, -1) for info in contexts.processes], numbered([*contexts.process_of], context)
        )
        self._processes = _Table([_fixed(one.counts) for one in tally.by_process.values()], self._process, every)
        modules = {name: number for number, name in enumerate(tally.by_module)}
        imports = numbered([*contexts.import_of], context)
        self._own = _Table(
            [_fixed(one.own) for one in tally.by_module.values()],
            numbered([modules.get(name, -1) for name, _ in contexts.imports], imports),
            every,
        )
        inside = [
            [modules.get(frame.name, -1) for frame in node.stack() if not frame.recursive] or [modules.get(name, -1)]
            for name, node in contexts.imports
        ]
        depths = np.array([len(one) for one in inside], dtype=np.int64)[imports]
        self._cumulative = _Table(
            [_fixed(one.cumulative) for one in tally.by_module.values()],
            np.array([number for which in imports.tolist() for number in inside[which]], dtype=np.int64),
            np.repeat(every, depths),
        )
        self._opens = rows.of_shapes(lambda call: call.op is Op.OPEN)[shape]
        self._is_counted: NDArray[np.bool_] | None = None
        """Of each path what `slow` asked, which is the same of all runs."""
        self._mounts: list[tuple[str, Mount | None]] = []
        self._mount: Ints | None = None
        """Which of these each path lies on."""

    @property
    def known(self) -> Tally:
        """The tally of the first run."""
        return self._tally

    def tally(self, t_ns: Ints, dur_ns: Ints, pids: dict[int, int]) -> Tally:
        """The tally of the other run, without paths and modules: these are `columns`.

        Args:
            t_ns: when its calls began, by row.
            dur_ns: how long they took; -1: that is not known.
            pids: its process numbers, by those of the first.
        """
        known = self._tally
        t_ns, dur_ns = t_ns[self._rows], dur_ns[self._rows]
        time_ns = np.maximum(dur_ns, 0)
        end_ns = t_ns + time_ns
        tally = replace(
            known,
            total=replace(known.total, time_ns=int(time_ns.sum())),
            by_phase=dict(zip(known.by_phase, self._phases.counts(self._phases.sums(time_ns)), strict=True)),
            by_module={},
            by_path={},
            by_process={},
            timeline={},
            floor={},
            first_ns=int(t_ns.min()),
            last_ns=int(end_ns.max()),
        )
        phases = list(known.by_phase)
        if "import" in phases:
            tally.startup_end_ns = int(end_ns[self._phase == phases.index("import")].max())
        found = group(bins_of(dur_ns[dur_ns >= 0]), N_BINS)
        tally.floor = dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True))
        self._bins(tally, t_ns // BIN_NS, time_ns, pids)
        return tally

    def columns(self, t_ns: Ints, dur_ns: Ints) -> RunColumns:
        """The paths and modules of the other run; arguments as of `tally`."""
        t_ns, dur_ns = t_ns[self._rows], dur_ns[self._rows]
        time_ns, has_end = np.maximum(dur_ns, 0), dur_ns >= 0
        found = group(self._path[has_end] * N_BINS + bins_of(dur_ns[has_end]), len(self._tally.by_path) * N_BINS)
        return RunColumns(
            of=self,
            path_ns=self._paths.sums(time_ns),
            most_ns=self._paths.most(time_ns),
            latency=found.keys,
            n_latency=found.counts,
            own_ns=self._own.sums(time_ns),
            cumulative_ns=self._cumulative.sums(time_ns),
            first_ns=np.minimum(self._own.least(t_ns), self._cumulative.least(t_ns)),
        )

    def tables(self, one: RunColumns, n: int = 1) -> Tally:
        """Paths and modules as tables, of so many runs, in a tally that holds nothing else."""
        tally, known = Tally(), self._tally
        rows = zip(known.by_path.items(), self._paths.counts(one.path_ns, n), one.most_ns.tolist(), strict=True)
        tally.by_path = {path: PathTally(counts, first.resolved, {}, most) for (path, first), counts, most in rows}
        latencies = [counted.latency for counted in tally.by_path.values()]
        which = one.latency // N_BINS
        bins = (one.latency - which * N_BINS).tolist()
        for number, latency, n_calls in zip(which.tolist(), bins, one.n_latency.tolist(), strict=True):
            latencies[number][latency] = n_calls
        modules = zip(
            known.by_module.items(),
            self._own.counts(one.own_ns, n),
            self._cumulative.counts(one.cumulative_ns, n),
            one.first_ns.tolist(),
            strict=True,
        )
        tally.by_module = {
            name: ModuleTally(
                own,
                cumulative,
                {parent: n * n_imports for parent, n_imports in module.parents.items()},
                n * module.n_imports,
                None if first_ns == _NEVER else first_ns,
            )
            for (name, module), own, cumulative, first_ns in modules
        }
        return tally

    def is_counted(self, asked: Callable[[bytes], bool]) -> NDArray[np.bool_]:
        """Which paths count; asked once for all runs, whose surroundings are the same."""
        if self._is_counted is None:
            self._is_counted = np.array([asked(path) for path in self._tally.by_path], dtype=bool)
        return self._is_counted

    def mounts(self, mount_of: Callable[[bytes], Mount | None]) -> tuple[list[tuple[str, Mount | None]], Ints]:
        """The mounts that its paths lie on, and which of them each does; asked once likewise."""
        if self._mount is None:
            numbers: dict[str, int] = {}
            of = []
            for path in self._tally.by_path:
                mount = mount_of(path)
                key = mount_key(mount)
                if key not in numbers:
                    numbers[key] = len(numbers)
                    self._mounts.append((key, mount))
                of.append(numbers[key])
            self._mount = np.array(of, dtype=np.int64)
        return self._mounts, self._mount

    def _bins(self, tally: Tally, bins: Ints, time_ns: Ints, pids: dict[int, int]) -> None:
        """What is counted by time: the timeline, and the processes' calls."""
        least = int(bins.min())
        bins = bins - least
        n_bins = int(bins.max()) + 1
        names = list(tally.by_phase)
        found = group(bins * len(names) + self._phase, n_bins * len(names))
        for key, n in zip(found.keys.tolist(), found.counts.tolist(), strict=True):
            at, phase = divmod(key, len(names))
            tally.timeline.setdefault(at + least, {})[names[phase]] = n
        processes = []
        rows = self._processes.counts(self._processes.sums(time_ns))
        for known, counts in zip(self._tally.by_process.values(), rows, strict=True):
            one = ProcessTally(pids[known.pid], pids.get(known.parent, 0), known.label, known.kind, counts)
            tally.by_process[one.key] = one
            processes.append(one)
        all_calls = self._process * n_bins + bins
        for calls, tables in (
            (all_calls, [one.n_metadata_by_bin for one in processes]),
            (all_calls[self._opens], [one.n_open_by_bin for one in processes]),
        ):
            found = group(calls, len(processes) * n_bins)
            for key, n in zip(found.keys.tolist(), found.counts.tolist(), strict=True):
                number, at = divmod(key, n_bins)
                tables[number][at + least] = n


@dataclass(frozen=True, slots=True)
class RunColumns:
    """The paths and modules of a run, or of several that made the same calls, as columns: rows as the first run's tables have them."""

    of: Retimed
    path_ns: Ints
    most_ns: Ints
    latency: Ints
    """Path and bin as one number, where there are calls."""
    n_latency: Ints
    """How many."""
    own_ns: Ints
    cumulative_ns: Ints
    first_ns: Ints
    """Of each module, `_NEVER` where it has no call."""

    def total_ns(self) -> int:
        """As `time.paths.PathTimes`."""
        return int(self.path_ns.sum())

    def slow(self, is_counted: Callable[[bytes], bool], limit_ns: float) -> tuple[int, int]:
        """As `time.paths.PathTimes`."""
        counted = self.of.is_counted(is_counted) & (self.most_ns > 0)
        return int(counted.sum()), int((counted & (self.most_ns > limit_ns)).sum())

    def by_mount(self, mount_of: Callable[[bytes], Mount | None]) -> dict[str, tuple[Mount | None, dict[int, int]]]:
        """As `time.paths.PathTimes`."""
        mounts, mount = self.of.mounts(mount_of)
        which = self.latency // N_BINS
        order = np.argsort(self.latency, kind="stable")
        keys = (mount[which] * N_BINS + self.latency - which * N_BINS)[order]
        n_calls = sums(keys, self.n_latency[order], len(mounts) * N_BINS)
        table: dict[str, tuple[Mount | None, dict[int, int]]] = {key: (place, {}) for key, place in mounts}
        rows = list(table.values())
        for key in group(keys, len(mounts) * N_BINS).keys.tolist():
            number, latency = divmod(key, N_BINS)
            rows[number][1][latency] = int(n_calls[key])
        return table


class SumOfRuns:
    """Runs of one pattern, added up as columns."""

    def __init__(self, first: RunColumns) -> None:
        self._of = first.of
        self.n = 0
        self._path_ns, self._most_ns = np.zeros_like(first.path_ns), np.zeros_like(first.most_ns)
        self._latencies: list[tuple[Ints, Ints]] = []
        self._own_ns, self._cumulative_ns = np.zeros_like(first.own_ns), np.zeros_like(first.cumulative_ns)
        self._first_ns = np.full_like(first.first_ns, _NEVER)

    def add(self, one: RunColumns, shift_ns: int) -> None:
        """Add a run whose times lie so much before the common clock."""
        self.n += 1
        self._path_ns += one.path_ns
        np.maximum(self._most_ns, one.most_ns, out=self._most_ns)
        self._latencies.append((one.latency, one.n_latency))
        self._own_ns += one.own_ns
        self._cumulative_ns += one.cumulative_ns
        moved = np.where(one.first_ns == _NEVER, _NEVER, one.first_ns + np.where(one.first_ns == _NEVER, 0, shift_ns))
        np.minimum(self._first_ns, moved, out=self._first_ns)

    def tables(self) -> Tally:
        """Their paths and modules, by the common clock, in a tally that holds nothing else."""
        latency, place = np.unique(np.concatenate([keys for keys, _ in self._latencies]), return_inverse=True)
        found = RunColumns(
            of=self._of,
            path_ns=self._path_ns,
            most_ns=self._most_ns,
            latency=latency,
            n_latency=sums(place, np.concatenate([n for _, n in self._latencies]), len(latency)),
            own_ns=self._own_ns,
            cumulative_ns=self._cumulative_ns,
            first_ns=self._first_ns,
        )
        return self._of.tables(found, self.n)
