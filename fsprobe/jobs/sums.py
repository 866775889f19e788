"""A job as the sum of its ranks: tallies that add, and how the ranks differ.

A merge is an addition, so it may be done in any grouping and anywhere: files in a worker, workers' results in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from statistics import median
from typing import Any, TypeVar

from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.rates import PEAK_S, SUSTAINED_S, busiest
from fsprobe.analysis.counting.tally import BIN_NS, ModuleTally, PathTally, ProcessTally, Tally, add
from fsprobe.analysis.requests.rows import RequestCounts
from fsprobe.model import requests as values
from fsprobe.model.events import ParseQuality
from fsprobe.model.job import Outlier, RankSpread, Scaled
from fsprobe.model.rows import CallCounts, Counts, sum_of

SHARED = ("lookup", "negative", "readdir", "readlink", "read", "unread")
"""Asked for once by a node, for all its processes: they share the client's caches of names, listings and contents."""
_SHARED_METADATA = SHARED[:4]
OWN = ("open", "opendir", "change")
"""What each process asks for again."""
OUTLIER_SCORE = 3.5
"""Modified z-score from which on a rank is an outlier. Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers,
1993."""
OUTLIER_SHARE = 0.1
"""... and it differs from the median by more than this: ranks mostly make the very same calls, and then any difference has an
infinite score. A judgement."""
MIN_FOR_OUTLIERS = 5
N_EXAMPLES = 5
"""Lines that were not understood, of all runs."""
MAX_OUTLIERS = 10
Key = TypeVar("Key")


# ---- tallies ------------------------------------------------------------------------------------------------------


def add_tally(into: Tally, other: Tally, *, of: str = "", shift_ns: int = 0, keeps_bins: bool = True) -> None:
    """Add a run's tally to another.

    Args:
        into: what is added to.
        other: what is added; it is left as it was.
        of: whose processes these are, so that equal process numbers of two nodes stay apart.
        shift_ns: what its times lie before the common clock. Its bins of 0.1 s are moved by whole bins.
        keeps_bins: keep when each process made its calls; without, only how busy the busiest was, for a job has thousands.
    """
    add(into.total, other.total)
    for name in ("own", "own_by_syscall", "not_found", "floor"):
        add_numbers(getattr(into, name), getattr(other, name))
    for name, (calls, errors) in other.by_syscall.items():
        row = into.by_syscall.setdefault(name, [0, 0])
        row[0] += calls
        row[1] += errors
    for phase, counts in other.by_phase.items():
        add(into.by_phase.setdefault(phase, Counts()), counts)
    for name, module in other.by_module.items():
        sum_of = into.by_module.setdefault(name, ModuleTally())
        add(sum_of.own, module.own)
        add(sum_of.cumulative, module.cumulative)
        add_numbers(sum_of.parents, module.parents)
        sum_of.n_imports += module.n_imports
        sum_of.first_ns = _least(sum_of.first_ns, _moved(module.first_ns, shift_ns))
    by_path = into.by_path
    for path, counted in other.by_path.items():  # written out: there are thousands of each rank
        row_of = by_path.get(path)
        if row_of is None:
            row_of = by_path[path] = PathTally()
        add(row_of.counts, counted.counts)
        latency = row_of.latency
        for number, n in counted.latency.items():
            latency[number] = latency.get(number, 0) + n
        if counted.max_ns > row_of.max_ns:
            row_of.max_ns = counted.max_ns
        if row_of.resolved is None:
            row_of.resolved = counted.resolved
    n_bins = shift_ns // BIN_NS
    for key, process in other.by_process.items():
        sum_of_process = _add_process(into, f"{of}: {key}" if of else key, process, of)
        if keeps_bins:
            _add_bins_of(sum_of_process, process, n_bins)
        else:
            _settle(into, process)
    add_timeline(into, other, n_bins)
    into.n_timed += other.n_timed
    into.first_ns = _least(into.first_ns, _moved(other.first_ns, shift_ns))
    into.last_ns = _most(into.last_ns, _moved(other.last_ns, shift_ns))
    into.startup_end_ns = _most(into.startup_end_ns, _moved(other.startup_end_ns, shift_ns))
    into.n_further_rows += other.n_further_rows
    for name, value in other.settled_rates.items():
        into.settled_rates[name] = max(value, into.settled_rates.get(name, 0))


