"""Which system calls name a path, and which of their arguments it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fsprobe.model.events import OP_OF_SYSCALL, Op


class Shape(NamedTuple):
    """Where one system call keeps the path it looks up first."""

    syscall: str
    op: Op
    path_at: int
    """Index of the path among the arguments; -1: none, the descriptor in argument 0 stands for it."""
    dirfd_at: int
    """Index of the descriptor that a relative path starts from; -1: the working directory."""
    is_simple: bool
    """Path first, or directory first and path second, and nothing else follows from the call."""


_PLAIN = (
    "open creat stat lstat stat64 lstat64 oldstat oldlstat access readlink execve mkdir unlink rmdir rename link chmod "
    "chown chown32 lchown lchown32 truncate truncate64 utime utimes mknod setxattr lsetxattr removexattr lremovexattr "
    "chdir chroot statfs statfs64 getxattr lgetxattr listxattr llistxattr umount umount2 acct swapon swapoff uselib "
    "pivot_root"
)
_AT = (
    "openat openat2 newfstatat fstatat64 statx faccessat faccessat2 readlinkat execveat mkdirat unlinkat renameat "
    "renameat2 linkat fchmodat fchmodat2 fchownat utimensat utimensat_time64 futimesat mknodat setxattrat getxattrat "
    "listxattrat removexattrat name_to_handle_at open_tree open_tree_attr move_mount fspick mount_setattr "
    "file_getattr file_setattr"
)
_OTHER = {
    # name: (path_at, dirfd_at)
    "symlink": (1, -1),
    "symlinkat": (2, 1),
    "mount": (1, -1),
    "quotactl": (1, -1),
    "inotify_add_watch": (1, -1),
    "fanotify_mark": (4, 3),
    "getdents": (-1, 0),
    "getdents64": (-1, 0),
}
_HAS_CONSEQUENCES = frozenset({"execve", "execveat", "chdir", "chroot"})


def _shapes() -> dict[bytes, Shape]:
    places = dict.fromkeys(_PLAIN.split(), (0, -1))
    places.update(dict.fromkeys(_AT.split(), (1, 0)))
    simple = set(places) - _HAS_CONSEQUENCES
    places.update(_OTHER)
    return {
        name.encode(): Shape(name, OP_OF_SYSCALL.get(name, Op.OTHER), path_at, dirfd_at, name in simple)
        for name, (path_at, dirfd_at) in places.items()
    }


SHAPES: Mapping[bytes, Shape] = _shapes()
"""Every system call that becomes a `Call`, by the name that strace prints.

getcwd and calls on a descriptor alone name no path and are not here.
"""

CLONES = frozenset({b"clone", b"clone3", b"clone2", b"fork", b"vfork"})
EXITS = frozenset({b"exit", b"exit_group"})
EXECS = frozenset({b"execve", b"execveat"})
ACCESSES = frozenset({b"faccessat", b"faccessat2"})
EMPTY_PATH_NAMES_THE_DESCRIPTOR = frozenset({b"execveat", b"linkat", b"readlinkat"})
"""With an empty path these look at the file behind their descriptor and still are what their name says."""

FOLLOWED = CLONES | EXITS | {b"fchdir", b"getcwd", b"close", b"dup", b"dup2", b"dup3", b"fcntl", b"ptrace"}
"""Calls that are no `Call`, but change what later paths mean or who runs."""
