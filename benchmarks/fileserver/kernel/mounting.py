"""Mount /dev/fuse over a directory and take it away again: as root by mount(2), as a plain user by fusermount3."""

from __future__ import annotations

import array
import os
import re
import shutil
import socket
import subprocess

from benchmarks.fileserver.kernel import libc
from fsprobe.errors import MachineCannot

FSTYPE = b"fuse.standin"
_MAX_READ = "max_read=1048576"


def mount(mnt: bytes, *, writable: bool) -> int:
    """Mount over `mnt`; returns the descriptor of /dev/fuse on which the requests arrive.

    Raises:
        MachineCannot: no /dev/fuse, not allowed, or no fusermount3 for a plain user.
    """
    try:
        return _mount_as_root(mnt, writable) if os.geteuid() == 0 else _mount_as_user(mnt, writable)
    except OSError as error:
        raise MachineCannot(
            f"can't mount over {os.fsdecode(mnt)}: {error}",
            "the simulated file server needs /dev/fuse, and root or fusermount3",
        ) from error


def _mount_as_root(mnt: bytes, writable: bool) -> int:
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    flags = libc.MS_NOSUID | libc.MS_NODEV | (0 if writable else libc.MS_RDONLY)
    # default_permissions: the client's kernel checks modes itself, as that of a parallel filesystem does.
    options = (
        f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},"
        f"allow_other,default_permissions,{_MAX_READ}"
    )
    try:
        libc.mount(b"standin", mnt, FSTYPE, flags, options.encode())
    except OSError:
        os.close(device)
        raise
    return device


def _mount_as_user(mnt: bytes, writable: bool) -> int:
    helper = shutil.which("fusermount3")
    if helper is None:
        raise FileNotFoundError("fusermount3 is not installed")
    options = (
        f"{'rw' if writable else 'ro'},nosuid,nodev,default_permissions,fsname=standin,subtype=standin,{_MAX_READ}"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [helper, "-o", options, "--", mnt],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise PermissionError(os.fsdecode(done.stderr).strip())
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    device = array.array("i", ancillary[0][2])[0]
    os.set_inheritable(device, False)
    return device


def device_at(mnt: bytes) -> bytes | None:
    """Return `major:minor` of the server mounted last over `mnt`; None if the last mount there is none.

    Reads only the mount table: looking at the path itself could wait for the very server that asks.
    """
    device = None
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            left, _, right = line.partition(b" - ")
            fields = left.split()
            if _unescape(fields[4]) == mnt:
                device = fields[2] if right.startswith(FSTYPE + b" ") else None
    return device


def unmount(mnt: bytes, device: bytes | None) -> None:
    """Unmount `mnt` if `device` is what is mounted there; lazily if it is in use."""
    if device is None or device_at(mnt) != device:
        return
    if os.geteuid() == 0:
        try:
            libc.umount(mnt)
        except OSError:
            libc.umount(mnt, libc.MNT_DETACH)
        return
    command = [shutil.which("fusermount3") or "fusermount3", "-u", "-q"]
    if subprocess.run([*command, "--", mnt], check=False).returncode:
        subprocess.run([*command, "-z", "--", mnt], check=False)


def _unescape(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