def add_numbers(into: dict[Key, int], other: Mapping[Key, int]) -> None:
    """Add a table of numbers to another."""
    for key, n in other.items():
        into[key] = into.get(key, 0) + n


def _add_process(into: Tally, key: str, process: ProcessTally, of: str) -> ProcessTally:
    row = into.by_process.get(key)
    if row is None:
        row = into.by_process[key] = ProcessTally(process.pid, process.parent, process.label, process.kind)
        row.of = of or process.of
    add(row.counts, process.counts)
    return row


def _add_bins_of(row: ProcessTally, process: ProcessTally, n_bins: int) -> None:
    for mine, theirs in (
        (row.n_open_by_bin, process.n_open_by_bin),
        (row.n_metadata_by_bin, process.n_metadata_by_bin),
    ):
        for number, n in theirs.items():
            mine[number + n_bins] = mine.get(number + n_bins, 0) + n


def _settle(into: Tally, process: ProcessTally) -> None:
    """Keep how busy a process was where its bins are not kept."""
    rates = into.settled_rates
    for name, window_s in (("peak_open_per_s_process", PEAK_S), ("sustained_open_per_s_process", SUSTAINED_S)):
        rates[name] = max(busiest(process.n_open_by_bin, window_s), rates.get(name, 0))


def add_timeline(into: Tally, other: Tally, n_bins: int) -> None:
    """Add the timeline of a run, moved by whole bins; the wider step of the two counts."""
    step = max(into.timeline_step, other.timeline_step)
    if step != into.timeline_step:
        before, into.timeline, into.timeline_step = into.timeline, {}, step
        _add_bins(into.timeline, before, 0, step)
    _add_bins(into.timeline, other.timeline, n_bins, step)


def _add_bins(into: dict[int, dict[str, int]], other: Mapping[int, Mapping[str, int]], n_bins: int, step: int) -> None:
    for number, phases in other.items():
        moved = number + n_bins
        add_numbers(into.setdefault(moved - moved % step, {}), phases)


