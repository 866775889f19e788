"""What the server counted, as a value, and as memory that it shares with the process that started it.

Only the server writes to the memory; "reset" is a subtraction by whoever reads, so no update is ever lost.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from benchmarks.fileserver.kernel.protocol import Opcode


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Requests by opcode since the server's start or the last reset; every request is in exactly one field."""

    lookup: int = 0
    """All LOOKUPs, those for missing names included."""
    negative: int = 0
    """The part of `lookup` that was answered "no such name"; not one more request."""
    getattr: int = 0
    setattr: int = 0
    readlink: int = 0
    open: int = 0
    opendir: int = 0
    readdir: int = 0
    statfs: int = 0
    access: int = 0
    getxattr: int = 0
    listxattr: int = 0
    statx: int = 0
    create: int = 0
    mknod: int = 0
    mkdir: int = 0
    unlink: int = 0
    rmdir: int = 0
    rename: int = 0
    link: int = 0
    symlink: int = 0
    read: int = 0
    read_bytes: int = 0
    """Bytes that READs returned; not a request."""
    write: int = 0
    write_bytes: int = 0
    ioctl: int = 0
    """isatty() of an opened file, mostly: counted, never delayed."""
    fsync: int = 0
    flush: int = 0
    release: int = 0
    releasedir: int = 0
    forget: int = 0
    batch_forget: int = 0
    interrupt: int = 0
    init: int = 0
    destroy: int = 0
    other: int = 0
    metadata_wait_ns: int = 0
    """Latency that was owed to metadata requests, the wait for the cap left out."""
    data_wait_ns: int = 0
    """Latency and transfer time that were owed to READ and WRITE."""
    metadata_held_ns: int = 0
    """How long the server had metadata requests, from arrival to reply: what was owed, and what a sleeper oversleeps."""
    data_held_ns: int = 0
    """The same of READ and WRITE."""
    queue_wait_ns: int = 0
    """Time that metadata requests had to wait for their turn under the cap."""

    @property
    def metadata(self) -> int:
        """Every request that pays the metadata latency and takes a turn under the cap."""
        return sum(int(getattr(self, name)) for name in METADATA_FIELDS)

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(**{name: getattr(self, name) - getattr(earlier, name) for name in FIELDS})

    def as_json(self) -> dict[str, int]:
        """All fields and `metadata`."""
        return {**asdict(self), "metadata": self.metadata}


FIELDS = tuple(field.name for field in fields(Counters))

METADATA_OPCODES = frozenset(
    Opcode[name]
    for name in (
        "LOOKUP GETATTR SETATTR READLINK OPEN OPENDIR READDIR STATFS ACCESS GETXATTR LISTXATTR STATX "
        "CREATE MKNOD MKDIR UNLINK RMDIR RENAME LINK SYMLINK"
    ).split()
)
"""Requests that a client's system call waits for at a metadata server. FORGET and RELEASE are asynchronous, IOCTL would
not leave the client on a real parallel filesystem."""
DATA_OPCODES = frozenset({Opcode.READ, Opcode.WRITE})
METADATA_FIELDS = tuple(sorted(opcode.name.lower() for opcode in METADATA_OPCODES))


FIELD_OF_OPCODE: Mapping[int, str] = {
    opcode: opcode.name.lower() if opcode.name.lower() in FIELDS else "other" for opcode in Opcode
}
"""Where a request is counted; an opcode that is not here belongs to `other`."""


HELD_OF_OPCODE: Mapping[int, str] = {
    **dict.fromkeys(METADATA_OPCODES, "metadata_held_ns"),
    **dict.fromkeys(DATA_OPCODES, "data_held_ns"),
}
"""Where the time is counted for which the server had a request."""


def create_memory() -> int:
    """Make memory for the counters of one server; returns a descriptor for `map_memory` here and in the server."""
    descriptor = os.memfd_create("fileserver-counters")
    os.ftruncate(descriptor, 8 * len(FIELDS))
    return descriptor


def map_memory(descriptor: int) -> memoryview:
    """Map the counters: one unsigned 64-bit number for each of `FIELDS`, in their order."""
    return memoryview(mmap.mmap(descriptor, 8 * len(FIELDS))).cast("Q")


def add(memory: memoryview, amounts: Mapping[str, int]) -> None:
    """Add to the named fields. The caller holds the server's lock: an addition here is not atomic."""
    for name, amount in amounts.items():
        memory[_INDEX[name]] += amount


def read(memory: memoryview) -> Counters:
    """Take the counters as they are now."""
    return Counters(**dict(zip(FIELDS, memory, strict=True)))


_INDEX = {name: index for index, name in enumerate(FIELDS)}
