"""Requests while they are counted: rows that add, their groupings, and the part of a profile that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fsprobe.analysis.attribution.ownership import Owners
from fsprobe.analysis.requests.clients.protocol import Protocol
from fsprobe.model import requests as values
from fsprobe.model.events import Mount
from fsprobe.model.formats import text
from fsprobe.model.rows import OURS

CAVEAT = (
    "Requests are what a client with empty caches asks the file server for; calls that its cache answers are none. NFS and "
    "Lustre mounts are counted by the rules of their own client (validated against Linux 6.1's NFS 3, 4.1 and 4.2 and against "
    "Lustre 2.17), all others by FUSE's (LOOKUP, OPEN, OPENDIR, READDIR, READLINK; validated against a FUSE server), whatever "
    "their own client would ask. `lookup` contains `negative`, the lookups of names that are not there; `read_max` is an upper "
    "bound of the reads of files that are read whole."
)


@dataclass(slots=True)
class RequestCounts:
    """Requests of one path, or of many: rows add."""

    lookup: int = 0
    """All LOOKUPs, those of names that are not there included."""
    negative: int = 0
    """The part of `lookup` that found nothing."""
    open: int = 0
    opendir: int = 0
    readdir: int = 0
    readlink: int = 0
    change: int = 0
    """Requests that create, remove or rename; in no total."""
    read: int = 0
    """Reads of the files whose size is known, if each is read whole, once."""
    unread: int = 0
    """Files that were opened and whose size no call showed."""
    other: int = 0
    """What only some clients ask for: rights (ACCESS), attributes (GETATTR), closes, locks."""
    data: int = 0
    """What is asked of servers of data, as the sizes of files (glimpse); in no total."""
    operations: dict[str, int] = field(default_factory=dict)
    """The same requests as an NFS or a Lustre client counts them itself, by its own names; empty for FUSE's rules."""
    again: int = 0
    """Metadata requests that each further process of the same node makes, which does the same: its opens, by FUSE's rules; what
    the run asks a third time, by those of NFS and Lustre."""
    settling: int = 0
    """What the node's second process asks beyond `again`: on NFS 4 the access times of what the first one read."""
    further: RequestCounts | None = None
    """What the second process asks, for NFS and Lustre."""
    steady: RequestCounts | None = None
    """What each one after that asks."""

    @property
    def n_metadata(self) -> int:
        """lookup + open + opendir + readdir + readlink + other; the negative ones are among the lookups."""
        return self.lookup + self.open + self.opendir + self.readdir + self.readlink + self.other

    @property
    def read_max(self) -> int | None:
        """Upper bound of READs; None where the size of an opened file was not observed."""
        return None if self.unread else self.read

    def add(self, other: RequestCounts) -> None:
        """Add a row."""
        # written out: this runs for each path of a run, in each grouping
        self.lookup += other.lookup
        self.negative += other.negative
        self.open += other.open
        self.opendir += other.opendir
        self.readdir += other.readdir
        self.readlink += other.readlink
        self.change += other.change
        self.read += other.read
        self.unread += other.unread
        self.again += other.again
        self.settling += other.settling
        for name in ("further", "steady"):
            theirs = getattr(other, name)
            if theirs is not None:
                mine = getattr(self, name) or RequestCounts()
                mine.add(theirs)
                setattr(self, name, mine)
        if other.operations:
            self.other += other.other
            self.data += other.data
            for name, n in other.operations.items():
                self.operations[name] = self.operations.get(name, 0) + n

    def times(self, n: int) -> RequestCounts:
        """The row n times over."""
        made = RequestCounts(**{name: getattr(self, name) * n for name in FIELDS}, again=self.again * n)
        made.operations = {name: count * n for name, count in self.operations.items()}
        made.settling = self.settling * n
        made.further = None if self.further is None else self.further.times(n)
        made.steady = None if self.steady is None else self.steady.times(n)
        return made

    def value(self) -> values.RequestCounts:
        """As it stands in a profile."""
        return values.RequestCounts(**self._fields())

    def row(
        self, key: str, fs_class: str | None = None, fstype: str | None = None, served: Served | None = None
    ) -> values.RequestRow:
        """As a row of a profile; `fs_class`, `fstype` and `served` are those of a mount."""
        return values.RequestRow(
            key=key,
            fs_class=fs_class,
            fstype=fstype,
            protocol=None if served is None else served.protocol.name,
            operations=dict(sorted(self.operations.items())),
            warm={} if self.further is None else dict(sorted(self.further.operations.items())),
            steady={} if self.steady is None else dict(sorted(self.steady.operations.items())),
            not_predictable={} if served is None else dict(sorted(served.not_predictable.items())),
            **self._fields(),
        )

    def _fields(self) -> dict[str, Any]:
        return {
            "lookup": self.lookup,
            "negative": self.negative,
            "open": self.open,
            "opendir": self.opendir,
            "readdir": self.readdir,
            "readlink": self.readlink,
            "change": self.change,
            "other": self.other,
            "again": self.again,
            "settling": self.settling,
            "read_max": self.read_max,
        }


FIELDS = "lookup negative open opendir readdir readlink change read unread other data".split()
"""Field by the numbers of `dentries`."""
NOT_KNOWN = "(not known)"
"""Key of the row for paths whose mount nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """By whose rules a mount's requests were counted."""

    protocol: Protocol
    not_predictable: dict[str, str]
    """Operation -> why its number is uncertain, or is left out."""


