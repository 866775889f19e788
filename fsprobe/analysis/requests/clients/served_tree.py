"""The walk with a client for each mount: names on an NFS or a Lustre mount are asked for as that mount's client asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fsprobe.analysis.requests.clients.client import Ask, Client, Visit
from fsprobe.analysis.requests.clients.lustre import LustreClient
from fsprobe.analysis.requests.clients.nfs import NfsClient
from fsprobe.analysis.requests.clients.protocol import Family, Protocol
from fsprobe.analysis.requests.dentries import Listing, Place
from fsprobe.analysis.requests.name_tree import Tree
from fsprobe.analysis.requests.observed import COUNT
from fsprobe.analysis.requests.steps import (
    ACCESS_TIME,
    CREATE,
    DESCRIBE,
    EXCLUSIVE,
    EXECUTE,
    IS_DIRECTORY,
    LIST_IT,
    NO_FOLLOW,
    OPEN_IT,
    PATH_ONLY,
    READ_WRITE,
    RIGHTS,
    SETS,
    SPACE,
    STATUS,
    TRUNCATE,
    WRITE_ONLY,
    Step,
)
from fsprobe.model.events import Mount


def make_clients(protocols: Mapping[bytes, Protocol], ask: Ask) -> dict[bytes, Client]:
    """A client for each mount (mount point -> protocol) that has other rules than FUSE's."""
    made: dict[bytes, Client] = {}
    for path, protocol in protocols.items():
        if protocol.family is Family.NFS:
            made[path] = NfsClient(protocol, ask)
        elif protocol.family is Family.LUSTRE:
            made[path] = LustreClient(protocol, ask)
    return made


