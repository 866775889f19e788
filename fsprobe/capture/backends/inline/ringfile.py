"""The ring as the recorder keeps it: made, grown while the run goes on, and drained.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6. The layout is that of slot.h.
"""

import errno
import os
import struct

MAGIC = 0x31474E4952505346
VERSION = 1
HEADER_BYTES = 32768
SLOT_BYTES = 256
HEAD = struct.Struct("<QIIQQQ")
"""magic, version, slot_bytes, cap, max, drained"""
NEXT_AT = 64
CAP_AT = 16
AHEAD = 16384
"""Slots that are allocated before they are used (4 MiB): more than what two cores write in a tick of 20 ms."""
MOST = 1 << 24
"""Slots for which address space is mapped in each process (4 GiB of it)."""


def create(path: "str", ahead: "int" = AHEAD, most: "int" = MOST) -> "None":
    """Make a ring with `ahead` slots, which may grow to `most`. The file must not be there: one may be mapped.

    Raises:
        OSError: there is no room for it, or the file exists.
    """
    ahead = min(ahead, most)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.posix_fallocate(fd, 0, HEADER_BYTES + ahead * SLOT_BYTES)
        os.pwrite(fd, HEAD.pack(MAGIC, VERSION, SLOT_BYTES, ahead, most, 0), 0)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def grow(path: "str", ahead: "int" = AHEAD, most: "int" = MOST) -> "tuple[int, int]":
    """Keep `ahead` slots allocated, `most` at the highest; what does not fit on the filesystem is lost and counted.

    Returns:
        how many slots were asked for so far, and how many there are.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        taken = struct.unpack("<Q", os.pread(fd, 8, NEXT_AT))[0]
        _, _, _, cap, most_mapped, _ = HEAD.unpack(os.pread(fd, HEAD.size, 0))
        wanted = min(most, most_mapped, max(cap, taken + ahead))
        if wanted > cap:
            try:
                os.posix_fallocate(fd, HEADER_BYTES + cap * SLOT_BYTES, (wanted - cap) * SLOT_BYTES)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                return taken, cap
            os.pwrite(fd, struct.pack("<Q", wanted), CAP_AT)
            cap = wanted
        return taken, cap
    finally:
        os.close(fd)


def environment(environ: "dict[str, str]", library: "str", ring: "str") -> "dict[str, str]":
    """The environment that records a program: by LD_AUDIT, or beside LD_PRELOAD where the program has one.

    An allocator that is preloaded does not start under LD_AUDIT (static TLS).
    """
    changed = dict(environ, FSPROBE_RING=ring)
    preload = environ.get("LD_PRELOAD", "")
    if preload.strip(": "):
        changed["LD_PRELOAD"] = preload + ":" + library
    else:
        changed["LD_AUDIT"] = ":".join(filter(None, (library, environ.get("LD_AUDIT", ""))))
    return changed