def reaches_server(mount: Mount | None) -> bool:
    """Whether what is asked of a mount leaves the node, as far as is known: not of an image, of memory or of /proc."""
    return mount is None or mount.fs_class not in OURS


@dataclass(slots=True)
class Requests:
    """The requests of a run, by path and by module; the other groupings are sums of `per_path`."""

    per_path: dict[bytes, RequestCounts] = field(default_factory=dict)
    """Real path (no links, no dots) -> what was asked about it. A link's own path has its LOOKUP and its READLINK."""
    per_module: dict[str, RequestCounts] = field(default_factory=dict)
    """Module -> what it was the first to ask of servers, and its own opens there."""
    mount_of: dict[bytes, Mount | None] = field(default_factory=dict)
    n_unplaced: int = 0
    """Calls with a path that could not be placed, and which are not counted."""
    served: dict[str, Served] = field(default_factory=dict)
    """Mount point -> by whose rules it was counted, for the mounts of an NFS or a Lustre client, and for those whose client has
    rules that are not known here."""

    def name_standing_in(self, protocols: Mapping[bytes, Protocol], network: Mapping[bytes, str]) -> None:
        """Say which network mounts (mount point -> type) are counted by rules that are not their client's own."""
        for path, fstype in network.items():
            if protocols[path].is_standing_in:
                why = f"counted by FUSE's rules: those of {fstype} are not known here"
                self.served[text(path)] = Served(protocol=protocols[path], not_predictable={"all": why})

    def add_further(
        self,
        warm: Requests,
        steady: Requests,
        protocols: Mapping[str, Protocol],
        uncertain: Mapping[bytes, dict[str, str]],
    ) -> None:
        """Say what a further process of the node asks, and by whose rules which mount was counted.

        Args:
            warm: what the same run asks at once again; of the mounts in `protocols` alone.
            steady: what it asks a third time.
            protocols: mount point, as text -> by whose rules.
            uncertain: mount point -> operation -> why its number is uncertain.
        """
        for path in {**warm.per_path, **steady.per_path}:
            mount = warm.mount_of.get(path) or steady.mount_of.get(path)
            if mount is not None and text(mount.path) in protocols:
                mine = self.per_path.setdefault(path, RequestCounts())
                self.mount_of.setdefault(path, mount)
                mine.further = warm.per_path.get(path, RequestCounts())
                mine.steady = steady.per_path.get(path, RequestCounts())
                mine.again += mine.steady.n_metadata
                mine.settling += mine.further.n_metadata - mine.steady.n_metadata
        for name, row in steady.per_module.items():
            if row.operations:
                mine = self.per_module.setdefault(name, RequestCounts())
                mine.again += sum(row.operations.values()) - row.data
        for key, protocol in protocols.items():
            reasons = next((why for path, why in uncertain.items() if text(path) == key), {})
            self.served[key] = Served(protocol=protocol, not_predictable=reasons)

    def total(self, wanted: Callable[[bytes], bool] | None = None) -> RequestCounts:
        """The sum over the real paths that are `wanted`; over all without it."""
        total = RequestCounts()
        for path, row in self.per_path.items():
            if wanted is None or wanted(path):
                total.add(row)
        return total

    def at_servers(self) -> RequestCounts:
        """The sum over the paths whose requests leave the node."""
        return self.total(lambda path: reaches_server(self.mount_of[path]))

    def environment(self, prefix: bytes) -> values.RequestCounts:
        """What is asked about `prefix` (a real path) and what lies below it; without what an image in it answers.

        Memory counts here: what is known of a program in a RAM disk tells what it would ask for elsewhere.
        """
        start = prefix.rstrip(b"/") + b"/"

        def is_meant(path: bytes) -> bool:
            mount = self.mount_of[path]
            return (path == prefix or path.startswith(start)) and (mount is None or mount.fs_class != "image")

        return self.total(is_meant).value()

    def by_mount(self) -> dict[str, RequestCounts]:
        """Sums by mount point, of all mounts."""
        table: dict[str, RequestCounts] = {}
        for path, row in self.per_path.items():
            mount = self.mount_of[path]
            table.setdefault(text(mount.path) if mount is not None else NOT_KNOWN, RequestCounts()).add(row)
        return table

    def by_package(self, owners: Owners) -> dict[str, RequestCounts]:
        """Sums by the package that owns the path, of what leaves the node."""
        table: dict[str, RequestCounts] = {}
        for path, row in self.per_path.items():
            if reaches_server(self.mount_of[path]):
                table.setdefault(owners.of(path), RequestCounts()).add(row)
        return table

    def value(self, owners: Owners) -> values.Requests:
        """As it stands in a profile: the rows of mounts for all mounts, the others for what leaves the node."""
        kinds: dict[str, tuple[str | None, str | None]] = {
            text(mount.path): (mount.fs_class, mount.fstype) for mount in self.mount_of.values() if mount is not None
        }
        return values.Requests(
            by_mount=most_first(
                row.row(key, *kinds.get(key, (None, None)), self.served.get(key))
                for key, row in self.by_mount().items()
            ),
            by_package=most_first(row.row(key) for key, row in self.by_package(owners).items()),
            by_module=most_first(row.row(key) for key, row in self.per_module.items()),
            n_unplaced=self.n_unplaced,
            caveat=CAVEAT,
        )


def most_first(rows: Iterable[values.RequestRow]) -> tuple[values.RequestRow, ...]:
    """Rows in their order: most metadata requests first."""
    return tuple(sorted(rows, key=lambda row: (-row.n_metadata, row.key)))