class ServedTree(Tree):
    """A `Tree` that knows which client serves each place; where there is none, FUSE's rules hold.

    Args:
        mounts: the target's mounts.
        ask: as for `Tree`.
    """

    def __init__(self, mounts: Iterable[Mount], ask: Callable[[int, Place, int], None]) -> None:
        self.clients: Mapping[bytes, Client] = {}
        """By mount point."""
        self.visit = Visit()
        super().__init__(mounts, ask)

    def client_of(self, place: Place | None) -> Client | None:
        """Who serves a place; None: a FUSE client's rules hold."""
        if place is None or place.mount is None:
            return None
        return self.clients.get(place.mount.path)

    def begin(self, mode: int) -> None:
        """Begin a pass; see `Tree.begin`."""
        super().begin(mode)
        self._directories = {}
        if mode == COUNT and self.clients:
            self._directories = _Nothing()
            for client in self.clients.values():
                client.begin()

    def begin_again(self) -> None:
        """Begin a count in the caches that the last one left; the names are bound as at the run's beginning."""
        super().begin(COUNT)
        self._directories = _Nothing()
        for client in self.clients.values():
            client.go_on()

    # -- the call that is walked --------------------------------------------------------------------------------------

    def begin_call(self, step: Step, now_s: float, tid: int) -> None:
        """A call begins; `now_s` is the time on the run's axis."""
        visit = self.visit
        visit.now_s, visit.tid, visit.syscall = now_s, tid, step.syscall
        visit.fresh = visit.opened = None
        is_path = step.action == OPEN_IT and bool(step.flags & PATH_ONLY)
        visit.by_descriptor = step.action in (DESCRIBE, LIST_IT)
        visit.executes = step.action == EXECUTE
        visit.opens = visit.executes or (step.action == OPEN_IT and not is_path)
        visit.wants_directory = bool(step.flags & IS_DIRECTORY) or step.path.endswith(b"/")
        visit.creates = bool(step.flags & CREATE) and not is_path
        visit.is_exclusive = visit.creates and bool(step.flags & EXCLUSIVE)
        visit.writes = visit.opens and bool(step.flags & (WRITE_ONLY | READ_WRITE))
        visit.reads = not step.flags & WRITE_ONLY
        visit.truncates = visit.opens and bool(step.flags & TRUNCATE)
        visit.follows = not step.flags & NO_FOLLOW
        if step.action != DESCRIBE:
            for client in self.clients.values():
                client.next_call()

    def ask_of(self, step: Step, place: Place) -> None:
        """What a call wants of the place that its path or its descriptor has led to."""
        client = self.client_of(place)
        if client is None or (step.error and not step.flags & RIGHTS):
            return
        if step.flags & STATUS:
            client.status(place, self.visit, access_time=bool(step.flags & ACCESS_TIME))
        elif step.flags & RIGHTS:
            client.rights(place, self.visit)
        elif step.flags & SPACE:
            client.space(place, self.visit)
        if step.flags & SETS and not step.error:
            client.set_attributes(place, self.visit)

    def walk_again(self, path: bytes) -> None:
        """The kernel looks the path of a program up once more, and follows no link in its last place."""
        visit = self.visit
        fresh, opened, visit.opens = visit.fresh, visit.opened, False
        self.walk(path, "", follow=False)
        visit.opens, visit.fresh, visit.opened = True, fresh, opened

    # -- what the walk asks -------------------------------------------------------------------------------------------

    def last(self, directory: Place, name: bytes, error: str, **how: bool) -> Place | None:
        """The last step of a walk; see `Tree.last`."""
        self.visit.is_last = True
        try:
            return super().last(directory, name, error, **how)
        finally:
            self.visit.is_last = False

    def _descend(self, here: Place, names: list[bytes], error: str, *, is_last: bool = False) -> Place | None:
        was, self.visit.is_last = self.visit.is_last, False
        try:
            return super()._descend(here, names, error, is_last=is_last)
        finally:
            self.visit.is_last = was

    def look_up(self, place: Place, afresh: bool = False) -> None:
        """Ask for a name that the client does not know; see `Tree.look_up`."""
        if self.mode != COUNT or not self.clients:
            super().look_up(place, afresh)
            return
        above = self.client_of(place.parent)
        if above is not None and place.parent is not None:
            above.pass_through(place.parent, self.visit)
        client = self.client_of(place)
        if client is None:
            super().look_up(place, afresh)
        elif client is above and not _is_root(place):
            client.look_up(place, self.visit, afresh=afresh)

    def read_link(self, place: Place) -> None:
        """Ask for a link's text; see `Tree.read_link`."""
        client = self.client_of(place) if self.mode == COUNT else None
        if client is not None:
            client.read_link(place, self.visit)
        else:
            super().read_link(place)

    def open(self, place: Place, n: int) -> None:
        """Ask to open what was found; see `Tree.open`."""
        client = self.client_of(place) if self.mode == COUNT else None
        if client is None:
            super().open(place, n)
            return
        for _ in range(n):
            client.open(place, self.visit)

    def list(self, place: Place, listing: Listing) -> None:
        """One getdents; see `Tree.list`."""
        client = self.client_of(place) if self.mode == COUNT else None
        if client is None:
            super().list(place, listing)
        else:
            client.list(place, listing, self.visit)

    def change(self, directory: Place | None, place: Place, gone: Place | None = None) -> None:
        """Ask for a change of a directory; see `Tree.change`."""
        client = self.client_of(place) if self.mode == COUNT else None
        if client is None:
            super().change(directory, place, gone)
        else:
            client.change(directory, place, self.visit, gone=gone)

    def use(self, place: Place) -> None:
        """The kernel checks the rights on what a hard link is made of (fs/namei.c, may_linkat: safe_hardlink_source)."""
        client = self.client_of(place) if self.mode == COUNT else None
        if client is not None:
            client.rights(place, self.visit)


def _is_root(place: Place) -> bool:
    return place.mount is not None and place.path == place.mount.path


class _Nothing(dict[bytes, Place]):
    """Remembers no directory: where a client may have to ask again, each path is walked in full."""

    def __setitem__(self, path: bytes, place: Place) -> None:
        """Leave it out."""
