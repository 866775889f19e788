"""A tally with other times: that of a run that made the very same calls as another one, but not when, and not as long."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, replace

import numpy as np

from fsprobe.analysis.columns.counted import Rows, bins_of
from fsprobe.analysis.columns.groups import group, sums
from fsprobe.analysis.columns.slots import Ints
from fsprobe.analysis.counting.latency import bin_edges
from fsprobe.analysis.counting.tally import BIN_NS, ModuleTally, PathTally, ProcessTally, Tally
from fsprobe.model.events import Op
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

    def counts(self, time_ns: Ints) -> list[Counts]:
        """The rows, with these times."""
        times = sums(self.of, time_ns[self.call], len(self.fixed)).tolist()
        return [Counts(*(*fixed, n)) for fixed, n in zip(self.fixed, times, strict=True)]

    def most(self, values: Ints) -> list[int]:
        """The largest value of each row."""
        found = np.zeros(len(self.fixed), dtype=np.int64)
        if len(self.of):
            found[self.rows] = np.maximum.reduceat(values[self.call], self.begins)
        numbers: list[int] = found.tolist()
        return numbers

    def least(self, values: Ints) -> list[int | None]:
        """The smallest value of each row; None where there is none."""
        found = np.full(len(self.fixed), _NEVER)
        if len(self.of):
            found[self.rows] = np.minimum.reduceat(values[self.call], self.begins)
        return [None if n == _NEVER else n for n in found.tolist()]


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

    def tally(self, t_ns: Ints, dur_ns: Ints, pids: dict[int, int]) -> Tally:
        """The tally of the other run.

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
            by_phase=dict(zip(known.by_phase, self._phases.counts(time_ns), strict=True)),
            by_module=self._modules(t_ns, time_ns),
            by_path=self._by_path(time_ns),
            by_process={},
            timeline={},
            floor={},
            first_ns=int(t_ns.min()),
            last_ns=int(end_ns.max()),
        )
        phases = list(known.by_phase)
        if "import" in phases:
            tally.startup_end_ns = int(end_ns[self._phase == phases.index("import")].max())
        self._latencies(tally, dur_ns)
        self._bins(tally, t_ns // BIN_NS, time_ns, pids)
        return tally

    def _modules(self, t_ns: Ints, time_ns: Ints) -> dict[str, ModuleTally]:
        rows = zip(
            self._tally.by_module.items(),
            self._own.counts(time_ns),
            self._cumulative.counts(time_ns),
            self._own.least(t_ns),
            self._cumulative.least(t_ns),
            strict=True,
        )
        return {
            name: ModuleTally(
                own,
                cumulative,
                module.parents,
                module.n_imports,
                min((n for n in (first, first_inside) if n is not None), default=None),
            )
            for (name, module), own, cumulative, first, first_inside in rows
        }

    def _by_path(self, time_ns: Ints) -> dict[bytes, PathTally]:
        rows = zip(self._tally.by_path.items(), self._paths.counts(time_ns), self._paths.most(time_ns), strict=True)
        return {path: PathTally(counts, known.resolved, {}, most) for (path, known), counts, most in rows}

    def _latencies(self, tally: Tally, dur_ns: Ints) -> None:
        has_end = dur_ns >= 0
        bins = bins_of(dur_ns[has_end])
        found = group(bins, N_BINS)
        tally.floor = dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True))
        latencies = [counted.latency for counted in tally.by_path.values()]
        found = group(self._path[has_end] * N_BINS + bins, len(latencies) * N_BINS)
        which = found.keys // N_BINS
        rows = zip(which.tolist(), (found.keys - which * N_BINS).tolist(), found.counts.tolist(), strict=True)
        for number, latency, n in rows:
            latencies[number][latency] = n

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
        for known, counts in zip(self._tally.by_process.values(), self._processes.counts(time_ns), strict=True):
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
