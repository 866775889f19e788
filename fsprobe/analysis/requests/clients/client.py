"""What the walk tells the client of a mount, and what a client asks its server for in its own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol as Interface

from fsprobe.analysis.requests.dentries import Listing, Place

_LIBRARY = re.compile(rb"\.so(?:\.[0-9.]+)?$")

Ask = Callable[[str, int, Place, int], None]
"""Takes the operation as the client names it, the column that it belongs to (`dentries`), the place, how many."""


@dataclass(slots=True)
class Visit:
    """The call that is being walked."""

    now_s: float = 0.0
    """When it began, on the run's own axis."""
    user: int = 0
    tid: int = 0
    syscall: str = ""
    opens: bool = False
    """It opens or executes what it names (LOOKUP_OPEN in fs/namei.c)."""
    executes: bool = False
    wants_directory: bool = False
    """O_DIRECTORY."""
    creates: bool = False
    is_exclusive: bool = False
    """O_EXCL with O_CREAT."""
    writes: bool = False
    """It opens for writing."""
    reads: bool = True
    """It opens for reading."""
    truncates: bool = False
    follows: bool = True
    is_last: bool = False
    """The name that is being looked up is the last one of the path, or what a link in that place leads to."""
    by_descriptor: bool = False
    """It names an open descriptor, not a path."""
    fresh: Place | None = None
    """What this call has asked the server for by name: it needs no second look."""
    opened: Place | None = None
    """What the server has opened while it looked the name up."""


class Client(Interface):
    """The cache of one mount's client. Each method may ask."""

    not_predictable: dict[str, str]
    """Operation -> why its number is uncertain or left out; filled while it is counted."""

    def begin(self) -> None:
        """Forget everything: the mount is fresh."""

    def go_on(self) -> None:
        """Begin another count in the cache that the last one left."""

    def next_call(self) -> None:
        """A call begins that is not the status of an open descriptor."""

    def pass_through(self, directory: Place, visit: Visit) -> None:
        """A name is looked up in this directory."""

    def look_up(self, place: Place, visit: Visit, *, afresh: bool) -> None:
        """A name in a directory; `afresh`: it is about to be made."""

    def read_link(self, place: Place, visit: Visit) -> None:
        """A link is followed or read."""

    def open(self, place: Place, visit: Visit) -> None:
        """What was found is opened."""

    def status(self, place: Place, visit: Visit, *, access_time: bool) -> None:
        """The status of what was found, by its path or by a descriptor."""

    def rights(self, place: Place, visit: Visit) -> None:
        """access(2) of what was found, or chdir into it."""

    def space(self, place: Place, visit: Visit) -> None:
        """statfs."""

    def list(self, place: Place, listing: Listing, visit: Visit) -> None:
        """One getdents."""

    def set_attributes(self, place: Place, visit: Visit) -> None:
        """Mode, owner, times or size of what was found are set."""

    def change(self, directory: Place | None, place: Place, visit: Visit, *, gone: Place | None) -> None:
        """A name was made, removed or given another place; `gone`: what had the name until now."""


def is_read_at_once(place: Place, visit: Visit) -> bool:
    """Whether a file is read before its status is asked for, and mapped after that.

    The kernel reads the head of a program (fs/exec.c, prepare_binprm), the loader that of a library (glibc:
    elf/dl-load.c, open_verify; then _dl_map_object_from_fd); others ask first how much there is to read.
    """
    return visit.executes or _LIBRARY.search(place.name) is not None


@dataclass(slots=True)
class Age:
    """How long a client believes what it knows of a file."""

    limit_s: float
    asked_s: float = 0.0


@dataclass(slots=True)
class Pages:
    """The part of a listing that the client has."""

    n_names: int = 0
    """How many names the answers hold."""
    is_whole: bool = False
    has_attributes: bool = True
    """Each answer came with the attributes of its names."""
    asked_s: float = 0.0
    n_next: int = 1
    """How many times the first answer's size the next one has."""
    readers: dict[int, int] = field(default_factory=dict)
    """Thread -> names that it has been given since it opened the directory."""