def _moved(value: int | None, shift_ns: int) -> int | None:
    return None if value is None else value + shift_ns


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _most(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def add_notes(into: Notes, other: Notes) -> None:
    """Add what the stream of one run said besides calls."""
    for name in ("n_own_marks", "n_marks_lost", "n_killed", "n_unpaired_marks", "n_estimated"):
        setattr(into, name, getattr(into, name) + getattr(other, name))
    for module, parents in other.imports.items():
        add_numbers(into.imports.setdefault(module, {}), parents)
    add_numbers(into.n_imports, other.n_imports)
    add_numbers(into.unmarked, other.unmarked)
    add_numbers(into.unsure, other.unsure)
    into.hooked = into.hooked or other.hooked
    into.is_marked = into.is_marked or other.is_marked
    into.lazy = {**other.lazy, **into.lazy}


def add_quality(into: ParseQuality, other: ParseQuality) -> None:
    """Add what could not be used of one run."""
    for name in (field.name for field in fields(ParseQuality)):
        mine, theirs = getattr(into, name), getattr(other, name)
        if name == "unparsed_examples":
            mine.extend(theirs[: max(0, N_EXAMPLES - len(mine))])
        elif isinstance(mine, dict):
            add_numbers(mine, theirs)
        elif isinstance(mine, bool):
            setattr(into, name, mine or theirs)
        elif name != "wall_start_ns":  # each run's own
            setattr(into, name, mine + theirs)


def fields_of_sum(rows: Sequence[CallCounts]) -> dict[str, Any]:
    """The fields of the sum of rows, for a row that has more."""
    total = sum_of(rows)
    time_s = None if total.time_s is None else round(total.time_s, 6)
    return {**{field.name: getattr(total, field.name) for field in fields(total)}, "time_s": time_s}


# ---- ranks --------------------------------------------------------------------------------------------------------


def spread(values: Sequence[tuple[str, float | None]]) -> RankSpread | None:
    """Minimum, median and maximum with who has them, and the outliers; None where nobody was observed.

    Args:
        values: (name of the rank or node, its number; None where it was not observed).
    """
    seen = [(name, value) for name, value in values if value is not None]
    if not seen:
        return None
    numbers = [value for _, value in seen]
    middle = median(numbers)
    deviation = 1.4826 * median(abs(value - middle) for value in numbers)  # as a standard deviation of normal numbers
    far = [
        (name, value)
        for name, value in seen
        if len(seen) >= MIN_FOR_OUTLIERS
        and abs(value - middle) > OUTLIER_SHARE * abs(middle)
        and abs(value - middle) > OUTLIER_SCORE * deviation
    ]
    far.sort(key=lambda item: (-abs(item[1] - middle), item[0]))
    least, most = min(seen, key=lambda item: item[1]), max(seen, key=lambda item: item[1])
    return RankSpread(
        n=len(seen),
        min=least[1],
        min_of=least[0],
        median=middle,
        max=most[1],
        max_of=most[0],
        n_outliers=len(far),
        outliers=tuple(Outlier(of=name, value=value) for name, value in far[:MAX_OUTLIERS]),
    )


def scaled(
    *,
    n_ranks: int | None,
    n_nodes: int | None,
    n_traced: int,
    total: Counts,
    nodes: Iterable[RequestCounts],
    by_clients: Sequence[RequestCounts] = (),
) -> Scaled | None:
    """The whole job, as if the ranks that were not traced had done what the traced ones did on average.

    Calls: their mean x ranks. Requests by FUSE's rules: (mean shared ones of a node) x nodes + (mean own ones of a rank) x ranks; by
    those of NFS and Lustre: a mean node's x nodes + what each further rank asks x the ranks that were not traced.

    Args:
        n_ranks: of the job.
        n_nodes: of the job.
        n_traced: ranks.
        total: calls of the traced ranks.
        nodes: what each traced node asks.
        by_clients: the part of that by the rules of NFS and Lustre.

    Returns:
        None where every rank was traced, or where nobody says how many there are.
    """
    if n_ranks is None or n_traced == 0 or n_ranks <= n_traced:
        return None
    rows = list(nodes)

    def of_ranks(value: int) -> int:
        return round(value / n_traced * n_ranks)

    requests: values.RequestCounts | None = None
    if n_nodes is not None and rows:
        theirs = _scaled_clients(list(by_clients), n_nodes=n_nodes, n_ranks=n_ranks, n_traced=n_traced)
        asked = RequestCounts()
        for row in (*rows, *(clients.times(-1) for clients in by_clients)):
            asked.add(row)
        shared = {name: round(getattr(asked, name) / len(rows) * n_nodes) for name in _SHARED_METADATA}
        own = {name: of_ranks(getattr(asked, name)) for name in OWN}
        requests = values.RequestCounts(
            **{name: n + round(theirs[name]) for name, n in {**shared, **own}.items()}, other=round(theirs["other"])
        )
    names = ("n_open", "n_stat", "n_readlink", "n_list", "n_exec", "n_change", "n_not_found")
    return Scaled(
        label=f"scaled from {n_traced:,} traced to {n_ranks:,} ranks: an estimate that assumes the others do the same",
        n_traced=n_traced,
        n_ranks=n_ranks,
        n_nodes=n_nodes,
        metrics=CallCounts(**{name: of_ranks(getattr(total, name)) for name in names}),
        requests=requests,
    )


def _scaled_clients(nodes: Sequence[RequestCounts], *, n_nodes: int, n_ranks: int, n_traced: int) -> dict[str, float]:
    """Column -> what clients of NFS and Lustre ask on all nodes for all ranks, those that were not traced included."""
    scaled = dict.fromkeys((*_SHARED_METADATA, *OWN, "other"), 0.0)
    for node in nodes:
        traced_here = n_traced / len(nodes)
        n_further = max(0.0, n_ranks / n_nodes - traced_here)
        # the second process of a node is among those that were not traced
        has_second = traced_here < 2 <= n_ranks / n_nodes
        for name in scaled:
            steady = getattr(node.steady, name) if node.steady is not None else 0
            second = getattr(node.further, name) if node.further is not None else 0
            a_node = getattr(node, name) + n_further * steady + (second - steady if has_second else 0)
            scaled[name] += a_node / len(nodes) * n_nodes
    return scaled
