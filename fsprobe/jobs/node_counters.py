"""What the clients of a job's nodes counted: all ranks of a node read the same counters, so that a node counts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fsprobe.model.manifest import MountCounters

NO_START = "several ranks of a node read the same counters, and an older fsprobe did not note where they began"


@dataclass(slots=True)
class Reading:
    """The counters of one mount of one node, from its first rank's start to its last one's end.

    They only grow, so the least of what ranks found at their start and the most of what they found at their end belong to
    those two. Parts of a node's ranks add in any grouping. A mount that was made anew in between begins at 0 again: then too
    much is counted.
    """

    source: str
    begin: dict[str, int]
    """Operation -> how often since the mount; what is left out is 0."""
    end: dict[str, int]
    n_ranks: int = 1
    is_absolute: bool = True
    """Whether they count from the mount on; else from the start of the only rank."""

    def add(self, other: Reading) -> None:
        """Let in what other ranks of the same node read."""
        begin, end = self.begin, self.end
        self.begin = {name: min(n, other.begin[name]) for name, n in begin.items() if name in other.begin}
        self.end = {name: max(end.get(name, 0), other.end.get(name, 0)) for name in {**end, **other.end}}
        self.n_ranks += other.n_ranks
        self.is_absolute = self.is_absolute and other.is_absolute

    def operations(self) -> dict[str, int]:
        """How often, of all programs of the node."""
        return {name: n - self.begin.get(name, 0) for name, n in self.end.items() if n > self.begin.get(name, 0)}


@dataclass(slots=True)
class NodeCounters:
    """What the ranks of one node read, by mount point."""

    read: dict[str, Reading] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)

    def join(self, counters: Mapping[str, MountCounters]) -> None:
        """Let in what another rank of this node read."""
        for mount, found in counters.items():
            if found.why_not:
                self.why_not.setdefault(mount, found.why_not)
                continue
            begin, asked = dict(found.before or {}), found.operations
            end = {name: begin.get(name, 0) + asked.get(name, 0) for name in {**begin, **asked}}
            self._add(mount, Reading(found.source, begin, end, is_absolute=found.before is not None))

    def add(self, other: NodeCounters) -> None:
        """Let in other ranks of this node, which are joined already."""
        for mount, reading in other.read.items():
            self._add(mount, reading)
        self.why_not = {**other.why_not, **self.why_not}

    def _add(self, mount: str, reading: Reading) -> None:
        known = self.read.get(mount)
        if known is None:
            self.read[mount] = reading
        else:
            known.add(reading)


def joined(nodes: Iterable[NodeCounters]) -> dict[str, MountCounters]:
    """Mount point -> what the clients of all nodes counted together."""
    found: dict[str, MountCounters] = {}
    why_not: dict[str, str] = {}
    for node in nodes:
        for mount, why in node.why_not.items():
            why_not.setdefault(mount, why)
        for mount, reading in node.read.items():
            if reading.n_ranks > 1 and not reading.is_absolute:
                why_not[mount] = NO_START
                continue
            known = found.get(mount, MountCounters(source=reading.source))
            mine = reading.operations()
            total = {name: known.operations.get(name, 0) + mine.get(name, 0) for name in {**known.operations, **mine}}
            found[mount] = MountCounters(source=known.source, operations=total, n_nodes=known.n_nodes + 1)
    return {**{mount: MountCounters(why_not=why) for mount, why in why_not.items() if mount not in found}, **found}
