"""What a Lustre client asks its metadata server: names, attributes and rights are believed as long as their lock is held.

The rules are those of Lustre 2.17; each cites the function that makes it. They were compared with `mdc.*.stats` of four
recorded runs (docs/method.md). Locks that the server takes back are not predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

from fsprobe.analysis.requests.clients.client import Ask, Visit, is_read_at_once
from fsprobe.analysis.requests.clients.protocol import Protocol
from fsprobe.analysis.requests.dentries import (
    CHANGE,
    DATA,
    DIRECTORY,
    FILE,
    LINK,
    LOOKUP,
    MISSING,
    NEGATIVE,
    OPEN,
    OTHER,
    READDIR,
    READLINK,
    SPECIAL,
    Listing,
    Place,
)

JUST_CLOSED_S = 0.1
"""lustre/llite/llite_internal.h, SBI_DEFAULT_OPENCACHE_THRESHOLD_MS."""
FORGOTTEN_S = 60.0
"""SBI_DEFAULT_OPENCACHE_THRESHOLD_MAX_MS: opens are counted anew when a file was closed for longer."""
_KEPT_OPEN = (
    "a file that is opened again within 0.1 s of its close, or for the fifth time, is kept open and asked for no more; how soon "
    "an untraced run opens it again, or several processes at once do, no recording tells"
)
PAGE_ANSWER_BYTES = 1 << 20
"""What one readpage brings of a listing."""


@dataclass(slots=True)
class _Inode:
    """What the client has of a file, and the locks that it holds on it."""

    has_attributes: bool = False
    """The UPDATE and PERM bits: its status and its rights are believed."""
    has_name: bool = False
    """The LOOKUP bit: its name is believed."""
    has_text: bool = False
    has_size: bool = False
    has_security: bool = False
    n_pages: int = 0
    n_listed_bytes: int = 0
    n_opens: int = 0
    used_s: float = -1e9
    """When the run last did something with it: it was closed no earlier, and little later."""
    is_kept_open: bool = False
    is_kept_open_to_execute: bool = False


class LustreClient:
    """One mount of a Lustre client; see `clients.Client`."""

    def __init__(self, protocol: Protocol, ask: Ask) -> None:
        self._protocol = protocol
        self._ask = ask
        self.not_predictable: dict[str, str] = {}
        self.begin()

    def begin(self) -> None:
        """Forget everything: the mount is fresh."""
        self._inodes: dict[Place, _Inode] = {}
        self._missing: set[Place] = set()
        self.not_predictable = {}

    def go_on(self) -> None:
        """Begin another count in the cache that the last one left."""
        self.not_predictable = {}

    def next_call(self) -> None:
        """Nothing is pending."""

    def _inode(self, place: Place) -> _Inode:
        inode = self._inodes.get(place)
        if inode is None:
            inode = self._inodes[place] = _Inode()
        return inode

    def _revalidate(self, place: Place) -> None:
        """Source: lustre/llite/file.c, ll_inode_revalidate; lustre/mdc/mdc_locks.c, mdc_revalidate_lock."""
        inode = self._inode(place)
        if not inode.has_attributes:
            inode.has_attributes = True
            self._ask("enqueue", OTHER, place, 1)

    # -- names ------------------------------------------------------------------------------------------------------

    def pass_through(self, directory: Place, visit: Visit) -> None:
        """Only the root is asked for its rights: other directories' came with their names (ll_inode_permission)."""
        if directory.mount is not None and directory.path == directory.mount.path:
            self._revalidate(directory)

    def look_up(self, place: Place, visit: Visit, *, afresh: bool) -> None:
        """Source: lustre/llite/namei.c, ll_lookup_it; lustre/llite/dcache.c, ll_revalidate_dentry."""
        if afresh:
            return  # left to the request that makes it (ll_lookup_nd, ll_atomic_open)
        if place.kind == MISSING:
            self._look_up_missing(place, visit)
            return
        inode = self._inodes.get(place)
        if place.is_pinned:
            inode = self._inode(place)
            inode.has_name = inode.has_attributes = True  # the run began in it, or below it
        if inode is not None and inode.has_name:
            return
        is_known = inode is not None
        inode = self._inode(place)
        if visit.is_last and visit.opens and not is_known and place.kind != SPECIAL:
            visit.fresh = visit.opened = place
            self._ask("enqueue", OPEN, place, 1)
            # with an open come a file's locks, but not a directory's (lustre/mdt/mdt_open.c, mdt_object_open_lock)
            inode.has_name = inode.has_attributes = place.kind != DIRECTORY
            if place.kind == LINK:
                visit.opened = None
            return
        visit.fresh = place
        inode.has_name = inode.has_attributes = True
        self._ask("enqueue", LOOKUP, place, 1)

    def _look_up_missing(self, place: Place, visit: Visit) -> None:
        if place in self._missing:
            return
        # it is believed to be missing as long as the directory's own lock is held (ll_lookup_it_finish)
        if place.parent is None or self._inode(place.parent).has_attributes:
            self._missing.add(place)
        self._ask("enqueue", LOOKUP, place, 1)
        self._ask("", NEGATIVE, place, 1)

    def read_link(self, place: Place, visit: Visit) -> None:
        """Source: lustre/llite/symlink.c, ll_readlink_internal."""
        inode = self._inode(place)
        if not inode.has_text:
            inode.has_text = True
            self._ask("getattr", READLINK, place, 1)

    # -- files ------------------------------------------------------------------------------------------------------

    def open(self, place: Place, visit: Visit) -> None:
        """An open and its close are a request each, unless the file is kept open.

        Source: lustre/llite/file.c, ll_file_open, ll_track_file_opens, ll_md_close.
        """
        if place.kind == SPECIAL or (place.mount is not None and place.path == place.mount.path):
            return
        inode = self._inode(place)
        inode.n_opens = 1 if visit.now_s > inode.used_s + FORGOTTEN_S else inode.n_opens + 1
        just_closed = visit.now_s < inode.used_s + JUST_CLOSED_S
        inode.used_s = visit.now_s
        if visit.executes:
            self._ask_for_capabilities(place, inode)
        if is_read_at_once(place, visit):
            inode.has_size = True  # it comes with the lock of what is read (lustre/lov/lov_io.c)
        if inode.n_opens > 1 and self._protocol.open_cache_opens:
            self.not_predictable["close"] = self.not_predictable["enqueue"] = _KEPT_OPEN
        if inode.is_kept_open_to_execute if visit.executes else inode.is_kept_open:
            return
        if visit.opened is not place:
            self._ask("enqueue", OPEN, place, 1)
            most = self._protocol.open_cache_opens
            if most and (inode.n_opens >= most or just_closed):
                if visit.executes:
                    inode.is_kept_open_to_execute = True
                else:
                    inode.is_kept_open = True
                inode.has_name = True
                return
        self._ask("close", OTHER, place, 1)

    def _ask_for_capabilities(self, place: Place, inode: _Inode) -> None:
        """Source: security/commoncap.c, get_vfs_caps_from_disk; lustre/llite/xattr.c, ll_getxattr_common."""
        if not inode.has_security:
            inode.has_security = True
            self._ask("enqueue", OTHER, place, 1)

    def status(self, place: Place, visit: Visit, *, access_time: bool) -> None:
        """Source: lustre/llite/file.c, ll_getattr_dentry; a file's size is asked for at its data's servers (glimpse)."""
        if place.kind == MISSING:
            return
        inode = self._inode(place)
        if visit.by_descriptor:
            inode.used_s = visit.now_s
        self._revalidate(place)
        if place.kind == FILE and not inode.has_size:
            inode.has_size = True
            self._ask("glimpse", DATA, place, 1)

    def rights(self, place: Place, visit: Visit) -> None:
        """The client checks them itself (ll_inode_permission)."""
        if place.kind != MISSING:
            self.pass_through(place, visit)

    def space(self, place: Place, visit: Visit) -> None:
        """Source: lustre/llite/llite_lib.c, ll_statfs: it goes to every server."""
        self._ask("statfs", OTHER, place, 1)
        self.not_predictable["statfs"] = "those of open descriptors (fstatfs) are in no recording"

    # -- directories and changes --------------------------------------------------------------------------------------

    def list(self, place: Place, listing: Listing, visit: Visit) -> None:
        """Source: lustre/llite/dir.c, ll_dir_read; lustre/mdc/mdc_request.c, mdc_read_page."""
        inode = self._inode(place)
        inode.used_s = visit.now_s
        self._revalidate(place)
        if not listing.n_bytes:
            return
        inode.n_listed_bytes += listing.n_bytes
        if inode.n_pages * PAGE_ANSWER_BYTES < inode.n_listed_bytes and (
            inode.n_pages == 0 or listing.n_bytes >= listing.buffer - 280
        ):
            inode.n_pages += 1
            self._ask("readpage", READDIR, place, 1)

    def set_attributes(self, place: Place, visit: Visit) -> None:
        """Source: lustre/llite/llite_lib.c, ll_setattr_raw; lustre/mdc/mdc_reint.c, mdc_setattr."""
        if place.kind != MISSING:
            self._ask("reint", CHANGE, place, 1)

    def change(self, directory: Place | None, place: Place, visit: Visit, *, gone: Place | None) -> None:
        """One request; an open that makes a file is an enqueue, and has its close."""
        if visit.syscall.startswith(("open", "creat")):
            self._ask("enqueue", CHANGE, place, 1)
            self._ask("close", OTHER, place, 1)
        else:
            self._ask("reint", CHANGE, place, 1)
        inode = self._inode(place)
        inode.has_name = inode.has_attributes = True
        self._missing.discard(place)
        if directory is not None:
            # it cancels the client's own lock of the directory (mdc_reint.c): with it go listing and missing names
            above = self._inode(directory)
            above.has_attributes = False
            above.n_pages = above.n_listed_bytes = 0
