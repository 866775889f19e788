"""A name in a directory: what a run showed of it, and what a client has cached of it."""

from __future__ import annotations

from typing import NamedTuple

from fsprobe.model.events import Mount

UNKNOWN, MISSING, SOME, DIRECTORY, FILE, LINK, SPECIAL = range(7)
"""What a place is. SOME: it exists, no call said as what. SPECIAL: a device, a FIFO, a socket."""
LOOKUP, NEGATIVE, OPEN, OPENDIR, READDIR, READLINK, CHANGE, READ, UNREAD, OTHER, DATA = range(11)
"""What is asked for. NEGATIVE goes with a LOOKUP, UNREAD stands for reads of a file whose size is not known. OTHER: what
only some clients ask for (rights, attributes, closes). DATA: what goes to a server of data, and is in no total."""


class Listing(NamedTuple):
    """One getdents."""

    tid: int
    t_ns: int | None
    end_ns: int | None
    n_bytes: int
    """0 at the directory's end."""
    n_entries: int
    buffer: int
    """What fits into one answer, bytes."""


class Place:
    """One name in one directory, as long as it means the same."""

    __slots__ = (
        "cached_in",
        "children",
        "is_listed",
        "listed_ns",
        "is_pinned",
        "is_read",
        "kind",
        "listed_bytes",
        "mount",
        "n_listings",
        "name",
        "parent",
        "path",
        "size",
        "target",
    )

    def __init__(self, parent: Place | None, name: bytes, path: bytes, mount: Mount | None) -> None:
        self.parent = parent
        self.name = name
        self.path = path
        self.mount = mount
        self.kind = UNKNOWN
        self.target: bytes | None = None
        self.size: int | None = None
        self.children: dict[bytes, Place] = {}
        self.is_pinned = False
        self.cached_in = 0
        """The pass in which the client has come to know the name."""
        self.is_read = False
        self.is_listed = False
        self.listed_ns: int | None = None
        """When the first who read the listing to its end had it."""
        self.n_listings = 0
        self.listed_bytes = 0
