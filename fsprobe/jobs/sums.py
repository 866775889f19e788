"""A job as the sum of its ranks: tallies that add, requests that the ranks of a node share, and how the ranks differ.

A merge is an addition, so it may be done in any grouping and anywhere: files in a worker, workers' results in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from fsprobe.analysis.attribution.attribute import Notes
from fsprobe.analysis.counting.tally import BIN_NS, ModuleTally, PathTally, ProcessTally, Tally, add
from fsprobe.analysis.requests.rows import NOT_KNOWN, RequestCounts, Requests, Served, reaches_server
from fsprobe.model import requests as values
from fsprobe.model.events import Mount, ParseQuality
from fsprobe.model.formats import text
from fsprobe.model.job import Outlier, RankSpread, Scaled
from fsprobe.model.rows import CallCounts, Counts

SHARED = ("lookup", "negative", "readdir", "readlink", "read", "unread")
"""Asked for once by a node, for all its processes: they share the client's caches of names, listings and contents."""
OWN = ("open", "opendir", "change")
"""What each process asks for again."""
OUTLIER_SCORE = 3.5
"""Modified z-score from which on a rank is an outlier. Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers,
1993."""
OUTLIER_SHARE = 0.1
"""... and it differs from the median by more than this: ranks mostly make the very same calls, and then any difference has an
infinite score. A judgement."""
MIN_FOR_OUTLIERS = 5
MAX_OUTLIERS = 10
Key = TypeVar("Key")
MountKey = tuple[str, str | None, str | None]
"""Mount point, class, type: nodes may have different filesystems at one place."""


# ---- tallies ------------------------------------------------------------------------------------------------------


