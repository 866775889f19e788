"""Server requests that a client with a cold cache would send, predicted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from fsprobe.model.rows import OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCounts:
    """Requests by kind."""

    DERIVED: ClassVar[tuple[str, ...]] = ("n_metadata",)

    lookup: int = 0
    """All LOOKUPs, the negative ones included."""
    negative: int = 0
    """The part of `lookup` that found nothing."""
    open: int = 0
    opendir: int = 0
    readdir: int = 0
    readlink: int = 0
    change: int = 0
    """Requests that create, remove or rename; in no total."""
    read_max: int | None = None
    """Upper bound of READs; None where the size of an opened file was not observed."""

    @property
    def n_metadata(self) -> int:
        """lookup + open + opendir + readdir + readlink."""
        return self.lookup + self.open + self.opendir + self.readdir + self.readlink


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow(RequestCounts):
    """Requests of one mount, package or import."""

    key: str
    fs_class: str | None = None
    """Of a mount: as in its row of calls."""
    fstype: str | None = None

    @property
    def reaches_server(self) -> bool:
        """Whether these requests leave the node: not those that an image, memory or a pseudo filesystem answers."""
        return self.fs_class not in OURS


def total_of(rows: Iterable[RequestCounts]) -> RequestCounts:
    """The sum of rows; `read_max` is known where each row's is."""
    rows = list(rows)
    reads = [row.read_max for row in rows]
    names = ("lookup", "negative", "open", "opendir", "readdir", "readlink", "change")
    return RequestCounts(
        **{name: sum(getattr(row, name) for row in rows) for name in names},
        read_max=None if None in reads else sum(read for read in reads if read is not None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The predicted requests of a run or job."""

    DERIVED: ClassVar[tuple[str, ...]] = ("at_servers",)

    by_mount: tuple[RequestRow, ...] = ()
    by_package: tuple[RequestRow, ...] = ()
    """What leaves the node: images, memory and pseudo mounts left out. Sums to `at_servers`."""
    by_module: tuple[RequestRow, ...] = ()
    """The same by import; empty for a job, whose ranks share what their node asks for."""
    n_unplaced: int = 0
    """Calls whose path could not be placed; they are in no row."""
    caveat: str = ""

    @property
    def at_servers(self) -> RequestCounts:
        """What leaves the node: images, memory and pseudo mounts left out. Each view shows this one."""
        return total_of(row for row in self.by_mount if row.reaches_server)

    @property
    def total(self) -> RequestCounts:
        """All mounts, what the node answers itself included."""
        return total_of(self.by_mount)

    def of_mount(self, key: str) -> RequestCounts:
        """What is asked of a mount; zeros where nothing is. In a job, nodes may have several filesystems at one place."""
        return total_of(row for row in self.by_mount if row.key == key)

    def n_at_server(self, key: str) -> int:
        """Metadata requests of a mount that reach a file server or disk; none of an image, of memory or of /proc do."""
        return sum(row.n_metadata for row in self.by_mount if row.key == key and row.reaches_server)
