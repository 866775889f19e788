"""The ring as the recorder keeps it: made, grown while the run goes on, and given out for the recording.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6. The layout is that of slot.h.
"""

import errno
import os
import struct

from fsprobe.capture.directories import own_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC = 0x31474E4952505346
VERSION = 1
HEADER_BYTES = 32768
SLOT_BYTES = 256
HEAD = struct.Struct("<QIIQQQ")
"""magic, version, slot_bytes, cap, max, drained"""
NEXT_AT = 64
CAP_AT = 16
FILTERS_AT = 40
"""What the first program of the run says of its seccomp filters; 0: none has been there."""
STAYS_AT = 48
"""Whether the ring does not grow for now, so that nobody waits for it."""
TABLES_AT = 128
AHEAD = 16384
"""Slots that are allocated before they are used (4 MiB): more than what two cores write in a tick of 20 ms."""
MOST = 1 << 24
"""Slots for which address space is mapped in each process (4 GiB of it)."""
MOST_STREAMED = 1 << 26
"""The same where slots are given back while the run goes on (16 GiB of addresses; of memory what the reader is behind)."""
IN_HAND = 1024
"""So many threads may have taken a slot and not looked yet whether it is there: a judgement."""
BLOCK_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Reader:
    """A ring to read from, at a place of its own.

    Args:
        ring: its path; or a descriptor, which stays open.

    Raises:
        OSError: it is not there, or not the caller's own.
    """

    def __init__(self, ring: "str | int") -> "None":
        self.fd = ring if isinstance(ring, int) else own_files.open_file(ring)
        self._is_ours = self.fd != ring
        self._at = 0

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: "object") -> "None":
        if self._is_ours:
            os.close(self.fd)

    def seek(self, at: "int") -> "None":
        """Where the next read begins."""
        self._at = at

    def read(self, n_bytes: "int") -> "bytes":
        """So many bytes; fewer at its end."""
        data = os.pread(self.fd, n_bytes, self._at)
        self._at += len(data)
        return data


def create(path: "str", ahead: "int" = AHEAD, most: "int" = MOST, tables: "bytes" = b"") -> "None":
    """As `make`, and close it."""
    os.close(make(path, ahead, most, tables))


def make(path: "str", ahead: "int" = AHEAD, most: "int" = MOST, tables: "bytes" = b"") -> "int":
    """Make a ring with `ahead` slots, which may grow to `most`. The file must not be there: one may be mapped.

    Args:
        path: where.
        ahead: slots at first.
        most: slots at last.
        tables: what another ring's header holds of the sites that were found (see `tables_of`).

    Returns:
        A descriptor to read from and write to.

    Raises:
        OSError: there is no room for it, or the file exists.
    """
    ahead = min(ahead, most)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.posix_fallocate(fd, 0, HEADER_BYTES + ahead * SLOT_BYTES)
        os.pwrite(fd, tables[: HEADER_BYTES - TABLES_AT], TABLES_AT)
        os.pwrite(fd, HEAD.pack(MAGIC, VERSION, SLOT_BYTES, ahead, most, 0), 0)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    return fd


def reuse(fd: "int", ahead: "int" = AHEAD, most: "int" = MOST) -> "None":
    """Make a ring that nobody has mapped any more as `make` would have made it, with the sites that were found.

    Raises:
        OSError: there is no room for it.
    """
    ahead = min(ahead, most)
    os.ftruncate(fd, HEADER_BYTES)
    os.posix_fallocate(fd, 0, HEADER_BYTES + ahead * SLOT_BYTES)
    os.pwrite(fd, HEAD.pack(MAGIC, VERSION, SLOT_BYTES, ahead, most, 0).ljust(TABLES_AT, b"\0"), 0)


def tables_of(ring: "str | int") -> "bytes":
    """What a ring's header holds of the sites that programs found, for another ring of the same run.

    Raises:
        OSError: it can't be read.
    """
    with Reader(ring) as source:
        return source.read(HEADER_BYTES)[TABLES_AT:]


def stay(fd: "int") -> "None":
    """Say that a ring does not grow any more, or not for now: nobody is to wait for it.

    Raises:
        OSError: it can't be written.
    """
    os.pwrite(fd, struct.pack("<Q", 1), STAYS_AT)


