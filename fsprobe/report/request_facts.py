"""Requests by the names that each mount's own client has for them, predicted beside counted: what every report says of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fsprobe import numbers
from fsprobe.model.comparison import Comparison
from fsprobe.model.manifest import MountCounters
from fsprobe.model.profile import Profile
from fsprobe.model.requests import Operation
from fsprobe.model.rows import OURS

N_SHOWN = 12
"""Operations of a mount that one line names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One mount (or one storage layout) whose client has rules and names of its own."""

    title: str
    rules: str
    """By whose rules it was counted, and what further processes of the node ask."""
    operations: tuple[Operation, ...] = ()
    counted_by: str = ""
    """Who counted, of what; "" where nobody did."""
    why_not: str = ""
    """Why the counters could not be read."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """The operations whose number is not predictable, each with why."""
        return tuple(f"{row.name}: {row.doubt}" for row in self.operations if row.doubt)

    @property
    def is_predicted(self) -> bool:
        """Whether there is a prediction to be shown."""
        return any(row.predicted is not None for row in self.operations)

    @property
    def is_counted(self) -> bool:
        """Whether somebody counted."""
        return any(row.counted is not None for row in self.operations)


def name_of(profile: Profile) -> str:
    """What a run's requests are called over a column: by who would answer them."""
    rows = profile.requests.by_mount if profile.requests is not None else ()
    return name_for({row.fs_class for row in rows if row.reaches_server and row.n_metadata})


def name_for(asked: Collection[str | None]) -> str:
    """`server requests`, `disk requests` where only local disks are asked, `requests` where both are.

    Args:
        asked: the classes of the filesystems that are asked; one that nobody knows is taken for a server's.
    """
    others = set(asked) - OURS
    return "server requests" if "local" not in others else "disk requests" if others == {"local"} else "requests"


def of_profile(profile: Profile) -> list[Served]:
    """Of each mount with a client of its own, the busiest first; mounts that nobody predicted, but somebody counted, last."""
    counters = profile.manifest.counters
    rows = profile.requests.served if profile.requests is not None else ()
    found = []
    for row in rows:
        counted = counters.get(row.key)
        why_not = counted.why_not if counted is not None else ""
        operations = row.beside(counted.operations if counted is not None and not why_not else None)
        again = ""
        if row.operations and profile.job is None:
            again = f"; a second process of the node asks {numbers.count(row.n_second)}, each further one {numbers.count(row.n_again)}"
        rules = f"{numbers.count(row.n_metadata)} requests by {row.protocol}'s rules{again}"
        if "all" in row.not_predictable:
            rules = f"{numbers.count(row.n_metadata)} requests {row.not_predictable['all']}"
        source = _counted_by(counted, profile) if counted is not None and not why_not else ""
        found.append(Served(title=row.key, rules=rules, operations=operations, counted_by=source, why_not=why_not))
    named = {row.key for row in rows}
    for key, counted in counters.items():
        if key not in named and (counted.operations or counted.why_not):
            asked: dict[str, int] | None = {} if profile.requests is not None else None
            rules = "no requests predicted" if asked is not None else "requests not predicted for this run"
            source = _counted_by(counted, profile) if not counted.why_not else ""
            operations = counted.beside(asked) if not counted.why_not else ()
            found.append(
                Served(title=key, rules=rules, operations=operations, counted_by=source, why_not=counted.why_not)
            )
    return found


def _counted_by(counted: MountCounters, profile: Profile) -> str:
    """Who counted, and what else is in it."""
    job = profile.job
    if job is None or not counted.n_nodes:
        return f"{counted.source}, of the whole node"
    n_all = job.n_nodes_traced
    nodes = "the whole node" if n_all == 1 else f"{numbers.plural(counted.n_nodes, 'whole node')}"
    lacking = f" (of {numbers.count(n_all)}: the others were not read)" if counted.n_nodes < n_all else ""
    untraced = ""
    if job.n_ranks is not None and job.n_ranks > job.n_ranks_traced:
        untraced = "; ranks that were not traced are in it, but not in what is predicted"
    return f"{counted.source}, of {nodes}{lacking}, once a node: from its first rank's start to its last one's end{untraced}"


def of_comparison(comparison: Comparison) -> list[Served]:
    """Of each storage layout and state of the cache, where its client has names of its own or was read."""
    found = []
    for row in comparison.rows:
        operations = row.operations
        if operations:
            state = f", {row.cache}" if row.cache in ("cold", "warm") else ""
            counted = f"{comparison.counted_by or 'the client'}, of the whole node, median of the runs"
            found.append(
                Served(
                    title=row.layout + state,
                    rules=f"requests to {row.counted_mount}" if row.counted_mount else "requests",
                    operations=operations,
                    counted_by=counted if row.client_counters else "",
                )
            )
    return found


def line(row: Served) -> str:
    """The operations of a mount in one line: `LOOKUP 308 (counted 310), ACCESS 125 (125)`."""
    parts = [_words(one, row.is_predicted, row.is_counted) for one in row.operations[:N_SHOWN]]
    n_more = len(row.operations) - N_SHOWN
    return ", ".join(parts) + (f" and {numbers.plural(n_more, 'more operation')}" if n_more > 0 else "")


def _words(row: Operation, is_predicted: bool, is_counted: bool) -> str:
    if not is_predicted:
        return f"{row.name} {numbers.count(row.counted)}"
    return f"{row.name} {numbers.count(row.predicted)}" + (
        f" (counted {numbers.count(row.counted)})" if is_counted else ""
    )


def lines(rows: Iterable[Served]) -> list[str]:
    """The same as text: a line for the mount, one for its operations, one for what is not predictable."""
    made = []
    for row in rows:
        made.append(f"{row.title}: {row.rules}")
        if row.operations:
            made.append(f"  {line(row)}")
        if row.counted_by:
            made.append(f"  counted by {row.counted_by}")
        if row.why_not:
            made.append(f"  not counted: {row.why_not}")
        if row.doubts:
            made.append(f"  not predictable: {'; '.join(row.doubts)}")
    return made
