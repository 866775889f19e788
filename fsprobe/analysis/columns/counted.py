"""What `counting.tally.fold` makes of attributed calls, of a ring that is read as columns."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from fsprobe.analysis.attribution.attribute import Attributed
from fsprobe.analysis.columns.contexts import Contexts
from fsprobe.analysis.columns.groups import group, sums
from fsprobe.analysis.columns.slots import Columns, Ints
from fsprobe.analysis.counting.latency import bin_edges
from fsprobe.analysis.counting.tally import BIN_NS, FIELD, ModuleTally, PathTally, ProcessTally, Tally, add
from fsprobe.events.strace.arguments import resolved_of
from fsprobe.model.events import MISSING_ERRORS, Call, Op
from fsprobe.model.rows import Counts

_FIELDS = tuple(one.name for one in fields(Counts))
_COLUMN = {name: number for number, name in enumerate(_FIELDS)}
_OPS = {op: number for number, op in enumerate(FIELD)}
_N_OPS = len(_OPS)
_EDGES = np.array(bin_edges())


@dataclass(slots=True)
class Rows:
    """Attributed calls as columns, in the order in which they were attributed."""

    columns: Columns
    contexts: Contexts
    row: Ints
    context: Ints
    shape: Ints = field(init=False)
    """Which of the distinct calls each is."""
    own: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = self.columns.shape[self.row].astype(np.int64)
        self.own = np.array(self.contexts.own_of, dtype=bool)[self.context]

    def each_attributed(self, places: Ints) -> Iterator[Attributed]:
        """Several of them."""
        return map(self.contexts.attributed, self.context[places].tolist(), self.columns.calls(self.row[places]))

    def of_shapes(self, tell: Callable[[Call], bool]) -> NDArray[np.bool_]:
        """Of which of the distinct calls something holds."""
        return np.array([tell(call) for call in self.columns.shapes.calls], dtype=bool)


def tally_of(rows: Rows, why_not_found: Callable[[Attributed], str]) -> Tally:
    """Count all rows."""
    tally, calls = Tally(), rows.columns.shapes.calls
    n_shapes = len(calls)
    for number, n in _counts(rows.shape[rows.own], n_shapes):
        call = calls[number]
        tally.own[call.op.value] = tally.own.get(call.op.value, 0) + n
        tally.own_by_syscall[call.syscall] = tally.own_by_syscall.get(call.syscall, 0) + n
    for number, n in _counts(rows.shape[~rows.own], n_shapes):
        call = calls[number]
        counted = tally.by_syscall.setdefault(call.syscall, [0, 0])
        counted[0] += n
        if call.error and call.error != "?":
            counted[1] += n
        if call.op is Op.OTHER:
            tally.total.n_other += n
    is_metadata = ~rows.own & ~rows.of_shapes(lambda call: call.op is Op.OTHER)[rows.shape]
    places = np.flatnonzero(is_metadata)
    if len(places):
        _Counting(rows, places, tally).count(why_not_found)
    return tally


def _counts(numbers: Ints, n_possible: int) -> Iterator[tuple[int, int]]:
    found = group(numbers, n_possible)
    return zip(found.keys.tolist(), found.counts.tolist(), strict=True)


class _Counting:
    def __init__(self, rows: Rows, places: Ints, tally: Tally) -> None:
        self.rows, self.places, self.tally = rows, places, tally
        calls = rows.columns.shapes.calls
        self.shape, self.context = rows.shape[places], rows.context[places]
        self.t_ns, self.dur_ns = rows.columns.t_ns[rows.row[places]], rows.columns.dur_ns[rows.row[places]]
        self.op = np.array([_OPS[call.op] for call in calls], dtype=np.int64)[self.shape]
        self.is_missing = rows.of_shapes(lambda call: call.error in MISSING_ERRORS)[self.shape]
        self.phase, self.process = self.of_context(rows.contexts.phase_of), self.of_context(rows.contexts.process_of)
        self.has_end = self.dur_ns >= 0
        self.time_ns = np.maximum(self.dur_ns, 0)
        self.end_ns = self.t_ns + self.time_ns

    def count(self, why_not_found: Callable[[Attributed], str]) -> None:
        self._paths()
        self._not_found(why_not_found)
        self._contexts()
        self._timeline()
        tally = self.tally
        tally.n_timed = len(self.places)
        tally.first_ns, tally.last_ns = int(self.t_ns.min()), int(self.end_ns.max())

    def of_context(self, column: array[int]) -> Ints:
        """Of each row, by its context."""
        return np.array(column, dtype=np.int64)[self.context]

    def _table(self, numbers: Ints, n_possible: int) -> list[list[int]]:
        """`_FIELDS` of each number."""
        table = np.zeros((n_possible, len(_FIELDS)), dtype=np.int64)
        by_op = np.bincount(numbers * _N_OPS + self.op, minlength=n_possible * _N_OPS).reshape(n_possible, _N_OPS)
        for op, name in FIELD.items():
            table[:, _COLUMN[name]] = by_op[:, _OPS[op]]
        table[:, _COLUMN["n_not_found"]] = np.bincount(numbers[self.is_missing], minlength=n_possible)
        table[:, _COLUMN["time_ns"]] = sums(numbers, self.time_ns, n_possible)
        found: list[list[int]] = table.tolist()
        return found

    def _paths(self) -> None:
        tally, calls = self.tally, self.rows.columns.shapes.calls
        numbers: dict[bytes, int] = {}
        path_of = np.array([numbers.setdefault(call.path, len(numbers)) for call in calls], dtype=np.int64)
        names, path = list(numbers), path_of[self.shape]
        n = len(names)
        table = self._table(path, n)
        longest = np.zeros(n, dtype=np.int64)
        np.maximum.at(longest, path, self.time_ns)
        slowest = longest.tolist()
        for number in group(path, n).keys.tolist():
            tally.by_path[names[number]] = PathTally(Counts(*table[number]), max_ns=slowest[number])
        for number in group(self.shape, len(calls)).keys.tolist():
            call = calls[number]
            counted = tally.by_path[call.path]
            if call.op is Op.OPEN and counted.resolved is None and not call.error:
                counted.resolved = resolved_of(call.path, call.result)
        bins, n_bins = bins_of(self.time_ns[self.has_end]), len(_EDGES)
        for number, count in _counts(bins, n_bins):
            tally.floor[number] = count
        found = group(path[self.has_end] * n_bins + bins, n * n_bins)
        for key, count in zip(found.keys.tolist(), found.counts.tolist(), strict=True):
            number, which = divmod(key, n_bins)
            tally.by_path[names[number]].latency[which] = count

    def _not_found(self, why_not_found: Callable[[Attributed], str]) -> None:
        """A reason is that of a path, a kind of call and a phase."""
        not_found, rows = self.tally.not_found, self.rows
        missing = np.flatnonzero(self.is_missing)
        n_phases = len(rows.contexts.phases)
        found = group(self.shape[missing] * n_phases + self.phase[missing], len(rows.columns.shapes.calls) * n_phases)
        firsts = rows.each_attributed(self.places[missing[found.first]])
        for count, row in zip(found.counts.tolist(), firsts, strict=True):
            key = (why_not_found(row), row.call.path)
            not_found[key] = not_found.get(key, 0) + count

    def _contexts(self) -> None:
        tally, contexts = self.tally, self.rows.contexts
        table = self._table(self.phase, len(contexts.phases))
        for number in group(self.phase, len(contexts.phases)).keys.tolist():
            counts = tally.by_phase[contexts.phases[number]] = Counts(*table[number])
            add(tally.total, counts)
        table = self._table(self.process, len(contexts.processes))
        for number in group(self.process, len(contexts.processes)).keys.tolist():
            info = contexts.processes[number]
            process = tally.by_process.get(info.key)
            if process is None:
                process = tally.by_process[info.key] = ProcessTally(info.pid, info.parent, info.label, info.kind)
            add(process.counts, Counts(*table[number]))
        # what is known of a process last holds
        for number in reversed(group(self.process[::-1], len(contexts.processes)).keys.tolist()):
            info = contexts.processes[number]
            tally.by_process[info.key].kind = info.kind
        imports = self.of_context(contexts.import_of)
        n = len(contexts.imports)
        table = self._table(imports, n)
        begun = np.full(n, np.iinfo(np.int64).max)
        np.minimum.at(begun, imports, self.t_ns)
        for number in group(imports, n).keys.tolist():
            counts, t_ns = Counts(*table[number]), int(begun[number])
            name, node = contexts.imports[number]
            module = _module(tally, name, t_ns)
            add(module.own, counts)
            stack = node.stack()
            if not stack:
                add(module.cumulative, counts)
            for frame in stack:
                if not frame.recursive:
                    add(_module(tally, frame.name, t_ns).cumulative, counts)
        if "import" in contexts.phases:
            in_import = self.end_ns[self.phase == contexts.phases.index("import")]
            if len(in_import):
                tally.startup_end_ns = int(in_import.max())

    def _timeline(self) -> None:
        tally, contexts = self.tally, self.rows.contexts
        bins = self.t_ns // BIN_NS
        least = int(bins.min())
        bins -= least
        n_bins = int(bins.max()) + 1
        names = contexts.phases
        found = group(bins * len(names) + self.phase, n_bins * len(names))
        for key, count in zip(found.keys.tolist(), found.counts.tolist(), strict=True):
            number, phase = divmod(key, len(names))
            tally.timeline.setdefault(number + least, {})[names[phase]] = count
        keys: dict[str, int] = {}
        key_of = [keys.setdefault(info.key, len(keys)) for info in contexts.processes]
        process = np.array(key_of, dtype=np.int64)[self.process]
        processes = [tally.by_process.get(key) for key in keys]
        opens = self.op == _OPS[Op.OPEN]
        for is_open, which in ((False, np.ones(len(opens), dtype=bool)), (True, opens)):
            found = group(process[which] * n_bins + bins[which], len(keys) * n_bins)
            for key, count in zip(found.keys.tolist(), found.counts.tolist(), strict=True):
                number, at = divmod(key, n_bins)
                counted = processes[number]
                assert counted is not None
                (counted.n_open_by_bin if is_open else counted.n_metadata_by_bin)[at + least] = count


def bins_of(ns: Ints) -> Ints:
    """Of each time its latency bin."""
    bins = np.searchsorted(_EDGES, (ns // 1000).astype(np.float64))
    return np.where(ns <= 1000, 0, np.minimum(bins, len(_EDGES) - 1))


def _module(tally: Tally, name: str, t_ns: int) -> ModuleTally:
    module = tally.by_module.get(name)
    if module is None:
        module = tally.by_module[name] = ModuleTally()
    if module.first_ns is None or t_ns < module.first_ns:
        module.first_ns = t_ns
    return module
