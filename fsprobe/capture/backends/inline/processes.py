"""Who still has a ring mapped: processes that outlive the command, whoever started them.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: fcntl(2), "Leases": a write lease is given only where nobody else has the file open; a mapping keeps it open.
"""

import errno
import fcntl
import os

from fsprobe.capture.directories import own_files


def is_in_use(ring: "str | int", is_read: "bool" = False) -> "bool":
    """Whether a process has it mapped, of whatever user and in whatever namespace; False where it is not there.

    Args:
        ring: its path, or the only descriptor of it that this process has.
        is_read: a thread of this process has it open: no lease is given then, and only the user's own processes are looked at.
    """
    try:
        fd = ring if isinstance(ring, int) else own_files.open_file(ring, os.O_RDWR)
    except OSError:
        return False
    try:
        if is_read:
            return _is_mapped(os.fstat(fd))
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EBUSY) or _is_mapped(os.fstat(fd))
    finally:
        if fd != ring:
            os.close(fd)
    return False


def _is_mapped(found: "os.stat_result") -> "bool":
    """The same for a filesystem without leases: by the memory maps of the user's own processes."""
    inode = b" %d " % found.st_ino
    uid, own = os.geteuid(), str(os.getpid())
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == own:
            continue
        try:
            if uid and os.stat("/proc/" + name).st_uid != uid:
                continue
            with open("/proc/%s/maps" % name, "rb") as source:
                if any(inode in line and b" rw-s " in line for line in source):
                    return True
        except OSError:
            continue
    return False
