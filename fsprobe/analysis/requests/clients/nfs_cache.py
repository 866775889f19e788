"""What an NFS client keeps of a file and of a name, what NFS calls its operations, and how many names one answer holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsprobe.analysis.requests.clients.client import Age, Ask, Pages, Visit
from fsprobe.analysis.requests.clients.protocol import Protocol
from fsprobe.analysis.requests.dentries import DIRECTORY, OTHER, Listing, Place

FIRST_ANSWER_BYTES = 64 << 10
"""fs/nfs/dir.c, NFS_INIT_DTSIZE: what the first READDIR of a listing asks for; each further one asks for twice as much."""
HANDLE_BYTES = 20
"""An ext4 file's handle as nfsd makes it; other servers have longer ones."""
LENT_UNUSED_S = 60.0
"""fs/nfs/nfs4renewd.c, nfs4_schedule_state_renewal: 2/3 of the lease, which nfsd makes 90 s (fs/nfsd/nfssvc.c, nfsd4_lease)."""
HITS_FOR_PLUS = 8
"""fs/nfs/dir.c, NFS_READDIR_CACHE_USAGE_THRESHOLD."""

CHANGES = {
    "3": {
        "mkdir": "MKDIR",
        "mknod": "MKNOD",
        "symlink": "SYMLINK",
        "link": "LINK",
        "unlink": "REMOVE",
        "rmdir": "RMDIR",
        "rename": "RENAME",
        "open": "CREATE",
        "creat": "CREATE",
    },
    "4": {
        "mkdir": "CREATE",
        "mknod": "CREATE",
        "symlink": "SYMLINK",
        "link": "LINK",
        "unlink": "REMOVE",
        "rmdir": "REMOVE",
        "rename": "RENAME",
        "open": "OPEN",
        "creat": "OPEN",
    },
}
"""Version -> system call -> the operation that it becomes; others are SETATTR."""


@dataclass(slots=True)
class Inode:
    """What the client has of a file, whatever its names."""

    age: Age
    users: set[int] = field(default_factory=set)
    """Whose rights are cached."""
    is_delegated: bool = False
    used_s: float = 0.0
    """When the run last opened it, or asked for its status."""
    is_access_time_old: bool = False
    was_read: bool = False
    is_changed: bool = False
    """Its attributes are known to be others than those in the cache (NFS_INO_REVAL_FORCED)."""
    is_mapped: bool = False
    """It is going to be read by page faults, after its status was asked for."""
    has_text: bool = False
    """The text of a link."""
    pages: Pages | None = None
    n_asked_of_names: int = 0
    """Status and look-ups of its names since its listing was last read."""


@dataclass(slots=True)
class Name:
    """A name that the client knows, found or missing."""

    is_delegated: bool = False
    """It was found while its file was lent: it is not looked at again (nfs_verifier_is_delegated)."""


def names_per_answer(listing: Listing, *, is_v4: bool, is_plus: bool) -> int:
    """How many names the first answer of a listing holds; an estimate by their average length.

    Source: RFC 1813, entry3 and entryplus3; RFC 7530, entry4 with the attributes that fs/nfs/nfs4proc.c asks for.
    """
    if not listing.n_entries:
        return 1
    # a linux_dirent64 has 19 bytes before the name, a zero after it, and is filled up to 8: 3.5 on average
    name = max(1.0, listing.n_bytes / listing.n_entries - 19 - 1 - 3.5)
    padded = 4 + -(-name // 4) * 4
    if is_v4:
        size = 4 + 8 + padded + 4 + 12 + 4 + (132 + 4 + HANDLE_BYTES if is_plus else 36)
    else:
        size = 4 + 8 + padded + 8 + (4 + 84 + 4 + 4 + HANDLE_BYTES if is_plus else 0)
    return max(1, int(FIRST_ANSWER_BYTES // size))


class NfsCache:
    """What the client of one mount believes, and for how long."""

    def __init__(self, protocol: Protocol, ask: Ask) -> None:
        self._protocol = protocol
        self._ask = ask
        self._v4 = protocol.is_v4
        self.not_predictable: dict[str, str] = {}
        self.begin()

    def begin(self) -> None:
        """Forget everything: the mount is fresh."""
        self._inodes: dict[Place, Inode] = {}
        self._names: dict[Place, Name] = {}
        self._to_be_read: list[Inode] = []
        self._n_after_read = 0
        self.not_predictable = {}

    def go_on(self) -> None:
        """Begin a second count in the cache that the first one left."""
        self._n_after_read = 0
        self.not_predictable = {}

    def _inode(self, place: Place) -> Inode:
        inode = self._inodes.get(place)
        if inode is None:
            is_directory = place.kind == DIRECTORY
            ages = self._protocol.directory_ages_s if is_directory else self._protocol.file_ages_s
            inode = self._inodes[place] = Inode(Age(ages[0]))
        return inode

    def _heard(self, place: Place, visit: Visit) -> None:
        """An answer held the attributes: they are believed twice as long as before if they had been old.

        Source: fs/nfs/inode.c, nfs_update_inode (attrtimeo, attrtimeo_timestamp).
        """
        inode = self._inodes.get(place)
        if inode is None:
            self._inode(place).age.asked_s = visit.now_s
            return
        age = inode.age
        if visit.now_s - age.asked_s >= age.limit_s:
            most = self._protocol.directory_ages_s if place.kind == DIRECTORY else self._protocol.file_ages_s
            age.limit_s = min(most[1], age.limit_s * 2)
        age.asked_s = visit.now_s

    def _is_old(self, inode: Inode, visit: Visit) -> bool:
        """Whether its attributes have expired. Source: fs/nfs/inode.c, nfs_attribute_cache_expired."""
        if inode.is_changed:
            return True
        return not inode.is_delegated and visit.now_s - inode.age.asked_s >= inode.age.limit_s

    def _get_attributes(self, place: Place, visit: Visit) -> None:
        self._ask("GETATTR", OTHER, place, 1)
        inode = self._inode(place)
        inode.is_access_time_old = False
        self._accept_change(inode)
        self._heard(place, visit)

    def _accept_change(self, inode: Inode) -> None:
        """With another time of change the rights are unknown again. Source: fs/nfs/inode.c, nfs_update_inode."""
        if inode.is_changed:
            inode.is_changed = False
            inode.users.clear()

    def _permit(self, place: Place, visit: Visit) -> None:
        """Rights are asked for once per user; a file's age is checked each time.

        Source: fs/nfs/dir.c, nfs_do_access, nfs_access_get_cached_locked.
        """
        inode = self._inode(place)
        if visit.user not in inode.users:
            inode.users.add(visit.user)
            self._ask("ACCESS", OTHER, place, 1)
            self._heard(place, visit)
        elif self._is_old(inode, visit):
            self._get_attributes(place, visit)