def _allocate(fd: "int", start: "int", end: "int", has_room: "Callable[[int], bool] | None") -> "bool":
    """Whether there is room for these slots; then it is taken."""
    n_bytes = (end - start) * SLOT_BYTES
    if has_room is not None and not has_room(n_bytes):
        return False
    try:
        os.posix_fallocate(fd, HEADER_BYTES + start * SLOT_BYTES, n_bytes)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return False
    return True


def grow(
    ring: "str | int",
    ahead: "int" = AHEAD,
    most: "int" = MOST,
    has_room: "Callable[[int], bool] | None" = None,
    may_skip: "bool" = False,
) -> "tuple[int, int]":
    """Keep `ahead` slots allocated, `most` at the highest; what does not fit on the filesystem is lost and counted.

    Args:
        ring: its path, or a descriptor of it to write to. What its header says is not trusted: every process of the run may
            have written into it.
        ahead: slots behind those that are taken.
        most: slots at last.
        has_room: asked before it grows whether so many bytes more may be taken.
        may_skip: no pages are made for slots that were lost for want of room, but for those that may be being taken right now.

    Returns:
        how many slots were asked for so far, and how many there are.

    Raises:
        OSError: it can't be read or written, or has no header any more.
    """
    fd = ring if isinstance(ring, int) else own_files.open_file(ring, os.O_RDWR)
    try:
        taken, cap, most_mapped = counts(fd)
        wanted = min(most, most_mapped, max(cap, taken + ahead))
        # not for each few slots: half of what is kept ahead is enough to grow
        if wanted > cap and (taken + ahead // 2 > cap or cap < ahead):
            start = max(cap, min(wanted, taken - IN_HAND)) if may_skip else cap
            if _allocate(fd, start, wanted, has_room):
                os.pwrite(fd, struct.pack("<Q", wanted), CAP_AT)
                os.pwrite(fd, bytes(8), STAYS_AT)
                return taken, wanted
        if taken > cap:
            stay(fd)
        return taken, cap
    finally:
        if fd != ring:
            os.close(fd)


def counts(fd: "int") -> "tuple[int, int, int]":
    """How many slots were asked for, how many there are, and for how many there are addresses, as the header says.

    Raises:
        OSError: it can't be read, or is not there any more: every process of the run can cut the file.
    """
    head = os.pread(fd, NEXT_AT + 8, 0)  # in one call, as it is made many times a second
    if len(head) < NEXT_AT + 8:
        raise OSError(errno.EIO, "a program has cut the ring")
    _, _, _, cap, most_mapped, _ = HEAD.unpack_from(head)
    return struct.unpack_from("<Q", head, NEXT_AT)[0], cap, most_mapped


def stop(ring: "str | int") -> "None":
    """Let nobody take a slot any more: whoever outlives the run goes on unrecorded.

    Raises:
        OSError: it can't be written.
    """
    fd = ring if isinstance(ring, int) else own_files.open_file(ring, os.O_RDWR)
    try:
        os.pwrite(fd, bytes(8), CAP_AT)
    finally:
        if fd != ring:
            os.close(fd)


def n_slots(source: "Reader", most: "int" = MOST) -> "int":
    """How many slots are there and were asked for, whatever the header says.

    Raises:
        OSError: it can't be read.
    """
    source.seek(0)
    head = source.read(NEXT_AT + 8)
    if len(head) < NEXT_AT + 8:
        return 0
    taken = int(struct.unpack_from("<Q", head, NEXT_AT)[0])
    cap = int(struct.unpack_from("<Q", head, CAP_AT)[0])
    # where it ends, without asking for its status
    there = (os.lseek(source.fd, 0, os.SEEK_END) - HEADER_BYTES) // SLOT_BYTES
    return max(0, min(taken, cap, most, there))


def section(ring: "str | int", most: "int" = MOST) -> "Iterator[bytes]":
    """Header and slots as they are now, in blocks.

    Raises:
        OSError: it can't be read.
    """
    with Reader(ring) as source:
        left = n_slots(source, most) * SLOT_BYTES
        source.seek(0)
        # the sites are nothing that a reader asks for
        yield source.read(TABLES_AT) + bytes(HEADER_BYTES - TABLES_AT)
        source.seek(HEADER_BYTES)
        while left > 0:
            block = source.read(min(BLOCK_BYTES, left))
            if not block:
                return
            left -= len(block)
            yield block


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
