"""Requests while they are counted: rows that add, their groupings, and the part of a profile that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fsprobe.analysis.attribution.ownership import Owners
from fsprobe.model import requests as values
from fsprobe.model.events import Mount
from fsprobe.model.formats import text
from fsprobe.model.rows import OURS

CAVEAT = (
    "Requests are what a client with empty caches asks the file server for; calls that its cache answers are none. "
    "The model is validated against a FUSE server (LOOKUP, OPEN, OPENDIR, READDIR, READLINK), not against Lustre or NFS, "
    "which combine or repeat some of them. `lookup` contains `negative`, the lookups of names that are not there; `read_max` is an "
    "upper bound of the reads of files that are read whole."
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

    @property
    def n_metadata(self) -> int:
        """lookup + open + opendir + readdir + readlink; the negative ones are among the lookups."""
        return self.lookup + self.open + self.opendir + self.readdir + self.readlink

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

    def value(self) -> values.RequestCounts:
        """As it stands in a profile."""
        return values.RequestCounts(**self._fields())

    def row(self, key: str, fs_class: str | None = None, fstype: str | None = None) -> values.RequestRow:
        """As a row of a profile; `fs_class` and `fstype` are those of a mount."""
        return values.RequestRow(key=key, fs_class=fs_class, fstype=fstype, **self._fields())

    def _fields(self) -> dict[str, Any]:
        return {
            "lookup": self.lookup,
            "negative": self.negative,
            "open": self.open,
            "opendir": self.opendir,
            "readdir": self.readdir,
            "readlink": self.readlink,
            "change": self.change,
            "read_max": self.read_max,
        }


FIELDS = ("lookup", "negative", "open", "opendir", "readdir", "readlink", "change", "read", "unread")
"""Field by the numbers of `requests.dentries`."""
NOT_KNOWN = "(not known)"
"""Key of the row for paths whose mount nobody knows."""


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
        kinds = {
            text(mount.path): (mount.fs_class, mount.fstype) for mount in self.mount_of.values() if mount is not None
        }
        return values.Requests(
            by_mount=most_first(row.row(key, *kinds.get(key, ())) for key, row in self.by_mount().items()),
            by_package=most_first(row.row(key) for key, row in self.by_package(owners).items()),
            by_module=most_first(row.row(key) for key, row in self.per_module.items()),
            n_unplaced=self.n_unplaced,
            caveat=CAVEAT,
        )


def most_first(rows: Iterable[values.RequestRow]) -> tuple[values.RequestRow, ...]:
    """Rows in their order: most metadata requests first."""
    return tuple(sorted(rows, key=lambda row: (-row.n_metadata, row.key)))
