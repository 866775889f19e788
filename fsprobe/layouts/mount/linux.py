"""The few Linux calls that Python has no function for: unshare, mount, umount2, prctl, capset.

Each raises OSError with the kernel's errno. Standard library only; the C library is loaded on first use.
Source of the numbers: the kernel's uapi headers (sched.h, mount.h, prctl.h, capability.h), equal on every architecture.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 1, 2, 4, 4096, 16384, 1 << 19
MNT_DETACH = 2
CAP_SYS_ADMIN = 21

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces."""
    _check(_libc().unshare(ctypes.c_int(flags)), "unshare")


def mount(source: bytes, target: bytes, fstype: bytes | None, flags: int, data: bytes | None = None) -> None:
    """mount(2)."""
    result = _libc().mount(source, target, fstype, ctypes.c_ulong(flags), data)
    _check(result, f"mount {os.fsdecode(fstype or b'bind')}")


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc().umount2(target, ctypes.c_int(flags)), "umount")


def die_with_parent(signum: int) -> None:
    """Have the kernel send `signum` to this process when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def adopt_orphans(on: bool) -> None:
    """Make this process the new parent of every orphan among its descendants (or stop being that)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def keep_capability_over_exec(capability: int) -> None:
    """Let the next program keep one capability that this process has, without being root.

    Needs the capability in the permitted set: true right after a user namespace was entered.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0-31, then of 32-63
    _check(_libc().capget(header, sets), "capget")
    sets[2 + 3 * (capability // 32)] |= 1 << (capability % 32)
    _check(_libc().capset(header, sets), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *args: int) -> None:
    values = [ctypes.c_ulong(value) for value in (*args, 0, 0, 0, 0)[:4]]
    _check(_libc().prctl(ctypes.c_int(option), *values), "prctl")
