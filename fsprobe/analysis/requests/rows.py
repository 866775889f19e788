"""Requests as values: rows that add, their groupings, and the part of a profile that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fsprobe.analysis.attribution.ownership import Owners
from fsprobe.model.events import Mount
from fsprobe.model.formats import JsonObject
from fsprobe.model.text import text

CAVEAT = (
    "Requests are what a client with empty caches asks the file server for; calls that its cache answers are none. "
    "The model is validated against a FUSE server (LOOKUP, OPEN, OPENDIR, READDIR, READLINK), not against Lustre or NFS, "
    "which combine or repeat some of them. `lookup` contains `negative`, the look-ups of missing names; `read_max` is an "
    "upper bound of the reads of files that are read whole."
)


@dataclass(slots=True)
class RequestCounts:
    """Requests of one path, or of many: rows add."""

    lookup: int = 0
    """All LOOKUPs, those of missing names included."""
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
    def metadata(self) -> int:
        """lookup + open + opendir + readdir + readlink; the negative ones are among the look-ups."""
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

    def as_json(self) -> dict[str, int | None]:
        """The row of the Contract, with `metadata` and `change`."""
        return {
            "lookup": self.lookup,
            "negative": self.negative,
            "open": self.open,
            "opendir": self.opendir,
            "readdir": self.readdir,
            "readlink": self.readlink,
            "read_max": self.read_max,
            "metadata": self.metadata,
            "change": self.change,
        }


FIELDS = ("lookup", "negative", "open", "opendir", "readdir", "readlink", "change", "read", "unread")
"""Field by the numbers of `requests_tree`."""


@dataclass(slots=True)
class Requests:
    """The requests of a run, by path and by module; the other groupings are sums of `per_path`."""

    per_path: dict[bytes, RequestCounts] = field(default_factory=dict)
    """Real path (no links, no dots) -> what was asked about it. A link's own path has its LOOKUP and its READLINK."""
    per_module: dict[str, RequestCounts] = field(default_factory=dict)
    """Module -> what it was the first to ask, and its own opens."""
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

    def environment(self, prefix: bytes) -> JsonObject:
        """What is asked about `prefix` (a real path) and what lies below it."""
        start = prefix.rstrip(b"/") + b"/"
        return self.total(lambda path: path == prefix or path.startswith(start)).as_json()

    def by_mount(self) -> dict[str, RequestCounts]:
        """Sums by mount point, most metadata requests first."""
        table: dict[str, RequestCounts] = {}
        for path, row in self.per_path.items():
            mount = self.mount_of[path]
            table.setdefault(text(mount.path) if mount is not None else "(not known)", RequestCounts()).add(row)
        return _most_first(table)

    def by_package(self, owners: Owners) -> dict[str, RequestCounts]:
        """Sums by the package that owns the path."""
        table: dict[str, RequestCounts] = {}
        for path, row in self.per_path.items():
            table.setdefault(owners.of(path), RequestCounts()).add(row)
        return _most_first(table)

    def as_json(self, owners: Owners) -> JsonObject:
        """The Contract's `requests`."""
        return {
            "by_mount": {key: row.as_json() for key, row in self.by_mount().items()},
            "by_package": {key: row.as_json() for key, row in self.by_package(owners).items()},
            "by_module": {key: row.as_json() for key, row in _most_first(self.per_module).items()},
            "n_unplaced": self.n_unplaced,
            "caveat": CAVEAT,
        }


def _most_first(table: dict[str, RequestCounts]) -> dict[str, RequestCounts]:
    return dict(sorted(table.items(), key=lambda item: (-item[1].metadata, item[0])))
