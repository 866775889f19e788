"""The tree of names that a run's calls walked, and which of them a cold client would have had to ask for.

A `Place` is one name in one directory for as long as the run left it alone; what a call shows of it (missing, a directory,
a link) holds for all that time, also for earlier calls. Creating, removing and renaming bind the name to another place.
The rules of the walk are the kernel's (path_resolution(7), fs/namei.c), those of the client's cache fs/fuse/dir.c: a name
is looked up once, also a missing one; a link is read once; making a name and renaming over it ask again whatever is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fsprobe.analysis.requests.dentries import (
    CHANGE,
    DIRECTORY,
    FILE,
    LINK,
    LOOKUP,
    MISSING,
    NEGATIVE,
    OPEN,
    OPENDIR,
    READDIR,
    READLINK,
    SOME,
    SPECIAL,
    UNKNOWN,
    Listing,
    Place,
)
from fsprobe.analysis.requests.observed import COUNT, LEARN, LINKS, decide_last, decide_on_the_way
from fsprobe.model.events import Mount, joined

MAX_LINKS = 40
_DOTS = frozenset({b"", b".", b".."})


class Tree:
    """All places, how they are bound at the present step of a pass, and what the client has cached."""

    def __init__(self, mounts: Iterable[Mount], ask: Callable[[int, Place, int], None]) -> None:
        self._mounts = {mount.path: mount for mount in mounts}  # the last one mounted on a place hides the others
        self.root = Place(None, b"", b"/", self._mounts.get(b"/"))
        self.root.kind, self.root.is_pinned = DIRECTORY, True
        self._ask = ask
        self._made: dict[tuple[int, int, int, bytes], Place] = {}
        self._bound: dict[tuple[int, bytes], Place] = {}
        """What the present pass has bound anew: (id of a directory, name) -> place."""
        self._homes: dict[Place, tuple[Place | None, bytes]] = {}
        """Where a moved place was when the run began."""
        self._directories: dict[bytes, Place] = {}
        self._located: dict[bytes, Place] = {}  # as `locate` has found them since a name was bound anew
        self._touched: list[Place] = []
        self._readers: dict[tuple[int, Place], bool] = {}
        """Who is in the middle of a listing, and whether it comes from the server."""
        self.mode = LEARN
        self.pass_number = 0
        self.step_number = 0
        self.n_links_learned = 0
        self._n_followed = 0
        for mount in self._mounts.values():
            self.pin(mount.path)

    def pin(self, path: bytes) -> None:
        """A mount point or a working directory: the client knows it, and what lies above, before the run begins."""
        place: Place | None = self.locate(path)
        while place is not None:
            place.kind, place.is_pinned = DIRECTORY, True
            place = place.parent

    def forget(self) -> None:
        """Let go of all places. They point at each other, and as many would wait for the garbage collector for long."""
        waiting = [self.root, *self._made.values(), *self._bound.values()]
        while waiting:
            place = waiting.pop()
            waiting.extend(place.children.values())
            place.children = {}
        self._made, self._bound = {}, {}

    def begin(self, mode: int) -> None:
        """Begin a pass: names as the run found them, the client cold."""
        moved, self._homes = self._homes, {}
        for place, (parent, name) in moved.items():
            place.parent, place.name = parent, name
        for known in (self._bound, self._directories, self._located, self._readers):
            known.clear()
        for place in moved:
            self._set_paths(place)
        for place in self._touched:
            place.is_read = place.is_listed = False
            place.listed_ns = None
            place.n_listings = place.listed_bytes = 0
        self._touched.clear()
        self.mode = mode
        self.pass_number += 1
        self.step_number = 0

    # -- names ------------------------------------------------------------------------------------------------------

    def child(self, directory: Place, name: bytes) -> Place:
        """What a name in a directory is bound to now."""
        if self._bound:
            bound = self._bound.get((id(directory), name))
            if bound is not None:
                return bound
        place = directory.children.get(name)
        if place is None:
            place = directory.children[name] = self._new(directory, name)
        return place

    def _new(self, directory: Place, name: bytes) -> Place:
        path = joined(directory.path, name)
        return Place(directory, name, path, self._mounts.get(path, directory.mount))

    def bind(self, old: Place, kind: int, *, role: int = 0, is_cached: bool = True) -> Place:
        """From this step on the name of `old` means another place; the same one in every pass."""
        assert old.parent is not None
        key = (self.step_number, role, id(old.parent), old.name)
        place = self._made.get(key)
        if place is None:
            place = self._made[key] = self._new(old.parent, old.name)
            place.kind = kind
        place.path = joined(old.parent.path, old.name)
        self._bound[id(old.parent), old.name] = place
        place.cached_in = self.pass_number if is_cached else 0
        self._directories.clear()
        self._located.clear()
        return place

    def move(self, place: Place, target: Place) -> None:
        """Give `place` the name of `target`, which is gone with it."""
        old_parent, old_name = place.parent, place.name
        assert target.parent is not None
        self.bind(place, MISSING, role=1, is_cached=False)
        self._homes.setdefault(place, (old_parent, old_name))
        self._bound[id(target.parent), target.name] = place
        place.parent, place.name = target.parent, target.name
        place.cached_in = self.pass_number
        self._set_paths(place)

    def _set_paths(self, moved: Place) -> None:
        bound: dict[int, list[Place]] = {}
        for (parent, _), place in self._bound.items():
            bound.setdefault(parent, []).append(place)
        todo = [moved]
        while todo:
            place = todo.pop()
            if place.parent is not None:
                place.path = joined(place.parent.path, place.name)
            todo.extend(child for child in place.children.values() if child.parent is place)
            todo.extend(bound.get(id(place), ()))

    def locate(self, path: bytes) -> Place:
        """The place of a path that is known to hold no links and no dots; asks for nothing."""
        place = self._located.get(path)
        if place is None:
            place = self.root
            for name in filter(None, path.split(b"/")):
                place = self.child(place, name)
            self._located[path] = place
        return place

    # -- walking ----------------------------------------------------------------------------------------------------

    def walk(
        self,
        path: bytes,
        error: str,
        *,
        follow: bool,
        is_open: bool = False,
        is_exec: bool = False,
        creates: bool = False,
        afresh: bool = False,
    ) -> Place | None:
        """Walk a path as the kernel does, asking for what the client does not know.

        Args:
            path: absolute; dots and links as the program wrote them.
            error: how the call ended: what its path shows of the names on the way.
            follow: whether a link in the last place is followed.
            is_open: it may have failed at the file's own permissions.
            is_exec: as is_open; what is missing may be what the program names.
            creates: it makes the last name where that is missing.
            afresh: the last name is asked for whatever is known.

        Returns:
            The last name's place, which may be a missing one; None where the walk ended before it.
        """
        head, _, name = path.rpartition(b"/")
        directory = self._directories.get(head)
        if directory is None:
            # `missing/` and `missing/.` name what is missing as surely as `missing` does
            directory = self.directory(head, error, is_last=name in (b"", b"."))
            if directory is None:
                return None
        if name in _DOTS:
            return (directory.parent or directory) if name == b".." else directory
        return self.last(
            directory, name, error, follow=follow, is_open=is_open, is_exec=is_exec, creates=creates, afresh=afresh
        )

    def last(
        self,
        directory: Place,
        name: bytes,
        error: str,
        *,
        follow: bool,
        is_open: bool = False,
        is_exec: bool = False,
        creates: bool = False,
        afresh: bool = False,
    ) -> Place | None:
        """The last step of a walk; see `walk`."""
        self._n_followed = 0
        while True:
            child = self.child(directory, name)
            if child.kind == UNKNOWN or (child.kind == MISSING and not error and not creates):
                decided = decide_last(self, child, error, is_open or is_exec, is_exec, creates)
                if decided is None:
                    return None
                child = decided
            elif error == "ENOENT" and child.kind in (FILE, DIRECTORY) and self.mode != LINKS and not is_exec:
                child = self.bind(child, MISSING, role=2, is_cached=child.cached_in == self.pass_number)
            self.look_up(child, afresh)
            if child.kind != LINK or not follow:
                return child
            target = self._read_target(child)
            if target is None:
                return None
            while len(target) > 1 and target.endswith(b"/"):
                target = target[:-1]
            head, slash, name = target.rpartition(b"/")
            start = self.root if target.startswith(b"/") else directory
            found = self._descend(start, head.split(b"/")[::-1], error) if slash else start
            if found is None:
                return None
            if name in _DOTS:
                return (found.parent or found) if name == b".." else found
            directory = found

    def directory(self, path: bytes, error: str, *, is_last: bool = False) -> Place | None:
        """Walk to a directory on the way; None where the walk ended before it.

        With `is_last` nothing follows: the call's error is about this directory.
        """
        directories = self._directories
        left: list[bytes] = []
        head = path
        self._n_followed = 0
        here: Place | None = self.root
        while head:
            known = directories.get(head)
            if known is not None:
                here = known
                break
            head, _, name = head.rpartition(b"/")
            left.append(name)
        while left and here is not None:
            name = left.pop()
            head += b"/" + name
            here = self._descend(here, [name], error, is_last=is_last and not left)
            if here is not None:
                directories[head] = here
        return here

    def _descend(self, here: Place, names: list[bytes], error: str, *, is_last: bool = False) -> Place | None:
        while names:
            name = names.pop()
            if name in _DOTS:
                if name == b"..":
                    here = here.parent or here
                continue
            child = self.child(here, name)
            if child.kind in (UNKNOWN, MISSING, SOME, FILE):
                nothing_follows = is_last and all(left in (b"", b".") for left in names)
                decided = decide_on_the_way(self, child, error, nothing_follows)
                if decided is None:
                    return None
                child = decided
            self.look_up(child)
            if child.kind == LINK:
                target = self._read_target(child)
                if target is None:
                    return None
                if target.startswith(b"/"):
                    here = self.root
                names.extend(target.split(b"/")[::-1])
            elif child.kind in (MISSING, FILE, SPECIAL):
                return None
            else:
                here = child
        return here

    # -- what the client asks ---------------------------------------------------------------------------------------

    def look_up(self, place: Place, afresh: bool = False) -> None:
        """Ask for a name that the client does not know."""
        if self.mode != COUNT or (not afresh and (place.is_pinned or place.cached_in == self.pass_number)):
            return
        place.cached_in = self.pass_number
        self._ask(LOOKUP, place, 1)
        if place.kind == MISSING:
            self._ask(NEGATIVE, place, 1)

    def read_link(self, place: Place) -> None:
        """Ask for a link's text, once."""
        if self.mode == COUNT and not place.is_read:
            place.is_read = True
            self._touched.append(place)
            self._ask(READLINK, place, 1)

    def _read_target(self, link: Place) -> bytes | None:
        self._n_followed += 1
        if self._n_followed > MAX_LINKS:
            return None
        self.read_link(link)
        return link.target

    def open(self, place: Place, n: int) -> None:
        """Ask to open what was found, once per call."""
        if self.mode == COUNT and place.kind != SPECIAL:
            self._ask(OPENDIR if place.kind == DIRECTORY else OPEN, place, n)

    def list(self, place: Place, listing: Listing) -> None:
        """One getdents: a request, unless somebody had read the directory to its end when this reading began.

        Who began before that asks for all of it, its end included (fs/fuse/readdir.c: the end is not in the cache). A FUSE
        entry has 24 bytes before its name where getdents' has 19 and a zero at its end: on average 4 bytes more.
        """
        if self.mode != COUNT:
            return
        reader = (listing.tid, place)
        asks = self._readers.get(reader)
        if asks is None:
            began_before = listing.t_ns is not None and place.listed_ns is not None and listing.t_ns < place.listed_ns
            asks = self._readers[reader] = not place.is_listed or began_before
        if not listing.n_bytes:
            del self._readers[reader]
        if not asks:
            return
        self._touched.append(place)
        self._ask(READDIR, place, 1)
        if listing.n_bytes:
            place.n_listings += 1
            place.listed_bytes += listing.n_bytes + 4 * listing.n_entries
        elif not place.is_listed:
            place.is_listed, place.listed_ns = True, listing.end_ns
            if place.mount is None or not place.mount.fstype.startswith("fuse"):
                more = -(-place.listed_bytes // listing.buffer) - place.n_listings
                if more > 0:
                    self._ask(READDIR, place, more)

    def use(self, place: Place) -> None:
        """Check the rights on a file: its attributes came with its name."""

    def change(self, directory: Place | None, place: Place, gone: Place | None = None) -> None:
        """Ask for a change of a directory, whose listing the client then has to read again.

        Args:
            directory: where it is.
            place: what the name means now.
            gone: what it meant before.
        """
        if directory is not None:
            directory.is_listed = False
            directory.n_listings = directory.listed_bytes = 0
        if self.mode == COUNT:
            self._ask(CHANGE, place, 1)

    # -- what is learned --------------------------------------------------------------------------------------------

    def learn_link(self, place: Place, target: bytes | None) -> None:
        """A place turned out to be a link; that is stronger than what was taken for granted."""
        if place.kind != LINK or (place.target is None and target is not None):
            if place.parent is None or place.is_pinned:
                return
            place.kind, place.target = LINK, target if target is not None else place.target
            self.n_links_learned += 1
            self._directories.clear()

    def learn_kind(self, place: Place, kind: int) -> None:
        """A call said what a place is."""
        if self.mode != LINKS and place.kind not in (LINK, MISSING) and not place.is_pinned:
            place.kind = kind

    def learn_plain(self, path: bytes) -> Place:
        """A descriptor's path as the kernel gave it: every name in it is there, and none but the last can be a link."""
        place = self.locate(path)
        above = place.parent
        while above is not None and above.kind != DIRECTORY:
            if above.kind != LINK:
                above.kind = DIRECTORY
            above = above.parent
        return place
