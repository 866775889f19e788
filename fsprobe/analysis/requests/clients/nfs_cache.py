"""What an NFS client keeps of a file and of a name, what NFS calls its operations, and how many names one answer holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from fsprobe.analysis.requests.clients.client import Age, Pages
from fsprobe.analysis.requests.dentries import Listing

FIRST_ANSWER_BYTES = 64 << 10
"""fs/nfs/dir.c, NFS_INIT_DTSIZE: what the first READDIR of a listing asks for; each further one asks for twice as much."""
HANDLE_BYTES = 20
"""An ext4 file's handle as nfsd makes it; other servers have longer ones."""
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
    is_access_time_old: bool = False
    was_read: bool = False
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