def add_tally(into: Tally, other: Tally, *, of: str = "", shift_ns: int = 0) -> None:
    """Add a run's tally to another.

    Args:
        into: what is added to.
        other: what is added; it is left as it was.
        of: whose processes these are, so that equal process numbers of two nodes stay apart.
        shift_ns: what its times lie before the common clock. Its bins of 0.1 s are moved by whole bins.
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
    for path, counted in other.by_path.items():
        row_of = into.by_path.get(path)
        if row_of is None:
            row_of = into.by_path[path] = PathTally()
        add(row_of.counts, counted.counts)
        add_numbers(row_of.latency, counted.latency)
        row_of.max_ns = max(row_of.max_ns, counted.max_ns)
        row_of.resolved = row_of.resolved if row_of.resolved is not None else counted.resolved
    n_bins = shift_ns // BIN_NS
    for key, process in other.by_process.items():
        _add_process(into, f"{of}: {key}" if of else key, process, n_bins, of)
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


def _add_process(into: Tally, key: str, process: ProcessTally, n_bins: int, of: str) -> None:
    row = into.by_process.get(key)
    if row is None:
        row = into.by_process[key] = ProcessTally(process.pid, process.parent, process.label, process.kind)
        row.of = of or process.of
    add(row.counts, process.counts)
    for mine, theirs in (
        (row.n_open_by_bin, process.n_open_by_bin),
        (row.n_metadata_by_bin, process.n_metadata_by_bin),
    ):
        for number, n in theirs.items():
            mine[number + n_bins] = mine.get(number + n_bins, 0) + n


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
    for name in ("n_lines", "n_unparsed", "n_partial", "n_unfinished", "n_unread_paths", "n_lost"):
        setattr(into, name, getattr(into, name) + getattr(other, name))
    for name in ("has_times", "has_tids", "has_durations", "io_uring"):
        setattr(into, name, getattr(into, name) or getattr(other, name))
    into.unparsed_examples.extend(other.unparsed_examples[: max(0, 5 - len(into.unparsed_examples))])
    add_numbers(into.unseen, other.unseen)
    add_numbers(into.not_started, other.not_started)
    add_numbers(into.by_preload, other.by_preload)
    add_numbers(into.other_calls, other.other_calls)
    add_numbers(into.other_errors, other.other_errors)
    for name in ("unseen", "not_started", "by_preload"):
        add_numbers(getattr(into, name), getattr(other, name))


# ---- requests -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class NodeRequests:
    """What one node asks the file servers for, all its ranks together: by real path.

    Two ranks that need the same name ask for it once, so a path's shared requests are the most that any rank alone would
    make; its opens are the sum. That is what one client asks while it keeps what it has once asked for; where ranks change
    each other's files it is a lower bound.
    """

    per_path: dict[bytes, RequestCounts] = field(default_factory=dict)
    mount_of: dict[bytes, Mount | None] = field(default_factory=dict)
    n_unplaced: int = 0
    settled: set[bytes] = field(default_factory=set)
    """On NFS and Lustre: paths of which a second rank of the node has asked already."""
    served: dict[str, Served] = field(default_factory=dict)
    """Mount point -> by whose rules it was counted; see `Requests.served`."""

    def join(
        self,
        per_path: Mapping[bytes, RequestCounts],
        mount_of: Mapping[bytes, Mount | None],
        served: Mapping[str, Served] | None = None,
    ) -> None:
        """Let another rank (or other ranks, joined already) of this node in."""
        join_served(self.served, served or {})
        for path, row in per_path.items():
            joined = self.per_path.get(path)
            if row.further is not None or row.operations:
                self._join_served(path, row, mount_of[path])
                continue
            if joined is None:
                joined = self.per_path[path] = RequestCounts()
                self.mount_of[path] = mount_of[path]
            joined.lookup = max(joined.lookup, row.lookup)
            joined.negative = max(joined.negative, row.negative)
            joined.readdir = max(joined.readdir, row.readdir)
            joined.readlink = max(joined.readlink, row.readlink)
            joined.read = max(joined.read, row.read)
            joined.unread = max(joined.unread, row.unread)
            joined.again = max(joined.again, row.again)
            joined.open += row.open
            joined.opendir += row.opendir
            joined.change += row.change

    def _join_served(self, path: bytes, row: RequestCounts, mount: Mount | None) -> None:
        """On NFS and Lustre the first rank asks for everything, each further one for what a further process asks."""
        joined = self.per_path.get(path)
        if joined is None:
            self.per_path[path] = row.times(1)
            self.mount_of[path] = mount
        else:
            asked = row.steady if path in self.settled else row.further
            self.settled.add(path)
            if asked is not None:
                joined.add(asked)

    def at_servers(self) -> RequestCounts:
        """The sum over the paths whose requests leave the node."""
        total = RequestCounts()
        for path, row in self.per_path.items():
            if reaches_server(self.mount_of[path]):
                total.add(row)
        return total


def join_served(into: dict[Key, Served], other: Mapping[Key, Served]) -> None:
    """What is not predictable for one is not for all."""
    for key, one in other.items():
        known = into.get(key)
        reasons = {**one.not_predictable, **(known.not_predictable if known is not None else {})}
        into[key] = Served(protocol=one.protocol if known is None else known.protocol, not_predictable=reasons)


@dataclass(slots=True)
class JobRequests:
    """What all nodes ask for, of those of which nothing more will come."""

    nodes: dict[str, RequestCounts] = field(default_factory=dict)
    """Of each node what leaves it."""
    by_mount: dict[MountKey, RequestCounts] = field(default_factory=dict)
    served: dict[MountKey, Served] = field(default_factory=dict)
    """Of such a mount, by whose rules it was counted."""
    requests: Requests = field(default_factory=Requests)
    """Of all of them, by path."""

    def close(self, node: str, asked: NodeRequests) -> None:
        """Add what a node asks for, all its ranks joined."""
        self.nodes[node] = asked.at_servers()
        self.requests.n_unplaced += asked.n_unplaced
        seen: set[MountKey] = set()
        for path, row in asked.per_path.items():
            mount = asked.mount_of[path]
            key: MountKey = (
                (text(mount.path), mount.fs_class, mount.fstype) if mount is not None else (NOT_KNOWN, None, None)
            )
            self.by_mount.setdefault(key, RequestCounts()).add(row)
            if key not in seen and key[0] in asked.served:
                join_served(self.served, {key: asked.served[key[0]]})
            seen.add(key)
            self.requests.per_path.setdefault(path, RequestCounts()).add(row)
            self.requests.mount_of.setdefault(path, mount)

    def add(self, other: JobRequests) -> None:
        """Add what other nodes ask for."""
        self.nodes.update(other.nodes)
        self.requests.n_unplaced += other.requests.n_unplaced
        join_served(self.served, other.served)
        for key, row in other.by_mount.items():
            self.by_mount.setdefault(key, RequestCounts()).add(row)
        for path, row in other.requests.per_path.items():
            self.requests.per_path.setdefault(path, RequestCounts()).add(row)
            self.requests.mount_of.setdefault(path, other.requests.mount_of[path])


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
) -> Scaled | None:
    """The whole job, as if the ranks that were not traced had done what the traced ones did on average.

    Calls: their mean x ranks. Requests: (mean shared ones of a node) x nodes + (mean own ones of a rank) x ranks.

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
        asked = RequestCounts()
        for row in rows:
            asked.add(row)
        requests = values.RequestCounts(
            **{
                name: round(getattr(asked, name) / len(rows) * n_nodes)
                for name in SHARED
                if name not in ("read", "unread")
            },
            **{name: of_ranks(getattr(asked, name)) for name in OWN},
            # rights, attributes and closes of NFS and Lustre: mostly those that each open costs
            other=of_ranks(asked.other),
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
